"""CelebA's own layout: its tables as text or as Kaggle's CSV, its aligned pictures in a folder or an archive."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from facet.data.files import Files
from facet.data.layouts.names import attribute_names
from facet.data.layouts.text import csv_rows, json_value, short, text_of
from facet.data.raw import LANDMARKS, SPLITS, RawSet
from facet.errors import DataError, did_you_mean
from facet.progress import bar

ATTRIBUTES = "list_attr_celeba"
PARTITION = "list_eval_partition"
IDENTITY = "identity_CelebA"
_LANDMARKS = "list_landmarks_align_celeba"
_IMAGES = "img_align_celeba"
_CAPTIONS = "metadata.jsonl"
MARK = f"{ATTRIBUTES}.txt or .csv"

# A state as a byte: int8's -1, 0 and 1.
_CODES = {"-1": 255, "0": 0, "1": 1}


def fits(files: Files) -> bool:
    return find(files, ATTRIBUTES) is not None


def read(files: Files) -> RawSet:
    """The attribute table, optionally partition, identities, landmarks and captions, and the pictures.

    Each table is looked for by its name in any folder, as .txt or as .csv; CelebA's own ``Anno``, ``Eval`` and ``Img``
    will do. Captions are in ``metadata.jsonl`` as Hugging Face's image folders have them, one object a line with
    ``file_name`` and ``text``; a picture may have several lines, or none. Without a partition the splits are not known.

    Raises DataError naming file and line for a missing table, a wrong column, a value that is neither -1 nor 1, or
    tables that disagree about which pictures exist.
    """
    table = find(files, ATTRIBUTES)
    if table is None:
        raise _missing(files, ATTRIBUTES)
    ids, names, attributes = read_attributes(files, table)
    return RawSet(
        ids,
        names,
        attributes,
        read_splits(files, ids),
        read_identities(files, ids),
        _reader(files, ids),
        _read_captions(files, ids),
        _read_landmarks(files, ids),
    )


def find(files: Files, stem: str) -> str | None:
    """The table ``stem``.txt or ``stem``.csv that lies nearest the top, None where there is none."""
    wanted = (f"{stem}.txt", f"{stem}.csv")
    found = [name for name in files if name.rpartition("/")[2] in wanted]
    return min(found, key=lambda name: (name.count("/"), name.endswith(".csv"), name), default=None)


def _missing(files: Files, stem: str) -> DataError:
    siblings = [name for name in (*files, *files.archives) if "/" not in name]
    return DataError(
        f"{files.where(stem)}.txt is missing:{did_you_mean(f'{stem}.txt', siblings)} CelebA's layout needs "
        f"{ATTRIBUTES}.txt, and {_IMAGES}.zip or {_IMAGES}/."
    )


# --- tables -----------------------------------------------------------------------------------------------------------


def read_attributes(files: Files, table: str) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray]:
    """(file names, attribute names, int8 [n, k] of -1, 0, 1) of an attribute table in CelebA's form."""
    path = files.where(table)
    rows = _rows(files, table)
    announced, (number, header) = _header(path, rows, table)
    if len(set(header)) != len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise DataError(f"{path}, line {number}: attribute {twice!r} has two columns; remove one.")
    ids, states = [], bytearray()
    with bar(announced, "read attributes", "row") as progress:
        for number, row in rows:
            if len(row) != len(header) + 1:
                raise DataError(
                    f"{path}, line {number}: {len(row) - 1} values for {len(header)} attributes; mend the row."
                )
            try:
                states += bytes(map(_CODES.__getitem__, row[1:]))
            except KeyError:
                raise _wrong_state(path, number, header, row) from None
            ids.append(row[0])
            progress.update()
    if announced is not None and len(ids) != announced:
        raise DataError(f"{path}: line 1 announces {announced} pictures, {len(ids)} rows follow; fetch it again.")
    if not ids:
        raise DataError(f"{path} lists no picture: fetch it again.")
    _refuse_twice(path, ids)
    names = attribute_names(header, f"{path}, line {2 - (announced is None)}")
    return tuple(ids), names, np.frombuffer(bytes(states), np.int8).reshape(len(ids), len(names))


def _rows(files: Files, table: str) -> Iterator[tuple[int, list[str]]]:
    if table.endswith(".csv"):
        for number, row in csv_rows(files, table):
            yield number, [cell.strip() for cell in row]
    else:
        for number, line in enumerate(text_of(files, table).splitlines(), start=1):
            if words := line.split():
                yield number, words


def _header(path: str, rows: Iterator, table: str) -> tuple[int | None, tuple[int, list[str]]]:
    """(number of pictures that line 1 announces, (line, names)); a CSV announces none, and names the first column."""
    first = next(rows, (1, []))[1] if not table.endswith(".csv") else None
    second = next(rows, None)
    if second is None or (first is not None and (len(first) != 1 or _whole(first[0]) is None)):
        raise DataError(f"{path}, line 1: expected the number of pictures, then a line of names, then the rows.")
    number, names = second
    return (None, (number, names[1:])) if first is None else (_whole(first[0]), (number, names))


def _whole(word: str) -> int | None:
    """A whole number that fits int64, None where ``word`` is none."""
    return int(word) if word.removeprefix("-").isdecimal() and len(word) <= 18 else None


def _wrong_state(path: str, number: int, names: list[str], row: list[str]) -> DataError:
    k = next(k for k, value in enumerate(row[1:]) if value not in _CODES)
    return DataError(
        f"{path}, line {number}, column {names[k]}: {short(row[k + 1])}, expected -1 (absent), 0 (unknown) "
        "or 1 (present)."
    )


