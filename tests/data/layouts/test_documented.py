"""What docs/layouts.md shows can be copied: its tables are read, and what it lists is what the code knows."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from facet.data.layouts import Layout, read_raw
from tests import raw_sets, tiny

PAGE = (tiny.ROOT / "docs/layouts.md").read_text(encoding="utf-8")
TABLES = dict(re.findall(r"^```\w+ (\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))

# Table -> (folder of the pictures, layout, attributes, splits).
EXPECTED = {
    "list_attr_celeba.txt": ("img_align_celeba", "celeba", ("Male", "Smiling"), [-1, -1]),
    "faces.csv": ("img", "table", ("smiling", "hair_black"), [0, 0, 2]),
    "cs1.csv": (".", "cartoon-set", ("glasses_11", "hair_color_3"), [-1]),
    "train/metadata.jsonl": ("train", "table", ("smiling",), [0, 0]),
}


@pytest.mark.parametrize("name", list(TABLES))
def test_a_table_of_the_page_can_be_copied(name, tmp_path):
    folder, layout, attributes, splits = EXPECTED[name]
    raw_sets.write(tmp_path / name, TABLES[name])
    own = ["cs1.png"] if layout == "cartoon-set" else []
    for k, picture in enumerate(sorted({*own, *re.findall(r"[\w-]+\.(?:jpg|png)", TABLES[name])})):
        raw_sets.write(tmp_path / folder / picture, raw_sets.picture(k))
    raw = read_raw(tmp_path)
    assert (raw.layout, raw.names, raw.splits.tolist()) == (layout, attributes, splits)
    assert all(raw.read(picture) for picture in raw.ids)


def test_every_table_of_the_page_is_tried():
    assert set(TABLES) == set(EXPECTED)


def test_the_page_has_each_layout_in_the_order_of_detection(tmp_path):
    """The error of an empty folder lists what is looked for, in order."""
    listed = re.findall(r"^\| `([\w-]+)` \|", PAGE.partition("Whatever the layout")[0], re.MULTILINE)
    with pytest.raises(Exception, match="none of the layouts") as caught:
        read_raw(tmp_path)
    order = [str(caught.value).index(f" {name}: ") for name in listed]
    assert order == sorted(order)
    assert {*listed, "auto"} == set(get_args(Layout))
    assert all(f"\n## `{name}`\n" in PAGE for name in listed)
