"""N labelled samples, one seed each, kept so that a new metric need not draw them again.

``artifacts/samples/`` holds

- ``samples.json``         schema, count, sampling defaults used, digest of the pipeline, first seed
- ``samples.safetensors``  "faces" uint8 [n, h, w, 3], "states" int8 [n, k], "seeds" int64 [n]
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from safetensors.numpy import load_file, save_file

from facet.artifacts import SAMPLES_SCHEMA, digest_folder, read_json, whole_folder, write_json
from facet.data.datasets import FaceSet
from facet.diffusion.pipeline import FacePipeline, SamplingParams
from facet.params import Between
from facet.seeding import numpy_stream


@dataclasses.dataclass(frozen=True)
class SampleParams:
    """Section ``sample``: how many are drawn for the evaluation, and how."""

    # Samples; a Frechet distance below about a thousand says little.
    count: Annotated[int, Between(2)]
    sampling: SamplingParams


@dataclasses.dataclass(frozen=True)
class SampleSet:
    """``faces`` uint8 [n, h, w, 3] drawn for ``states`` int8 [n, k] with ``seeds`` int64 [n]."""

    faces: np.ndarray
    states: np.ndarray
    seeds: np.ndarray
    about: dict[str, Any]


def conditions(faces: FaceSet, count: int, seed: int) -> np.ndarray:
    """``count`` attribute vectors, int8 [count, k], from the held-out splits: their joint distribution, in rounds."""
    rows = faces.rows("valid", "test")
    rounds = -(-count // len(rows))
    order = np.concatenate([numpy_stream(seed, "conditions", r).permutation(rows) for r in range(rounds)])
    return faces.attributes[order[:count]]


def write_samples(pipeline: FacePipeline, digest: str, states: np.ndarray, out: Path) -> None:
    """Draw one face a row of ``states``, seeds 0, 1, 2, …, and write ``out``."""
    seeds = list(range(len(states)))
    drawn = pipeline(attributes=states, seeds=seeds, output_type="np").images
    with whole_folder(out) as folder:
        tensors = {"faces": drawn, "states": np.ascontiguousarray(states), "seeds": np.array(seeds, dtype=np.int64)}
        save_file(tensors, folder / "samples.safetensors")
        about = {
            "schema": SAMPLES_SCHEMA,
            "count": len(seeds),
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
    return SampleSet(tensors["faces"], tensors["states"], tensors["seeds"], about)


def digest_pipeline(folder: Path) -> str:
    """Which model: SHA-256 over the saved pipeline's files."""
    return digest_folder(folder)
