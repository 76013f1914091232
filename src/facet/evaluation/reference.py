"""The real side of every comparison: features of real faces, their Gaussian, and how far real is from real.

``artifacts/reference/`` holds

- ``reference.json``        schema, split, counts, crop, resize, the judge's digest, the real-vs-real floor; under
  "extractors" the same facts of each further feature space
- ``reference.safetensors`` float64: "features" [n, d] of the split, "mean" [d], "covariance", "factor" [d, d]
- ``NAME.LAYER.WEIGHTS.FACES.RESIZE.safetensors``, one for each further extractor: the same, "features" as float32; its
  name holds what its numbers depend on
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from facet.artifacts import REFERENCE_SCHEMA, digest_json, read_json, whole_folder, write_json
from facet.data.datasets import FaceSet
from facet.errors import ArtifactError, DataError
from facet.evaluation.features import digest_extractor, extract, judge_extractor, weighed_extractor, weights_file
from facet.evaluation.fidelity import Gaussian, frechet_of, gaussian, kid, precision_recall, some_rows
from facet.params import Between
from facet.seeding import numpy_stream

if TYPE_CHECKING:
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase


@dataclasses.dataclass(frozen=True)
class ExtractorParams:
    """A feature space beside the judge's: an extractor of torch-fidelity's registry, and its weights."""

    # inception-v3-compat for the FID that papers quote; vgg16, or one registered beside the judge in
    # facet/evaluation/features.py.
    name: str
    # The layer whose output is compared: "2048" of inception-v3-compat.
    layer: str
    # A layer of class logits, for the inception score: "logits_unbiased"; null leaves that score out.
    logits: str | None
    # torch-fidelity's weights, outside the chain: a file, or a URL that is fetched once into torch's cache.
    weights: str
    # Its SHA-256, checked before it is loaded; here DVC sees a change of weights.
    sha256: str

    @property
    def key(self) -> str:
        """Which feature space: a score in another is another score."""
        return f"{self.name}:{self.layer}:{self.sha256[:16]}"

    def open(self) -> FeatureExtractorBase:
        """The extractor, giving ``layer`` and then ``logits`` where named. Raises ParamsError."""
        layers = [self.layer] if self.logits is None else [self.layer, self.logits]
        return weighed_extractor(self.name, layers, weights_file(self.weights, self.sha256), self.sha256)


@dataclasses.dataclass(frozen=True)
class ReferenceParams:
    """What generated faces are compared with."""

    # Split whose statistics are the reference; the other splits together give the real-vs-real floor.
    split: Literal["train", "valid", "test"]
    # Real faces, outside the reference, that the floor is measured on; never more than there are. Scores compare with
    # the floor only at the same number, since both fall as 1/N (Chong & Forsyth, 2020).
    floor_faces: Annotated[int, Between(2)]
    # Feature spaces beside the judge's, which needs no download; each has its scores under fidelity.NAME.
    extractors: tuple[ExtractorParams, ...] = ()

    def __post_init__(self) -> None:
        names = [extractor.name for extractor in self.extractors]
        if len(set(names)) < len(names) or "judge" in names:
            raise ValueError(f"extractors are {', '.join(names)}, expected each once and none called judge")


@dataclasses.dataclass(frozen=True)
class Reference:
    """The real faces in one feature space; the judge's, as ``artifacts/reference`` holds it, has the ``further`` ones
    by name."""

    features: np.ndarray
    gaussian: Gaussian
    about: dict[str, Any]
    further: Mapping[str, Reference] = dataclasses.field(default_factory=dict)


def write_reference(faces: FaceSet, judge: Path, params: ReferenceParams, seed: int, out: Path) -> dict[str, Any]:
    """Measure the real faces and write ``out``; returns reference.json's content."""
    others = faces.rows(*sorted({"train", "valid", "test"} - {params.split}))
    if len(others) < 2:
        raise DataError(f"fewer than two faces lie outside split {params.split!r}: the real-vs-real floor needs them.")
    chosen = np.sort(numpy_stream(seed, "floor").permutation(others)[: params.floor_faces])
    rows = faces.rows(params.split)
    # Opened before anything is measured: a wrong weights file is told at once.
    opened = {extractor.name: extractor.open() for extractor in params.extractors}
    features, fitted, floor = _measure(judge_extractor(judge), "judge", faces, rows, chosen, seed)
    about = {
        "schema": REFERENCE_SCHEMA,
        "split": params.split,
        "count": len(features),
        "crop": faces.about["crop"],
        "resize": faces.about["resize"],
        "size": faces.about["size"],
        "faces": digest_faces(faces),
        "extractor": f"judge:{digest_extractor(judge)}",
        "floor": floor,
        "extractors": {},
    }
    with whole_folder(out) as folder:
        _save(folder / "reference.safetensors", features, fitted)
        for extractor in params.extractors:
            features, fitted, floor = _measure(opened[extractor.name], extractor.name, faces, rows, chosen, seed)
            about["extractors"][extractor.name] = {
                "extractor": extractor.key,
                "layer": extractor.layer,
                "weights_sha256": extractor.sha256,
                "floor": floor,
                "file": _file_name(extractor, about),
            }
            _save(folder / _file_name(extractor, about), features.astype(np.float32), fitted)
        write_json(folder / "reference.json", about)
    return about


