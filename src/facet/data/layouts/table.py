"""A folder of pictures and a table of what is known of them: CSV, TSV, JSON lines or Parquet."""

from __future__ import annotations

import io
import json
import warnings
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from facet.data.files import TABLE_BYTES, Files
from facet.data.layouts import parquet
from facet.data.layouts.columns import read_columns
from facet.data.layouts.names import PICTURES, is_picture, split_of
from facet.data.layouts.text import csv_rows, json_value, short, text_of
from facet.data.raw import RawSet
from facet.errors import DataError

MARK = "pictures, and a .csv, .tsv, .jsonl or .parquet with a column of their names, such as file_name"
_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_COLUMNS = ("file_name", "filename", "file", "image", "image_id", "image_path", "img", "picture", "path", "name", "id")


def fits(files: Files) -> bool:
    return bool(_tables(files)) and any(map(is_picture, files)) and any(_is_ours(files, n) for n in _tables(files))


def read(files: Files) -> RawSet:
    """Pictures in the order of the table, of which each names those below its own folder; ``train/metadata.csv`` is of
    the training split. `facet.data.layouts.columns` says what becomes of the columns.

    Raises DataError for rows whose picture is missing, and for a table that can't be read.
    """
    named = _named_tables(files)
    tables, ids = [], []
    for name in named:
        table = _read_table(files, name)
        column = _file_column(table.column_names)
        if column is None:
            raise DataError(
                f"{files.where(name)} has no column of file names, such as file_name; it has "
                f"{', '.join(map(short, table.column_names[:8]))}."
            )
        ids += _pictures(files, name, table[column].to_pylist())
        tables.append(table.drop_columns([column]) if table.num_columns > 1 else pa.table({"index": table[column]}))
    known = read_columns(pa.concat_tables(tables, promote_options="permissive"), files.where(named[0]))
    folders = np.concatenate(
        [np.full(t.num_rows, split_of(f"{n.rpartition('/')[0]}/x")) for n, t in zip(named, tables, strict=True)]
    )
    splits = np.where(known.splits < 0, folders, known.splits)
    rows, captions = _one_row_each(ids, known.captions, files.where(named[0]))
    others = sum(map(is_picture, files)) - len(rows)
    if others:
        warnings.warn(f"{files.root}: {others:,} pictures are in no table and are left out.", stacklevel=2)
    return RawSet(
        tuple(ids[row] for row in rows),
        known.names,
        known.attributes[rows],
        splits[rows],
        known.identities[rows],
        files.read,
        captions,
        None if known.landmarks is None else known.landmarks[rows],
    )


# --- which tables -----------------------------------------------------------------------------------------------------


def _tables(files: Files) -> list[str]:
    return [name for name in files if name.casefold().endswith(_ENDINGS)]


def _named_tables(files: Files) -> list[str]:
    """All that are called metadata, as Hugging Face's image folders have them a split; otherwise the one table that
    names pictures and lies nearest the top."""
    tables = _tables(files)
    called = [name for name in tables if name.rpartition("/")[2].partition(".")[0].casefold() == "metadata"]
    if called:
        return called
    fitting = sorted((name for name in tables if _is_ours(files, name)), key=lambda name: (name.count("/"), name))
    if not fitting:
        raise DataError(f"{files.root} has no table of pictures: {MARK}.")
    if len(fitting) > 1 and fitting[1].count("/") == fitting[0].count("/"):
        told = " and ".join(fitting[:2])
        raise DataError(f"{files.root} has two tables of pictures, {told}: leave one, or call it metadata.")
    return fitting[:1]


def _is_ours(files: Files, name: str) -> bool:
    """Whether a table has a column of file names."""
    return _file_column(_column_names(files, name)) is not None


def _column_names(files: Files, name: str) -> list[str]:
    if name.casefold().endswith(".parquet"):
        return parquet.open_table(files, name).schema_arrow.names
    if name.casefold().endswith((".csv", ".tsv")):
        return [cell.strip() for cell in next(csv_rows(files, name), (0, []))[1]]
    first = next((line for line in text_of(files, name).splitlines() if line.strip()), "{}")
    row = json_value(first, f"{files.where(name)}, line 1")
    return list(row) if isinstance(row, dict) else []


def _file_column(names: list[str]) -> str | None:
    folded = {name.casefold(): name for name in reversed(names)}
    return next((folded[word] for word in _COLUMNS if word in folded), None)


# --- reading them -----------------------------------------------------------------------------------------------------


