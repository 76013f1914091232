"""The real side of every comparison: features of real faces, their Gaussian, and how far real is from real.

``artifacts/reference/`` holds

- ``reference.json``        schema, split, counts, crop, resize, the judge's digest, the real-vs-real floor
- ``reference.safetensors`` float64: "features" [n, d] of the split, "mean" [d], "covariance", "root" [d, d]
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from safetensors.numpy import load_file, save_file

from facet.artifacts import REFERENCE_SCHEMA, digest_json, read_json, whole_folder, write_json
from facet.data.datasets import FaceSet
from facet.errors import DataError
from facet.evaluation.features import digest_extractor, extract, judge_extractor
from facet.evaluation.fidelity import Gaussian, frechet_of, gaussian, kid, precision_recall, some_rows
from facet.params import Between
from facet.seeding import numpy_stream


@dataclasses.dataclass(frozen=True)
class ReferenceParams:
    """What generated faces are compared with."""

    # Split whose statistics are the reference; the other splits together give the real-vs-real floor.
    split: Literal["train", "valid", "test"]
    # Real faces, outside the reference, that the floor is measured on; never more than there are. Scores compare with
    # the floor only at the same number, since both fall as 1/N (Chong & Forsyth, 2020).
    floor_faces: Annotated[int, Between(2)]


@dataclasses.dataclass(frozen=True)
class Reference:
    """What ``artifacts/reference`` holds."""

    features: np.ndarray
    gaussian: Gaussian
    about: dict[str, Any]


def write_reference(faces: FaceSet, judge: Path, params: ReferenceParams, seed: int, out: Path) -> dict[str, Any]:
    """Measure the real faces and write ``out``; returns reference.json's content."""
    extractor = judge_extractor(judge)
    others = faces.rows(*sorted({"train", "valid", "test"} - {params.split}))
    if len(others) < 2:
        raise DataError(f"fewer than two faces lie outside split {params.split!r}: the real-vs-real floor needs them.")
    chosen = numpy_stream(seed, "floor").permutation(others)[: params.floor_faces]
    features = extract(extractor, faces.pixels[faces.rows(params.split)], "reference")
    held_out = extract(extractor, faces.pixels[np.sort(chosen)], "floor")
    fitted = gaussian(features)
    kid_mean, kid_std = kid(features, held_out, seed)
    precision, recall = precision_recall(*alike(features, held_out))
    about = {
        "schema": REFERENCE_SCHEMA,
        "split": params.split,
        "count": len(features),
        "crop": faces.about["crop"],
        "resize": faces.about["resize"],
        "size": faces.about["size"],
        "faces": digest_json(faces.about)[:16],
        "extractor": f"judge:{digest_extractor(judge)}",
        "floor": {
            "faces": len(held_out),
            "frechet": round(frechet_of(fitted, held_out), 4),
            "kid_mean": round(kid_mean, 6),
            "kid_std": round(kid_std, 6),
            "precision": round(precision, 4),
            "recall": round(recall, 4),
        },
    }
    tensors = {"features": features, "mean": fitted.mean, "covariance": fitted.covariance, "root": fitted.root}
    with whole_folder(out) as folder:
        save_file(
            {name: np.ascontiguousarray(value) for name, value in tensors.items()}, folder / "reference.safetensors"
        )
        write_json(folder / "reference.json", about)
    return about


def alike(reference: np.ndarray, features: np.ndarray, most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """As many rows of ``reference`` as of ``features``, at most ``most``: what precision and recall are measured on."""
    count = min(len(reference), len(features), most or len(features))
    return some_rows(reference, count), features[:count]


def load_reference(folder: Path) -> Reference:
    """Open ``artifacts/reference``."""
    about = read_json(folder / "reference.json", REFERENCE_SCHEMA)
    tensors = load_file(folder / "reference.safetensors")
    fitted = Gaussian(tensors["mean"], tensors["covariance"], tensors["root"])
    return Reference(tensors["features"], fitted, about)
