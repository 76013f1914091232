"""A 95 % interval holds the truth about 19 times in 20, whatever the score is made of; few samples are told."""

from __future__ import annotations

import numpy as np
import pytest

from facet.evaluation.adherence import agreement
from facet.evaluation.bootstrap import adherence_intervals, influence_interval, mean_interval, wilson
from facet.evaluation.fidelity import (
    Gaussian,
    frechet,
    frechet_influence,
    frechet_of,
    inception_score,
    inception_score_influence,
    kid,
    kid_influence,
    kid_subset_size,
)
from facet.evaluation.measures import small_n

# Of 60 intervals of 95 %, fewer than 52 hold the truth once in 300 times.
REPEATS, ENOUGH = 60, 52


def spread(width: int) -> np.ndarray:
    return np.linspace(0.2, 3, width)


def drawn(rng: np.random.Generator, count: int, width: int) -> np.ndarray:
    return rng.standard_normal((count, width)) * spread(width) * 1.3 + 0.3


def exact(width: int) -> Gaussian:
    """The standard one, known rather than measured."""
    return Gaussian(np.zeros(width), np.diag(spread(width) ** 2), np.diag(spread(width)))


def coverage(one, truth: float) -> int:
    intervals = [one(repeat) for repeat in range(REPEATS)]
    return sum(low <= truth <= high for low, high in intervals)


def test_frechet_intervals_hold_the_distance_that_is_known():
    """4 features, 400 samples: the bias of a finite N is a tenth of the interval."""
    reference, rng = exact(4), np.random.default_rng(0)
    truth = 4 * 0.3**2 + (0.3**2 * spread(4) ** 2).sum()

    def one(repeat: int):
        features = drawn(rng, 400, 4)
        distance = frechet_of(reference, features)
        return influence_interval(distance, frechet_influence(reference, features), repeat, "test")

    assert coverage(one, truth) >= ENOUGH


@pytest.mark.parametrize(("width", "count"), [(16, 200), (64, 256), (64, 48)])
def test_frechet_intervals_hold_the_distance_at_their_n(width, count):
    """With a quarter as many features as samples, and with more: the mean of the distances at that N is held."""
    reference, rng = exact(width), np.random.default_rng(0)
    truth = float(np.mean([frechet_of(reference, drawn(rng, count, width)) for _ in range(100)]))

    def one(repeat: int):
        features = drawn(rng, count, width)
        distance = frechet_of(reference, features)
        return influence_interval(distance, frechet_influence(reference, features), repeat, "test")

    assert coverage(one, truth) >= ENOUGH


def test_frechet_intervals_are_not_twice_too_wide():
    """What resampling the samples themselves gives with more than half as many features as samples."""
    reference, rng = exact(64), np.random.default_rng(0)
    sets = [drawn(rng, 256, 64) for _ in range(100)]
    scatter = np.std([frechet_of(reference, features) for features in sets])
    low, high = influence_interval(0, frechet_influence(reference, sets[0]), 0, "test")
    assert 0.8 < (high - low) / (2 * 1.96 * scatter) < 1.4


def test_frechet_influence_is_the_derivative():
    """Giving one sample a little more weight moves the distance as its influence says."""
    reference, features = exact(6), drawn(np.random.default_rng(0), 50, 6)
    influence = frechet_influence(reference, features)

    def weighted(weights: np.ndarray) -> float:
        mean = weights @ features
        centred = features - mean
        return frechet(reference, mean, (centred * weights[:, None]).T @ centred * 50 / 49)

    even, step = np.full(50, 1 / 50), 1e-6
    for row in (0, 7):
        more = (1 - step) * even + step * np.eye(50)[row]
        slope = (weighted(more) - weighted(even)) / step
        # The influence is of the unbiased covariance's 50 / 49.
        assert slope == pytest.approx(influence[row] - influence.mean(), rel=0.05, abs=0.05)


def squared_mmd(reference: np.ndarray, features: np.ndarray) -> float:
    """KID's estimator on both whole sets (Gretton et al., 2012, equation 3), with its kernel."""

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: np.ndarray) -> float:
        return (kernel(a, a).sum() - np.trace(kernel(a, a))) / (len(a) * (len(a) - 1))

    return within(reference) + within(features) - 2 * kernel(reference, features).mean()