def digest_faces(faces: FaceSet) -> str:
    """Which prepared faces: the digest of their pixels, labels and how they were cropped and resized."""
    return digest_json(faces.about)[:16]


def _measure(
    extractor: FeatureExtractorBase, what: str, faces: FaceSet, rows: np.ndarray, others: np.ndarray, seed: int
) -> tuple[np.ndarray, Gaussian, dict[str, Any]]:
    """Features float64 [n, d] of ``rows``, their Gaussian, and how far the real faces ``others`` lie from them."""
    features = extract(extractor, faces.pixels[rows], f"reference, {what}")
    held_out = extract(extractor, faces.pixels[others], f"floor, {what}")
    fitted = gaussian(features)
    kid_mean, kid_std = kid(features, held_out, seed)
    precision, recall = precision_recall(*alike(features, held_out))
    floor = {
        "faces": len(held_out),
        "frechet": round(frechet_of(fitted, held_out), 4),
        "kid_mean": round(kid_mean, 6),
        "kid_std": round(kid_std, 6),
        "precision": round(precision, 4),
        "recall": round(recall, 4),
    }
    return features, fitted, floor


def _file_name(extractor: ExtractorParams, about: Mapping[str, Any]) -> str:
    parts = (extractor.name, extractor.layer, extractor.sha256[:12], about["faces"], about["resize"])
    return ".".join(re.sub(r"[^\w-]+", "-", part) for part in parts) + ".safetensors"


def _save(path: Path, features: np.ndarray, fitted: Gaussian) -> None:
    tensors = {"features": features, "mean": fitted.mean, "covariance": fitted.covariance, "factor": fitted.factor}
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)


def alike(reference: np.ndarray, features: np.ndarray, most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """As many rows of ``reference`` as of ``features``, at most ``most``: what precision and recall are measured on."""
    count = min(len(reference), len(features), most or len(features))
    return some_rows(reference, count), features[:count]


def load_reference(folder: Path) -> Reference:
    """Open ``artifacts/reference``. Raises ArtifactError where it is missing, damaged or of an earlier facet."""
    about = read_json(folder / "reference.json", REFERENCE_SCHEMA)
    if "extractors" not in about:
        raise ArtifactError(f"{folder} was written by an earlier facet: run `dvc repro reference`.")
    further = {
        name: Reference(*_load(folder / facts["file"]), about | facts) for name, facts in about["extractors"].items()
    }
    return Reference(*_load(folder / "reference.safetensors"), about, further)


def _load(path: Path) -> tuple[np.ndarray, Gaussian]:
    try:
        tensors = load_file(path)
        fitted = Gaussian(tensors["mean"], tensors["covariance"], tensors["factor"])
        return tensors["features"].astype(np.float64, copy=False), fitted
    except (OSError, KeyError, SafetensorError) as error:
        raise ArtifactError(f"{path} is missing or damaged ({error}): run `dvc repro reference`.") from None
