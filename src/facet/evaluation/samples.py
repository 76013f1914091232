"""N labelled samples, one seed each, kept so that a new metric need not draw them again.

``artifacts/samples/`` holds

- ``samples.json``         schema, counts, sampling defaults used, digest of the pipeline, first seed
- ``samples.safetensors``  "faces" uint8 [n, h, w, 3], "states" int8 [n, k], "seeds" int64 [n]; where some were asked
  for, "unconditional" uint8 [m, h, w, 3], drawn with every attribute unknown and the m seeds that follow, and "partial"
  uint8 [p, h, w, 3] with "partial_states" int8 [p, k], drawn for part of the attributes and with the next p seeds
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from safetensors.numpy import load_file, save_file

from facet.artifacts import SAMPLES_SCHEMA, digest_folder, read_json, whole_folder, write_json
from facet.data.attributes import UNKNOWN
from facet.data.datasets import FaceSet
from facet.diffusion.pipeline import FacePipeline
from facet.diffusion.sampling import SamplingParams
from facet.params import Between, Natural
from facet.seeding import numpy_stream


@dataclasses.dataclass(frozen=True)
class SampleParams:
    """Section ``sample``: how many are drawn for the evaluation, and how."""

    # Samples; a Frechet distance below about a thousand says little.
    count: Annotated[int, Between(2)]
    # Further samples with every attribute unknown, whose attributes the balance compares with the data's; 0 draws none.
    unconditional: Natural
    # Further samples that part of the attributes is asked of, for the adherence by kind of condition; 0 draws none.
    partial: Natural
    sampling: SamplingParams


@dataclasses.dataclass(frozen=True)
class SampleSet:
    """``faces`` uint8 [n, h, w, 3] drawn for ``states`` int8 [n, k], or None where nothing was asked for, with
    ``seeds`` int64 [n]; ``unconditional`` uint8 [m, h, w, 3], and ``partial`` uint8 [p, h, w, 3] with
    ``partial_states`` int8 [p, k], or None where none were drawn."""

    faces: np.ndarray
    states: np.ndarray | None
    seeds: np.ndarray
    about: dict[str, Any]
    unconditional: np.ndarray | None = None
    partial: np.ndarray | None = None
    partial_states: np.ndarray | None = None


def conditions(faces: FaceSet, count: int, seed: int) -> np.ndarray:
    """``count`` attribute vectors, int8 [count, k], from the held-out splits: their joint distribution, in rounds."""
    rows = faces.rows("valid", "test")
    rounds = -(-count // len(rows))
    order = np.concatenate([numpy_stream(seed, "conditions", r).permutation(rows) for r in range(rounds)])
    return faces.attributes[order[:count]]


def part_of(states: np.ndarray, count: int, seed: int) -> np.ndarray:
    """``count`` rows of ``states`` int8 [n, k], in rounds, with a random part of each forgotten, int8 [count, k]: from
    one known attribute to all of them, each size as likely as another, as `train_unet.dropout.some` trains it."""
    stream = numpy_stream(seed, "partial conditions")
    states = np.resize(states, (count, states.shape[1]))
    # Each row's attributes in a random order, the known ones first; so many of them stay.
    order = np.argsort(stream.random(states.shape) + (states == UNKNOWN), axis=1).argsort(axis=1)
    known = (states != UNKNOWN).sum(axis=1)
    kept = 1 + (stream.random(count) * known).astype(np.int64)
    return np.where(order < kept[:, None], states, UNKNOWN).astype(np.int8)


def draw_samples(
    pipeline: FacePipeline,
    digest: str,
    states: np.ndarray,
    unconditional: int = 0,
    partial: np.ndarray | None = None,
    first_seed: int = 0,
    **sampling: float | None,
) -> SampleSet:
    """One face a row of ``states`` int8 [n, k], with seeds ``first_seed`` and those that follow it, then as many as
    ``unconditional`` says, then one a row of ``partial`` int8 [p, k].

    ``sampling`` are arguments of the pipeline; what is missing or None is its own default.
    """
    count, asked_in_part = len(states), 0 if partial is None else len(partial)
    seeds = np.arange(first_seed, first_seed + count + asked_in_part + unconditional, dtype=np.int64)

    def draw(states: np.ndarray, start: int, **changed: float) -> np.ndarray | None:
        own = seeds[start : start + len(states)].tolist()
        return pipeline(attributes=states, seeds=own, output_type="np", **sampling | changed).images if own else None

    drawn = draw(states, 0)
    # Guidance away from the null condition towards itself moves nothing, but would run the network twice.
    nothing = np.full((unconditional, states.shape[1]), UNKNOWN, np.int8)
    free = draw(nothing, count, guidance_scale=1.0)
    some = None if partial is None else draw(partial, count + unconditional)
    given = {name: value for name, value in sampling.items() if value is not None}
    about = {
        "schema": SAMPLES_SCHEMA,
        "count": count,
        "unconditional": unconditional,
        "partial": asked_in_part,
        "conditions": "joint distribution of splits valid+test",
        "first_seed": first_seed,
        "model": digest,
        "attributes": list(pipeline.attribute_names),
        "sampling": {k: v for k, v in {**pipeline.config.sampling, **given}.items() if k != "batch_size"},
    }
    return SampleSet(
        drawn, np.ascontiguousarray(states), seeds[:count], about, free, some, partial if asked_in_part else None
    )


def write_samples(
    pipeline: FacePipeline,
    digest: str,
    states: np.ndarray,
    out: Path,
    unconditional: int = 0,
    partial: np.ndarray | None = None,
) -> None:
    """``draw_samples`` with seeds 0, 1, 2, … into ``out``."""
    samples = draw_samples(pipeline, digest, states, unconditional, partial)
    named = {field.name: getattr(samples, field.name) for field in dataclasses.fields(samples)}
    tensors = {name: np.ascontiguousarray(value) for name, value in named.items() if isinstance(value, np.ndarray)}
    with whole_folder(out) as folder:
        save_file(tensors, folder / "samples.safetensors")
        write_json(folder / "samples.json", samples.about)


def load_samples(folder: Path) -> SampleSet:
    """Open ``artifacts/samples``."""
    about = read_json(folder / "samples.json", SAMPLES_SCHEMA)
    tensors = load_file(folder / "samples.safetensors")
    return SampleSet(**tensors, about=about)


def digest_pipeline(folder: Path) -> str:
    """Which model: SHA-256 over the saved pipeline's files."""
    return digest_folder(folder)
