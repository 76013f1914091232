"""Adherence by kind of condition: all attributes asked for, or part of them."""

from __future__ import annotations

import numpy as np

from facet.data.attributes import UNKNOWN
from facet.evaluation.measures import by_condition
from facet.evaluation.samples import conditions, draw_samples, load_samples, part_of, write_samples
from tests import tiny


def test_a_part_is_a_part_and_each_size_as_likely(faces):
    states = conditions(faces, 500, seed=0)
    states[::7, 3] = UNKNOWN
    some = part_of(states, 2000, seed=0)
    whole = np.resize(states, some.shape)
    known = (whole != UNKNOWN).sum(axis=1)
    kept = some != UNKNOWN
    assert np.array_equal(some[kept], whole[kept])
    assert (kept.sum(axis=1) >= 1).all()
    assert (kept.sum(axis=1) <= known).all()
    shares = np.histogram(kept.sum(axis=1) / known, bins=4, range=(0, 1))[0] / len(some)
    assert np.abs(shares - 0.25).max() < 0.05
    # No attribute is kept more often than another.
    often = kept[:, [k for k in range(kept.shape[1]) if k != 3]].mean(axis=0)
    assert np.abs(often - often.mean()).max() < 0.06
    assert np.array_equal(some, part_of(states, 2000, seed=0))
    assert not np.array_equal(some, part_of(states, 2000, seed=1))
    assert part_of(states, 0, seed=0).shape == (0, states.shape[1])


def test_partial_samples_are_stored_and_move_no_other(faces, tmp_path):
    pipeline, states = tiny.pipeline(), conditions(faces, 4, seed=0)
    some = part_of(states, 3, seed=0)
    write_samples(pipeline, "0" * 64, states, tmp_path / "with", unconditional=2, partial=some)
    write_samples(pipeline, "0" * 64, states, tmp_path / "without", unconditional=2)
    found, plain = load_samples(tmp_path / "with"), load_samples(tmp_path / "without")
    assert np.array_equal(found.faces, plain.faces)
    assert np.array_equal(found.unconditional, plain.unconditional)
    assert np.array_equal(found.partial_states, some)
    assert np.array_equal(found.partial, pipeline(attributes=some, seeds=[6, 7, 8], output_type="np").images)
    assert (plain.partial, plain.partial_states, plain.about["partial"]) == (None, None, 0)
    empty = draw_samples(pipeline, "0" * 64, states, partial=part_of(states, 0, seed=0))
    assert (empty.partial, empty.partial_states) == (None, None)


def test_each_kind_is_scored_by_what_it_asked_for(faces):
    asked = conditions(faces, 400, seed=0)
    some = part_of(asked, 400, seed=0)
    # Shows all that was asked, and the opposite of all else.
    seen = np.where(some != UNKNOWN, some, -asked).astype(np.int8)
    found = by_condition({"whole": (asked, np.sign(asked)), "partial": (some, seen)}, faces, seed=0)
    assert found.values["whole"] == {"mean": 1.0, "balanced": 1.0}
    assert found.values["partial"] == {"mean": 1.0, "balanced": 1.0}
    found = by_condition({"whole": (asked, seen), "partial": (some, -seen)}, faces, seed=0)
    assert 0.3 < found.values["whole"]["mean"] < 0.8
    low, high = found.intervals["whole.mean"]
    assert low < found.values["whole"]["mean"] < high
    assert found.values["partial"]["mean"] == 0.0
