"""Rare attributes come more often: by how much, which, and that an epoch is what it says."""

from collections import Counter

import numpy as np
import pytest

from facet.training.repeats import RepeatParams, repeated

# Of 400 faces all have the first attribute, 1 in 4 the second, 1 in 20 the third, 1 in 100 the fourth, none the last.
FACES = np.stack([np.where(np.arange(400) % every == 0, 1, -1) for every in (1, 4, 20, 100, 401)], axis=1)
FACES = FACES.astype(np.int8)
FACES[0, 4] = 0


def times(rare: float, most: float, seed: int = 0, attributes: np.ndarray = FACES) -> np.ndarray:
    """How often an epoch shows each face."""
    rows = repeated(attributes, RepeatParams(rare, most), seed)
    assert rows.dtype == np.int64
    assert (np.diff(rows) >= 0).all()
    return np.bincount(rows, minlength=len(attributes))


def test_a_face_comes_as_often_as_the_rarest_thing_it_has_is_rare():
    shown = times(rare=0.1, most=20)
    index = np.arange(400)
    assert set(shown[index % 20 != 0]) == {1}  # a quarter is not rare
    assert set(shown[(index % 20 == 0) & (index % 100 != 0)]) == {2}  # 0.1 / 0.05
    assert set(shown[index % 100 == 0]) == {10}  # 0.1 / 0.01, though its third attribute asks for two


def test_no_face_comes_more_often_than_it_may():
    assert Counter(times(rare=0.1, most=3)) == {1: 380, 2: 16, 3: 4}


def test_a_fraction_is_settled_by_chance_and_by_seed():
    index = np.arange(400) % 4 == 0
    shown = times(rare=0.35, most=1.4)
    assert set(shown) == {1, 2}
    assert set(shown[~index]) == {1}
    assert shown[index].mean() == pytest.approx(1.4, abs=0.15)
    assert (times(0.35, 1.4) == shown).all()
    assert (times(0.35, 1.4, seed=1) != shown).any()


def test_nothing_is_repeated_where_all_is_equally_rare_or_nothing_is_asked_for():
    digits = np.where(np.arange(10) == (np.arange(400) % 10)[:, None], 1, -1).astype(np.int8)
    assert set(times(0.5, 4, attributes=digits)) == {1}
    assert set(times(0.0, 4)) == {1}
    assert set(times(0.2, 4, attributes=np.zeros((400, 0), np.int8))) == {1}
    assert set(times(0.2, 4, attributes=np.zeros((400, 3), np.int8))) == {1}
