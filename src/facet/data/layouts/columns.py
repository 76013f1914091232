"""The columns of a table, of whatever names and kinds, as what a RawSet knows: splits, people, captions, attributes.

A column is what its name says: ``split``, ``identity``, ``caption``, ``lefteye_x`` and their kin; ``label`` with whole
numbers is a class. Any other is an attribute where its values are: 1 and 0, true and false, yes and no, or CelebA's 1
and -1, where 0 is unknown; or up to 50 words, of which each becomes an attribute of its own, ``hair_black``. Columns of
other numbers and of free text are left out with a warning.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from facet.data.attributes import ABSENT, PRESENT, UNKNOWN
from facet.data.layouts.names import SPLIT_WORDS, attribute_names
from facet.data.layouts.text import short
from facet.data.raw import LANDMARKS
from facet.errors import DataError

_SPLIT = ("split", "subset", "partition", "set")
_IDENTITY = ("identity", "identity_id", "person", "person_id", "subject", "subject_id", "celeb_id")
_CAPTION = ("caption", "captions", "text", "texts", "prompt", "prompts", "description")
_CLASS = ("label", "labels", "class", "digit", "target")
# Row numbers that data frames leave behind.
_INDEX = ("", "index", "unnamed: 0", "__index_level_0__")
_PRESENT = ("1", "1.0", "true", "t", "yes", "y", "present")
_ZERO = ("0", "0.0")
_ABSENT = ("-1", "-1.0", "false", "f", "no", "n", "absent")
_UNKNOWN = ("", "nan", "na", "n/a", "null", "none", "unknown", "?")
_MOST_WORDS, _MOST_CLASSES = 50, 1000
# What a spreadsheet would run.
_FORMULA = ("=", "+", "@", "\t", "\r")


class Known(NamedTuple):
    """What a table knows of its n rows; see `facet.data.raw.RawSet`."""

    names: tuple[str, ...]
    attributes: np.ndarray
    splits: np.ndarray
    identities: np.ndarray
    captions: tuple[tuple[str, ...], ...]
    landmarks: np.ndarray | None


class _Coded(NamedTuple):
    """A column as its different values, words, and which each row has, -1 for none."""

    words: list[str]
    rows: np.ndarray


def read_columns(table: pa.Table, where: str, classes: Mapping[str, Sequence[str]] | None = None) -> Known:
    """The columns of ``table``, of which ``where`` is the file's name for errors; ``classes`` names those of a class
    column. Raises DataError naming row, column and value."""
    kept = [name for name in table.column_names if name.casefold() not in _INDEX]
    by_role = {role: [n for n in kept if n.casefold() in words] for role, words in _ROLES.items()}
    marks = {f"{point}_{axis}" for point in LANDMARKS for axis in "xy"}
    have_marks = marks <= set(kept)
    taken = {name for names in by_role.values() for name in names} | (marks if have_marks else set())
    parts = []
    for name in kept:
        if name not in taken:
            parts += _attributes(name, table[name], where, (classes or {}).get(name))
    n = table.num_rows
    states = np.stack([state for _, state in parts], axis=1) if parts else np.empty((n, 0), np.int8)
    return Known(
        attribute_names([name for name, _ in parts], where),
        states,
        _first(by_role["split"], lambda name: _splits(_coded(table[name]), name, where), n),
        _first(by_role["identity"], lambda name: _identities(_coded(table[name])), n),
        _captions([table[name] for name in by_role["caption"]]),
        _landmarks(table, where) if have_marks else None,
    )


_ROLES = {"split": _SPLIT, "identity": _IDENTITY, "caption": _CAPTION}


def _first(names: list[str], read: Any, n: int) -> np.ndarray:
    return read(names[0]) if names else np.full(n, -1, np.int64)


def _coded(column: pa.ChunkedArray) -> _Coded:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    encoded = column.combine_chunks().dictionary_encode()
    rows = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return _Coded([_word(value) for value in encoded.dictionary.to_pylist()], rows)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "" if value != value else f"{value:g}"
    return str(value).strip()


# --- attributes -------------------------------------------------------------------------------------------------------


def _attributes(
    name: str, column: pa.ChunkedArray, where: str, classes: Sequence[str] | None
) -> list[tuple[str, np.ndarray]]:
    """(attribute, states int8 [n]) of a column: none, one, or one a word."""
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        warnings.warn(f"{where}: column {short(name)} holds no labels ({column.type}) and is left out.", stacklevel=4)
        return []
    coded = _coded(column)
    words = {word.casefold() for word in coded.words} - set(_UNKNOWN)
    whole = all(word.removeprefix("-").isdecimal() for word in words)
    if classes is not None or (name.casefold() in _CLASS and whole and words):
        return _class_column(coded, where, name, classes)
    if words <= {*_PRESENT, *_ZERO, *_ABSENT}:
        return [(name, _states(coded))] if words else [(name, np.full(len(coded.rows), UNKNOWN, np.int8))]
    return _word_column(coded, where, name)


def _states(coded: _Coded) -> np.ndarray:
    # CelebA's tables have -1 for absent, and 0 is then what is not known.
    zero = UNKNOWN if any(word in ("-1", "-1.0") for word in coded.words) else ABSENT
    state = dict.fromkeys(_PRESENT, PRESENT) | dict.fromkeys(_ZERO, zero) | dict.fromkeys(_ABSENT, ABSENT)
    codes = np.array([*(state.get(word.casefold(), UNKNOWN) for word in coded.words), UNKNOWN], np.int8)
    return codes[coded.rows]


def _class_column(coded: _Coded, where: str, name: str, classes: Sequence[str] | None) -> list[tuple[str, np.ndarray]]:
    numbers = [int(word) if word.removeprefix("-").isdecimal() else -1 for word in coded.words]
    if len(set(numbers)) > _MOST_CLASSES or (classes and max(numbers, default=0) >= len(classes)):
        raise DataError(f"{where}, column {short(name)}: {len(set(numbers))} classes, expected those it announces.")
    of = np.array([*numbers, -1], np.int64)[coded.rows]
    known = sorted({number for number in numbers if number >= 0})
    shown = [classes[number] if classes else str(number) for number in known]
    return [(word, _one_of(of, number)) for word, number in zip(shown, known, strict=True)]


def _word_column(coded: _Coded, where: str, name: str) -> list[tuple[str, np.ndarray]]:
    lowered = [word.casefold() for word in coded.words]
    words = sorted(set(lowered) - set(_UNKNOWN))
    for place, word in enumerate(coded.words):
        if word.startswith(_FORMULA) and not _is_number(word):
            row = int(np.flatnonzero(coded.rows == place)[0]) + 1
            raise DataError(
                f"{where}, row {row}, column {short(name)}: {short(word)} is a formula, expected 1, 0 or a word."
            )
    if all(map(_is_number, words)):
        told = f"numbers such as {words[-1][:20]}"
    elif len(words) > _MOST_WORDS:
        told = f"{len(words)} different words"
    else:
        of = np.array([*(words.index(w) if w in words else -1 for w in lowered), -1], np.int64)[coded.rows]
        return [(f"{name}_{word}", _one_of(of, k)) for k, word in enumerate(words)]
    warnings.warn(f"{where}: column {short(name)} holds {told}, no attribute, and is left out.", stacklevel=5)
    return []


def _one_of(of: np.ndarray, number: int) -> np.ndarray:
    return np.where(of < 0, UNKNOWN, np.where(of == number, PRESENT, ABSENT)).astype(np.int8)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


# --- what else is known -----------------------------------------------------------------------------------------------


def _splits(coded: _Coded, name: str, where: str) -> np.ndarray:
    codes = []
    for place, word in enumerate(coded.words):
        split = -1 if word.casefold() in _UNKNOWN else SPLIT_WORDS.get(word.casefold().removesuffix(".0"))
        if split is None:
            row = int(np.flatnonzero(coded.rows == place)[0]) + 1
            raise DataError(
                f"{where}, row {row}, column {short(name)}: {short(word)}, expected train, valid, test or nothing."
            )
        codes.append(split)
    return np.array([*codes, -1], np.int64)[coded.rows]


def _identities(coded: _Coded) -> np.ndarray:
    """Whole numbers as they are, anything else as a number of 63 bits made of it."""
    whole = all(word.isdecimal() and len(word) <= 18 for word in coded.words if word.casefold() not in _UNKNOWN)
    codes = []
    for word in coded.words:
        if word.casefold() in _UNKNOWN or word == "-1":
            codes.append(-1)
        else:
            digest = hashlib.sha256(word.encode()).digest()[:8]
            codes.append(int(word) if whole else int.from_bytes(digest, "big") >> 1)
    return np.array([*codes, -1], np.int64)[coded.rows]


def _captions(columns: list[pa.ChunkedArray]) -> tuple[tuple[str, ...], ...]:
    if not columns:
        return ()
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    return tuple(tuple(text for cell in row for text in _texts(cell)) for row in rows)


def _texts(cell: Any) -> list[str]:
    given = cell if isinstance(cell, list) else [cell]
    return [" ".join(text.split()) for text in given if isinstance(text, str) and text.strip()]


def _landmarks(table: pa.Table, where: str) -> np.ndarray:
    columns = []
    for point in LANDMARKS:
        for axis in "xy":
            column = table[f"{point}_{axis}"]
            try:
                if pa.types.is_string(column.type):
                    column = pc.if_else(pc.equal(pc.utf8_trim_whitespace(column), ""), None, column)
                columns.append(column.cast(pa.float32()).to_numpy())
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise DataError(f"{where}, column {point}_{axis}: expected pixels ({str(error)[:80]}).") from None
    return np.stack(columns, axis=1).reshape(-1, len(LANDMARKS), 2).astype(np.float32)
