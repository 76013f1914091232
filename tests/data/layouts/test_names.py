"""What attributes are called, and which words name a split."""

from __future__ import annotations

import unicodedata

import pytest

from facet.data.layouts.names import attribute_name, attribute_names, is_picture, split_of
from facet.errors import DataError


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Smiling", "Smiling"),
        ("5_o_Clock_Shadow", "5_o_Clock_Shadow"),
        ("  big   dog\t", "big_dog"),
        ("a,b\nc", "a_b_c"),
        ("-Male", "Male"),
        ("+-_x_", "x"),
        ("caf" + "e\u0301", "caf\u00e9"),
        ("a\u202eb\u0000c\u200bd", "abcd"),
        ("日本", "日本"),
        ("n" * 200, "n" * 80),
    ],
)
def test_a_name_can_be_asked_for(text, name):
    assert attribute_name(text) == name
    assert attribute_name(name) == name
    assert unicodedata.is_normalized("NFC", name)


@pytest.mark.parametrize("text", ["", "-", " , ", "\u200b", "+_-"])
def test_a_name_of_nothing_is_one_sentence(text):
    with pytest.raises(DataError, match=r"faces\.csv: .* can't name an attribute"):
        attribute_names(["a", text], "faces.csv")


@pytest.mark.parametrize(("one", "other"), [("Male", "male"), ("big dog", "big_dog"), ("é", "e\u0301"), ("a", "a\t")])
def test_names_that_would_be_one_are_refused(one, other):
    with pytest.raises(DataError, match=r"faces\.csv: .* are both attribute .*rename one"):
        attribute_names([one, other], "faces.csv")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train/cat/1.png", 0),
        ("data/Validation/1.png", 1),
        ("data/val/1.png", 1),
        ("test-00000-of-00001.parquet", 2),
        ("data/train.parquet", 0),
        ("trainer/1.png", -1),
        ("0/1.png", -1),
        ("testing_1.png", 2),
        ("contest.png", -1),
        ("1.png", -1),
    ],
)
def test_the_split_that_a_name_announces(name, split):
    assert split_of(name) == split


def test_pictures_are_known_by_their_suffix():
    assert is_picture("a/B.JPG")
    assert not is_picture("a.jpg/notes.txt")
