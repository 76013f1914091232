"""What changed between two sets: each kind of change alone and counted, and nothing where nothing did."""

import dataclasses
import json

import numpy as np
import pytest

from facet.data.difference import Moved, Some, difference
from facet.data.tables import read_tables
from tests.prepared import columns, write_prepared

NONE = Some(0, ())


@pytest.fixture
def told(tmp_path):
    """The difference between a set of 100 faces and a changed one; each is a manifest's columns and a quarantine."""

    def compare(after, aside=(), before=None, aside_before=(), **about):
        old = write_prepared(tmp_path / "old", before or columns(100), aside_before)
        new = write_prepared(tmp_path / "new", after, aside, **about)
        return difference(read_tables(old), read_tables(new))

    return compare


def part(faces, rows):
    return {name: [values[i] for i in rows] for name, values in faces.items()}


def test_the_same_faces_in_another_order_are_no_difference(told):
    found = told(part(columns(100), np.random.default_rng(0).permutation(100)), per_shard=7)
    assert found.nothing
    assert found.kept == 100


def test_pictures_come_and_go(told):
    found = told(part(columns(103), range(10, 103)))
    assert found.added == Some(3, ("000100.jpg", "000101.jpg", "000102.jpg"))
    assert found.removed == Some(10, tuple(f"{i:06d}.jpg" for i in range(5)))
    assert found.kept == 90
    assert not found.nothing
    assert found.changed == found.recaptioned == NONE


def test_another_picture_under_the_same_name(told):
    faces = columns(100)
    faces["source"][7] = "f" * 64
    found = told(faces)
    assert dataclasses.replace(found, changed=NONE).nothing
    assert found.changed == Some(1, ("000007.jpg",))


def test_labels_that_changed_are_counted_by_attribute_and_way(told):
    before, after = columns(100), columns(100)
    before["attribute:Male"] = np.repeat([-1, 0, 1], [50, 30, 20])
    after["attribute:Male"] = np.repeat([-1, 1, 0], [48, 42, 10])
    after["attribute:Young"] = after["attribute:Young"].copy()
    after["attribute:Young"][99] = -after["attribute:Young"][99] or 1
    found = told(after, before=before)
    male, young = found.relabelled
    assert male.name == "Male"
    assert male.ways == {"absent to present": 2, "present to unknown": 10, "unknown to present": 30}
    assert male.faces == Some(42, tuple(f"{i:06d}.jpg" for i in range(48, 53)))
    assert (young.name, young.faces) == ("Young", Some(1, ("000099.jpg",)))


def test_an_attribute_of_one_set_alone_is_no_relabelling(told):
    after = columns(100)
    after["attribute:Old"] = after.pop("attribute:Young")
    assert told(after).relabelled == ()


def test_moves_between_splits(told):
    after = columns(100)
    after["split"][0] = after["split"][5] = "test"
    after["split"][4] = "valid"
    assert told(after).moved == (
        Moved("train", "test", Some(2, ("000000.jpg", "000005.jpg"))),
        Moved("test", "valid", Some(1, ("000004.jpg",))),
    )


def test_captions_are_compared_one_by_one(told):
    before, after = columns(100), columns(100)
    before["captions"][1], after["captions"][1] = ["a", "b"], ["a b"]
    before["captions"][2], after["captions"][2] = [], [""]
    before["captions"][3], after["captions"][3] = ["x", "y"], ["x", "y"]
    assert told(after, before=before).recaptioned == Some(2, ("000001.jpg", "000002.jpg"))


def test_another_person(told):
    after = columns(100)
    after["identity"][4] = -1
    assert told(after).reidentified == Some(1, ("000004.jpg",))


def test_what_is_newly_put_aside_and_what_is_no_more(told):
    aside_before = [("old.jpg", "broken", "cut"), ("stays.jpg", "broken", "cut")]
    aside = [("stays.jpg", "too small", "3x3"), ("000000.jpg", "near duplicate", "of 5"), ("new.jpg", "broken", "cut")]
    found = told(part(columns(100), range(1, 100)), aside, aside_before=aside_before)
    kinds = [(one.kind, one.pictures, one.were_faces) for one in found.quarantined]
    assert kinds == [("broken", Some(1, ("new.jpg",)), 0), ("near duplicate", Some(1, ("000000.jpg",)), 1)]
    assert found.released == Some(1, ("old.jpg",))


def test_other_settings_are_named(told):
    found = told(columns(100), size=32, crop="none")
    assert found.prepared == {"size": (16, 32), "crop": ("celeba-148", "none")}
    assert not found.nothing
    json.dumps(dataclasses.asdict(found))
