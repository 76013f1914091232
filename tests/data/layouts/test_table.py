"""Pictures with tables beside them, joined by whatever the tables call the pictures."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from facet.data.layouts import read_raw
from facet.errors import DataError
from tests.raw_sets import picture, write, write_csv, zipped_table
from tests.raw_sets import table as write_table

HEADER = ("file_name", "Male")


def pictures(folder, *names: str) -> None:
    for k, name in enumerate(names):
        write(folder / name, picture(k))


@pytest.mark.filterwarnings("ignore:.*no attribute can be made of 'age':UserWarning")
@pytest.mark.parametrize("write_set", [write_table, zipped_table])
def test_every_column_of_a_table_ends_where_it_belongs(write_set, tmp_path):
    write_set(tmp_path)
    raw = read_raw(tmp_path)
    assert raw.ids == ("img/0.png", "img/1.png", "img/2.png", "img/3.png")
    assert raw.names == ("smiling", "hair_black", "hair_fair")
    assert raw.attributes.tolist() == [[1, 1, -1], [-1, -1, 1], [0, 0, 0], [1, 1, -1]]
    assert raw.splits.tolist() == [0, 1, 2, 0]
    assert raw.identities[0] == raw.identities[1] != raw.identities[2] == raw.identities[3]
    assert raw.captions == tuple((f"face, {k}",) for k in range(4))
    assert raw.landmarks[3].ravel().tolist() == list(range(3, 13))
    assert raw.read("img/2.png") == picture(2)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_metadata_as_hugging_face_has_it(ending, tmp_path):
    """One metadata file a split, beside its pictures; file names are relative to it."""
    for part in ("train", "validation", "test"):
        pictures(tmp_path / part, "0.png", "sub/1.png")
        rows = [
            {"file_name": "0.png", "Male": 1, "text": f"{part} 0"},
            {"file_name": "sub/1.png", "Male": 0, "text": ""},
        ]
        path = tmp_path / part / f"metadata.{ending}"
        if ending == "csv":
            write_csv(path, [rows[0].keys(), *(row.values() for row in rows)])
        elif ending == "jsonl":
            write(path, "\n".join(map(json.dumps, rows)))
        else:
            pq.write_table(pa.Table.from_pylist(rows), path)
    raw = read_raw(tmp_path)
    assert raw.layout == "table"
    assert dict(zip(raw.ids, raw.splits.tolist(), strict=True))["validation/sub/1.png"] == 1
    assert sorted(raw.splits.tolist()) == [0, 0, 1, 1, 2, 2]
    assert raw.attributes[:, 0].tolist() == [1, -1] * 3
    assert raw.captions[raw.ids.index("train/0.png")] == ("train 0",)
    assert raw.captions[raw.ids.index("train/sub/1.png")] == ()


def test_a_picture_may_have_many_captions_by_rows_columns_and_lists(tmp_path):
    pictures(tmp_path, "0.png", "1.png")
    lines = [
        {"file_name": "0.png", "text": "one", "captions": ["two", " three "], "Male": True},
        {"file_name": "1.png", "text": None, "captions": []},
        {"file_name": "0.png", "text": "four\u2028lines"},
    ]
    write(tmp_path / "metadata.jsonl", "\n".join(json.dumps(line, ensure_ascii=False) for line in lines))
    raw = read_raw(tmp_path)
    assert raw.captions == (("one", "four lines", "two", "three"), ())
    assert raw.attributes.tolist() == [[1], [0]]


def test_splits_by_column_come_before_folders_and_folders_before_none(tmp_path):
    pictures(tmp_path, "train/0.png", "test/1.png", "2.png", "test-3.png")
    write_csv(tmp_path / "a.csv", [(*HEADER, "split"), ("train/0.png", 1, "valid"), ("test/1.png", 1, "")])
    write_csv(tmp_path / "b.csv", [HEADER, ("2.png", 0), ("test-3.png", 0)])
    assert read_raw(tmp_path).splits.tolist() == [1, 2, -1, -1]


@pytest.mark.parametrize(
    "cell", ["deep/er/a.png", "er/a.png", "a.png", "a", "er/a", "./deep/er/a.png", "deep\\er\\a.png"]
)
def test_what_a_table_may_call_a_picture(cell, tmp_path):
    pictures(tmp_path, "deep/er/a.png", "b.png")
    write_csv(tmp_path / "t.csv", [HEADER, (cell, 1), ("b", 0)])
    assert read_raw(tmp_path).ids == ("deep/er/a.png", "b.png")


def test_a_decomposed_name_finds_the_composed_picture(tmp_path):
    pictures(tmp_path, "e\u0301.png")
    write_csv(tmp_path / "t.csv", [HEADER, ("\u00e9.png", 1)])
    assert read_raw(tmp_path).ids == ("\u00e9.png",)


@pytest.mark.parametrize("title", ["Image_ID", "path", "id", "Foto", "anything"])
def test_the_column_of_pictures_is_found_by_name_or_by_what_it_holds(title, tmp_path):
    pictures(tmp_path, "0.png", "1.png")
    write_csv(tmp_path / "t.csv", [("Male", title, "kind"), ("yes", "0.png", "x"), ("no", "1.png", "y")])
    raw = read_raw(tmp_path)
    assert raw.ids == ("0.png", "1.png")
    assert raw.names == ("Male", "kind_x", "kind_y")


def test_states_that_could_name_pictures_are_no_names(tmp_path):
    """Of the columns that name pictures throughout, it is the one that tells them apart."""
    pictures(tmp_path, *(f"{k}.png" for k in range(6)))
    write_csv(tmp_path / "t.csv", [("Male", "number"), *((k % 2, k) for k in range(6))])
    raw = read_raw(tmp_path)
    assert raw.names == ("Male",)
    assert raw.ids == tuple(f"{k}.png" for k in range(6))


def test_tables_are_joined_by_picture(tmp_path):
    pictures(tmp_path, "0.png", "1.png", "2.png")
    write_csv(tmp_path / "a.csv", [HEADER, ("0.png", 1), ("1.png", 0), ("0.png", 1)])
    write_csv(tmp_path / "b.tsv", [("image", "hat"), ("1", "yes"), ("2", "no")], delimiter="\t")
    raw = read_raw(tmp_path)
    assert raw.ids == ("0.png", "1.png", "2.png")
    assert raw.names == ("Male", "hat")
    assert raw.attributes.tolist() == [[1, 0], [-1, 1], [0, -1]]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("\ufefffile_name;Male\r\n0.png;1\r\n\r\n1.png;0\r\n", "t.csv"),
        (',file_name,Male\n0,"0.png", 1\n1,1.png,0', "T.CSV"),
        ("file_name\tMale\n0.png\t1\n1.png\t0\n", "t.tsv"),
        ('{"file_name": "0.png", "Male": 1.0}\n\n{"Male": 0, "file_name": "1.png", "x": null}\n', "t.jsonl"),
    ],
    ids=["excel", "pandas", "tabs", "lines"],
)
def test_tables_as_programs_write_them(text, name, tmp_path):
    pictures(tmp_path, "0.png", "1.png")
    write(tmp_path / name, text)
    if "x" in text:
        with pytest.warns(UserWarning, match="can be made of 'x'"):
            raw = read_raw(tmp_path)
    else:
        raw = read_raw(tmp_path)
    assert raw.names == ("Male",)
    assert raw.attributes.tolist() == [[1], [-1]]


def test_pictures_without_a_row_are_left_out_with_a_warning(tmp_path):
    pictures(tmp_path, "0.png", "1.png", "2.png")
    write_csv(tmp_path / "t.csv", [HEADER, ("1.png", 1)])
    with pytest.warns(UserWarning, match="2 pictures have no row and are left out"):
        assert read_raw(tmp_path).ids == ("1.png",)


def test_a_table_that_names_no_picture_is_left_out_with_a_warning(tmp_path):
    pictures(tmp_path, "0.png")
    write_csv(tmp_path / "prices.csv", [("item", "price"), ("bread", 2)])
    write_csv(tmp_path / "t.csv", [HEADER, ("0.png", 1)])
    with pytest.warns(UserWarning, match=r"prices\.csv names no picture and is left out"):
        assert read_raw(tmp_path).names == ("Male",)


def test_a_table_of_names_alone_is_a_set_without_attributes(tmp_path):
    pictures(tmp_path, "0.png")
    write_csv(tmp_path / "t.csv", [("file_name",), ("0.png",)])
    raw = read_raw(tmp_path)
    assert raw.attributes.shape == (1, 0)
    assert raw.landmarks is None
    assert raw.captions == ()


BROKEN = {
    "a picture missing": (
        "file_name,Male\n0.png,1\n9.png,0\n",
        r"t\.csv, line 3, column file_name: '9\.png' is no pic",
    ),
    "all missing": ("file_name,Male\n8.png,1\n9.png,0\n", r"line 2, column file_name: '8\.png'.*2 missing of 2"),
    "outside": ("file_name,Male\n0.png,1\n../secret.png,1\n", r"'\.\./secret\.png' is no picture of the folder"),
    "absolute": ("file_name,Male\n0.png,1\n/etc/passwd,1\n", r"'/etc/passwd' is no picture of the folder"),
    "no name": ("file_name,Male\n0.png,1\n,1\n", r"t\.csv, line 3, column file_name: empty, expected a file name"),
    "ambiguous": ("file_name,Male\nsame.png,1\n", r"'same\.png' may be a/same\.png or b/same\.png: write the folder"),
    "no column": ("item,price\nx,2\n", r"t\.csv has no column that names pictures: .* found 'item', 'price'"),
    "empty": ("", r"t\.csv has no column that names pictures: .* found none"),
    "a header": ("file_name,Male\n", r"t\.csv lists no picture"),
    "a cell too many": ("file_name,Male\n0.png,1,\n", r"t\.csv, line 2: 3 cells, 2 in the header; mend the row"),
    "a column twice": ("file_name,Male,Male\n0.png,1,0\n", r"t\.csv, line 1: column 'Male' stands there twice"),
    "names that clash": ("file_name,Male,male\n0.png,1,0\n", r"'Male' and 'male' are both attribute"),
    "a row that differs": (
        "file_name,Male\n0.png,1\n0.png,0\n",
        r"t\.csv, line 2, column Male: another row of the same",
    ),
    "a formula": ("file_name,hair\n0.png,=1+1\n", r"t\.csv, line 2, column hair: '=1\+1' looks like a formula"),
    "an open quote": ('file_name,Male\n"0.png,1\n', r"t\.csv, line 2: .*mend the row"),
    "a split": ("file_name,split\n0.png,holdout\n", r"t\.csv, line 2, column split: 'holdout', expected train"),
    "a NUL": (
        "file_name,hair\n0.png,fair\n0.png\0,fair\n",
        r"t\.csv, line 3, column file_name: '0\.png\\x00' is no pic",
    ),
    "a picture": (b"\xff\xd8\xff\xe0", r"t\.csv is not a text file in UTF-8"),
    "UTF-16": ("file_name,Male\n0.png,1\n".encode("utf-16"), r"t\.csv is not a text file in UTF-8"),
}


@pytest.mark.filterwarnings("ignore:.*have no row:UserWarning")
@pytest.mark.parametrize("how", list(BROKEN))
def test_a_broken_table_is_one_sentence(how, tmp_path):
    content, says = BROKEN[how]
    pictures(tmp_path / "raw", "0.png", "a/same.png", "b/same.png")
    pictures(tmp_path, "secret.png")
    write(tmp_path / "raw/t.csv", content)
    with pytest.raises(DataError, match=says) as caught:
        read_raw(tmp_path / "raw", "table")
    assert "\n" not in str(caught.value)


LINES = {
    "no JSON": ('{"file_name": "0.png"\n', r"t\.jsonl, line 1: not JSON"),
    "no object": ('{"file_name": "0.png"}\n[1]\n', r"t\.jsonl, line 2: '\[1\]', expected a JSON object"),
    "a title twice": ('{"file_name": "0.png", "a": 1, "a ": 0}\n', r"line 1: column 'a ' stands there twice"),
    "deep": ("[" * 100_000, r"t\.jsonl, line 1: not JSON"),
    "a number without end": ('{"file_name": ' + "9" * 5000 + "}", r"t\.jsonl, line 1: not JSON"),
    "no name": ('{"file_name": null}\n', "empty, expected a file name"),
    "a list of names": ('{"file_name": ["0.png"]}\n', "is no picture of the folder"),
}


@pytest.mark.parametrize("how", list(LINES))
def test_broken_lines_of_json_are_one_sentence(how, tmp_path):
    content, says = LINES[how]
    pictures(tmp_path, "0.png")
    write(tmp_path / "t.jsonl", content)
    with pytest.raises(DataError, match=says):
        read_raw(tmp_path, "table")


def test_too_many_tables_are_one_sentence(tmp_path):
    pictures(tmp_path, "0.png")
    for k in range(101):
        write(tmp_path / f"{k}.csv", "file_name\n0.png\n")
    with pytest.raises(DataError, match="holds 101 tables, expected 1 to 100"):
        read_raw(tmp_path)


def test_each_row_of_a_long_table_goes_to_its_picture(tmp_path):
    names = [f"{k:06d}.png" for k in range(20_000)]
    for name in names:
        (tmp_path / name).touch()
    rows = [(name, *((k >> bit & 1) for bit in range(16))) for k, name in enumerate(names)]
    write_csv(tmp_path / "t.csv", [("file_name", *(f"bit{bit}" for bit in range(16))), *rows])
    raw = read_raw(tmp_path)
    assert np.array_equal((raw.attributes[:, :16] > 0) @ (1 << np.arange(16)), np.arange(20_000))
