"""Pictures inside a table: what each type becomes, and files that unpack to more than they hold."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from facet.data.layouts import read_raw
from facet.errors import DataError
from tests import raw_sets, tiny
from tests.raw_sets import picture

KIND = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def written(folder: Path, columns: dict, name: str = "train.parquet", features: dict | None = None, **how) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, folder / name, **how)
    return folder / name


def images(count: int) -> pa.Array:
    return pa.array([{"bytes": picture(k), "path": f"{k}.png"} for k in range(count)], KIND)


def test_every_column_ends_where_it_belongs(tmp_path):
    raw_sets.parquet(tmp_path)
    raw = read_raw(tmp_path)
    assert raw.ids[0] == "data/train-00000-of-00001/000000"
    assert raw.ids[9] == "data/valid-00000-of-00001/000004"
    assert raw.names == ("Smiling", "Male")
    assert raw.attributes[:5].tolist() == [[1, 0], [-1, 1], [1, -1], [-1, 1], [1, -1]]
    assert raw.splits.tolist() == [0] * 5 + [1] * 5
    assert len(set(raw.identities.tolist())) == 3
    assert np.array_equal(raw.identities[:5], raw.identities[5:])
    assert raw.captions[:3] == ((), ("train 1",), ("train 2", "twice"))
    assert raw.read(raw.ids[8]) == picture(3, "JPEG")


def test_a_path_that_is_no_text_is_one_picture_put_aside(tmp_path):
    """Found by fuzzing: pyarrow reads the column and fails at the value."""
    text = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 3], np.int32)), pa.py_buffer(b"\x31\xff\x2e"))
    bad = pa.StructArray.from_arrays([pa.array([picture(0)]), text], ["bytes", "path"])
    written(tmp_path, {"image": bad, "Male": [1]})
    raw = read_raw(tmp_path)
    with pytest.raises(DataError, match=r"row group 0: a picture's fields can't be read .*drop the row"):
        raw.read(raw.ids[0])


def test_a_date_that_python_has_not_is_one_sentence(tmp_path):
    written(tmp_path, {"image": images(1), "born": pa.array([2**31 - 1], pa.int32()).cast(pa.date32())})
    with pytest.raises(DataError, match="is no parquet that can be read"):
        read_raw(tmp_path)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
@pytest.mark.parametrize("name", ["img", "JPG", "whatever"])
def test_plain_bytes_under_any_name(kind, name, tmp_path):
    written(tmp_path, {"Male": [1, 0], name: pa.array([picture(0), picture(1)], kind)})
    raw = read_raw(tmp_path)
    assert raw.read("train/000001") == picture(1)
    assert raw.names == ("Male",)


def test_of_two_columns_of_bytes_the_one_that_says_so_holds_the_pictures(tmp_path):
    written(tmp_path, {"mask": pa.array([b"mask"]), "image": pa.array([picture(0)])})
    assert read_raw(tmp_path).read("train/000000") == picture(0)


def test_class_names_come_from_the_notes_in_the_schema(tmp_path):
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "hair": {"names": ["fair", "black"]}}
    written(tmp_path, {"image": images(4), "label": [1, 0, -1, 1], "hair": [0, 1, 1, None]}, features=features)
    raw = read_raw(tmp_path)
    assert raw.names == ("cat", "dog", "hair_black", "hair_fair")
    assert raw.attributes.tolist() == [[-1, 1, -1, 1], [1, -1, 1, -1], [0, 0, 1, -1], [-1, 1, 0, 0]]


@pytest.mark.parametrize(
    "note", [b"{", b"[]", b"null", b'{"info": {"features": {"label": {"names": 5}}}}', b"\xff", b"[" * 100_000]
)
def test_a_broken_note_is_none(note, tmp_path):
    table = pa.table({"image": images(2), "label": [1, 0]}).replace_schema_metadata({b"huggingface": note})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read_raw(tmp_path).names == ("0", "1")


def test_a_split_column_comes_before_the_file_name(tmp_path):
    written(tmp_path, {"image": images(3), "split": ["test", None, "validation"]})
    assert read_raw(tmp_path).splits.tolist() == [2, 0, 1]


def test_files_of_other_columns_are_one_set(tmp_path):
    written(tmp_path, {"image": images(2), "Male": [1, 0]}, "a.parquet")
    written(tmp_path, {"image": images(1), "hat": ["yes"], "text": ["one"]}, "b.parquet")
    raw = read_raw(tmp_path)
    assert raw.attributes.tolist() == [[1, 0], [-1, 0], [0, 1]]
    assert raw.captions == ((), (), ("one",))


@pytest.mark.filterwarnings("ignore:.*(no attribute can be made of|stands there twice):UserWarning")
def test_types_that_say_nothing_are_left_out(tmp_path):
    columns = {
        "image": images(2),
        "vector": [[0.5, 1.5], [2.5, 3.5]],
        "box": [{"x": 1}, {"x": 2}],
        "nothing": pa.nulls(2),
        "when": pa.array([0, 1], pa.timestamp("s")),
        "deep": [[["a"]], [["b"]]],
        "pairs": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
        "a.b": [1, 0],
        "Male": pa.array([1.0, float("nan")]),
        "hat": pa.array(["yes", "no"]).dictionary_encode(),
        "big": pa.array(["yes", None], pa.large_string()),
    }
    written(tmp_path, columns)
    raw = read_raw(tmp_path)
    assert [name for name in raw.names if not name.startswith("when")] == ["Male", "hat", "big"]
    assert raw.attributes[:, raw.names.index("Male")].tolist() == [1, 0]
    assert raw.attributes[:, raw.names.index("big")].tolist() == [1, 0]


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_pictures_by_path_alone_are_read_from_the_folder(tmp_path):
    paths = ["0.png", "sub/1.png", "2.png", "../outside.png", "/etc/hostname"]
    written(tmp_path / "raw/data", {"image": pa.array([{"bytes": None, "path": path} for path in paths], KIND)})
    raw_sets.write(tmp_path / "raw/data/0.png", picture(0))
    raw_sets.write(tmp_path / "raw/sub/1.png", picture(1))
    raw_sets.write(tmp_path / "outside.png", "secret")
    raw = read_raw(tmp_path / "raw", "parquet")
    assert [raw.read(name) for name in raw.ids[:2]] == [picture(0), picture(1)]
    for name in raw.ids[2:]:
        with pytest.raises(DataError, match=r"train\.parquet names the picture .*, which is not there"):
            raw.read(name)


@pytest.mark.parametrize("value", [None, {"bytes": None, "path": None}, {"bytes": b"", "path": None}])
def test_a_row_without_a_picture_is_told_when_it_is_read(value, tmp_path):
    written(tmp_path, {"image": pa.array([{"bytes": picture(0), "path": None}, value], KIND)})
    raw = read_raw(tmp_path)
    with pytest.raises(DataError, match=r"train\.parquet, row 2: a picture of no bytes; drop the row"):
        raw.read("train/000001")


def test_eight_threads_read_across_row_groups(tmp_path):
    written(tmp_path, {"image": images(60)}, row_group_size=7)
    raw = read_raw(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(raw.read, raw.ids * 5))
    assert found == [picture(k) for k in range(60)] * 5


def test_parquet_inside_an_archive(tmp_path):
    raw_sets.parquet(tmp_path / "plain")
    expected = read_raw(tmp_path / "plain")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in sorted((tmp_path / "plain/data").iterdir()):
            archive.write(path, f"data/{path.name}")
            path.unlink()
    (tmp_path / "plain/data").rmdir()
    raw = read_raw(tmp_path)
    assert [raw.read(name) for name in raw.ids] == list(map(picture_of, raw.ids))
    assert raw.ids == expected.ids


def picture_of(name: str) -> bytes:
    return picture(int(name.rpartition("/")[2]), "JPEG")


# --- broken -----------------------------------------------------------------------------------------------------------

DAMAGED = {
    "cut off": lambda content: content[:-20],
    "half": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "a web page": lambda content: b"<!DOCTYPE html>" * 20,
    "encrypted": lambda content: content[:4] + content[4:-4] + b"PARE",
    "a footer of gigabytes": lambda content: content[:-8] + b"\xff\xff\xff\x7fPAR1",
    "a footer of zeros": lambda content: content[:-200] + bytes(192) + content[-8:],
}


@pytest.mark.parametrize("how", list(DAMAGED))
def test_a_damaged_file_is_one_sentence(how, tmp_path):
    path = written(tmp_path, {"image": images(3)})
    path.write_bytes(DAMAGED[how](path.read_bytes()))
    with pytest.raises(
        DataError, match=r"train\.parquet is no parquet that can be read \(.*\): fetch it again"
    ) as caught:
        read_raw(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_encrypted_says_so(tmp_path):
    path = written(tmp_path, {"image": images(3)})
    path.write_bytes(path.read_bytes()[:-4] + b"PARE")
    with pytest.raises(DataError, match="it is encrypted"):
        read_raw(tmp_path)


@pytest.mark.parametrize(
    "column", [["a.png", "b.png"], [1, 2], [[1, 2], [3, 4]], [{"path": "a.png"}, {"path": "b.png"}]]
)
def test_a_file_without_pictures_says_what_it_has(column, tmp_path):
    written(tmp_path, {"image": column})
    with pytest.raises(DataError, match=r"train\.parquet has no pictures: expected a column `image` .*found image: "):
        read_raw(tmp_path, "parquet")
    with pytest.raises(DataError, match="none of the layouts"):
        read_raw(tmp_path)


def test_a_file_without_rows_is_one_sentence(tmp_path):
    written(tmp_path, {"image": images(0)})
    with pytest.raises(DataError, match=r"has no row in any \.parquet file"):
        read_raw(tmp_path)


def test_pages_that_are_damaged_are_told_when_they_are_read(tmp_path):
    path = written(tmp_path, {"image": images(30), "Male": [1] * 30}, compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[4:40] = b"\xff" * 36
    path.write_bytes(content)
    raw = read_raw(tmp_path)
    with pytest.raises(DataError, match=r"train\.parquet"):
        raw.read("train/000000")


# --- bombs ------------------------------------------------------------------------------------------------------------

MEASURED = """
import sys
from pathlib import Path
from facet.data.layouts import read_raw
from facet.errors import DataError

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1024

