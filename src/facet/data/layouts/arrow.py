"""Parquet files read with bounded memory: what a small file unpacks to is never taken on trust."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from facet.data.files import TABLE_BYTES, Files
from facet.data.layouts.cells import MOST_CELLS, Builder, Table, cell_of
from facet.errors import DataError

_MOST_ROWS = 3_000_000
_BATCH_ROWS = 65_536
# Of lists unpacked at once: pyarrow can't keep their texts once.
_MOST_LISTS = 64 * 2**20
# pyarrow raises of its own and of Python's; a size that can't be had is a MemoryError.
DAMAGE = (
    *(pa.ArrowException, OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, MemoryError),
    ArithmeticError,  # a date before Python's first or after its last
)


class Parquet:
    """One parquet file: its schema, its rows, and batches of some columns."""

    def __init__(self, files: Files, name: str) -> None:
        self.name, self.where = name, files.where(name)
        path = files.path(name)
        with self._damage_named():
            source = path if path is not None else io.BytesIO(files.read(name, TABLE_BYTES))
            with pq.ParquetFile(source) as file:
                self.schema: pa.Schema = file.schema_arrow
            # A text may stand in the file once and in the table a million times: it stays once in memory too.
            texts = [f.name for f in self.schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
            self._file = pq.ParquetFile(source, read_dictionary=texts)
            meta = self._file.metadata
            self.groups = tuple(meta.row_group(k).num_rows for k in range(meta.num_row_groups))
        self.count = sum(self.groups)
        if not 0 <= self.count <= _MOST_ROWS or min(self.groups, default=0) < 0:
            raise DataError(f"{self.where} announces {self.count:,} rows, expected {_MOST_ROWS:,} at most: split it.")

    def __enter__(self) -> Parquet:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @contextlib.contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except DataError:
            raise
        except DAMAGE as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            locked = "it is encrypted" if "ncrypt" in str(error) else lines[0][:120].rstrip(".")
            raise DataError(f"{self.where} is no parquet that can be read ({locked}): fetch it again.") from None

    def size(self, group: int) -> int:
        """Bytes of a row group, unpacked, as the file declares them. (Asking for those of a column ends the process
        where a file's notes on it are damaged: pyarrow 25 lets parquet's exception pass through C.)"""
        with self._damage_named():
            return self._file.metadata.row_group(group).total_byte_size

    def pictures(self, column: str, group: int, most: int) -> Iterator[pa.RecordBatch]:
        """The pictures of a row group, in batches. Raises DataError where they hold over ``most`` bytes.

        A picture may stand in the file once and in the table a million times, so a batch has no more rows than would
        fit if each were all there is.
        """
        what = f"pictures in row group {group}"
        declared = self.size(group)
        self._refuse(declared, most, what)
        return self._batches([column], [group], min(_BATCH_ROWS, max(1, most // max(1, declared))), most, what)

    def _batches(
        self, columns: Sequence[str], groups: Sequence[int], rows: int, most: int, what: str, total: int = 0
    ) -> Iterator[pa.RecordBatch]:
        with self._damage_named():
            for batch in self._file.iter_batches(rows, row_groups=list(groups), columns=list(columns)):
                total += batch.nbytes
                self._refuse(total, most, what)
                yield batch

    def _refuse(self, size: int, most: int, what: str) -> None:
        if not 0 <= size <= most:
            raise DataError(f"{self.where}: {what} of {size:,} bytes, expected {most:,} at most: write smaller ones.")

    def table(self, columns: Sequence[str]) -> Table:
        """Some columns as cells; of a ClassLabel of Hugging Face's the names of its classes."""
        if self.count * len(columns) > MOST_CELLS:
            raise DataError(f"{self.where} has over {MOST_CELLS:,} cells: split it, or drop columns.")
        builders = {name: Builder() for name in columns}
        for batch in self._cells(columns):
            with self._damage_named():
                for name in batch.schema.names:
                    _extend(builders[name], batch.column(name))
        for builder in builders.values():
            # A column with fields of its own is not read, and one without a row is none.
            builder.fill(self.count if not builder.codes else 0)
        if any(len(builder.codes) != self.count for builder in builders.values()):
            raise DataError(f"{self.where} announces {self.count:,} rows and has others: fetch it again.")
        classes = self._classes()
        found = {name: builder.done() for name, builder in builders.items()}
        for name in found.keys() & classes.keys():
            values, codes = found[name]
            found[name] = [_named(value, classes[name]) for value in values], codes
        return Table(self.where, self.count, found)

    def _cells(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Batches of the plain columns, then of those that hold lists."""
        kinds = {name: self.schema.field(name).type for name in columns}
        flat = [name for name in columns if not pa.types.is_nested(kinds[name])]
        lists = [name for name in columns if _is_list(kinds[name])]
        if flat:
            yield from self._batches(flat, range(len(self.groups)), _BATCH_ROWS, TABLE_BYTES, "columns")
        total = 0
        for group in range(len(self.groups) if lists else 0):
            rows = min(_BATCH_ROWS, max(1, _MOST_LISTS // max(1, self.size(group))))
            for batch in self._batches(lists, [group], rows, TABLE_BYTES, "lists", total):
                total += batch.nbytes
                yield batch

    def _classes(self) -> dict[str, list[str]]:
        """Column -> class names, as Hugging Face notes them in the schema; a broken note is none."""
        with contextlib.suppress(ValueError, RecursionError, KeyError, TypeError, AttributeError):
            features = json.loads(self.schema.metadata[b"huggingface"])["info"]["features"]
            return {
                name: [str(title) for title in feature["names"]]
                for name, feature in features.items()
                if isinstance(feature, dict) and isinstance(feature.get("names"), list)
            }
        return {}


def _named(value: object, classes: list[str]) -> object:
    """-1 is Hugging Face's word for a class that is not known."""
    if value == "-1":
        return ""
    # Longer numbers than any list of classes has are left as they are.
    known = isinstance(value, str) and value.isdecimal() and len(value) < 10 and int(value) < len(classes)
    return classes[int(value)] if known else value


def _is_list(kind: pa.DataType) -> bool:
    """Whether it is a list of what has no fields of its own."""
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return lists and not pa.types.is_nested(kind.value_type)


def _extend(builder: Builder, column: pa.Array) -> None:
    if _is_list(column.type) or pa.types.is_null(column.type):
        for value in column.to_pylist():
            builder.add(cell_of(value))
    else:
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        builder.extend([cell_of(value) for value in encoded.dictionary.to_pylist()], codes)
