"""A model that fails one group, or forgets an attribute, is found out; one that draws as the data is, is not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from facet.evaluation.adherence import judge_faces
from facet.evaluation.balance import (
    DIRECTIONS,
    LEAST,
    Judged,
    balance,
    difference_interval,
    gaps,
    groupings,
    judged,
    marginals,
)
from facet.evaluation.features import extract, judge_extractor
from facet.evaluation.fidelity import gaussian
from facet.evaluation.reference import Reference
from facet.evaluation.samples import Asking, conditions, draw_samples, load_samples, save_samples
from tests import tiny

NAMES = ("Hat", "Male", "Young", "Smiling")
HAT, MALE, YOUNG, SMILING = range(4)
COUNTS = {"train": 3000, "valid": 500, "test": 500}


@pytest.fixture(scope="module")
def faces(faces):
    """4,000 faces of which labels and splits are known: half Male, four in five Young, half Smiling, few with a Hat."""
    draw = np.random.default_rng(0)
    total = sum(COUNTS.values())
    labels = np.where(draw.random((total, 4)) < (0.05, 0.5, 0.8, 0.5), 1, -1).astype(np.int8)
    split = np.repeat(list(COUNTS), list(COUNTS.values()))
    return dataclasses.replace(faces, attributes=labels, split=split, about=faces.about | {"attributes": list(NAMES)})


def look(labels: np.ndarray, seed: int, shift: float = 0.0) -> np.ndarray:
    """Features of faces with these labels; ``shift`` puts those of women out of place."""
    features = np.random.default_rng(seed).normal(size=(len(labels), 16)) + labels @ np.eye(4, 16)
    features[labels[:, MALE] < 0, 9] += shift
    return features


@pytest.fixture(scope="module")
def reference(faces) -> Reference:
    features = look(faces.attributes[faces.rows("train")], 1)
    return Reference(features, gaussian(features), {"split": "train"})


@pytest.fixture(scope="module")
def real(faces) -> Judged:
    labels = faces.attributes[faces.rows("valid", "test")]
    return Judged(look(labels, 2), labels)


def scored(faces, reference, real, seen=None, shift=0.0, unconditional=None) -> dict:
    asked = conditions(faces, 1000, seed=3)
    drawn = Judged(look(asked, 4, shift), asked if seen is None else seen(asked.copy()))
    return balance(drawn, asked, real, unconditional, real.seen, faces, reference)


def test_a_model_that_is_as_good_as_real_shows_no_gap(faces, reference, real):
    found = scored(faces, reference, real, unconditional=Judged(real.features, conditions(faces, 500, seed=5)))
    assert list(found["groups"]) == ["Male", "Young"]
    assert found["adherence_gap"] == 0
    assert found["fidelity_gap"] < 0.5  # 200 faces a side or fewer: chance alone
    assert found["marginals"]["max_gap"] < 0.08
    male = found["groups"]["Male"]
    assert male["present"]["samples"] + male["absent"]["samples"] == 1000
    assert male["present"]["judge_on_real"] == 1
    assert male["present"]["fidelity"]["n"] == (real.seen[:, MALE] > 0).sum()


def test_one_group_that_is_drawn_less_as_asked_is_seen(faces, reference, real):
    def no_woman_smiles(states):
        states[states[:, MALE] < 0, SMILING] = -1
        return states

    group = scored(faces, reference, real, no_woman_smiles)["groups"]["Male"]
    assert group["present"]["adherence"] == 1
    # One of four attributes is wrong for the half that was asked to smile.
    assert group["absent"]["adherence"] == pytest.approx(7 / 8, abs=0.02)
    low, high = group["interval"]
    assert 0 < low < group["difference"] < high
    assert group["difference"] == pytest.approx(1 / 8, abs=0.02)


def test_one_group_that_looks_less_real_is_seen(faces, reference, real):
    found = scored(faces, reference, real, shift=1.0)
    male = found["groups"]["Male"]
    assert male["present"]["fidelity"]["over_floor"] < 1.3
    assert male["absent"]["fidelity"]["over_floor"] > 3
    assert found["fidelity_gap"] > 2
    assert found["adherence_gap"] == 0


def test_an_attribute_that_the_model_forgot_is_seen(faces, reference, real):
    forgot = conditions(faces, 500, seed=5).copy()
    forgot[:, SMILING] = -1
    found = scored(faces, reference, real, unconditional=Judged(real.features, forgot))["marginals"]
    smiling = found["attributes"]["Smiling"]
    assert smiling["drawn"] == 0
    assert found["max_gap"] == -smiling["difference"] > 0.4
    assert smiling["interval"][0] < smiling["difference"] < smiling["interval"][1] < -0.4
    others = [found["attributes"][name] for name in NAMES if name != "Smiling"]
    assert all(row["interval"][0] < 0 < row["interval"][1] for row in others)
    assert found["samples"] == 500


def test_small_groups_are_counted_and_not_scored(faces, reference, real):
    asked = conditions(faces, 1000, seed=3)
    few = np.concatenate([np.flatnonzero(asked[:, YOUNG] < 0)[:LEAST], np.flatnonzero(asked[:, YOUNG] > 0)[:200]])
    drawn = Judged(look(asked, 4)[few], asked[few])
    old = balance(drawn, asked[few], real, None, real.seen, faces, reference)["groups"]["Young"]["absent"]
    assert (old["samples"], old["adherence"]) == (LEAST, 1.0)
    assert old["fidelity"] == {"n": LEAST, "frechet": None, "floor": None, "over_floor": None}  # 2 x 16 features
    some = slice(1, None)
    fewer = balance(
        Judged(drawn.features[some], drawn.seen[some]), asked[few][some], real, None, real.seen, faces, reference
    )
    assert "Young" not in fewer["groups"]


def test_no_samples_of_any_group_and_no_unconditional_ones_are_no_gaps(faces, reference, real):
    nothing = np.zeros((10, 4), dtype=np.int8)
    found = balance(Judged(look(nothing, 4), nothing + 1), nothing, real, None, real.seen, faces, reference)
    assert (found["adherence_gap"], found["fidelity_gap"], found["marginals"]) == (None, None, None)
    assert gaps(found) == {}


def test_the_gaps_are_what_metrics_show(faces, reference, real):
    found = scored(faces, reference, real, unconditional=real)
    assert set(gaps(found)) == {"adherence_gap", "fidelity_gap", "marginals"}
    assert gaps(found)["marginals"] == {"max_gap": 0, "mean_gap": 0}


def test_without_the_usual_groups_the_most_even_attributes_are_taken(faces):
    asked = conditions(faces, 1000, seed=3).copy()
    columns = np.arange(4)
    asked[:, MALE] = -1
    assert groupings(asked, faces, columns) == [YOUNG, SMILING]
    renamed = dataclasses.replace(faces, about=faces.about | {"attributes": ["a", "b", "c", "d"]})
    assert groupings(asked, renamed, columns) == [SMILING, YOUNG]


def test_a_reference_of_another_split_is_not_its_own_floor(faces, real):
    rows = faces.rows("valid")
    features = real.features[: len(rows)]
    found = scored(faces, Reference(features, gaussian(features), {"split": "valid"}), real)
    fidelity = found["groups"]["Male"]["present"]["fidelity"]
    assert fidelity["n"] == (faces.attributes[faces.rows("test"), MALE] > 0).sum()
    assert 0.5 < fidelity["over_floor"] < 2


def test_the_interval_of_a_difference_is_newcombes():
    # Newcombe (1998), table II, method 10: 56/70 - 48/80, 9/10 - 3/10, 10/10 - 0/20.
    for one, other, expected in (
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((10, 10), (0, 20), (0.6791, 1.0000)),
    ):
        assert difference_interval(one, other) == pytest.approx(expected, abs=1e-4)


def test_marginals_are_counted():
    drawn, real = np.array([[1], [1], [1], [-1]], dtype=np.int8), np.array([[1], [-1]], dtype=np.int8)
    found = marginals(drawn, real, ("a",), np.array([0]))
    row = found["attributes"]["a"]
    assert (row["drawn"], row["real"], row["difference"]) == (0.75, 0.5, 0.25)
    assert (found["max_gap"], found["mean_gap"]) == (0.25, 0.25)


def test_unconditional_samples_are_stored_with_seeds_of_their_own(tmp_path):
    pipeline = tiny.pipeline()
    asked = {"whole": Asking(np.ones((3, 40), dtype=np.int8))}
    save_samples(draw_samples(pipeline, "0" * 64, asked, 3, unconditional=2), tmp_path / "some")
    save_samples(draw_samples(pipeline, "0" * 64, asked, 3), tmp_path / "none")
    some, none = load_samples(tmp_path / "some"), load_samples(tmp_path / "none")
    assert (some.faces == none.faces).all()
    assert none.unconditional is None
    expected = pipeline("", seeds=[3, 4], output_type="np").images.astype(int)
    assert np.abs(some.unconditional - expected).max() <= 1  # guidance would add the null condition to itself
    assert (some.about["count"], some.about["unconditional"]) == (3, 2)


def test_the_judge_sees_pictures(faces):
    found = judged(tiny.judge(), np.zeros((3, 32, 32, 3), dtype=np.uint8))
    assert (found.features.shape, found.seen.shape) == ((3, 16), (3, 40))


def test_one_pass_of_the_judge_gives_the_features_of_every_distance_and_its_verdicts(faces, judge_folder):
    pictures = np.concatenate([faces.pixels] * 5)  # more than are judged at once
    extractor = judge_extractor(judge_folder)
    found = judged(extractor.judge, pictures)
    assert (found.features == extract(extractor, pictures, "test")).all()
    assert (found.seen == judge_faces(extractor.judge, pictures)[1]).all()


def test_more_features_than_directions_are_projected(faces, real):
    wide = np.random.default_rng(6).normal(size=(3000, 100))
    reference = Reference(wide, gaussian(wide), {"split": "train"})
    held = Judged(np.random.default_rng(7).normal(size=(1000, 100)), real.seen)
    asked = conditions(faces, 1000, seed=3)
    drawn = Judged(np.random.default_rng(8).normal(size=(1000, 100)), asked)
    side = balance(drawn, asked, held, None, held.seen, faces, reference)["groups"]["Young"]["absent"]
    assert 2 * DIRECTIONS <= side["fidelity"]["n"] < 2 * 100
    assert 0.8 < side["fidelity"]["over_floor"] < 1.25
