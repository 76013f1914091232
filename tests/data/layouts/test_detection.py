"""Every layout is recognised by its mark; a folder with none says what was looked for."""

from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest

from facet.artifacts import SOURCE_SCHEMA
from facet.data.layouts import Layout, read_raw
from facet.errors import DataError
from tests import raw_sets


@pytest.mark.filterwarnings("ignore:.*(no attribute can be made|have no row|no table and no class).*:UserWarning")
@pytest.mark.parametrize("name", list(raw_sets.SETS))
def test_each_set_is_recognised_and_consistent(name, tmp_path):
    write, layout = raw_sets.SETS[name]
    write(tmp_path)
    raw = read_raw(tmp_path)
    assert raw.layout == layout
    assert len(set(raw.ids)) == len(raw) > 0
    assert raw.attributes.shape == (len(raw), len(raw.names))
    assert raw.attributes.dtype == np.int8
    assert raw.splits.shape == raw.identities.shape == (len(raw),)
    assert len(raw.captions) in (0, len(raw))
    assert all(raw.read(name)[:2] in (b"\xff\xd8", b"\x89P") for name in raw.ids)
    again = read_raw(tmp_path, layout)
    assert (again.ids, again.names) == (raw.ids, raw.names)
    assert np.array_equal(again.attributes, raw.attributes)


def test_every_layout_that_can_be_named_has_a_set():
    assert {layout for _, layout in raw_sets.SETS.values()} | {"auto"} == set(get_args(Layout))


def test_a_folder_without_a_layout_says_what_was_looked_for(tmp_path):
    raw_sets.write(tmp_path / "notes.txt", "nothing here")
    with pytest.raises(DataError, match="none of the layouts") as caught:
        read_raw(tmp_path)
    assert all(f"{layout}: " in str(caught.value) for layout in get_args(Layout) if layout != "auto")


@pytest.mark.parametrize("layout", [layout for layout in get_args(Layout) if layout != "auto"])
def test_a_layout_by_name_in_an_empty_folder_is_one_sentence(layout, tmp_path):
    with pytest.raises(DataError):
        read_raw(tmp_path, layout)


def test_no_folder(tmp_path):
    with pytest.raises(DataError, match=r"does not exist: run `dvc repro data\.dvc`"):
        read_raw(tmp_path / "data")


def test_the_source_goes_along_and_is_no_data(tmp_path):
    raw_sets.classes(tmp_path)
    note = {"schema": SOURCE_SCHEMA, "license": "CC0-1.0"}
    raw_sets.write(tmp_path / "source.json", json.dumps(note))
    assert read_raw(tmp_path).source == note
    assert read_raw(tmp_path).names == ("big_dog", "cat", "dog")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not JSON"),
        ("[]", "expected a JSON object"),
        ("[" * 100_000, "not JSON"),
        ('{"schema": "x/1"}', "has schema 'x/1', expected"),
        (b"\xff", "not a text file"),
    ],
)
def test_a_broken_source_is_one_sentence(content, says, tmp_path):
    raw_sets.classes(tmp_path)
    raw_sets.write(tmp_path / "source.json", content)
    with pytest.raises(DataError, match=says):
        read_raw(tmp_path)
