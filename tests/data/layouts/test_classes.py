"""Folders as classes, with the splits on top or not."""

from __future__ import annotations

import pytest

from facet.data.layouts import read_raw
from facet.errors import DataError
from tests.raw_sets import picture, write


def classes_of(folder, *names: str):
    for k, name in enumerate(names):
        write(folder / name, picture(k))
    raw = read_raw(folder)
    assert raw.layout == "classes"
    assert ((raw.attributes == 1).sum(axis=1) == 1).all()
    shown = [raw.names[k] for k in raw.attributes.argmax(axis=1)]
    return dict(zip(raw.ids, zip(shown, raw.splits.tolist(), strict=True), strict=True))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("cat/1.png", "dog/2.png"), [("cat", -1), ("dog", -1)]),
        (("train/cat/1.png", "val/dog/2.png", "TEST/cat/3.png"), [("cat", 2), ("cat", 0), ("dog", 1)]),
        (("top/train/cat/1.png", "top/test/dog/2.png"), [("dog", 2), ("cat", 0)]),
        (("train/cat/1.png", "train/dog/2.png"), [("cat", 0), ("dog", 0)]),
        (("cat/a/1.png", "cat/b/2.png", "dog/c/3.png"), [("cat", -1), ("cat", -1), ("dog", -1)]),
        (("0/1.png", "1/2.png", "2/3.png"), [("0", -1), ("1", -1), ("2", -1)]),
        (("train/1.png", "plane/2.png"), [("plane", -1), ("train", -1)]),
        (("cat/1.png", "cat/train/2.png", "dog/3.png"), [("cat", -1), ("cat", -1), ("dog", -1)]),
    ],
    ids=["classes", "splits", "one folder above", "training only", "deeper", "digits", "a train", "mixed depths"],
)
def test_what_is_a_class_and_what_a_split(names, expected, tmp_path):
    assert list(classes_of(tmp_path, *names).values()) == expected


def test_pictures_beside_the_classes_are_left_out_with_a_warning(tmp_path):
    with pytest.warns(UserWarning, match="1 pictures lie in no class folder and are left out"):
        assert len(classes_of(tmp_path, "cover.png", "cat/1.png", "dog/2.png")) == 2


def test_class_names_can_be_asked_for(tmp_path):
    found = classes_of(tmp_path, "big dog/1.png", "caf\u0065\u0301/2.png")
    assert [name for name, _ in found.values()] == ["big_dog", "caf\u00e9"]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("cat/1.png",), "has pictures in 1 class folders, expected 2 to 1000"),
        (("1.png", "2.png"), "has pictures in 0 class folders"),
        (("Cat/1.png", "cat/2.png"), "'Cat' and 'cat' are both attribute"),
        (("-/1.png", "cat/2.png"), "'-' can't name an attribute"),
        (tuple(f"c{k}/1.png" for k in range(1001)), "in 1001 class folders, expected 2 to 1000"),
    ],
)
def test_folders_that_are_no_classes_are_one_sentence(names, says, tmp_path):
    for name in names:
        write(tmp_path / name, b"x")
    with pytest.raises(DataError, match=says):
        read_raw(tmp_path, "classes")
