"""Adherence by kind of condition: all attributes asked for, or part of them."""

from __future__ import annotations

import numpy as np
import pytest

from facet.data.attributes import UNKNOWN
from facet.evaluation.measures import by_condition
from facet.evaluation.samples import KINDS, askings, conditions, draw_samples, load_samples, part_of, save_samples
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


def test_further_kinds_are_stored_and_move_no_other(faces, tmp_path):
    pipeline = tiny.pipeline()
    kinds = askings("both", faces, 4, {"partial": 3, "text": 2, "both": 2}, seed=0)
    assert list(kinds) == ["whole", "partial", "text", "both"]
    save_samples(draw_samples(pipeline, "0" * 64, kinds, 4, unconditional=2), tmp_path / "with")
    save_samples(draw_samples(pipeline, "0" * 64, {"whole": kinds["whole"]}, 4, unconditional=2), tmp_path / "without")
    found, plain = load_samples(tmp_path / "with"), load_samples(tmp_path / "without")
    assert np.array_equal(found.faces, plain.faces)
    assert np.array_equal(found.unconditional, plain.unconditional)
    assert (found.about["further"], plain.further) == ({"partial": 3, "text": 2, "both": 2}, {})
    some = found.further["partial"]
    assert np.array_equal(some.states, kinds["partial"].states)
    assert np.array_equal(some.faces, pipeline(attributes=some.states, seeds=[6, 7, 8], output_type="np").images)
    told = pipeline(kinds["text"].prompts, seeds=[9, 10], output_type="np").images
    assert np.array_equal(found.further["text"].faces, told)


def test_a_sentence_asks_for_what_it_says_and_was_never_trained_on(faces):
    kinds = askings("both", faces, 50, {"text": 50, "both": 50}, seed=0)
    text, both = kinds["text"], kinds["both"]
    states = kinds["whole"].states
    said = text.states != UNKNOWN
    assert np.array_equal(text.states[said], states[said])
    assert 0 < said.sum() < (states != UNKNOWN).sum()
    assert np.array_equal(both.states, states)
    assert both.prompts == text.prompts
    again = askings("both", faces, 50, {"text": 50}, seed=0, known=set(text.prompts))["text"]
    assert not set(again.prompts) & set(text.prompts)


@pytest.mark.parametrize(
    ("conditioning", "kinds"),
    [
        ("attributes", ["whole", "partial"]),
        ("both", ["whole", "partial", "text", "both"]),
        ("text", ["text"]),
        ("none", []),
    ],
)
def test_a_model_is_asked_by_what_it_takes(conditioning, kinds, faces):
    asked = askings(conditioning, faces, 2, dict.fromkeys(KINDS, 2), seed=0)
    assert list(asked) == kinds
    samples = draw_samples(tiny.pipeline(conditioning=conditioning), "0" * 64, asked, 2)
    assert (samples.states is None, len(samples.faces)) == (not kinds, 2)


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
