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
    """``faces`` uint8 [n, h, w, 3] drawn for ``states`` int8 [n, k] with ``seeds`` int64 [n]; ``unconditional`` uint8
    [m, h, w, 3], or None where none were drawn."""

    faces: np.ndarray
    states: np.ndarray
    seeds: np.ndarray
    about: dict[str, Any]
    unconditional: np.ndarray | None = None


def conditions(faces: FaceSet, count: int, seed: int) -> np.ndarray:
    """``count`` attribute vectors, int8 [count, k], from the held-out splits: their joint distribution, in rounds."""
    rows = faces.rows("valid", "test")
    rounds = -(-count // len(rows))
    order = np.concatenate([numpy_stream(seed, "conditions", r).permutation(rows) for r in range(rounds)])
    return faces.attributes[order[:count]]


def write_samples(pipeline: FacePipeline, digest: str, states: np.ndarray, out: Path, unconditional: int = 0) -> None:
    """Draw one face a row of ``states``, seeds 0, 1, 2, …, then ``unconditional`` ones, and write ``out``."""
    count = len(states)
    seeds = list(range(count))
    tensors = {
        "faces": pipeline(attributes=states, seeds=seeds, output_type="np").images,
        "states": np.ascontiguousarray(states),
        "seeds": np.array(seeds, dtype=np.int64),
    }
    if unconditional:
        # Guidance away from the null condition towards itself moves nothing, but would run the network twice.
        free, more = np.full((unconditional, states.shape[1]), UNKNOWN, np.int8), range(count, count + unconditional)
        drawn = pipeline(attributes=free, seeds=list(more), guidance_scale=1.0, output_type="np").images
        tensors["unconditional"] = drawn
    with whole_folder(out) as folder:
        save_file(tensors, folder / "samples.safetensors")
        about = {
            "schema": SAMPLES_SCHEMA,
            "count": count,
            "unconditional": unconditional,
            "conditions": "joint distribution of splits valid+test",
            "first_seed": 0,
            "model": digest,
            "attributes": list(pipeline.attribute_names),
            "sampling": {k: v for k, v in dict(pipeline.config.sampling).items() if k != "batch_size"},
        }
        write_json(folder / "samples.json", about)


def load_samples(folder: Path) -> SampleSet:
    """Open ``artifacts/samples``."""
    about = read_json(folder / "samples.json", SAMPLES_SCHEMA)
    tensors = load_file(folder / "samples.safetensors")
    return SampleSet(tensors["faces"], tensors["states"], tensors["seeds"], about, tensors.get("unconditional"))


def digest_pipeline(folder: Path) -> str:
    """Which model: SHA-256 over the saved pipeline's files."""
    return digest_folder(folder)
