"""The evaluation record: every score beside the protocol that it was measured by."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import AutoencoderKL

from facet.artifacts import EVALUATION_SCHEMA, whole_file
from facet.data.datasets import FaceSet
from facet.data.latents import LatentSet
from facet.errors import ArtifactError
from facet.evaluation.adherence import agreement, judge_accuracy, judge_faces
from facet.evaluation.features import digest_extractor, extract, inception_extractor, judge_extractor
from facet.evaluation.fidelity import frechet_of, gaussian, kid
from facet.evaluation.latents import moments_by_channel
from facet.evaluation.memorisation import memorisation
from facet.evaluation.reconstruction import ms_ssim, psnr, reconstruct, ssim
from facet.evaluation.reference import Reference
from facet.evaluation.samples import SampleSet


@dataclasses.dataclass(frozen=True)
class InceptionParams:
    """Inception-v3 weights for the FID that papers quote."""

    # torch-fidelity's weights file.
    weights: str
    # Its SHA-256, checked before it is loaded.
    sha256: str


@dataclasses.dataclass(frozen=True)
class EvaluateParams:
    """Section ``evaluate``."""

    # null measures in the judge's features alone, which needs no download.
    inception: InceptionParams | None


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The record, and the pictures that were computed on the way."""

    record: dict[str, Any]
    # The judge's verdicts on the samples, int8 [n, k] of -1, 1.
    seen: np.ndarray
    originals: np.ndarray
    reconstructions: np.ndarray


def evaluate(
    params: EvaluateParams,
    samples: SampleSet,
    faces: FaceSet,
    reference: Reference,
    judge: Path,
    vae: AutoencoderKL,
    seed: int,
    latents: LatentSet | None = None,
) -> Evaluation:
    """Score ``samples`` and ``vae``. Raises ArtifactError where samples and reference don't fit one another."""
    _check_fit(samples, faces, reference, judge)
    extractor = judge_extractor(judge)
    held_out = faces.rows("valid", "test")
    originals = np.array(faces.pixels[held_out])
    reconstructions = reconstruct(vae, originals)
    _, seen = judge_faces(extractor.judge, samples.faces)
    scores = {
        "fidelity": {"judge": _fidelity(extractor, samples.faces, reference, seed)},
        "adherence": _adherence(extractor.judge, samples, seen, faces, held_out),
        "autoencoder": _autoencoder(extractor, originals, reconstructions, reference) | _latents(latents, held_out),
        "memorisation": memorisation(extractor, samples.faces, faces, reference),
    }
    if params.inception:
        scores["fidelity"]["inception"] = _inception(params.inception, samples, faces, reference, seed)
    record = {"schema": EVALUATION_SCHEMA, **scores, "protocol": _protocol(samples, reference)}
    return Evaluation(record, seen, originals, reconstructions)


def _check_fit(samples: SampleSet, faces: FaceSet, reference: Reference, judge: Path) -> None:
    expected = f"judge:{digest_extractor(judge)}"
    if reference.about["extractor"] != expected:
        raise ArtifactError(
            f"the reference was measured by {reference.about['extractor']}, the judge here is {expected}: "
            "run `dvc repro reference`."
        )
    if samples.faces.shape[1:] != faces.pixels.shape[1:]:
        raise ArtifactError(
            f"samples are {samples.faces.shape[1:]}, real faces {faces.pixels.shape[1:]}: run `dvc repro sample`."
        )


def _fidelity(extractor: Any, drawn: np.ndarray, reference: Reference, seed: int) -> dict[str, float]:
    features = extract(extractor, drawn, "samples")
    distance = frechet_of(reference.gaussian, features)
    kid_mean, kid_std = kid(reference.features, features, seed)
    floor = reference.about["floor"]
    # The distance falls as N grows, so the floor is compared with as many samples as it has faces.
    alike = frechet_of(reference.gaussian, features[: floor["faces"]])
    return {
        "frechet": round(distance, 4),
        "frechet_floor": floor["frechet"],
        "frechet_at_floor_n": round(alike, 4),
        "frechet_over_floor": round(alike / floor["frechet"], 4),
        "kid_mean": round(kid_mean, 6),
        "kid_std": round(kid_std, 6),
        "kid_floor": floor["kid_mean"],
    }