def _read_table(files: Files, name: str) -> pa.Table:
    if name.casefold().endswith(".parquet"):
        try:
            return parquet.open_table(files, name).read().replace_schema_metadata(None)
        except parquet.DAMAGE as error:
            raise DataError(f"{files.where(name)} is damaged ({str(error)[:80]}): fetch it again.") from None
    table = _read_csv(files, name) if name.casefold().endswith((".csv", ".tsv")) else _read_lines(files, name)
    if table.num_rows == 0:
        raise DataError(f"{files.where(name)} lists no picture: fetch it again.")
    return table


def _read_csv(files: Files, name: str) -> pa.Table:
    """All cells as text; Arrow's reader where it takes the file, ours where it does not, which says what is wrong."""
    header = [cell.strip() for cell in next(csv_rows(files, name), (0, []))[1]]
    twice = [word for word, count in Counter(header).items() if count > 1]
    if twice:
        raise DataError(f"{files.where(name)}: column {short(twice[0])} is there twice; rename one.")
    if not name.casefold().endswith(".tsv"):
        content = files.read(name, TABLE_BYTES).removeprefix(b"\xef\xbb\xbf")
        try:
            return arrow_csv.read_csv(
                io.BytesIO(content),
                arrow_csv.ReadOptions(column_names=header, skip_rows=1, use_threads=False),
                arrow_csv.ParseOptions(newlines_in_values=True),
                arrow_csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), null_values=[]),
            )
        except pa.ArrowInvalid:
            pass
    rows = [row for _, row in csv_rows(files, name)][1:]
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    return pa.table({word: pa.array(cells, pa.string()) for word, cells in zip(header, columns, strict=True)})


def _read_lines(files: Files, name: str) -> pa.Table:
    rows = []
    for number, line in enumerate(text_of(files, name).splitlines(), start=1):
        if line.strip():
            row = json_value(line, f"{files.where(name)}, line {number}")
            if not isinstance(row, dict):
                raise DataError(f'{files.where(name)}, line {number}: expected {{"file_name": …}}; mend the line.')
            rows.append(row)
    names = list(dict.fromkeys(key for row in rows for key in row))
    return pa.table({key: _json_column([row.get(key) for row in rows]) for key in names})


def _json_column(values: list[Any]) -> pa.Array:
    if any(isinstance(value, list) for value in values):
        texts = [[v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str)] for value in values]
        return pa.array(texts, pa.list_(pa.string()))
    return pa.array([None if v is None else v if isinstance(v, str) else json.dumps(v) for v in values], pa.string())


# --- rows and pictures ------------------------------------------------------------------------------------------------


def _pictures(files: Files, table: str, cells: list[Any]) -> list[str]:
    """The picture that each cell names: below the table's folder, or anywhere where its file name is the only one."""
    folder = table.rpartition("/")[0]
    alone: dict[str, str | None] = {}
    for name in filter(is_picture, files):
        base = name.rpartition("/")[2]
        alone[base] = None if base in alone else name
    found, missing = [], []
    for cell in cells:
        picture = _picture(files, folder, str(cell).strip(), alone)
        (missing if picture is None else found).append(cell if picture is None else picture)
    if missing:
        raise DataError(
            f"{files.where(table)} names {short(missing[0])} and {len(missing) - 1} more pictures that are not there: "
            "fetch them, or remove their rows."
        )
    return found


def _picture(files: Files, folder: str, cell: str, alone: dict[str, str | None]) -> str | None:
    cell = cell.replace("\\", "/").removeprefix("./")
    for ending in ("", *PICTURES):
        for name in (f"{folder}/{cell}{ending}" if folder else f"{cell}{ending}", f"{cell}{ending}"):
            if name in files and is_picture(name):
                return name
        if (only := alone.get(f"{cell.rpartition('/')[2]}{ending}")) is not None:
            return only
    return None


def _one_row_each(
    ids: list[str], captions: tuple[tuple[str, ...], ...], where: str
) -> tuple[list[int], tuple[tuple[str, ...], ...]]:
    """The first row of each picture, and the captions of all its rows."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(ids):
        rows.setdefault(name, []).append(row)
    if len(rows) < len(ids) and not captions:
        twice = next(name for name, own in rows.items() if len(own) > 1)
        raise DataError(f"{where}: picture {short(twice)} has two rows; keep one row a picture.")
    told = tuple(tuple(text for row in own for text in captions[row]) for own in rows.values()) if captions else ()
    return [own[0] for own in rows.values()], told
