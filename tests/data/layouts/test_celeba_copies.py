"""CelebA as others hand it on: Kaggle's CSVs, the folders of the original, with landmarks and captions or less."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from facet.data.layouts import read_raw
from facet.errors import DataError
from tests import raw_sets

LANDMARKS = "list_landmarks_align_celeba"


def test_kaggles_tables_and_its_folder_in_a_folder(tmp_path):
    raw_sets.celeba_csv(tmp_path)
    raw = read_raw(tmp_path)
    assert raw.names == ("Male", "Smiling")
    assert raw.attributes.tolist() == [[1 - 2 * (k % 2), 1] for k in range(6)]
    assert raw.splits.tolist() == [0, 1, 2, 0, 1, 2]
    assert raw.landmarks[2].ravel().tolist() == list(range(2, 12))
    assert raw.read("000003.jpg") == raw_sets.picture(2, "JPEG")


def test_the_folders_of_the_original(tmp_path):
    raw_sets.celeba(tmp_path / "flat")
    expected = read_raw(tmp_path / "flat")
    for name, folder in (
        ("list_attr_celeba.txt", "Anno"),
        ("list_landmarks_align_celeba.txt", "Anno"),
        ("identity_CelebA.txt", "Anno"),
        ("list_eval_partition.txt", "Eval"),
        ("img_align_celeba.zip", "Img"),
    ):
        (tmp_path / "raw/CelebA" / folder).mkdir(parents=True, exist_ok=True)
        shutil.move(tmp_path / "flat" / name, tmp_path / "raw/CelebA" / folder / name)
    raw = read_raw(tmp_path / "raw")
    for field in ("attributes", "splits", "identities", "landmarks"):
        assert np.array_equal(getattr(raw, field), getattr(expected, field)), field
    assert len(raw.read(raw.ids[0])) > 100


@pytest.mark.parametrize("write", [raw_sets.celeba, raw_sets.celeba_csv])
def test_without_a_partition_no_split_is_known(write, tmp_path):
    write(tmp_path)
    for path in tmp_path.glob("list_eval_partition.*"):
        path.unlink()
    assert read_raw(tmp_path).splits.tolist() == [-1] * 6


def test_without_landmarks_there_are_none(tmp_path):
    raw_sets.celeba_csv(tmp_path)
    (tmp_path / f"{LANDMARKS}.csv").unlink()
    assert read_raw(tmp_path).landmarks is None


def test_landmarks_are_read_by_name(tmp_path):
    raw_sets.celeba(tmp_path)
    path = tmp_path / f"{LANDMARKS}.txt"
    before = read_raw(tmp_path).landmarks
    lines = [line.split() for line in path.read_text().splitlines()]
    lines[1] = lines[1][::-1]
    lines[2:] = [[row[0], *row[:0:-1]] for row in lines[2:]]
    path.write_text("\n".join(map(" ".join, lines)))
    assert np.array_equal(read_raw(tmp_path).landmarks, before)


LINES = {
    "another column": (2, lambda line: line.replace("nose_x", "chin_x"), "line 2: expected the columns lefteye_x"),
    "a point too few": (4, lambda line: line.rsplit(maxsplit=1)[0], "line 4: .* ten pixel coordinates"),
    "a word": (4, lambda line: line.replace(" 4", " x", 1), "line 4: .* ten pixel coordinates"),
    "no place": (4, lambda line: line.replace(" 4", " 1e9", 1), "line 4: .* ten pixel coordinates"),
    "a row missing": (8, lambda line: "", r"has no row for 000006\.jpg \(1 missing\)"),
}


@pytest.mark.parametrize("how", list(LINES))
def test_broken_landmarks_are_one_sentence(how, tmp_path):
    line, change, says = LINES[how]
    raw_sets.celeba(tmp_path)
    path = tmp_path / f"{LANDMARKS}.txt"
    lines = path.read_text().splitlines()
    lines[line - 1] = change(lines[line - 1])
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=rf"{LANDMARKS}\.txt.*{says}"):
        read_raw(tmp_path)


def test_captions_of_some_pictures_several_a_picture(tmp_path):
    raw_sets.celeba_csv(tmp_path)
    lines = '{"file_name": "x/000002.jpg", "text": "a\u2028 face"}\n\n{"file_name": "000002.jpg", "text": "again"}\n'
    raw_sets.write(tmp_path / "metadata.jsonl", lines + '{"file_name": "999999.jpg", "text": "of no picture"}\n')
    assert read_raw(tmp_path).captions == ((), ("a face", "again"), (), (), (), ())
    raw_sets.write(tmp_path / "metadata.jsonl", lines + '{"file_name": "000001.jpg", "caption": "x"}\n')
    with pytest.raises(DataError, match=r"metadata\.jsonl, line 4: expected"):
        read_raw(tmp_path)
