"""Hugging Face's parquet: pictures inside the table, as ``{bytes, path}`` or as plain bytes.

Pictures stay in the files and are read a row group at a time, since a set is larger than memory.
"""

from __future__ import annotations

import bisect
import itertools
import threading
import warnings
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from facet.data.files import PICTURE_BYTES, Files
from facet.data.layouts.arrow import DAMAGE, Parquet
from facet.data.layouts.cells import Part, merge
from facet.data.layouts.columns import captions_of, interpret, is_caption
from facet.data.layouts.names import split_of
from facet.data.raw import RawSet
from facet.errors import DataError

MARK = "a .parquet with a column of pictures"
SUFFIX = ".parquet"
_IMAGE = ("image", "img", "picture", "photo", "images", "jpg", "png")
# Pictures of one row group, unpacked. Two row groups are kept: threads that go on from one to the next need both.
_MOST_GROUP = 512 * 2**20
_KEPT_GROUPS = 2


def fits(files: Files) -> bool:
    return any(image_column(parquet.schema) for parquet in _opened(files))


def read(files: Files) -> RawSet:
    """All parquet files as one set, in the order of their names; a picture is called after its file and row.

    A split comes from a column, or from the file's name as in ``train-00000-of-00002.parquet``. A picture that is
    named by its path alone is read from the folder. Raises DataError for a file that can't be read, one without
    pictures, and a row group of pictures that is too large for memory.
    """
    parts, sources, splits, start = [], [], [], 0
    for parquet in _opened(files):
        image = image_column(parquet.schema)
        if image is None:
            found = ", ".join(f"{field.name}: {field.type}"[:60] for field in list(parquet.schema)[:5])
            raise DataError(
                f"{parquet.where} has no pictures: expected a column `image` of {{bytes, path}}, found {found}."
            )
        for group in range(len(parquet.groups)):
            _refuse_large(parquet, group)
        rows = np.arange(start, start + parquet.count)
        parts.append(Part(parquet.table([name for name in _flat(parquet.schema) if name != image]), rows))
        sources.append(_Source(parquet.name, image, parquet.groups))
        splits.append(np.full(parquet.count, split_of(parquet.name), np.int64))
        start += parquet.count
    if not start:
        raise DataError(f"{files.root} has no row in any {SUFFIX} file: expected {MARK}; fetch the data again.")
    known = interpret(merge(parts, start, is_caption), start, str(files.root))
    return RawSet(
        tuple(f"{s.name.removesuffix(SUFFIX)}/{row:06d}" for s in sources for row in range(sum(s.groups))),
        known.names,
        known.attributes,
        np.where(known.splits >= 0, known.splits, np.concatenate(splits)),
        known.identities,
        _Pictures(files, sources).read,
        captions_of(parts, start),
        known.landmarks,
    )


def _opened(files: Files):
    for name in files:
        if name.casefold().endswith(SUFFIX):
            with Parquet(files, name) as parquet:
                yield parquet


def image_column(schema: pa.Schema) -> str | None:
    """The column that holds pictures: one that is called so, or else the first that could be one; None without any."""
    found = [field.name for field in schema if _holds_bytes(field.type)]
    named = [name for name in found if name.casefold() in _IMAGE]
    return next(iter(named or found), None)


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_binary(field.type) for field in kind)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _flat(schema: pa.Schema) -> list[str]:
    """Columns that can hold what is known of a picture: not bytes, which would be other pictures. Names that stand
    there twice can't be told apart."""
    names = [field.name for field in schema]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        warnings.warn(f"column {twice[0]!r} stands there twice and is left out.", stacklevel=2)
    # pyarrow parts the levels of a nested column by dots, so a dot in a name asks for another column.
    return [f.name for f in schema if not _holds_bytes(f.type) and f.name not in twice and "." not in f.name]


def _refuse_large(parquet: Parquet, group: int) -> None:
    size = parquet.size(group)
    if not 0 <= size <= _MOST_GROUP:
        raise DataError(
            f"{parquet.where}: row group {group} holds {size:,} bytes, expected {_MOST_GROUP:,} at most: "
            "write it with smaller row groups."
        )


class _Source:
    """One file: its name, its column of pictures, and the rows of each row group."""

    def __init__(self, name: str, image: str, groups: Sequence[int]) -> None:
        self.name, self.image, self.groups = name, image, groups
        self.ends = list(itertools.accumulate(groups))

    def locate(self, row: int) -> tuple[int, int]:
        """(row group, row in it)."""
        group = bisect.bisect_right(self.ends, row)
        return group, row - (self.ends[group] - self.groups[group])


class _Pictures:
    """Pictures by id, from any thread; the last row groups that were asked for are kept."""

    def __init__(self, files: Files, sources: Sequence[_Source]) -> None:
        self._files = files
        self._sources = {source.name.removesuffix(SUFFIX): source for source in sources}
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], list[pa.Array]] = OrderedDict()

    def read(self, picture: str) -> bytes:
        stem, _, row = picture.rpartition("/")
        source = self._sources[stem]
        group, at = source.locate(int(row))
        value = self._value(source, group, at)
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is None and isinstance(value, dict) and isinstance(value.get("path"), str):
            return self._by_path(source, value["path"])
        if not content or len(content) > PICTURE_BYTES:
            size = f"{len(content):,} bytes" if content else "no bytes"
            raise DataError(f"{self._files.where(source.name)}, row {int(row) + 1}: a picture of {size}; drop the row.")
        return content

    def _value(self, source: _Source, group: int, at: int) -> object:
        where = self._files.where(source.name)
        for chunk in self._group(source, group):
            if at < len(chunk):
                try:
                    return chunk[at].as_py()
                except DAMAGE as error:
                    raise DataError(
                        f"{where}, row group {group}: a picture's fields can't be read ({error}); drop the row."
                    ) from None
            at -= len(chunk)
        raise DataError(f"{where} has fewer rows than it announces: fetch it again.")

    def _group(self, source: _Source, group: int) -> list[pa.Array]:
        with self._lock:
            key = (source.name, group)
            if key not in self._kept:
                # Before the next is read, so that memory never holds one more.
                while len(self._kept) >= _KEPT_GROUPS:
                    self._kept.popitem(last=False)
                with Parquet(self._files, source.name) as parquet:
                    found = parquet.pictures(source.image, group, _MOST_GROUP)
                    self._kept[key] = [batch.column(0) for batch in found]
            self._kept.move_to_end(key)
            return self._kept[key]

    def _by_path(self, source: _Source, path: str) -> bytes:
        folder = source.name.rpartition("/")[0]
        for name in (f"{folder}/{path}" if folder else path, path):
            if name in self._files:
                return self._files.read(name)
        raise DataError(f"{self._files.where(source.name)} names the picture {path}, which is not there: fetch it too.")