def _inception(params: InceptionParams, samples: SampleSet, faces: FaceSet, reference: Reference, seed: int) -> dict:
    extractor = inception_extractor(Path(params.weights), params.sha256)
    real = extract(extractor, faces.pixels[faces.rows(reference.about["split"])], "inception, real")
    drawn = extract(extractor, samples.faces, "inception, samples")
    kid_mean, kid_std = kid(real, drawn, seed)
    distance = frechet_of(gaussian(real), drawn)
    return {
        "frechet": round(distance, 4),
        "kid_mean": round(kid_mean, 6),
        "kid_std": round(kid_std, 6),
        "weights_sha256": params.sha256,
    }


def _adherence(
    judge: Any, samples: SampleSet, seen: np.ndarray, faces: FaceSet, held_out: np.ndarray
) -> dict[str, Any]:
    asked = agreement(samples.states, seen, faces.names, faces.learnable())
    ceiling = judge_accuracy(judge, faces, held_out)
    return {
        "mean": asked["mean"],
        "balanced": asked["balanced"],
        "judge_on_real": ceiling["mean"],
        "judge_on_real_balanced": ceiling["balanced"],
        "attributes": {
            name: {**rates, "judge_on_real": ceiling["attributes"][name]} for name, rates in asked["attributes"].items()
        },
    }


def _autoencoder(
    extractor: Any, originals: np.ndarray, given_back: np.ndarray, reference: Reference
) -> dict[str, float]:
    """rFD compares reconstructions of held-out faces with those faces themselves, in the judge's features."""
    real = gaussian(extract(extractor, originals, "originals"))
    distance = frechet_of(real, extract(extractor, given_back, "reconstructions"))
    return {
        "faces": len(originals),
        "psnr_db": round(float(psnr(originals, given_back).mean()), 3),
        "ssim": round(float(ssim(originals, given_back).mean()), 4),
        "msssim": round(float(ms_ssim(originals, given_back).mean()), 4),
        "rfd": round(distance, 4),
        "rfd_over_floor": round(distance / reference.about["floor"]["frechet"], 4),
    }


def _latents(latents: LatentSet | None, held_out: np.ndarray) -> dict[str, Any]:
    if latents is None:
        return {}
    by_channel = moments_by_channel(latents, held_out)
    return {"kurtosis": round(float(np.mean(by_channel["kurtosis"])), 4), "latents": by_channel}


def _protocol(samples: SampleSet, reference: Reference) -> dict[str, Any]:
    about = reference.about
    return {
        "samples": samples.about["count"],
        "conditions": samples.about["conditions"],
        "first_seed": samples.about["first_seed"],
        "sampling": samples.about["sampling"],
        "model": samples.about["model"],
        "reference": {key: about[key] for key in ("split", "count", "faces", "crop", "resize", "size", "extractor")},
        "floor_faces": about["floor"]["faces"],
    }


def headline(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record's scores without protocol and per-attribute tables: what `dvc metrics` shows and compares."""
    adherence = {name: value for name, value in record["adherence"].items() if name != "attributes"}
    autoencoder = {name: value for name, value in record["autoencoder"].items() if name != "latents"}
    copying = {name: value for name, value in record["memorisation"].items() if name not in ("closest", "faces")}
    return {
        "fidelity": record["fidelity"],
        "adherence": adherence,
        "autoencoder": autoencoder,
        "memorisation": copying,
    }


def write_adherence(path: Path, record: Mapping[str, Any]) -> None:
    """Per-attribute adherence as CSV for `dvc plots`: attribute, asked vs seen, and the judge's ceiling."""
    columns = ("attribute", "overall", "present", "absent", "judge_on_real")
    with whole_file(path) as scratch, scratch.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for name, rates in record["adherence"]["attributes"].items():
            row = {**rates, "judge_on_real": rates["judge_on_real"]["overall"]}
            writer.writerow([name, *("" if row[c] is None else row[c] for c in columns[1:])])
