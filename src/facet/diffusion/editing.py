"""A photo with other attributes, ways between faces, one attribute in steps, and how a picture comes about."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from facet.data.attributes import ABSENT, EXCLUSIVE, PRESENT, UNKNOWN, parse_request
from facet.diffusion.inversion import invert
from facet.diffusion.photos import Photo, as_faces
from facet.diffusion.pipeline import FacePipeline
from facet.diffusion.requests import states_of
from facet.errors import ParamsError
from facet.seeding import torch_stream

# How far up the noise a photo is taken, and how hard it is then led away from what it showed: measured, see "Editing"
# in docs/experiments.md.
STRENGTH = 0.875
GUIDANCE = 2.5


@dataclasses.dataclass(frozen=True)
class Edited:
    """``images`` uint8 [n, h, w, 3], and for each how far it ``moved`` from its photo: ``pixels``, the mean absolute
    difference in grey levels of 0..255, and ``psnr`` in dB (None where nothing moved)."""

    images: np.ndarray
    moved: list[dict[str, float | None]]


def edit(
    pipeline: FacePipeline,
    faces: Photo,
    changes: str | np.ndarray = "",
    *,
    known: np.ndarray | None = None,
    prompt: str = "",
    strength: float = STRENGTH,
    steps: int | None = None,
    guidance_scale: float = GUIDANCE,
    seeds: Sequence[int] | int = 0,
) -> Edited:
    """Photos (PIL, or uint8 [n, size, size, 3]) with ``changes`` such as ``"Smiling,-Eyeglasses"`` made to them, or
    states int8 [n, k] of their own for each, or those that the sentence ``prompt`` names ("a smiling man"), or both.

    ``known`` is what the photos show, states [n, k] of -1, 0, 1 as labels give them; the more of it, the better the
    rest stays. An attribute that is to change and not known is taken for the opposite. The photo is inverted under what
    it shows, then drawn with what is asked, and guidance leads away from what it shows: what is the same before and
    after cancels out. More ``strength`` and guidance change the attribute more surely, and more beside it. Raises
    ParamsError on changes that contradict one another, or where there are none.
    """
    faces = as_faces(faces, pipeline.size)
    names = pipeline.attribute_names
    wanted = _wanted(pipeline, changes, prompt) if isinstance(changes, str) else changes
    source = states_of("" if known is None else known, names, len(faces)).numpy()
    source = np.where((source == UNKNOWN) & (wanted != UNKNOWN), -wanted, source)
    target = with_changes(source, wanted, names)
    latents = invert(pipeline, faces, attributes=source, strength=strength, steps=steps)
    images = pipeline(
        prompt,
        target,
        negative_attributes=source,
        latents=latents,
        strength=strength,
        steps=steps,
        guidance_scale=guidance_scale,
        seeds=seeds,
        num_images=len(faces),
        output_type="np",
    ).images
    return Edited(images, [movement(*pair) for pair in zip(faces, images, strict=True)])


def _wanted(pipeline: FacePipeline, changes: str, prompt: str) -> np.ndarray:
    """States int8 [k] that are asked for by attributes or, where those leave it open, by a sentence."""
    wanted = parse_request(changes, pipeline.attribute_names)
    if not prompt.strip() and not wanted.any():
        raise ParamsError("no change was asked for: name attributes such as 'Smiling,-Eyeglasses', or give a sentence.")
    if pipeline.conditioning != "both":
        return wanted
    said = pipeline.said_by(prompt)
    for group in EXCLUSIVE:
        members = [k for k, name in enumerate(pipeline.attribute_names) if name in group]
        # What was asked for by name goes before what is read, and a reading that contradicts itself is none.
        if (wanted[members] == PRESENT).any() or (said[members] == PRESENT).sum() > 1:
            said[members] = UNKNOWN
    return np.where(wanted == UNKNOWN, said, wanted)


def with_changes(states: np.ndarray, wanted: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """``states`` [n, k] with ``wanted`` [k] or [n, k] laid over them, where that is not unknown. What is made present
    makes absent what a face can't have beside it. Raises ParamsError where two that exclude one another are wanted."""
    changed = np.where(wanted == UNKNOWN, states, wanted)
    present = np.broadcast_to(wanted == PRESENT, changed.shape)
    for group in EXCLUSIVE:
        members = np.array([k for k, name in enumerate(names) if name in group], dtype=np.int64)
        added = present[:, members]
        if (added.sum(axis=1) > 1).any():
            row = added[added.sum(axis=1) > 1][0]
            told = " and ".join(names[k] for k in members[row])
            raise ParamsError(f"{told} were asked for together, but a face has only one of them: leave one out.")
        gone = added.any(axis=1)[:, None] & ~added
        changed[:, members] = np.where(gone, ABSENT, changed[:, members])
    return changed


def movement(photo: np.ndarray, image: np.ndarray) -> dict[str, float | None]:
    """How far ``image`` uint8 [h, w, 3] is from ``photo``: ``pixels`` and ``psnr``, see `Edited`."""
    apart = image.astype(np.float64) - photo
    square = float((apart**2).mean())
    psnr = None if square == 0 else round(float(10 * np.log10(255**2 / square)), 2)
    return {"pixels": round(float(np.abs(apart).mean()), 3), "psnr": psnr}


