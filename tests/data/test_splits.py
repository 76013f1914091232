"""Splits and duplicates: what is held out is not learned from, whatever the order in which pictures come."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from facet.data.blocks import Measured
from facet.data.raw import SPLITS, RawSet
from facet.data.splits import HeldOut, decide

HELD_OUT = HeldOut(valid=0.1, test=0.2)
TRAIN, VALID, TEST = range(3)


def measured(sources: list[str], looks: list[int] | None = None) -> Measured:
    """A picture a source; those with equal ``looks`` are nearly the same."""
    n = len(sources)
    looks = list(range(n)) if looks is None else looks
    rng = [np.random.default_rng(look) for look in looks]
    return Measured(
        rows=np.arange(n),
        sources=np.stack([np.frombuffer(hashlib.sha256(s.encode()).digest(), np.uint8) for s in sources]),
        sides=np.full((n, 2), 64, np.int32),
        quality=np.ones((n, 3), np.float32),
        hashes=np.array([r.integers(0, 2**63) for r in rng], np.int64),
        thumbnails=np.stack([r.integers(0, 256, (16, 16)).astype(np.uint8) for r in rng]),
    )


def raw_set(n: int, splits=None, identities=None) -> RawSet:
    return RawSet(
        ids=tuple(f"{k}.png" for k in range(n)),
        names=(),
        attributes=np.empty((n, 0), np.int8),
        splits=np.full(n, -1) if splits is None else np.array(splits),
        identities=np.full(n, -1) if identities is None else np.array(identities),
        read=lambda name: b"",
    )


def test_of_equal_files_the_one_that_is_held_out_furthest_stays():
    decision = decide(raw_set(4, [TRAIN, VALID, TEST, TRAIN]), measured(["a", "a", "a", "b"]), HELD_OUT)
    assert decision.kept.tolist() == [False, False, True, True]
    assert decision.split.tolist() == [TEST, TRAIN]
    assert [(one.row, one.kind, one.reason) for one in decision.refused] == [
        (0, "duplicate", "the same file as 2.png"),
        (1, "duplicate", "the same file as 2.png"),
    ]


def test_near_duplicates_within_a_split_stay_and_are_told():
    decision = decide(raw_set(4, [TRAIN] * 4), measured(list("abcd"), [5, 6, 5, 5]), HeldOut(valid=0, test=0))
    assert decision.kept.all()
    assert decision.near.tolist() == [0, 1, 0, 0]


def test_near_duplicates_of_what_is_held_out_are_put_aside():
    decision = decide(
        raw_set(5, [TRAIN, TRAIN, VALID, TEST, TRAIN]), measured(list("abcde"), [7, 8, 7, 7, 9]), HELD_OUT
    )
    assert decision.kept.tolist() == [False, True, False, True, True]
    assert decision.near.tolist() == [0, 1, 2]
    assert [(one.row, one.reason) for one in decision.refused] == [
        (0, "nearly the same picture as 3.png of split test"),
        (2, "nearly the same picture as 3.png of split test"),
    ]


def test_without_named_splits_a_person_and_a_picture_are_in_one_split_alone():
    n = 600
    identities = np.where(np.arange(n) < 400, np.arange(n) // 4, -1)
    looks = [k if k < 500 else 500 + (k - 500) // 5 for k in range(n)]
    decision = decide(raw_set(n, identities=identities), measured([str(k) for k in range(n)], looks), HELD_OUT)
    assert decision.kept.all()
    for groups in (identities[:400], np.array(looks[500:])):
        own = decision.split[:400] if len(groups) == 400 else decision.split[500:]
        assert all(len(set(own[groups == group])) == 1 for group in set(groups))
    shares = np.bincount(decision.split, minlength=3) / n
    assert np.allclose(shares, [0.7, 0.1, 0.2], atol=0.07)


def test_splits_by_hash_depend_neither_on_order_nor_on_company():
    n = 60
    everything = measured([str(k) for k in range(n)])
    whole = decide(raw_set(n), everything, HELD_OUT).split
    order = np.random.default_rng(0).permutation(n)[:30]
    some = Measured(**{name: getattr(everything, name)[order] for name in everything.__dataclass_fields__})
    some = Measured(**{**some.__dict__, "rows": np.arange(30)})
    assert np.array_equal(decide(raw_set(30), some, HELD_OUT).split, whole[order])


def test_a_picture_without_a_split_joins_its_family():
    decision = decide(raw_set(3, [TEST, -1, -1], [7, 7, 7]), measured(list("abc")), HELD_OUT)
    assert decision.split.tolist() == [TEST] * 3


@pytest.mark.parametrize(
    ("named", "lent"), [([TRAIN], {VALID, TEST}), ([TRAIN, TEST], {VALID}), ([TRAIN, VALID], {TEST})]
)
def test_a_split_that_the_data_never_names_is_lent_from_train_by_person(named, lent):
    n = 600
    splits = np.resize(np.repeat(named, 4), n)
    identities = np.arange(n) // 4
    with pytest.warns(UserWarning, match="are taken") as told:
        decision = decide(raw_set(n, splits, identities), measured([str(k) for k in range(n)]), HELD_OUT)
    assert decision.kept.all()
    moved = decision.split != splits
    assert set(decision.split[moved]) == lent
    assert (splits[moved] == TRAIN).all()
    assert all(len(set(decision.split[identities == person])) == 1 for person in set(identities))
    learned = (splits == TRAIN).sum()
    for split in lent:
        share = {VALID: HELD_OUT.valid, TEST: HELD_OUT.test}[split]
        count = (decision.split == split).sum()
        assert 0.4 * share < count / learned < 1.8 * share
        assert any(f"names no picture {SPLITS[split]}: {count} of train" in str(one.message) for one in told)
    assert len(told) == len(lent)


def test_a_set_that_is_all_test_stays_so():
    decision = decide(raw_set(50, [TEST] * 50), measured([str(k) for k in range(50)]), HELD_OUT)
    assert (decision.split == TEST).all()


def test_something_is_left_to_learn_from():
    with pytest.raises(ValueError, match="nothing is left"):
        HeldOut(valid=0.5, test=0.5)
    assert len(SPLITS) == 3
