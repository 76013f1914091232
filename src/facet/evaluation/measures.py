"""The record's headline scores, each with its 95 % interval: fidelity, adherence, autoencoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from facet.data.datasets import FaceSet
from facet.evaluation.adherence import agreement
from facet.evaluation.bootstrap import (
    Interval,
    adherence_intervals,
    influence_interval,
    mean_interval,
    wilson,
)
from facet.evaluation.features import extract
from facet.evaluation.fidelity import (
    frechet_influence,
    frechet_of,
    gaussian,
    inception_score,
    inception_score_influence,
    kid,
    kid_influence,
    precision_recall,
)
from facet.evaluation.reconstruction import ms_ssim, psnr, ssim
from facet.evaluation.reference import Reference, alike
from facet.evaluation.samples import SampleSet

# Below this, distances between sets of faces say little.
FEW_SAMPLES = 1000


@dataclasses.dataclass(frozen=True)
class Measured:
    """``values`` as the record holds them, and ``intervals`` by the dotted path of the value within them."""

    values: dict[str, Any]
    intervals: dict[str, Interval]


def gathered(measured: Mapping[str, Measured]) -> dict[str, list[float]]:
    """Intervals of all that was measured, by their path in the record: {"adherence.mean": [low, high]}. Path "" is the
    record itself."""
    return {
        f"{path}.{name}".removeprefix("."): [round(bound, 6 if "kid" in name else 4) for bound in interval]
        for path, part in measured.items()
        for name, interval in part.intervals.items()
    }


def reference_fidelity(features: np.ndarray, reference: Reference, seed: int) -> Measured:
    """Distances of the samples' ``features`` [n, d] from ``reference``, in its feature space, beside the floor.

    A distance falls and a neighbour's ball shrinks as N grows. So what is compared with the floor (``_at_floor_n``,
    ``_over_floor``, precision and recall) is measured on as many samples as the floor has faces.
    """
    floor = reference.about["floor"]
    values, intervals = _distances(features, reference.features, reference.gaussian, seed)
    few = features[: floor["faces"]]
    distance = frechet_of(reference.gaussian, few)
    around = influence_interval(distance, frechet_influence(reference.gaussian, few), seed, "samples")
    overlap, overlap_intervals = _overlap(*alike(reference.features, few))
    values |= overlap | {
        "frechet_floor": floor["frechet"],
        "frechet_at_floor_n": round(distance, 4),
        "frechet_over_floor": round(distance / floor["frechet"], 4),
        "kid_floor": floor["kid_mean"],
        "precision_floor": floor["precision"],
        "recall_floor": floor["recall"],
    }
    intervals |= overlap_intervals | {
        "frechet_at_floor_n": around,
        "frechet_over_floor": _over(around, floor["frechet"]),
    }
    return Measured(values, intervals)


def set_fidelity(real: np.ndarray, drawn: np.ndarray, logits: np.ndarray | None, seed: int) -> Measured:
    """Distances of features ``drawn`` [n, d] from ``real`` [m, d] where no floor is known: what papers quote. With the
    samples' ``logits`` [n, classes], their inception score too."""
    values, intervals = _distances(drawn, real, gaussian(real), seed)
    overlap, overlap_intervals = _overlap(*alike(real, drawn))
    values |= overlap
    intervals |= overlap_intervals
    if logits is not None:
        score = inception_scores(logits, seed)
        values, intervals = values | score.values, intervals | score.intervals
    return Measured(values, intervals)


def inception_scores(logits: np.ndarray, seed: int) -> Measured:
    """The inception score of the samples' ``logits`` [n, classes]."""
    score, deviation = inception_score(logits, seed)
    around = influence_interval(score, inception_score_influence(logits), seed, "samples")
    values = {"inception_score": round(score, 4), "inception_score_std": round(deviation, 4)}
    return Measured(values, {"inception_score": around})


def _distances(drawn: np.ndarray, real: np.ndarray, fitted: Any, seed: int) -> tuple[dict, dict]:
    distance, (kid_mean, kid_std) = frechet_of(fitted, drawn), kid(real, drawn, seed)
    values = {"frechet": round(distance, 4), "kid_mean": round(kid_mean, 6), "kid_std": round(kid_std, 6)}
    intervals = {
        "frechet": influence_interval(distance, frechet_influence(fitted, drawn), seed, "samples"),
        "kid_mean": influence_interval(kid_mean, kid_influence(real, drawn), seed, "samples"),
    }
    return values, intervals


