"""Raw data as people have it, read into one shape: a RawSet."""

from __future__ import annotations

import contextlib
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from facet.data.raw import SPLITS, RawSet
from facet.errors import DataError, did_you_mean

_ATTRIBUTES = "list_attr_celeba.txt"
_PARTITION = "list_eval_partition.txt"
_IDENTITY = "identity_CelebA.txt"
_IMAGES = "img_align_celeba"
_CAPTIONS = "metadata.jsonl"


def read_celeba(root: Path) -> RawSet:
    """CelebA's own layout: the two tables, optionally identities and captions, the pictures as a folder or as the zip.

    Captions are in ``metadata.jsonl`` as Hugging Face's image folders have them, one object a line with ``file_name``
    and ``text``; a picture may have several lines, or none.

    Raises DataError naming file and line for a missing table, a wrong column, a value that is neither -1 nor 1, or
    tables that disagree about which pictures exist.
    """
    if not root.is_dir():
        raise DataError(f"{root}/ does not exist: run `dvc repro data.dvc`, which fetches the raw data.")
    ids, names, attributes = _read_attributes(root / _ATTRIBUTES)
    splits = _read_column(root / _PARTITION, ids, allowed=range(len(SPLITS)))
    identity_table = root / _IDENTITY
    identities = _read_column(identity_table, ids) if identity_table.exists() else np.full(len(ids), -1)
    captions = _read_captions(root / _CAPTIONS, ids)
    return RawSet(ids, names, attributes, splits, identities, _image_reader(root, ids), captions)


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        siblings = [p.name for p in path.parent.iterdir()]
        raise DataError(
            f"{path} is missing:{did_you_mean(path.name, siblings)} CelebA's layout needs {_ATTRIBUTES}, {_PARTITION} "
            f"and {_IMAGES}.zip or {_IMAGES}/."
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not a text file: put the table from CelebA's `Anno` folder there.") from None


def _read_attributes(path: Path) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray]:
    lines = _read_lines(path)
    if len(lines) < 3 or not lines[0].strip().isdecimal():
        raise DataError(f"{path}, line 1: expected the number of pictures, then a line of names, then the rows.")
    names = tuple(lines[1].split())
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}, line 2: attribute {twice!r} has two columns; remove one.")
    rows = [line.split() for line in lines[2:] if line.strip()]
    if len(rows) != int(lines[0]):
        raise DataError(
            f"{path}: line 1 announces {lines[0].strip()} pictures, {len(rows)} rows follow; fetch it again."
        )
    for number, row in enumerate(rows, start=3):
        if len(row) != len(names) + 1:
            raise DataError(f"{path}, line {number}: {len(row) - 1} values for {len(names)} attributes; mend the row.")
        wrong = next((k for k, value in enumerate(row[1:]) if value not in ("-1", "1", "0")), None)
        if wrong is not None:
            raise DataError(
                f"{path}, line {number}, column {names[wrong]}: {row[wrong + 1]!r}, expected -1 (absent), 0 (unknown) "
                "or 1 (present)."
            )
    ids = tuple(row[0] for row in rows)
    if len(set(ids)) != len(ids):
        twice = next(name for name, count in Counter(ids).items() if count > 1)
        raise DataError(f"{path}: picture {twice} has two rows; keep one row a picture.")
    return ids, names, np.array([row[1:] for row in rows], dtype=np.int8)


def _read_column(path: Path, ids: tuple[str, ...], allowed: range | None = None) -> np.ndarray:
    """The second column of ``path`` in the order of ``ids``, int64."""
    values: dict[str, int] = {}
    for number, line in enumerate(_read_lines(path), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or not words[1].removeprefix("-").isdecimal():
            raise DataError(f"{path}, line {number}: {line.strip()[:60]!r}, expected a file name and a whole number.")
        value = int(words[1])
        if allowed is not None and value not in allowed:
            raise DataError(f"{path}, line {number}: {value}, expected {allowed.start} to {allowed.stop - 1}.")
        values[words[0]] = value
    missing = [name for name in ids if name not in values]
    if missing:
        raise DataError(f"{path} has no row for {missing[0]} ({len(missing)} missing): fetch the matching tables.")
    return np.array([values[name] for name in ids], dtype=np.int64)


def _read_captions(path: Path, ids: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The captions of each picture, in the order of ``ids``; none where there is no such file."""
    captions: dict[str, list[str]] = {name: [] for name in ids}
    if path.is_file():
        for number, line in enumerate(_read_lines(path), start=1):
            if line.strip():
                name, text = _caption_of(path, number, line)
                captions.get(name, []).append(text)
    return tuple(tuple(own) for own in captions.values())


def _caption_of(path: Path, number: int, line: str) -> tuple[str, str]:
    """(file name without folders, caption) of a line of metadata.jsonl."""
    with contextlib.suppress(json.JSONDecodeError):
        row = json.loads(line)
        if isinstance(row, dict) and all(isinstance(row.get(key), str) for key in ("file_name", "text")):
            # Nothing is opened by this name; it is looked up among those of the attribute table.
            return row["file_name"].rpartition("/")[2], " ".join(row["text"].split())
    raise DataError(
        f'{path}, line {number}: expected {{"file_name": "000001.jpg", "text": "a caption"}}; mend the line.'
    )


def _image_reader(root: Path, ids: tuple[str, ...]) -> Callable[[str], bytes]:
    folder, archive = root / _IMAGES, root / f"{_IMAGES}.zip"
    if archive.is_file():
        return _zip_reader(archive, ids)
    if folder.is_dir():
        present = {p.name for p in folder.iterdir()}
        _refuse_missing(folder, [name for name in ids if name not in present])
        return lambda name: (folder / name).read_bytes()
    raise DataError(f"{root} holds neither {_IMAGES}.zip nor {_IMAGES}/: put CelebA's aligned pictures there.")


def _zip_reader(archive: Path, ids: tuple[str, ...]) -> Callable[[str], bytes]:
    try:
        pictures = zipfile.ZipFile(archive)
    except zipfile.BadZipFile:
        raise DataError(f"{archive} is not a zip (a quota page saved as one?): fetch it again.") from None
    # Members are read by exact name and never extracted, so a hostile member name can't reach the disk.
    present = set(pictures.namelist())
    _refuse_missing(archive, [name for name in ids if f"{_IMAGES}/{name}" not in present])

    def read(name: str) -> bytes:
        try:
            return pictures.read(f"{_IMAGES}/{name}")
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:  # locked: RuntimeError
            raise DataError(f"{archive}, member {name} is damaged ({error}): fetch the archive again.") from None

    return read


def _refuse_missing(where: Path, missing: list[str]) -> None:
    if missing:
        raise DataError(
            f"{where} lacks {missing[0]} and {len(missing) - 1} more pictures of the attribute table: fetch it again."
        )