def test_kid_intervals_hold_the_kernel_distance():
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((150, 8))
    # Unbiased, so that a big sample tells what a small one aims at.
    truth = squared_mmd(reference, rng.standard_normal((5000, 8)) + 0.3)

    def one(repeat: int):
        features = rng.standard_normal((100, 8)) + 0.3
        return influence_interval(squared_mmd(reference, features), kid_influence(reference, features), repeat, "test")

    assert coverage(one, truth) >= ENOUGH


def test_kid_is_that_estimator_and_its_subsets_follow_n():
    rng = np.random.default_rng(0)
    reference, features = rng.standard_normal((60, 8)), rng.standard_normal((60, 8)) + 0.3
    # As many rows as there are: each subset is the whole set.
    assert kid(reference, features, 0)[0] == pytest.approx(squared_mmd(reference, features), rel=1e-9)
    assert kid(reference, features, 0)[1] == pytest.approx(0, abs=1e-9)
    sizes = [kid_subset_size(*counts) for counts in ((60, 200), (200, 60), (5000, 1000), (5000, 50_000))]
    assert sizes == [60, 60, 1000, 1000]


def test_inception_score_intervals_hold_the_score_at_their_n():
    rng = np.random.default_rng(0)
    truth = float(np.mean([inception_score(rng.standard_normal((1000, 5)) * 2, 0)[0] for _ in range(100)]))

    def one(repeat: int):
        logits = rng.standard_normal((1000, 5)) * 2
        return influence_interval(inception_score(logits, 0)[0], inception_score_influence(logits), repeat, "test")

    assert coverage(one, truth) >= ENOUGH


@pytest.mark.parametrize(("rate", "count"), [(0.98, 60), (0.5, 40), (0.9, 500)])
def test_wilson_intervals_hold_the_rate(rate, count):
    hits = np.random.default_rng(0).binomial(count, rate, 2000)
    held = [wilson(h / count, count) for h in hits]
    assert np.mean([low <= rate <= high for low, high in held]) > 0.92


def test_wilson_is_never_certain():
    low, high = wilson(1.0, 20)
    assert high == 1.0
    assert low == pytest.approx(20 / (20 + 1.96**2), abs=1e-4)


def adherence_case(rng: np.random.Generator, count: int = 300):
    """Three attributes, the last one rare; each seen as asked with its own rate."""
    asked = np.where(rng.random((count, 3)) < [0.5, 0.3, 0.05], 1, -1).astype(np.int8)
    right = rng.random((count, 3)) < np.where(asked > 0, [0.9, 0.8, 0.6], [0.95, 0.9, 0.99])
    return asked, np.where(right, asked, -asked).astype(np.int8)


def test_adherence_intervals_hold_the_rates():
    names, columns = ("a", "b", "c"), np.arange(3)
    rng = np.random.default_rng(0)
    big = agreement(*adherence_case(rng, 400_000), names, columns)
    intervals = [adherence_intervals(*adherence_case(rng), names, columns, seed) for seed in range(REPEATS)]
    truths = {
        "mean": big["mean"],
        "balanced": big["balanced"],
        "attributes.c.present": 0.6,
        "attributes.a.absent": 0.95,
    }
    for path, truth in truths.items():
        assert sum(low <= truth <= high for low, high in (found[path] for found in intervals)) >= ENOUGH, path


def test_what_nobody_asks_for_has_no_interval():
    asked = np.array([[1, 0], [1, 0]], dtype=np.int8)
    found = adherence_intervals(asked, np.ones((2, 2), dtype=np.int8), ("a", "b"), np.arange(2), 0)
    assert set(found) == {"mean", "balanced", "attributes.a.overall", "attributes.a.present"}
    assert found["mean"] == (1.0, 1.0)


def test_intervals_follow_their_seed():
    values = np.random.default_rng(0).random(50)
    assert mean_interval(values, 1, "a") == mean_interval(values, 1, "a") != mean_interval(values, 2, "a")


def test_few_samples_are_told_in_a_sentence():
    assert small_n(1024, 256, 836) is None
    assert "say little below 1,000" in small_n(999, 256, 836)
    assert "needs more than 2048" in small_n(1500, 2048, 836)
    assert "floor was measured on 2,000" in small_n(1024, 256, 2000)
