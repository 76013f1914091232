"""Pictures with tables beside them: CSV, TSV, JSON lines or parquet, Hugging Face's ``metadata`` included."""

from __future__ import annotations

import functools
import unicodedata
import warnings
from collections import defaultdict

import numpy as np

from facet.data.files import Files
from facet.data.layouts.arrow import Parquet
from facet.data.layouts.cells import Cell, Part, Table, merge
from facet.data.layouts.columns import captions_of, interpret, is_caption
from facet.data.layouts.names import is_picture, split_of
from facet.data.layouts.parquet import SUFFIX
from facet.data.layouts.tables import TEXT_TABLES, read_text_table
from facet.data.layouts.text import short
from facet.data.raw import RawSet
from facet.errors import DataError

MARK = "pictures, and a .csv, .tsv, .jsonl or .parquet that names them"
_FILE_COLUMNS = ("file_name", "filename", "image", "image_id", "path", "file", "name", "id")
_MOST_TABLES = 100
# Rows that decide which column names the pictures.
_LOOKED_AT = 1000


def fits(files: Files) -> bool:
    return bool(_tables(files)) and any(map(is_picture, files))


def read(files: Files) -> RawSet:
    """Every table that names pictures, joined by picture in the order of the first rows.

    File names are relative to the table or to the data's folder, may leave out folders or the suffix where that names
    one picture only, and stand in a column of a usual name or in the one that names pictures. Pictures without a row
    are left out with a warning. Raises DataError for a table that names pictures that are not there.
    """
    pictures = _Pictures([name for name in files if is_picture(name)])
    names = _tables(files)
    if not names or len(names) > _MOST_TABLES:
        raise DataError(f"{files.root} holds {len(names)} tables, expected 1 to {_MOST_TABLES} beside the pictures.")
    ids: dict[str, int] = {}
    parts, columns, others = [], set(), []
    for name in names:
        table = _read_table(files, name)
        column = _file_column(table, pictures, name.rpartition("/")[0])
        if column is None:
            others.append(table)
            continue
        found = _resolve(table, column, pictures, name.rpartition("/")[0])
        parts.append(Part(table, np.array([ids.setdefault(picture, len(ids)) for picture in found], np.int64)))
        columns.add((table.where, column))
        table.columns.pop(column)
    if not parts:
        shown = ", ".join(short(title) for title in list(others[0].columns)[:8])
        raise DataError(
            f"{others[0].where} has no column that names pictures: expected {' or '.join(_FILE_COLUMNS[:4])}, "
            f"found {shown or 'none'}."
        )
    if others:
        warnings.warn(f"{others[0].where} names no picture and is left out.", stacklevel=2)
    if not ids:
        raise DataError(f"{parts[0].table.where} lists no picture: fetch it again.")
    if len(ids) < len(pictures):
        warnings.warn(
            f"{files.root}: {len(pictures) - len(ids):,} pictures have no row and are left out.", stacklevel=2
        )
    known = interpret(merge(parts, len(ids), is_caption), len(ids), str(files.root))
    return RawSet(
        tuple(ids),
        known.names,
        known.attributes,
        np.where(known.splits >= 0, known.splits, [_folder_split(name) for name in ids]),
        known.identities,
        files.read,
        captions_of(parts, len(ids)),
        known.landmarks,
    )


def _tables(files: Files) -> list[str]:
    return [name for name in files if name.casefold().endswith((*TEXT_TABLES, SUFFIX))]


def _read_table(files: Files, name: str) -> Table:
    if not name.casefold().endswith(SUFFIX):
        return read_text_table(files, name)
    with Parquet(files, name) as parquet:
        return parquet.table([field.name for field in parquet.schema if "." not in field.name])


def _folder_split(name: str) -> int:
    """Only folders count: a picture may be called test-1.png in any split."""
    folder = name.rpartition("/")[0]
    return split_of(f"{folder}/") if folder else -1


class _Pictures:
    """Pictures by what a table may call them."""

    def __init__(self, names: list[str]) -> None:
        self._names = frozenset(names)

    def __len__(self) -> int:
        return len(self._names)

    @functools.cached_property
    def _tails(self) -> dict[str, list[str]]:
        return self._grouped(lambda tail: tail)

    @functools.cached_property
    def _stems(self) -> dict[str, list[str]]:
        return self._grouped(lambda tail: tail.rpartition(".")[0])

    def _grouped(self, key) -> dict[str, list[str]]:
        found = defaultdict(list)
        for name in sorted(self._names):
            found[key(name.rpartition("/")[2])].append(name)
        return found

    def find(self, cell: Cell, folder: str) -> list[str]:
        """The pictures that ``cell`` of a table in ``folder`` may mean: none, one, or several."""
        if not isinstance(cell, str):
            return []
        name = unicodedata.normalize("NFC", cell.replace("\\", "/")).removeprefix("./")
        for whole in (f"{folder}/{name}" if folder else name, name):
            if whole in self._names:
                return [whole]
        tail = name.rpartition("/")[2]
        return [p for p in self._tails.get(tail, ()) if p.endswith(f"/{name}")] or [
            p for p in self._stems.get(tail, ()) if f"/{p}".rpartition(".")[0].endswith(f"/{name}")
        ]


def _file_column(table: Table, pictures: _Pictures, folder: str) -> str | None:
    """The column that names pictures: of those with a usual name the first that names any, or else any column that
    does so nearly always, or else the first with a usual name, whose pictures are all missing."""
    share = {}
    for title, (values, _) in table.columns.items():
        looked_at = values[:_LOOKED_AT]
        share[title] = sum(bool(pictures.find(cell, folder)) for cell in looked_at) / max(1, len(looked_at))
    folded = {title.casefold(): title for title in table.columns}
    usual = [folded[name] for name in _FILE_COLUMNS if name in folded]
    nearly = [title for title in table.columns if share[title] >= 0.9]
    return next(iter([*(title for title in usual if share[title]), *nearly, *usual]), None)


def _resolve(table: Table, column: str, pictures: _Pictures, folder: str) -> list[str]:
    """The picture of each row. Raises DataError for cells that name none, or more than one."""
    values, codes = table.columns[column]
    if (codes < 0).any():
        raise DataError(f"{table.place(int(np.argmax(codes < 0)))}, column {column}: empty, expected a file name.")
    found = [pictures.find(cell, folder) for cell in values]
    missing = [code for code, names in enumerate(found) if not names]
    if missing:
        row = int(np.argmax(codes == missing[0]))
        raise DataError(
            f"{table.place(row)}, column {column}: {short(values[missing[0]])} is no picture of the folder "
            f"({len(missing)} missing of {len(values)}): fetch them, or drop the rows."
        )
    several = next((code for code, names in enumerate(found) if len(names) > 1), None)
    if several is not None:
        raise DataError(
            f"{table.place(int(np.argmax(codes == several)))}, column {column}: {short(values[several])} may be "
            f"{found[several][0]} or {found[several][1]}: write the folder too."
        )
    return [found[code][0] for code in codes.tolist()]