def _overlap(real: np.ndarray, drawn: np.ndarray) -> tuple[dict, dict]:
    """Both are shares of faces, so their intervals are Wilson's. For recall these are the real faces, counted as if
    drawn anew: samples can't be resampled for it, since a copy at distance 0 shrinks its neighbour's ball."""
    precision, recall = precision_recall(real, drawn)
    values = {"precision": round(precision, 4), "recall": round(recall, 4)}
    return values, {"precision": wilson(precision, len(drawn)), "recall": wilson(recall, len(real))}


def _over(interval: Interval, floor: float) -> Interval:
    """The floor is part of the reference, the same for every model: it is divided by, not resampled."""
    return interval[0] / floor, interval[1] / floor


def adherence(
    told: np.ndarray, samples: SampleSet, seen: np.ndarray, faces: FaceSet, held_out: np.ndarray, seed: int
) -> Measured:
    """How often the judge sees in the samples (``seen`` int8 [n, k]) what was asked, beside how often what it sees in
    the real faces ``held_out`` (``told`` int8 [m, k]) is what their labels say, the ceiling."""
    columns = faces.learnable()
    labels = faces.attributes[held_out]
    asked = agreement(samples.states, seen, faces.names, columns)
    ceiling = agreement(labels, told, faces.names, columns)
    intervals = adherence_intervals(samples.states, seen, faces.names, columns, seed)
    for name, interval in adherence_intervals(labels, told, faces.names, columns, seed).items():
        attribute, _, side = name.removeprefix("attributes.").rpartition(".")
        path = {"mean": "judge_on_real", "balanced": "judge_on_real_balanced"}
        intervals[path.get(name, f"attributes.{attribute}.judge_on_real.{side}")] = interval
    values = {
        "mean": asked["mean"],
        "balanced": asked["balanced"],
        "judge_on_real": ceiling["mean"],
        "judge_on_real_balanced": ceiling["balanced"],
        "attributes": {
            name: {**rates, "judge_on_real": ceiling["attributes"][name]} for name, rates in asked["attributes"].items()
        },
    }
    return Measured(values, intervals)


def by_condition(kinds: Mapping[str, tuple[np.ndarray, np.ndarray]], faces: FaceSet, seed: int) -> Measured:
    """Adherence, ``mean`` and ``balanced``, for each kind of condition: name -> (asked, seen), both int8 [n, k]."""
    columns = faces.learnable()
    values: dict[str, Any] = {}
    intervals = {}
    for kind, (asked, seen) in kinds.items():
        rates = agreement(asked, seen, faces.names, columns)
        values[kind] = {"mean": rates["mean"], "balanced": rates["balanced"]}
        found = adherence_intervals(asked, seen, faces.names, columns, seed)
        intervals |= {f"{kind}.{name}": found[name] for name in ("mean", "balanced")}
    return Measured(values, intervals)


def autoencoder(
    extractor: Any,
    originals: np.ndarray,
    given_back: np.ndarray,
    reference: Reference,
    seed: int,
    features: np.ndarray | None = None,
) -> Measured:
    """rFD compares reconstructions of held-out faces with those faces themselves, in the judge's features; those of the
    originals are ``features`` [n, d], where they are known already.

    Its interval draws other held-out faces, each with its reconstruction: both sides move together.
    """
    real = extract(extractor, originals, "originals") if features is None else features
    fake = extract(extractor, given_back, "reconstructions")
    there, here = gaussian(real), gaussian(fake)
    distance, floor = frechet_of(there, fake), reference.about["floor"]["frechet"]
    moved = frechet_influence(there, fake) + frechet_influence(here, real)
    low, high = influence_interval(distance, moved, seed, "held out")
    rfd = (max(0.0, low), high)
    by_face = {
        "psnr_db": psnr(originals, given_back),
        "ssim": ssim(originals, given_back),
        "msssim": ms_ssim(originals, given_back),
    }
    values = {
        "faces": len(originals),
        **{name: round(float(score.mean()), 3 if name == "psnr_db" else 4) for name, score in by_face.items()},
        "rfd": round(distance, 4),
        "rfd_over_floor": round(distance / floor, 4),
    }
    intervals = {name: mean_interval(score, seed, "held out") for name, score in by_face.items()}
    return Measured(values, intervals | {"rfd": rfd, "rfd_over_floor": _over(rfd, floor)})


def small_n(samples: int, width: int, floor: int) -> str | None:
    """Why ``samples`` in ``width`` features are too few for a distance to mean something; None where they are not."""
    reasons = [
        (samples < FEW_SAMPLES, f"distances between sets say little below {FEW_SAMPLES:,}"),
        (samples <= width, f"a covariance of {width} features needs more than {width}"),
        (samples < floor, f"the real-vs-real floor was measured on {floor:,}"),
    ]
    given = [reason for applies, reason in reasons if applies]
    return (
        f"only {samples:,} samples were scored, but {', and '.join(given)}: raise sample.count (or --count)."
        if given
        else None
    )
