"""CelebAMask-HQ: its own attributes and pictures, CelebA's word on who is where."""

from __future__ import annotations

import numpy as np
import pytest

from facet.data.layouts import read_raw
from facet.errors import DataError
from tests import raw_sets

BASE = "CelebAMask-HQ"
ATTRIBUTES, MAPPING = f"{BASE}/CelebAMask-HQ-attribute-anno.txt", f"{BASE}/CelebA-HQ-to-CelebA-mapping.txt"


def test_attributes_pictures_and_the_splits_of_the_originals(tmp_path):
    raw_sets.celebamask(tmp_path)
    raw_sets.write(tmp_path / "identity_CelebA.txt", "000006.jpg 7\n099095.jpg 8\n119614.jpg 7\n")
    raw = read_raw(tmp_path)
    assert raw.ids == ("0.jpg", "1.jpg", "2.jpg")
    assert raw.names == ("Male", "Smiling")
    assert raw.attributes.tolist() == [[1, -1], [-1, -1], [1, 1]]
    assert raw.splits.tolist() == [0, 1, 2]
    assert raw.identities.tolist() == [7, 8, 7]
    assert raw.read("2.jpg") == raw_sets.picture(2, "JPEG")


def test_without_celebas_tables_the_mapping_is_not_needed(tmp_path):
    raw_sets.celebamask(tmp_path)
    (tmp_path / MAPPING).unlink()
    (tmp_path / "list_eval_partition.txt").unlink()
    raw = read_raw(tmp_path)
    assert np.array_equal(raw.splits, [-1] * 3)
    assert np.array_equal(raw.identities, [-1] * 3)


BROKEN = {
    "no mapping": (MAPPING, None, r"CelebA-HQ-to-CelebA-mapping\.txt is missing: without it"),
    "a cut mapping": (MAPPING, "idx orig_idx orig_file\n0 1 000001.jpg\n", r"has no row for 1\.jpg \(2 missing\)"),
    "a wrong mapping": (
        MAPPING,
        "idx orig_idx orig_file\n0 1\n",
        r"mapping\.txt, line 2: '0 1', expected idx",
    ),
    "another original": (
        MAPPING,
        "idx orig_idx orig_file\n0 1 000001.jpg\n1 2 000002.jpg\n2 3 000003.jpg\n",
        r"list_eval_partition\.txt has no row for 000002\.jpg \(2 missing\)",
    ),
    "a picture missing": (f"{BASE}/CelebA-HQ-img/1.jpg", None, r"CelebA-HQ-img lacks 1\.jpg and 0 more"),
    "a wrong value": (ATTRIBUTES, "1\nMale\n0.jpg 2\n", r"line 3, column Male: '2', expected -1"),
}


@pytest.mark.parametrize("how", list(BROKEN))
def test_a_broken_set_is_one_sentence(how, tmp_path):
    name, content, says = BROKEN[how]
    raw_sets.celebamask(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        raw_sets.write(tmp_path / name, content)
    with pytest.raises(DataError, match=says):
        read_raw(tmp_path)


def test_no_pictures_at_all(tmp_path):
    raw_sets.celebamask(tmp_path)
    for k in range(3):
        (tmp_path / f"{BASE}/CelebA-HQ-img/{k}.jpg").unlink()
    with pytest.raises(DataError, match="holds no CelebA-HQ-img/"):
        read_raw(tmp_path)
