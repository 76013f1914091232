"""N labelled samples, one seed each, kept so that a new metric need not draw them again.

``artifacts/samples/`` holds

- ``samples.json``         schema, counts, sampling defaults used, digest of the pipeline, first seed
- ``samples.safetensors``  "faces" uint8 [n, h, w, 3], "states" int8 [n, k], "seeds" int64 [n]; where some were asked
  for, "unconditional" uint8 [m, h, w, 3], drawn with every attribute unknown and the m seeds that follow
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
from facet.diffusion.pipeline import FacePipeline, SamplingParams
from facet.params import Between, Natural
from facet.seeding import numpy_stream


@dataclasses.dataclass(frozen=True)
class SampleParams:
    """Section ``sample``: how many are drawn for the evaluation, and how."""

    # Samples; a Frechet distance below about a thousand says little.
    count: Annotated[int, Between(2)]
    # Further samples with every attribute unknown, whose attributes the balance compares with the data's; 0 draws none.
    unconditional: Natural
    sampling: SamplingParams


@dataclasses.dataclass(frozen=True)
class SampleSet:
    """``faces`` uint8 [n, h, w, 3] drawn for ``states`` int8 [n, k], or None where nothing was asked for, with
    ``seeds`` int64 [n]; ``unconditional`` uint8 [m, h, w, 3], or None where none were drawn."""

    faces: np.ndarray
    states: np.ndarray | None
    seeds: np.ndarray
    about: dict[str, Any]
    unconditional: np.ndarray | None = None


def conditions(faces: FaceSet, count: int, seed: int) -> np.ndarray:
    """``count`` attribute vectors, int8 [count, k], from the held-out splits: their joint distribution, in rounds."""
    rows = faces.rows("valid", "test")
    rounds = -(-count // len(rows))
    order = np.concatenate([numpy_stream(seed, "conditions", r).permutation(rows) for r in range(rounds)])
    return faces.attributes[order[:count]]


def draw_samples(
    pipeline: FacePipeline,
    digest: str,
    states: np.ndarray,
    unconditional: int = 0,
    first_seed: int = 0,
    **sampling: float | None,
) -> SampleSet:
    """One face a row of ``states`` int8 [n, k], of seeds ``first_seed`` and those that follow it, then
    ``unconditional`` ones. ``sampling`` are arguments of the pipeline; what is missing or None is its own default."""
    count = len(states)
    seeds = list(range(first_seed, first_seed + count))
    drawn = pipeline(attributes=states, seeds=seeds, output_type="np", **sampling).images
    free = None
    if unconditional:
        # Guidance away from the null condition towards itself moves nothing, but would run the network twice.
        nothing = np.full((unconditional, states.shape[1]), UNKNOWN, np.int8)
        more = list(range(first_seed + count, first_seed + count + unconditional))
        free = pipeline(attributes=nothing, seeds=more, output_type="np", **sampling | {"guidance_scale": 1.0}).images
    given = {name: value for name, value in sampling.items() if value is not None}
    about = {
        "schema": SAMPLES_SCHEMA,
        "count": count,
        "unconditional": unconditional,
        "conditions": "joint distribution of splits valid+test",
        "first_seed": first_seed,
        "model": digest,
        "attributes": list(pipeline.attribute_names),
        "sampling": {k: v for k, v in {**pipeline.config.sampling, **given}.items() if k != "batch_size"},
    }
    return SampleSet(drawn, np.ascontiguousarray(states), np.array(seeds, dtype=np.int64), about, free)


def write_samples(pipeline: FacePipeline, digest: str, states: np.ndarray, out: Path, unconditional: int = 0) -> None:
    """Draw one face a row of ``states``, seeds 0, 1, 2, …, then ``unconditional`` ones, and write ``out``."""
    samples = draw_samples(pipeline, digest, states, unconditional)
    tensors = {"faces": samples.faces, "states": samples.states, "seeds": samples.seeds}
    if samples.unconditional is not None:
        tensors["unconditional"] = samples.unconditional
    with whole_folder(out) as folder:
        save_file(tensors, folder / "samples.safetensors")
        write_json(folder / "samples.json", samples.about)


def load_samples(folder: Path) -> SampleSet:
    """Open ``artifacts/samples``."""
    about = read_json(folder / "samples.json", SAMPLES_SCHEMA)
    tensors = load_file(folder / "samples.safetensors")
    return SampleSet(tensors["faces"], tensors["states"], tensors["seeds"], about, tensors.get("unconditional"))


def digest_pipeline(folder: Path) -> str:
    """Which model: SHA-256 over the saved pipeline's files."""
    return digest_folder(folder)
