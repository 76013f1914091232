"""Hugging Face's Parquet: pictures as bytes in a column ``image``, what is known of them in the others."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from facet.data.files import TABLE_BYTES, Files
from facet.data.layouts.columns import read_columns
from facet.data.layouts.names import split_of
from facet.data.raw import RawSet
from facet.errors import DataError

MARK = "a .parquet file with a column of pictures"
_NAMES = ("image", "img", "picture", "photo")
# A row group of pictures is read at once; more than this at a time is no set that was meant to be read in parts.
_MOST_GROUP = 512 * 2**20
# Two threads' worth: pictures are asked for in order.
_KEPT_GROUPS = 2
# What pyarrow raises for a file that is damaged, of other types or encrypted.
DAMAGE = (pa.ArrowException, OSError, ValueError, KeyError)


class _Shard(NamedTuple):
    name: str
    file: pq.ParquetFile
    column: str
    ends: np.ndarray  # int64, the row after the last one of each group


def fits(files: Files) -> bool:
    return any(_image_column(open_table(files, name).schema_arrow) for name in _tables(files))


def read(files: Files) -> RawSet:
    """Pictures are read a row group at a time. A file's name says the split ("train-00000-of-00002.parquet").

    Raises DataError for a file that is damaged or has no pictures, and for row groups too large to be read at once.
    """
    shards = [_shard(files, name) for name in _tables(files)]
    if not shards:
        raise DataError(f"{files.root} holds no .parquet file: put the set's files there.")
    tables = [_known(files, shard) for shard in shards]
    table = pa.concat_tables(tables, promote_options="permissive")
    classes = _class_names(shards[0].file.schema_arrow)
    known = read_columns(table, files.where(shards[0].name), classes)
    ids = tuple(f"{shard.name}/{row:07d}" for shard in shards for row in range(shard.file.metadata.num_rows))
    named = np.concatenate([np.full(t.num_rows, split_of(s.name)) for s, t in zip(shards, tables, strict=True)])
    splits = np.where(known.splits < 0, named, known.splits)
    if not ids:
        raise DataError(f"{files.root}: the .parquet files have no row: fetch them again.")
    return RawSet(
        ids, known.names, known.attributes, splits, known.identities, _Pictures(files, shards).read, *known[4:]
    )


def _tables(files: Files) -> list[str]:
    return [name for name in files if name.casefold().endswith(".parquet")]


def open_table(files: Files, name: str) -> pq.ParquetFile:
    path = files.path(name)
    try:
        return pq.ParquetFile(path if path else pa.BufferReader(files.read(name, TABLE_BYTES)))
    except DAMAGE as error:
        told = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
        raise DataError(
            f"{files.where(name)} is no Parquet file, locked or cut off ({told}): fetch it again."
        ) from None


def _image_column(schema: pa.Schema) -> str | None:
    """The column that holds pictures: named so, or the first of bytes."""

    def holds_bytes(kind: pa.DataType) -> bool:
        if pa.types.is_struct(kind):
            return any(kind.field(k).name == "bytes" for k in range(kind.num_fields))
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    fitting = [field.name for field in schema if holds_bytes(field.type)]
    return min(fitting, key=lambda name: (name.casefold() not in _NAMES, fitting.index(name)), default=None)


def _shard(files: Files, name: str) -> _Shard:
    file = open_table(files, name)
    column = _image_column(file.schema_arrow)
    if column is None:
        raise DataError(
            f"{files.where(name)} has no column of pictures (struct of bytes and path, or bytes); its columns are "
            f"{', '.join(file.schema_arrow.names[:8])}."
        )
    sizes = []
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        parts = [group.column(k) for k in range(group.num_columns)]
        size = sum(part.total_uncompressed_size for part in parts if part.path_in_schema.split(".")[0] == column)
        if size > _MOST_GROUP:
            raise DataError(
                f"{files.where(name)}: row group {number} has {size:,} bytes of pictures, expected {_MOST_GROUP:,} at "
                "most: write it again with smaller row groups."
            )
        sizes.append(group.num_rows)
    return _Shard(name, file, column, np.cumsum(sizes, dtype=np.int64))


def _known(files: Files, shard: _Shard) -> pa.Table:
    """All but the pictures."""
    columns = [name for name in shard.file.schema_arrow.names if name != shard.column]
    try:
        table = shard.file.read(columns=columns) if columns else None
    except DAMAGE as error:
        raise DataError(f"{files.where(shard.name)} is damaged ({str(error)[:80]}): fetch it again.") from None
    # Without columns a table would forget how many rows it has.
    rows = pa.table({"index": pa.nulls(shard.file.metadata.num_rows)})
    return rows if table is None else table.replace_schema_metadata(None)


def _class_names(schema: pa.Schema) -> Mapping[str, Sequence[str]]:
    """Column -> names of its classes, as Hugging Face notes them in the file."""
    try:
        notes: Any = json.loads((schema.metadata or {})[b"huggingface"])
        features = notes["info"]["features"]
        return {name: [str(n) for n in kind["names"]] for name, kind in features.items() if kind.get("names")}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


class _Pictures:
    """Pictures by id, from any thread, with the last row groups kept."""

    def __init__(self, files: Files, shards: Sequence[_Shard]) -> None:
        self._files, self._shards = files, {shard.name: shard for shard in shards}
        self._groups: OrderedDict[tuple[str, int], pa.Array] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, picture: str) -> bytes:
        """The encoded bytes of ``picture``. Raises DataError where there are none."""
        name, _, row = picture.rpartition("/")
        shard = self._shards[name]
        number = int(np.searchsorted(shard.ends, int(row), side="right"))
        first = int(shard.ends[number - 1]) if number else 0
        value = self._group(shard, number)[int(row) - first].as_py()
        if isinstance(value, dict):
            value = value["bytes"] if value.get("bytes") is not None else self._beside(shard, value.get("path"))
        if value is None:
            raise DataError(f"{self._files.where(name)}, row {int(row) + 1}: no picture; remove the row.")
        return value

    def _beside(self, shard: _Shard, path: str | None) -> bytes | None:
        folder = shard.name.rpartition("/")[0]
        named = f"{folder}/{path}" if folder else path
        return self._files.read(named) if path and named in self._files else None

    def _group(self, shard: _Shard, number: int) -> pa.Array:
        with self._lock:  # one reader a file, and a group is read once
            key = (shard.name, number)
            if key not in self._groups:
                try:
                    column = shard.file.read_row_group(number, columns=[shard.column])[shard.column]
                    self._groups[key] = column.combine_chunks()
                except DAMAGE as error:
                    where = self._files.where(shard.name)
                    raise DataError(f"{where} is damaged ({str(error)[:80]}): fetch it again.") from None
            self._groups.move_to_end(key)
            while len(self._groups) > _KEPT_GROUPS:
                self._groups.popitem(last=False)
            return self._groups[key]
