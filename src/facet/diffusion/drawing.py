"""From a record of what is asked to a sheet of faces; the same record gives the same pixels."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facet.data.attributes import ABSENT, PRESENT, UNKNOWN, parse_request
from facet.diffusion.editing import edit, interpolate, movement, sweep
from facet.diffusion.grids import grid
from facet.diffusion.objective import ObjectiveParams
from facet.diffusion.photo_files import OpenedPhoto, open_mask, open_photo
from facet.diffusion.pipeline import FacePipeline
from facet.diffusion.provenance import Provenance, Source, source_of
from facet.diffusion.sampling import resolve_sampling
from facet.diffusion.schedulers import build_scheduler
from facet.errors import ParamsError, did_you_mean
from facet.precision import resolve

# A larger picture is no sheet to look at, and readers take it for a decompression bomb.
_MOST_PIXELS = 50_000_000


@dataclasses.dataclass(frozen=True)
class Drawn:
    """``faces`` uint8 [n, h, w, 3] as they lie on the sheet; ``moved`` is how far a photo moved, where there is one
    (`facet.diffusion.editing.movement`), ``changed`` in words what was done to its file before."""

    faces: np.ndarray
    moved: Mapping[str, float | None] | None = None
    changed: str = ""

    def sheet(self, record: Provenance) -> Image.Image:
        """All faces on one picture."""
        return grid(self.faces, record.columns, record.zoom)


def draw(
    pipeline: FacePipeline,
    record: Provenance,
    image: Path | None = None,
    mask: Path | None = None,
    states: np.ndarray | None = None,
) -> Drawn:
    """Draw what ``record`` says; ``image`` and ``mask`` are the files that it names, wherever they lie now. ``states``
    int8 [n, k] gives each of generated faces its own attributes, in place of the record's.

    Raises ParamsError where the model can't do what is asked or a file is not the one that was used, DataError where
    one is no picture.
    """
    check_size(pipeline, len(record.seeds) * record.frames + 1, record.zoom)
    for what, path, source in (("image", image, record.image), ("mask", mask, record.mask)):
        _check_source(what, path, source)
    photo = None if image is None else open_photo(image, pipeline.size)
    inside, face = _mask(record, mask, photo, pipeline.size), None if photo is None else photo.face
    with _defaults(pipeline, record.sampling):
        if states is not None:
            return _generate(pipeline, record, face, inside, states)
        drawn = _DRAWERS[record.command](pipeline, record, face, inside)
    return dataclasses.replace(drawn, changed="" if photo is None else photo.changed)


def full_sampling(pipeline: FacePipeline, given: Mapping[str, Any]) -> dict[str, Any]:
    """How the pipeline would draw with ``given`` (None: its default), every argument spelled out. Raises ParamsError
    on what is out of range, or doesn't fit the model."""
    sampling = resolve_sampling(pipeline.config.sampling, given)
    build_scheduler(sampling.sampler, ObjectiveParams(**pipeline.config.objective))
    precision = resolve(sampling.precision, pipeline.device)
    found = dataclasses.asdict(sampling) | {"precision": precision}
    return {name: value for name, value in found.items() if name != "batch_size"}


def states_asked(text: str, pipeline: FacePipeline) -> dict[str, int]:
    """``"Smiling,-Male"`` as states by name. Raises ParamsError on a name that the model doesn't know."""
    names = pipeline.attribute_names
    states = parse_request(text, names)
    return {name: int(state) for name, state in zip(names, states, strict=True) if state != UNKNOWN}


def check_size(pipeline: FacePipeline, faces: int, zoom: int) -> None:
    """Raises ParamsError where so many faces are too many for one picture."""
    if faces * (pipeline.size * zoom) ** 2 > _MOST_PIXELS:
        raise ParamsError(f"{faces} faces are too many for one picture: draw fewer, or each into a file with --each.")


@contextlib.contextmanager
def _defaults(pipeline: FacePipeline, sampling: Mapping[str, Any]) -> Iterator[None]:
    """``sampling`` as the pipeline's own defaults, so that every part of it follows them."""
    before = pipeline.config.sampling
    pipeline.register_to_config(sampling={**before, **sampling})
    try:
        yield
    finally:
        pipeline.register_to_config(sampling=before)


