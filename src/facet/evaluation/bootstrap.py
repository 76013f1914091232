"""95 % intervals: how far a score would move if other samples were drawn.

Samples are resampled, the reference is not: it is fixed by the protocol, every model is held against the same one, and
its own error is common to all of them. An interval is about the score *at its N*. The bias of a Frechet distance, which
falls as 1/N (Chong & Forsyth, 2020), is in the score and in the floor at the same N, and no interval takes it away.

A score that is a mean over samples is resampled as it is (Efron, 1979; percentile interval). A distance between sets is
not resampled as it is, for two reasons. Copies of a sample count as new ones, so that the resampled distances all lie
above the measured one; and where features are not far fewer than samples, refitting a covariance to copies scatters too
much (El Karoui & Purdom, 2018): 40 % too much with 64 features and 256 samples, twice too much with 80. So what is
resampled is each sample's share of the score, its influence function (the infinitesimal jackknife: Jaeckel, 1972;
Efron, 1982), and the quantiles stand around the measured score. It costs one decomposition in place of hundreds, and
tests/evaluation/test_intervals.py counts how often such an interval holds the truth.

Rates of a few samples near 0 or 1 take Wilson's interval (1927; Brown, Cai & DasGupta, 2001), since resampling twenty
hits of twenty says "certainly 1".
"""

from __future__ import annotations

import math

import numpy as np

from facet.seeding import numpy_stream

RESAMPLES = 1000
LEVEL = 0.95
# The normal distribution's quantile for LEVEL.
_Z = 1.959963984540054
# Resamples that are drawn at a time; their counts take 8 * _BLOCK * n bytes.
_BLOCK = 50

Interval = tuple[float, float]


def resampled_means(values: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """Means of ``values`` [n, k] over RESAMPLES draws of n rows with replacement: float64 [RESAMPLES, k].

    The draws depend on (seed, purpose) and n alone, so that several values of the same rows are resampled together.
    """
    stream, count = numpy_stream(seed, f"bootstrap:{purpose}"), len(values)
    values = np.asarray(values, dtype=np.float64)
    parts = []
    for start in range(0, RESAMPLES, _BLOCK):
        drawn = stream.integers(0, count, size=(min(_BLOCK, RESAMPLES - start), count))
        weights = np.stack([np.bincount(row, minlength=count) for row in drawn]).astype(np.float64)
        parts.append(weights @ values / count)
    return np.concatenate(parts)


def percentiles(resampled: np.ndarray) -> Interval:
    """The interval between the quantiles of resampled scores [RESAMPLES]."""
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def mean_interval(values: np.ndarray, seed: int, purpose: str) -> Interval:
    """Of the mean of ``values`` [n]."""
    return percentiles(resampled_means(np.asarray(values)[:, None], seed, purpose)[:, 0])


def influence_interval(score: float, influence: np.ndarray, seed: int, purpose: str) -> Interval:
    """Of ``score``, a function of a set, from each sample's ``influence`` [n] on it (its mean may be anything)."""
    low, high = mean_interval(influence - influence.mean(), seed, purpose)
    return score + low, score + high


def wilson(rate: float, count: int) -> Interval:
    """Of a ``rate`` seen among ``count`` independent samples."""
    spread = _Z * math.sqrt(rate * (1 - rate) / count + _Z**2 / (4 * count**2))
    middle, scale = rate + _Z**2 / (2 * count), 1 + _Z**2 / count
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


# --- adherence --------------------------------------------------------------------------------------------------------


def adherence_intervals(
    asked: np.ndarray, seen: np.ndarray, names: tuple[str, ...], columns: np.ndarray, seed: int
) -> dict[str, Interval]:
    """Of everything that ``facet.evaluation.adherence.agreement`` counts in the same arguments, by its path.

    ``mean`` and ``balanced`` resample whole samples, whose attributes are not independent; rates are Wilson's.
    """
    asked, right = asked[:, columns], asked[:, columns] == seen[:, columns]
    sides = {"overall": asked != 0, "present": asked > 0, "absent": asked < 0}
    resampled = {side: _resampled_rates(right, among, seed) for side, among in sides.items()}
    halves = np.stack([resampled["present"], resampled["absent"]])
    found = {
        "mean": percentiles(_mean_of_known(resampled["overall"], 1)),
        "balanced": percentiles(_mean_of_known(_mean_of_known(halves, 0), 1)),
    }
    for at, k in enumerate(columns):
        for side, among in sides.items():
            count = int(among[:, at].sum())
            if count:
                rate = float(right[among[:, at], at].mean())
                found[f"attributes.{names[k]}.{side}"] = wilson(rate, count)
    return found


def _resampled_rates(right: np.ndarray, among: np.ndarray, seed: int) -> np.ndarray:
    """[RESAMPLES, k]: share of ``among`` [n, k] that is ``right`` [n, k]; NaN where a resample has none."""
    width = right.shape[1]
    means = resampled_means(np.concatenate([right & among, among], axis=1), seed, "adherence")
    hits, asked = means[:, :width], means[:, width:]
    return np.divide(hits, asked, out=np.full_like(hits, np.nan), where=asked > 0)


def _mean_of_known(values: np.ndarray, axis: int) -> np.ndarray:
    """The mean over ``axis`` of what is not NaN; NaN where nothing is known."""
    known = ~np.isnan(values)
    total, count = np.where(known, values, 0).sum(axis=axis), known.sum(axis=axis)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
