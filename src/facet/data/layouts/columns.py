"""What the columns of a table mean: split, identity, captions, landmarks, and attributes for the rest.

A column is known by its name first and by what it holds second. An attribute column of 1 and 0 says present and absent;
one that has -1 anywhere is CelebA's, where 0 is unknown. Text of a few different values becomes an attribute a value.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from facet.data.attributes import ABSENT, PRESENT, UNKNOWN
from facet.data.layouts.celeba import coordinate
from facet.data.layouts.cells import Column, Part
from facet.data.layouts.names import SPLIT_WORDS, attribute_names
from facet.data.layouts.text import short
from facet.data.raw import LANDMARKS
from facet.errors import DataError

_SPLIT = ("split", "partition", "subset")
_IDENTITY = ("identity", "person", "subject", "celeb_id", "identity_id", "person_id", "subject_id")
_LABEL = ("label", "labels", "class")
_CAPTIONS = re.compile(r"(caption|text|prompt)s?(_?\d+)?")
_POINTS = tuple(f"{point}_{axis}" for point in LANDMARKS for axis in "xy")
_MOST_VALUES, _MOST_CLASSES = 50, 1000

_STATES = {
    **dict.fromkeys(("1", "true", "yes", "present", "y", "t"), PRESENT),
    **dict.fromkeys(("0", "-1", "false", "no", "absent", "n", "f"), ABSENT),
    **dict.fromkeys(("", "nan", "null", "unknown", "?", "na", "n/a", "<na>"), UNKNOWN),
}


class Known(NamedTuple):
    """What a table says of each picture, as in RawSet; ``landmarks`` is None where it has none."""

    names: tuple[str, ...]
    attributes: np.ndarray
    splits: np.ndarray
    identities: np.ndarray
    landmarks: np.ndarray | None


def is_caption(name: str) -> bool:
    """Whether a column of that name holds captions."""
    return _CAPTIONS.fullmatch(name.strip().casefold()) is not None


def captions_of(parts: Sequence[Part], count: int) -> tuple[tuple[str, ...], ...]:
    """The captions of each picture in the order of rows and columns; a picture may have many rows, or none.

    Empty where no table has a caption column.
    """
    found = [(part, column) for part in parts for name, column in part.table.columns.items() if is_caption(name)]
    captions: list[list[str]] = [[] for _ in range(count if found else 0)]
    for part, (values, codes) in found:
        texts = [[" ".join(text.split()) for text in ((cell,) if isinstance(cell, str) else cell)] for cell in values]
        for row, code in zip(part.rows.tolist(), codes.tolist(), strict=True):
            if code >= 0:
                captions[row] += filter(None, texts[code])
    return tuple(map(tuple, captions))


def interpret(columns: Mapping[str, Column], count: int, where: str) -> Known:
    """Read every column but captions and file names.

    Columns of numbers, of lists and of many different texts say nothing that can be asked for: they are named in a
    warning and left out. Raises DataError naming place and column for a split that is none, and for what a spreadsheet
    would run.
    """
    splits = identities = np.full(count, -1, np.int64)
    rest: dict[str, Column] = {}
    by_name = {name.strip().casefold(): column for name, column in columns.items()}
    points = [by_name[point] for point in _POINTS] if all(point in by_name for point in _POINTS) else []
    for name, column in columns.items():
        folded = name.strip().casefold()
        if folded in _SPLIT:
            splits = _splits(name, column)
        elif folded in _IDENTITY:
            identities = column.look_up([identity_of(value) for value in column.values], -1, np.int64)
        elif not (points and folded in _POINTS):
            rest[name] = column
    titles, states, ignored = [], [], []
    for name, column in rest.items():
        found = _attributes(name, column)
        if not found:
            ignored.append(name)
        titles += [title for title, _ in found]
        states += [state for _, state in found]
    if ignored:
        shown = ", ".join(short(name) for name in ignored[:5]) + (" and others" if len(ignored) > 5 else "")
        warnings.warn(
            f"{where}: no attribute can be made of {shown} (numbers, or over {_MOST_VALUES} texts): left out.",
            stacklevel=2,
        )
    attributes = np.stack(states, axis=1) if states else np.empty((count, 0), np.int8)
    landmarks = np.stack([_coordinates(column) for column in points], axis=1) if points else None
    return Known(
        attribute_names(titles, where),
        attributes,
        splits,
        identities,
        None if landmarks is None else landmarks.reshape(count, len(LANDMARKS), 2),
    )


def identity_of(value: object) -> int:
    """A name or number of a person as a number of 63 bits, the same in every run; 5 and "5" are one person."""
    return int.from_bytes(hashlib.sha256(str(value).encode("utf-8", "surrogatepass")).digest()[:8]) >> 1


def _splits(name: str, column: Column) -> np.ndarray:
    found = [-1] * len(column.values)
    for code, value in column.known():
        word = str(value).casefold()
        if word not in SPLIT_WORDS:
            raise DataError(
                f"{column.place_of(code)}, column {name}: {short(value)}, expected train, valid or test, or 0 to 2."
            )
        found[code] = SPLIT_WORDS[word]
    return column.look_up(found, -1, np.int64)


def _coordinates(column: Column) -> np.ndarray:
    found = [np.nan] * len(column.values)
    for code, value in column.known():
        number = coordinate(str(value))
        if number is None and _STATES.get(str(value).casefold()) != UNKNOWN:
            raise DataError(f"{column.place_of(code)}: landmark {short(value)}, expected a place in pixels.")
        found[code] = np.nan if number is None else number
    return column.look_up(found, np.nan, np.float32)


def _attributes(name: str, column: Column) -> list[tuple[str, np.ndarray]]:
    """(title, int8 [n]) of each attribute that a column makes: one, one a value, or none."""
    known = dict(column.known())
    if any(isinstance(value, tuple) for value in known.values()):
        return []
    words = {code: value.casefold() for code, value in known.items()}
    told = {code: word for code, word in words.items() if _STATES.get(word) != UNKNOWN}
    as_classes = name.strip().casefold() in _LABEL
    if not as_classes and all(word in _STATES for word in words.values()):
        return [(name, _binary(column, words))]
    # A table of numbers is no table of classes, unless it calls itself one.
    if len(told) > (_MOST_CLASSES if as_classes else _MOST_VALUES) or (
        not as_classes and any(_is_number(word) for word in told.values())
    ):
        return []
    for code in told:
        if known[code][:1] in "=@+" or (known[code][:1] == "-" and not _is_number(known[code])):
            raise DataError(
                f"{column.place_of(code)}, column {name}: {short(known[code])} looks like a formula, expected the "
                "value of an attribute: mend the cell or drop the column."
            )
    return _categories("" if as_classes else f"{name}_", column, {code: known[code] for code in told})


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _binary(column: Column, words: Mapping[int, str]) -> np.ndarray:
    celeba = "-1" in words.values()
    states = [UNKNOWN] * len(column.values)
    for code, word in words.items():
        states[code] = UNKNOWN if celeba and word == "0" else _STATES[word]
    return column.look_up(states, UNKNOWN, np.int8)


def _categories(prefix: str, column: Column, told: Mapping[int, str]) -> list[tuple[str, np.ndarray]]:
    """An attribute a value, in the order of the values; numbers by size."""
    order = sorted(told, key=lambda code: (float(told[code]) if told[code].isdecimal() else np.inf, told[code]))
    base = [ABSENT if code in told else UNKNOWN for code in range(len(column.values))]
    found = []
    for code in order:
        states = base.copy()
        states[code] = PRESENT
        found.append((f"{prefix}{told[code]}", column.look_up(states, UNKNOWN, np.int8)))
    return found