def interpolate(
    pipeline: FacePipeline,
    seeds: tuple[int, int],
    attributes: tuple[str, str] = ("", ""),
    *,
    prompt: str = "",
    frames: int = 8,
    **sampling: object,
) -> np.ndarray:
    """Faces uint8 [frames, h, w, 3] on the way from one seed and its attributes to another: over the sphere in noise
    (Shoemake, 1985), straight in the attributes' states. The first and the last are what the pipeline draws of them.

    ``prompt`` holds for all: a sentence between two sentences is none. ``sampling`` goes to the pipeline as it is.
    Raises ParamsError for fewer than two frames.
    """
    if frames < 2:
        raise ParamsError(f"{frames} frames were asked for, expected at least 2: the two ends.")
    shares = np.linspace(0, 1, frames)
    first, last = (torch.randn(pipeline.latent_shape, generator=torch_stream(seed, "draw")) for seed in seeds)
    begin, end = _ends(pipeline, seeds, attributes, prompt)
    return pipeline(
        prompt,
        torch.cat([begin + (end - begin) * float(share) for share in shares]),
        latents=torch.stack([slerp(first, last, float(share)) for share in shares]),
        seeds=[seeds[0]] * (frames - 1) + [seeds[1]],
        output_type="np",
        **sampling,
    ).images


def _ends(
    pipeline: FacePipeline, seeds: tuple[int, int], attributes: tuple[str, str], prompt: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """States [1, k] of both ends as drawing would fill them in. From a seed to itself nothing changes unasked."""
    begin, end = (states_of(text, pipeline.attribute_names, 1) for text in attributes)
    first = pipeline.filled_in(begin, [prompt], seeds[:1])
    if seeds[0] != seeds[1]:
        return first, pipeline.filled_in(end, [prompt], seeds[1:])
    if not bool((end != UNKNOWN).any()):
        return first, first
    changed = with_changes(first.numpy(force=True), end[0].numpy(), pipeline.attribute_names)
    return first, torch.as_tensor(changed, dtype=torch.float32)


def slerp(first: torch.Tensor, last: torch.Tensor, share: float) -> torch.Tensor:
    """The point at ``share`` 0..1 of the arc between two tensors of noise, whose length is noise's all the way."""
    if share in (0.0, 1.0):
        return (first, last)[int(share)]
    cosine = (first * last).sum() / (first.norm() * last.norm())
    angle = cosine.clamp(-1, 1).acos()
    if angle < 1e-4:
        return first + (last - first) * share
    return (((1 - share) * angle).sin() * first + (share * angle).sin() * last) / angle.sin()


def sweep(
    pipeline: FacePipeline,
    attribute: str,
    seeds: Sequence[int],
    values: Sequence[float] = (-1, -0.5, 0, 0.5, 1),
    *,
    attributes: str = "",
    prompt: str = "",
    **sampling: object,
) -> np.ndarray:
    """Faces uint8 [len(seeds), len(values), h, w, 3]: each seed with ``attribute`` from absent (-1) over unknown (0)
    to present (1), beside the other ``attributes``. Raises ParamsError on an unknown name."""
    names = pipeline.attribute_names
    swept = np.flatnonzero(parse_request(attribute, names))
    if len(swept) != 1:
        raise ParamsError(f"{attribute!r} names {len(swept)} attributes, expected one attribute to sweep.")
    if not values:
        raise ParamsError("no values were given, expected some from -1 (absent) to 1 (present).")
    column = int(swept[0])
    if bool((states_of(attributes, names, 1)[:, column] != UNKNOWN).any()):
        raise ParamsError(f"{names[column]!r} is swept and asked for: name it once.")
    # What is left open is filled in once a face, such that the attribute may be there, and stays as it goes.
    base = states_of(attributes, names, len(seeds))
    base[:, column] = PRESENT
    base = pipeline.filled_in(base, [prompt] * len(seeds), seeds)
    states = base.repeat_interleave(len(values), dim=0)
    states[:, column] = torch.tensor(values, dtype=torch.float32).repeat(len(seeds))
    drawn = pipeline(
        prompt, states, seeds=[seed for seed in seeds for _ in values], complete=False, output_type="np", **sampling
    ).images
    return drawn.reshape(len(seeds), len(values), *drawn.shape[1:])


def denoising_strip(
    pipeline: FacePipeline, seed: int = 0, *, attributes: str = "", prompt: str = "", **sampling: object
) -> np.ndarray:
    """One face as it comes about, uint8 [steps + 1, h, w, 3]: at each step the picture that the network foresees, and
    at the end the one that is drawn. ``sampling`` goes to the pipeline as it is."""
    # A sampler that looks twice at a noise level is shown once, as it saw it last.
    foreseen: dict[float, torch.Tensor] = {}

    def look(_pipeline: FacePipeline, _index: int, timestep: torch.Tensor, tensors: dict[str, torch.Tensor]) -> None:
        foreseen[float(timestep)] = tensors["clean"][0]

    drawn = pipeline(prompt, attributes, seeds=[seed], callback_on_step_end=look, output_type="np", **sampling).images
    return np.concatenate([pipeline.decode_faces(torch.stack(list(foreseen.values()))), drawn])
