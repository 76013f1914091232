"""CelebA's layout is read as it is; each way it can be broken is one sentence that names the place."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from facet.data.attributes import CELEBA_ATTRIBUTES
from facet.data.layouts import read_celeba
from facet.errors import DataError

TABLE, PARTITION, IDENTITY = "list_attr_celeba.txt", "list_eval_partition.txt", "identity_CelebA.txt"
ARCHIVE = "img_align_celeba.zip"


@pytest.fixture
def folder(raw_folder, tmp_path) -> Path:
    return Path(shutil.copytree(raw_folder, tmp_path / "data"))


def edit(path: Path, line: int, change) -> None:
    lines = path.read_text().splitlines()
    lines[line - 1] = change(lines[line - 1])
    path.write_text("\n".join(lines) + "\n")


def repack(archive: Path, changes: dict[str, bytes | None], method: int = zipfile.ZIP_STORED) -> None:
    """The archive with members replaced, or left out where None."""
    with zipfile.ZipFile(archive) as pictures:
        contents = {name: pictures.read(name) for name in pictures.namelist()} | changes
    with zipfile.ZipFile(archive, "w", method) as pictures:
        for name, content in contents.items():
            if content is not None:
                pictures.writestr(name, content)


def test_tables_and_pictures_agree(raw_folder):
    raw = read_celeba(raw_folder)
    assert len(raw) == 64
    assert raw.names == CELEBA_ATTRIBUTES
    assert set(np.unique(raw.attributes)) == {-1, 1}
    assert set(np.unique(raw.splits)) == {0, 1, 2}
    assert raw.read(raw.ids[0])[:2] == b"\xff\xd8"
    row = (raw_folder / TABLE).read_text().splitlines()[2 + 10].split()
    assert (raw.ids[10], raw.attributes[10].tolist()) == (row[0], [int(value) for value in row[1:]])


def test_a_folder_of_pictures_will_do_as_well_as_the_zip(folder):
    expected = read_celeba(folder)
    zipfile.ZipFile(folder / ARCHIVE).extractall(folder)
    (folder / ARCHIVE).unlink()
    assert read_celeba(folder).read("000003.jpg") == expected.read("000003.jpg")


def test_columns_are_read_by_name_whatever_their_order(folder, raw_folder):
    lines = [line.split() for line in (folder / TABLE).read_text().splitlines()]
    order = list(reversed(range(40)))
    lines[1] = [lines[1][k] for k in order]
    lines[2:] = [[row[0], *(row[1 + k] for k in order)] for row in lines[2:]]
    (folder / TABLE).write_text("\n".join(" ".join(line) for line in lines))
    raw, expected = read_celeba(folder), read_celeba(raw_folder)
    assert np.array_equal(raw.attributes[:, raw.names.index("Smiling")], expected.attributes[:, 31])


def test_identities_may_be_missing_and_rows_in_any_order(folder, raw_folder):
    (folder / IDENTITY).unlink()
    lines = (folder / PARTITION).read_text().splitlines()
    (folder / PARTITION).write_text("\n".join(reversed(lines)))
    raw = read_celeba(folder)
    assert (raw.identities == -1).all()
    assert np.array_equal(raw.splits, read_celeba(raw_folder).splits)


def test_an_unknown_attribute_is_a_zero(folder):
    edit(folder / TABLE, 3, lambda line: line.replace(" 1", " 0"))
    assert 0 in read_celeba(folder).attributes[0]


BROKEN_TABLES = {
    "no table": (lambda d: (d / TABLE).unlink(), f"{TABLE} is missing"),
    "table misspelt": (
        lambda d: (d / TABLE).rename(d / "list_attr_celebA.txt"),
        r"list_attr_celeba\.txt is missing: did you mean list_attr_celebA\.txt",
    ),
    "partition misspelt": (
        lambda d: (d / PARTITION).rename(d / "list_eval_partitions.txt"),
        r"list_eval_partition\.txt is missing: did you mean list_eval_partitions\.txt",
    ),
    "wrong value": (
        lambda d: edit(d / TABLE, 7, lambda line: line.replace(" 1", " 2", 1)),
        rf"{TABLE}, line 7, column \w+: '2', expected -1 \(absent\), 0 \(unknown\) or 1",
    ),
    "a column too few": (
        lambda d: edit(d / TABLE, 9, lambda line: line.rsplit(maxsplit=1)[0]),
        f"{TABLE}, line 9: 39 values for 40 attributes",
    ),
    "a name twice": (
        lambda d: edit(d / TABLE, 2, lambda line: line.replace("Young", "Male")),
        f"{TABLE}, line 2: attribute 'Male' has two columns",
    ),
    "rows cut off": (
        lambda d: (d / TABLE).write_text("\n".join((d / TABLE).read_text().splitlines()[:40])),
        f"{TABLE}: line 1 announces 64 pictures, 38 rows follow",
    ),
    "a row twice": (
        lambda d: edit(d / TABLE, 4, lambda line: line.replace("000002", "000001")),
        f"{TABLE}.*000001.jpg",
    ),
    "no header": (
        lambda d: (d / TABLE).write_text("\n".join((d / TABLE).read_text().splitlines()[2:])),
        f"{TABLE}, line 1: expected the number of pictures",
    ),
    "empty": (lambda d: (d / TABLE).write_text(""), f"{TABLE}, line 1"),
    "a picture as table": (lambda d: (d / TABLE).write_bytes(b"\xff\xd8\xff\xe0" * 9), "is not a text file"),
    "split out of range": (
        lambda d: edit(d / PARTITION, 5, lambda line: line[:-1] + "3"),
        f"{PARTITION}, line 5: 3, expected 0 to 2",
    ),
    "split no number": (
        lambda d: edit(d / PARTITION, 5, lambda line: line[:-1] + "train"),
        f"{PARTITION}, line 5: '000005.jpg train', expected a file name and a whole number",
    ),
    "split half a number": (lambda d: edit(d / PARTITION, 5, lambda line: line[:-1] + "--1"), f"{PARTITION}, line 5"),
    "split superscript": (lambda d: edit(d / PARTITION, 5, lambda line: line[:-1] + "²"), f"{PARTITION}, line 5"),
    "a split missing": (
        lambda d: (d / PARTITION).write_text("\n".join((d / PARTITION).read_text().splitlines()[:-2])),
        rf"{PARTITION} has no row for 000063\.jpg \(2 missing\)",
    ),
}


@pytest.mark.parametrize("how", list(BROKEN_TABLES))
def test_a_broken_table_is_one_sentence(how, folder):
    damage, says = BROKEN_TABLES[how]
    damage(folder)
    with pytest.raises(DataError, match=says):
        read_celeba(folder)


BROKEN_PICTURES = {
    "no pictures": (lambda d: (d / ARCHIVE).unlink(), r"holds neither img_align_celeba\.zip nor img_align_celeba/"),
    "a picture missing": (
        lambda d: repack(d / ARCHIVE, {"img_align_celeba/000009.jpg": None}),
        r"img_align_celeba\.zip lacks 000009\.jpg",
    ),
    "a web page": (
        lambda d: (d / ARCHIVE).write_text("<!DOCTYPE html><html>Quota exceeded</html>"),
        r"is not a zip \(a quota page saved as one\?\)",
    ),
    "cut off": (lambda d: (d / ARCHIVE).write_bytes((d / ARCHIVE).read_bytes()[:-300]), "is not a zip"),
    "no root": (lambda d: shutil.rmtree(d), "does not exist: run `dvc repro data.dvc`"),
}


@pytest.mark.parametrize("how", list(BROKEN_PICTURES))
def test_missing_pictures_are_one_sentence(how, folder):
    damage, says = BROKEN_PICTURES[how]
    damage(folder)
    with pytest.raises(DataError, match=says):
        read_celeba(folder)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_that_is_damaged_is_named_when_it_is_read(method, folder):
    """CelebA's own archive is deflated, ours stored: both kinds of rot must be sentences."""
    repack(folder / ARCHIVE, {}, method)
    with zipfile.ZipFile(folder / ARCHIVE) as pictures:
        at = pictures.getinfo("img_align_celeba/000005.jpg").header_offset + 30 + len("img_align_celeba/000005.jpg")
    content = bytearray((folder / ARCHIVE).read_bytes())
    content[at : at + 400] = b"\xff" * 400
    (folder / ARCHIVE).write_bytes(content)
    raw = read_celeba(folder)
    with pytest.raises(DataError, match=r"member img_align_celeba/000005\.jpg is damaged"):
        raw.read("000005.jpg")


def test_a_locked_member_is_named(folder):
    name = b"img_align_celeba/000005.jpg"
    content = bytearray((folder / ARCHIVE).read_bytes())
    local, central = content.index(name), content.rindex(name)
    # The lowest bit of the flags, in the member's own header and in the table of contents, says "encrypted".
    content[local - 30 + 6] |= 1
    content[central - 46 + 8] |= 1
    (folder / ARCHIVE).write_bytes(content)
    with pytest.raises(DataError, match=r"member img_align_celeba/000005\.jpg is damaged .*password"):
        read_celeba(folder).read("000005.jpg")