before = peak()
try:
    raw = read_raw(Path(sys.argv[1]))
    found = [len(raw), raw.names, len(raw.read(raw.ids[0]))]
except DataError as error:
    found = str(error)
print(repr((peak() - before, found)))
"""


def measured(folder: Path):
    """(MiB over the baseline, what came of reading ``folder``) in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", MEASURED, str(folder)]
    done = subprocess.run(
        command, env=tiny.child_environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return ast.literal_eval(done.stdout)


def repeated(value: str | bytes, count: int, kind: pa.DataType) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([value], kind))


def test_a_text_that_stands_there_a_million_times_is_kept_once(tmp_path):
    text = repeated("x" * 2**20, 20_000, pa.string())
    columns = {"image": repeated(picture(0), 20_000, pa.binary()), "text": text, "hair": text}
    path = written(tmp_path, columns, store_schema=False)
    assert path.stat().st_size < 2**20
    grown, found = measured(tmp_path)
    assert found == [20_000, ("hair_" + "x" * 75,), len(picture(0))]
    assert grown < 300


def test_lists_of_a_text_that_stands_there_a_million_times_are_refused(tmp_path):
    texts = repeated("x" * 2**20, 20_000, pa.string())
    lists = pa.ListArray.from_arrays(pa.array(np.arange(20_001, dtype=np.int32)), texts)
    written(tmp_path, {"image": repeated(picture(0), 20_000, pa.binary()), "captions": lists}, store_schema=False)
    grown, found = measured(tmp_path)
    assert "lists of" in found
    assert "expected 1,073,741,824 at most" in found
    assert grown < 800


@pytest.mark.slow
def test_a_picture_that_stands_there_a_thousand_times_is_refused(tmp_path):
    noise = np.random.default_rng(0).bytes(2**20)
    written(tmp_path, {"image": repeated(noise, 1000, pa.binary())}, store_schema=False)
    grown, found = measured(tmp_path)
    assert "pictures in row group 0 of" in found
    assert grown < 2000


def test_a_column_of_zeros_that_unpacks_to_gigabytes_is_no_cost(tmp_path):
    written(
        tmp_path,
        {"image": repeated(picture(0), 2_000_000, pa.binary()), "Male": np.zeros(2_000_000, np.int64)},
        store_schema=False,
    )
    grown, found = measured(tmp_path)
    assert found[:2] == [2_000_000, ("Male",)]
    assert grown < 1200


def test_more_rows_than_any_set_has_are_refused(tmp_path):
    written(tmp_path, {"image": repeated(b"x", 3_000_001, pa.binary())}, store_schema=False)
    with pytest.raises(DataError, match="announces 3,000,001 rows, expected 3,000,000 at most"):
        read_raw(tmp_path)
