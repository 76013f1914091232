"""Pictures and nothing else."""

from __future__ import annotations

import pytest

from facet.data.layouts import read_raw
from tests import raw_sets


def test_pictures_have_no_attributes_and_that_is_said(tmp_path):
    for name in ("a.png", "b.jpg", "notes.txt"):
        raw_sets.write(tmp_path / name, raw_sets.picture(1))
    with pytest.warns(UserWarning, match=r"no table and no class folder says anything of the 2 pictures"):
        raw = read_raw(tmp_path)
    assert (raw.layout, raw.ids, raw.names, raw.attributes.shape) == ("unlabelled", ("a.png", "b.jpg"), (), (2, 0))
    assert raw.splits.tolist() == [-1, -1]


def test_one_folder_may_name_the_split(tmp_path):
    raw_sets.write(tmp_path / "test/a.png", raw_sets.picture(1))
    raw_sets.write(tmp_path / "b.png", raw_sets.picture(2))
    with pytest.warns(UserWarning, match="no attributes"):
        raw = read_raw(tmp_path)
    assert dict(zip(raw.ids, raw.splits.tolist(), strict=True)) == {"b.png": -1, "test/a.png": 2}
