"""A set in numbers, and drift between two: against published figures, against chance, and where nothing moved."""

import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest

from facet.artifacts import write_json
from facet.data.profile import drift, newcombe, profile, read_profile, stability
from facet.errors import ArtifactError
from tests.prepared import columns, write_prepared


@pytest.fixture
def faces():
    return columns(100)


def test_a_profile_counts_what_is_there(faces, tmp_path):
    faces["attribute:Male"] = np.repeat([1, -1, 0], [30, 60, 10])
    faces["identity"] = np.r_[np.full(40, -1), np.arange(60) // 3]
    faces["brightness"] = np.r_[np.full(99, 100.0), 255.0]
    aside = [("a", "broken", "cut"), ("b", "broken", "cut"), ("c", "too small", "3x3")]
    found = profile(write_prepared(tmp_path / "faces", faces, aside))
    assert found["count"] == 100
    assert found["splits"] == {"train": 60, "valid": 20, "test": 20}
    assert found["identities"] == 20
    assert found["captions"] == {"faces": 25, "captions": 25}
    assert found["quarantined"] == {"broken": 2, "too small": 1}
    male = found["attributes"]["Male"]
    assert male["all"] == {"present": 30, "absent": 60, "unknown": 10}
    assert male["train"] == {"present": 18, "absent": 36, "unknown": 6}
    bright = found["figures"]["brightness"]
    assert (bright["counts"][12], bright["counts"][31], sum(bright["counts"])) == (99, 1, 100)
    assert bright["mean"] == pytest.approx(101.55)
    assert bright["quantiles"]["0.5"] == 100


def test_a_profile_is_the_same_each_time_and_goes_through_json(faces, tmp_path):
    folder = write_prepared(tmp_path / "faces", faces)
    write_json(tmp_path / "profile.json", profile(folder))
    assert read_profile(tmp_path / "profile.json") == profile(folder) == read_profile(folder)


def test_values_beyond_the_bins_are_counted_at_their_ends(faces, tmp_path):
    faces["sharpness"] = np.full(100, 200.0)
    faces["width"] = np.full(100, 100_000)
    found = profile(write_prepared(tmp_path / "faces", faces))["figures"]
    assert found["sharpness"]["counts"][-1] == 100
    assert found["width"]["counts"][-1] == 100
    assert found["height"]["counts"][found["height"]["edges"].index(181)] == 100


def test_newcombes_own_example():
    """Statistics in Medicine 17 (1998), table II: 56/70 less 48/80 by method 10 is 0.0524 to 0.3339."""
    assert newcombe((48, 80), (56, 70)) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert newcombe((0, 10), (10, 10))[1] == pytest.approx(1)


def test_stability_of_shares_worked_out_by_hand():
    index, _ = stability([50, 50], [25, 75])
    assert index == pytest.approx(0.25 * math.log(2) + 0.25 * math.log(1.5))
    assert stability([10, 0, 20], [100, 0, 200])[0] == pytest.approx(0)
    assert math.isfinite(stability([10, 0], [0, 10])[0])
    assert stability([7, 0], [9, 0]) == (0.0, 0.0)


def test_chance_exceeds_its_bound_once_in_twenty_times():
    draw, shares = np.random.default_rng(0), np.full(20, 0.05)
    pairs = (stability(draw.multinomial(4000, shares), draw.multinomial(3000, shares)) for _ in range(1000))
    assert np.mean([index > chance for index, chance in pairs]) == pytest.approx(0.05, abs=0.02)


def test_nothing_moves_between_a_set_and_itself(faces, tmp_path):
    found = profile(write_prepared(tmp_path / "faces", faces))
    same = drift(found, found)
    assert all(one.difference == one.z == 0 and not one.notable for one in same.attributes)
    assert all(one.psi == 0 and one.level == "none" and not one.shift for one in same.figures)
    assert same.appeared == same.vanished == ()


def test_what_moved_is_told_with_its_size(faces, tmp_path):
    faces["attribute:Male"] = np.repeat([1, -1], 50)
    before = profile(write_prepared(tmp_path / "before", faces))
    changed = faces | {"attribute:Male": np.repeat([1, -1, 0], [80, 10, 10]), "brightness": faces["brightness"] + 40}
    moved = drift(before, profile(write_prepared(tmp_path / "after", changed)))
    male = moved.attributes[0]
    assert (male.name, male.before, male.after, male.notable) == ("Male", 0.5, pytest.approx(80 / 90), True)
    # 130 present of 190 known together.
    assert male.z == pytest.approx((80 / 90 - 0.5) / math.sqrt(130 / 190 * 60 / 190 * (1 / 100 + 1 / 90)))
    assert male.interval[0] > 0.2
    bright = next(one for one in moved.figures if one.name == "brightness")
    assert bright.level == "large"
    assert bright.shift == pytest.approx(40 / np.std(np.float32(faces["brightness"])), rel=1e-4)
    assert next(one for one in moved.figures if one.name == "width").shift is None


def test_attributes_that_come_and_go_are_listed(faces, tmp_path):
    before = profile(write_prepared(tmp_path / "before", faces))
    changed = {name.replace("Young", "Old"): values for name, values in faces.items()}
    changed["attribute:Smiling"] = np.zeros(100)
    moved = drift(before, profile(write_prepared(tmp_path / "after", changed)))
    assert (moved.appeared, moved.vanished) == (("Old",), ("Young",))
    smiling = next(one for one in moved.attributes if one.name == "Smiling")
    assert (smiling.after, smiling.z, smiling.interval) == (None, None, None)
    assert smiling.before is not None


def test_what_is_no_profile_is_said_so(faces, tmp_path):
    folder = write_prepared(tmp_path / "faces", faces)
    with pytest.raises(ArtifactError, match=r"faces\.json has schema 'facet\.faces/\d', expected 'facet\.profile/1'"):
        read_profile(folder / "faces.json")
    with pytest.raises(ArtifactError, match=r"nothing\.json does not exist"):
        read_profile(tmp_path / "nothing.json")


def test_a_manifest_without_what_it_needs_is_named(faces, tmp_path):
    folder = write_prepared(tmp_path / "faces", faces)
    pq.write_table(pq.read_table(folder / "manifest.parquet").drop(["near", "width"]), folder / "manifest.parquet")
    with pytest.raises(ArtifactError, match=r"manifest\.parquet has no column width, near: delete its folder"):
        profile(folder)
    (folder / "manifest.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArtifactError, match=r"manifest\.parquet is damaged"):
        profile(folder)
    (folder / "manifest.parquet").unlink()
    with pytest.raises(ArtifactError, match=r"manifest\.parquet does not exist: make it"):
        profile(folder)
    write_prepared(tmp_path / "none", columns(0))
    with pytest.raises(ArtifactError, match="lists no face"):
        profile(tmp_path / "none")


def test_names_with_any_signs_in_them_are_counted(faces, tmp_path):
    faces["attribute:id"] = np.ones(100)
    faces["attribute:<b>\n"] = -np.ones(100)
    found = profile(write_prepared(tmp_path / "faces", faces))["attributes"]
    assert found["id"]["all"]["present"] == found["<b>\n"]["all"]["absent"] == 100
    json.dumps(found)