def _check_source(what: str, path: Path | None, source: Source | None) -> None:
    if source is None and path is not None:
        raise ParamsError(f"--{what} was given, but the picture was drawn without one: leave it out.")
    if source is not None and path is None:
        raise ParamsError(f"the picture was drawn from {source.name}: give that file with --{what}.")
    if source is not None and source_of(path).sha256 != source.sha256:
        raise ParamsError(f"{path} is not the {source.name} that the picture was drawn from (other SHA-256).")


def _mask(record: Provenance, mask: Path | None, photo: OpenedPhoto | None, size: int) -> np.ndarray | None:
    """bool [size, size], True where the photo is drawn anew; None where nothing says so."""
    if mask is not None and photo is not None:
        return open_mask(mask, photo)
    if not record.box:
        return None
    left, top, right, bottom = (round(share * size) for share in record.box)
    inside = np.zeros((size, size), bool)
    inside[top:bottom, left:right] = True
    return inside


def _states(pipeline: FacePipeline, asked: Mapping[str, int]) -> np.ndarray:
    names = pipeline.attribute_names
    for name in asked:
        if name not in names:
            raise ParamsError(f"the model knows no attribute {name!r}:{did_you_mean(name, names)} leave it out.")
    return np.array([asked.get(name, UNKNOWN) for name in names], np.int8)


def _text(pipeline: FacePipeline, asked: Mapping[str, int]) -> str:
    states = zip(pipeline.attribute_names, _states(pipeline, asked), strict=True)
    return ",".join({PRESENT: name, ABSENT: f"-{name}"}[int(state)] for name, state in states if state != UNKNOWN)


# --- one for each command ---------------------------------------------------------------------------------------------


def _generate(
    pipeline: FacePipeline,
    record: Provenance,
    photo: np.ndarray | None,
    mask: np.ndarray | None,
    states: np.ndarray | None = None,
) -> Drawn:
    if states is None:
        states = np.tile(_states(pipeline, record.attributes), (len(record.seeds), 1))
    faces = pipeline(
        record.prompt,
        states,
        record.negative_prompt,
        seeds=record.seeds,
        image=photo,
        strength=record.strength,
        mask=mask,
        output_type="np",
    ).images
    return Drawn(faces)


def _inpaint(pipeline: FacePipeline, record: Provenance, photo: np.ndarray | None, mask: np.ndarray | None) -> Drawn:
    if photo is None or mask is None:
        raise ParamsError("inpainting needs a photo and a mask or box: give both.")
    faces = _generate(pipeline, record, photo, mask).faces
    return Drawn(np.concatenate([photo[None], faces]), movement(photo, faces[0]))


def _edit(pipeline: FacePipeline, record: Provenance, photo: np.ndarray | None, _mask: object) -> Drawn:
    if photo is None:
        raise ParamsError("editing needs a photo: give one.")
    known = _states(pipeline, record.attributes)[None]
    change = _text(pipeline, record.change)
    guidance = record.sampling["guidance_scale"]
    more = {"prompt": record.prompt, "strength": record.strength, "guidance_scale": guidance}
    done = edit(pipeline, photo, change, known=known, **more)
    return Drawn(np.concatenate([photo[None], done.images]), done.moved[0])


def _interpolate(pipeline: FacePipeline, record: Provenance, _photo: object, _mask: object) -> Drawn:
    if len(record.seeds) != 2:
        raise ParamsError(f"a way between two faces has 2 seeds, not {len(record.seeds)}.")
    ends = (_text(pipeline, record.attributes), _text(pipeline, record.to_attributes))
    more = {"prompt": record.prompt, "negative_prompt": record.negative_prompt, "frames": record.frames}
    return Drawn(interpolate(pipeline, record.seeds, ends, **more))


def _sweep(pipeline: FacePipeline, record: Provenance, _photo: object, _mask: object) -> Drawn:
    values = np.linspace(ABSENT, PRESENT, record.frames).tolist()
    text = _text(pipeline, record.attributes)
    more = {"prompt": record.prompt, "negative_prompt": record.negative_prompt}
    rows = sweep(pipeline, record.sweep, record.seeds, values, attributes=text, **more)
    return Drawn(rows.reshape(-1, *rows.shape[2:]))


_DRAWERS: dict[str, Callable[..., Drawn]] = {
    "generate": _generate,
    "export": _generate,
    "inpaint": _inpaint,
    "edit": _edit,
    "interpolate": _interpolate,
    "sweep": _sweep,
}
