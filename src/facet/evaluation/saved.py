"""Scores of any saved pipeline: facet's own, as the chain scores it, or one from elsewhere that takes no attributes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from facet.artifacts import digest_folder, digest_json
from facet.data.datasets import FaceSet, load_faces
from facet.diffusion.pipeline import FacePipeline
from facet.diffusion.saving import load_pipeline
from facet.errors import ArtifactError, ParamsError
from facet.evaluation.altered import alter
from facet.evaluation.features import load_judge
from facet.evaluation.foreign import Foreign, check_weights, draw_foreign, fitted, load_foreign, read_index
from facet.evaluation.latents import encoded
from facet.evaluation.record import evaluate, latent_scores
from facet.evaluation.reference import ExtractorParams, Reference, load_reference
from facet.evaluation.samples import KINDS, SampleSet, askings, draw_samples, training_captions, with_altered
from facet.precision import default_device

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

Conditions = Literal["data", "none"]
# Pictures at a time where nothing is said: a foreign model may be large.
_ROWS = 16


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is drawn; None is the model's own default."""

    count: int
    # Further samples with every attribute unknown, from a model of attributes; None is half of ``count``.
    unconditional: int | None = None
    # Further ones, each asked for otherwise (facet.evaluation.samples.KINDS); None is a quarter of ``count`` each.
    further: int | None = None
    # Held-out faces that are edited, and as many that are inpainted; None is an eighth of ``count``.
    altered: int | None = None
    first_seed: int = 0
    # What a model of attributes is asked for: the held-out faces' attributes, or nothing.
    conditions: Conditions = "data"
    steps: int | None = None
    guidance: float | None = None
    batch_size: int | None = None
    # What a model of prompts is asked for.
    prompt: str = ""
    # Bring pictures of another size to the faces'.
    resize: bool = False

    def __post_init__(self) -> None:
        least_of = dict.fromkeys(("unconditional", "further", "altered", "first_seed"), 0)
        least_of |= {"count": 2, "steps": 1, "batch_size": 1}
        for name, least in least_of.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ParamsError(f"{name} is {value}, expected at least {least}.")


@dataclasses.dataclass(frozen=True)
class Against:
    """What samples are held against: prepared faces, their reference, the judge that measured it."""

    faces: FaceSet
    reference: Reference
    judge: Path


def load_against(data: Path, reference: Path | None = None, judge: Path | None = None) -> Against:
    """Open ``data``, an ``artifacts/faces``; ``reference`` and ``judge`` lie beside it where they are None.

    Raises ArtifactError where one is missing, or is not of the others.
    """
    judge = judge or data.parent / "judge"
    place = reference or data.parent / "reference"
    faces, measured = load_faces(data), load_reference(place)
    if measured.about["faces"] != digest_json(faces.about)[:16]:
        raise ArtifactError(f"{place} was measured on other faces than {data}: give the reference of these faces.")
    known = load_judge(judge).config
    if tuple(known.attribute_names) != faces.names:
        raise ArtifactError(
            f"the judge in {judge} and the faces in {data} have other attributes ({_unlike(known, faces)}): give the "
            "judge that was trained on these faces."
        )
    return Against(faces, measured, judge)


def _unlike(known: Any, faces: FaceSet) -> str:
    return _difference(tuple(known.attribute_names), faces.names)


def evaluate_saved(
    folder: Path, against: Against, asked: Asked, extractors: Sequence[ExtractorParams], seed: int
) -> dict[str, Any]:
    """The evaluation record of the pipeline saved in ``folder``.

    With the chain's artifacts, N and ``seed`` it is the chain's own record. A pipeline that takes no attributes has
    neither adherence nor groups, and its protocol says ``conditions: none``. Raises ArtifactError, DataError or
    ParamsError where it can't be loaded, drawn from or held against ``against``.
    """
    pipeline = load_any(folder).to(default_device())
    digest, size = digest_folder(folder), int(against.faces.about["size"])
    if isinstance(pipeline, FacePipeline):
        samples = _draw_faces(pipeline, digest, against.faces, asked, seed)
    else:
        samples = _draw_foreign(pipeline, digest, asked)
    native = samples.faces.shape[1:3] == (size, size)
    samples = fitted(samples, size, asked.resize)
    # An autoencoder for another size would be asked what it was not trained for.
    vae = pipeline.vae if isinstance(pipeline, FacePipeline) and native else None
    done = evaluate(extractors, samples, against.faces, against.reference, against.judge, vae, seed)
    if vae is not None:
        latents = encoded(vae, done.originals)
        done.record["autoencoder"] |= latent_scores(latents, np.arange(len(latents.moments)))
    return done.record


def load_any(folder: Path) -> DiffusionPipeline:
    """The pipeline in ``folder``, facet's own or any that diffusers knows. Raises ArtifactError where there is none,
    where it could run code, or where its weights are no numbers."""
    index = read_index(folder)
    if index["_class_name"] == FacePipeline.__name__:
        return load_pipeline(folder)
    pipeline = load_foreign(folder, index)
    check_weights(pipeline)
    return pipeline


def _draw_faces(pipeline: FacePipeline, digest: str, faces: FaceSet, asked: Asked, seed: int) -> SampleSet:
    if asked.prompt:
        raise ParamsError("facet writes the prompts of its own models from held-out faces: leave out --prompt.")
    nothing = asked.conditions == "none" or pipeline.conditioning == "none"
    if nothing and asked.guidance is not None:
        raise ParamsError("without conditions there is nothing to guide towards: leave out --guidance.")
    if not nothing and pipeline.attribute_names != faces.names:
        raise ArtifactError(
            f"the model and the faces have other attributes ({_difference(pipeline.attribute_names, faces.names)}): "
            "give the faces that it was trained on, or ask for nothing with --conditions none."
        )
    further = dict.fromkeys(KINDS, asked.count // 4 if asked.further is None else asked.further)
    free = asked.count // 2 if asked.unconditional is None else asked.unconditional
    samples = draw_samples(
        pipeline,
        digest,
        {} if nothing else askings(pipeline.conditioning, faces, asked.count, further, seed, training_captions()),
        asked.count,
        0 if nothing else free,
        asked.first_seed,
        steps=asked.steps,
        guidance_scale=asked.guidance,
        batch_size=asked.batch_size,
    )
    photos = asked.count // 8 if asked.altered is None else asked.altered
    fits = pipeline.size == faces.about["size"] and not nothing
    return with_altered(samples, alter(pipeline, faces, photos, seed) if fits else {})


def _draw_foreign(pipeline: DiffusionPipeline, digest: str, asked: Asked) -> SampleSet:
    for name in ("unconditional", "further", "altered"):
        if getattr(asked, name) is not None:
            raise ParamsError(f"{type(pipeline).__name__} draws nothing but unconditional samples: leave out --{name}.")
    seeds = list(range(asked.first_seed, asked.first_seed + asked.count))
    how = Foreign(asked.prompt, asked.steps, asked.guidance, asked.batch_size or _ROWS)
    return draw_foreign(pipeline, digest, seeds, how)


def _difference(ours: tuple[str, ...], theirs: tuple[str, ...]) -> str:
    """Where two lists of attributes part, in a few words."""
    if sorted(ours) == sorted(theirs):
        return "the same in another order"
    missing = [name for name in theirs if name not in ours]
    more = [name for name in ours if name not in theirs]
    parts = [
        f"{len(names)} {word} {names[0]}" for names, word in ((missing, "missing, as"), (more, "more, as")) if names
    ]
    return " and ".join(parts)