def _refuse_twice(path: str, ids: list[str]) -> None:
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(name for name in ids if name in seen or seen.add(name))
        raise DataError(f"{path}: picture {twice} has two rows; keep one row a picture.")


def read_splits(files: Files, ids: Iterable[str]) -> np.ndarray:
    """The partition in the order of ``ids``, int64 indices of SPLITS; -1 where there is no such table."""
    ids = tuple(ids)
    if find(files, PARTITION) is None and any("partition" in name.casefold() for name in files if "/" not in name):
        raise _missing(files, PARTITION)
    return _read_column(files, PARTITION, ids, allowed=range(len(SPLITS)))


def read_identities(files: Files, ids: Iterable[str]) -> np.ndarray:
    """Who is on each picture, int64 in the order of ``ids``; -1 where there is no such table."""
    return _read_column(files, IDENTITY, tuple(ids))


def _read_column(files: Files, stem: str, ids: tuple[str, ...], allowed: range | None = None) -> np.ndarray:
    """The second column of a table in the order of ``ids``, int64; -1 where there is no such table."""
    table = find(files, stem)
    if table is None:
        return np.full(len(ids), -1, np.int64)
    path, values = files.where(table), {}
    rows = _rows(files, table)
    if table.endswith(".csv"):
        next(rows, None)
    for number, words in rows:
        value = _whole(words[1]) if len(words) == 2 else None
        if value is None:
            raise DataError(
                f"{path}, line {number}: {short(' '.join(words))}, expected a file name and a whole number."
            )
        if allowed is not None and value not in allowed:
            raise DataError(f"{path}, line {number}: {value}, expected {allowed.start} to {allowed.stop - 1}.")
        values[words[0]] = value
    return np.array(_in_order(path, ids, values), dtype=np.int64)


def _in_order(path: str, ids: tuple[str, ...], values: dict[str, Any]) -> list:
    missing = [name for name in ids if name not in values]
    if missing:
        raise DataError(f"{path} has no row for {missing[0]} ({len(missing)} missing): fetch the matching tables.")
    return [values[name] for name in ids]


def _read_landmarks(files: Files, ids: tuple[str, ...]) -> np.ndarray | None:
    """float32 [n, 5, 2] in pixels of the aligned picture; None where there is no such table."""
    table = find(files, _LANDMARKS)
    if table is None:
        return None
    path = files.where(table)
    rows = _rows(files, table)
    _, (number, header) = _header(path, rows, table)
    wanted = [f"{point}_{axis}" for point in LANDMARKS for axis in "xy"]
    if sorted(header) != sorted(wanted):
        raise DataError(f"{path}, line {number}: expected the columns {', '.join(wanted)}; fetch it again.")
    order = [header.index(name) + 1 for name in wanted]
    values = {}
    for number, row in rows:
        points = [coordinate(row[k]) for k in order] if len(row) == len(wanted) + 1 else [None]
        if None in points:
            raise DataError(
                f"{path}, line {number}: {short(' '.join(row))}, expected a file name and ten pixel coordinates."
            )
        values[row[0]] = points
    return np.array(_in_order(path, ids, values), dtype=np.float32).reshape(-1, len(LANDMARKS), 2)


def coordinate(word: str) -> float | None:
    """A place in a picture in pixels, None where ``word`` can't be one."""
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 1e6 else None


# --- captions and pictures --------------------------------------------------------------------------------------------


def _read_captions(files: Files, ids: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The captions of each picture, in the order of ``ids``; none where there is no such file."""
    captions: dict[str, list[str]] = {name: [] for name in ids}
    if _CAPTIONS in files:
        for number, line in enumerate(text_of(files, _CAPTIONS).splitlines(), start=1):
            if line.strip():
                name, text = _caption_of(f"{files.where(_CAPTIONS)}, line {number}", line)
                captions.get(name, []).append(text)
    return tuple(tuple(own) for own in captions.values())


def _caption_of(place: str, line: str) -> tuple[str, str]:
    """(file name without folders, caption) of a line of metadata.jsonl."""
    try:
        row = json_value(line, place)
    except DataError:
        row = None
    if isinstance(row, dict) and all(isinstance(row.get(key), str) for key in ("file_name", "text")):
        # Nothing is opened by this name; it is looked up among those of the attribute table.
        return row["file_name"].rpartition("/")[2], " ".join(row["text"].split())
    raise DataError(f'{place}: expected {{"file_name": "000001.jpg", "text": "a caption"}}; mend the line.')


def _reader(files: Files, ids: tuple[str, ...]) -> Callable[[str], bytes]:
    folders = {name.rpartition("/")[0] for name in files}
    folders = sorted(folder for folder in folders if folder.rpartition("/")[2] == _IMAGES)
    packed = [name for name in files.archives if name.rpartition("/")[2].rpartition(".")[0] == _IMAGES]
    if not folders and not packed:
        raise DataError(f"{files.root} holds neither {_IMAGES}.zip nor {_IMAGES}/: put CelebA's pictures there.")
    # Kaggle's archive has the folder twice, one in the other.
    folder = next((folder for folder in folders if f"{folder}/{ids[0]}" in files), folders[0] if folders else _IMAGES)
    refuse_missing(files, packed[0] if packed else folder, [name for name in ids if f"{folder}/{name}" not in files])
    return lambda name: files.read(f"{folder}/{name}")


def refuse_missing(files: Files, where: str, missing: list[str]) -> None:
    """Raise DataError where the pictures ``missing``, all named by the attribute table, are not in ``where``."""
    if missing:
        raise DataError(
            f"{files.where(where)} lacks {missing[0]} and {len(missing) - 1} more pictures of the attribute table: "
            "fetch it again."
        )
