"""A table as columns of few different values: what CSV, JSON lines and parquet have in common.

A column keeps each different cell once and a number a row, so 200,000 rows of 40 attributes take 32 MB.
"""

from __future__ import annotations

import dataclasses
import json
from array import array
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from facet.data.layouts.text import short
from facet.errors import DataError

# As text, a list of texts as a tuple, and "" where nothing is known.
Cell = str | tuple[str, ...]

MOST_CELLS = 100_000_000


def cell_of(value: object) -> Cell:
    """A value of JSON, parquet or CSV as a cell: true and 1.0 as a table would write them, NaN and null as ""."""
    match value:
        case None:
            return ""
        case str():
            return value.strip()
        case bool():
            return "true" if value else "false"
        case float():
            return "" if value != value else str(int(value)) if value.is_integer() else repr(value)
        case bytes():
            return value.decode("utf-8", "replace").strip()
        case list():
            return tuple(item for item in map(cell_of, value) if isinstance(item, str))
        case dict():
            return json.dumps(value, sort_keys=True, default=str)
    return str(value)


class Builder:
    """A column that grows cell by cell, or by many at once."""

    def __init__(self) -> None:
        self._values: dict[Cell, int] = {}
        self.codes = array("i")

    def add(self, cell: Cell) -> None:
        self.codes.append(self._values.setdefault(cell, len(self._values)) if cell else -1)

    def extend(self, values: Sequence[Cell], codes: np.ndarray) -> None:
        """Add ``values[code]`` for each of ``codes``, nothing known where a code is -1."""
        own = [self._values.setdefault(cell, len(self._values)) if cell else -1 for cell in values]
        known = np.array([*own, -1], np.int32)[codes]
        self.codes.frombytes(known.astype(np.int32).tobytes())

    def fill(self, count: int) -> None:
        """Nothing known up to row ``count``."""
        self.codes.extend([-1] * (count - len(self.codes)))

    def done(self) -> tuple[list[Cell], np.ndarray]:
        return list(self._values), np.frombuffer(self.codes.tobytes(), np.int32)


@dataclasses.dataclass(frozen=True)
class Column:
    """``values[codes[i]]`` is the cell of row i, -1 where nothing is known; ``place`` says where a row stands."""

    values: list[Cell]
    codes: np.ndarray
    place: Callable[[int], str]

    def known(self) -> Iterable[tuple[int, Cell]]:
        """(code, value) of the values that a row has."""
        present = np.unique(self.codes[self.codes >= 0])
        return [(int(code), self.values[code]) for code in present]

    def look_up(self, per_value: Sequence | np.ndarray, missing, dtype) -> np.ndarray:
        """``per_value[code]`` of each row, ``missing`` where nothing is known."""
        table = np.array([*per_value, missing], dtype)
        return table[self.codes]

    def place_of(self, code: int) -> str:
        """Where the first row with this value stands."""
        return self.place(int(np.argmax(self.codes == code)))


@dataclasses.dataclass(frozen=True)
class Table:
    """The columns of one file; ``lines`` holds the line of each row, or is None where a file has rows alone."""

    where: str
    count: int
    columns: dict[str, tuple[list[Cell], np.ndarray]]
    lines: Sequence[int] | None = None

    def place(self, row: int) -> str:
        return f"{self.where}, row {row + 1}" if self.lines is None else f"{self.where}, line {self.lines[row]}"


@dataclasses.dataclass(frozen=True)
class Part:
    """A table whose row i speaks of picture ``rows[i]``."""

    table: Table
    rows: np.ndarray


def merge(parts: Sequence[Part], count: int, skip: Callable[[str], bool]) -> dict[str, Column]:
    """The columns of all parts, by picture. Raises DataError where two rows of a picture say different things."""
    names = dict.fromkeys(name for part in parts for name in part.table.columns if not skip(name))
    return {name: _merge_column(name, [part for part in parts if name in part.table.columns], count) for name in names}


def _merge_column(name: str, parts: Sequence[Part], count: int) -> Column:
    merged: dict[Cell, int] = {}
    target = np.full(count, -1, np.int32)
    for part in parts:
        values, codes = part.table.columns[name]
        own = np.array([*(merged.setdefault(value, len(merged)) for value in values), -1], np.int32)[codes]
        rows, own = part.rows[own >= 0], own[own >= 0]
        before = target[rows]
        target[rows] = own
        wrong = ((before >= 0) & (before != own)) | (target[rows] != own)
        if wrong.any():
            row = int(np.flatnonzero(part.table.columns[name][1] >= 0)[np.argmax(wrong)])
            raise DataError(
                f"{part.table.place(row)}, column {name}: another row of the same picture says something else than "
                f"{short(values[codes[row]])}; keep one."
            )
    return Column(list(merged), target, lambda picture: _place(parts, picture))


def _place(parts: Sequence[Part], picture: int) -> str:
    for part in parts:
        found = np.flatnonzero(part.rows == picture)
        if len(found):
            return part.table.place(int(found[0]))
    return parts[0].table.where
