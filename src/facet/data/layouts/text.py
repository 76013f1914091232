"""Lines, rows and JSON of a text file among the raw data; whatever is wrong is a sentence with file and line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from facet.data.files import TABLE_BYTES, Files
from facet.errors import DataError


def short(value: object, most: int = 60) -> str:
    """``repr`` of what stood in a file, cut to ``most`` characters, for an error."""
    shown = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def text_of(files: Files, name: str) -> str:
    """The text of ``name``, a byte order mark at its start dropped. Raises DataError where it is not UTF-8."""
    try:
        return files.read(name, TABLE_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{files.where(name)} is not a text file in UTF-8: put the right table there.") from None


def csv_rows(files: Files, name: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of each row that is not blank, the header first, all of its length.

    Cells are parted by tabs in a .tsv; otherwise by semicolons where the header has those and no comma.
    """
    text = text_of(files, name)
    header = text[: text.find("\n")] if "\n" in text else text
    tabbed = name.casefold().endswith(".tsv")
    delimiter = "\t" if tabbed else ";" if ";" in header and "," not in header else ","
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    width = None
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            width = len(row) if width is None else width
            if len(row) != width:
                raise DataError(
                    f"{files.where(name)}, line {rows.line_num}: {len(row)} cells, {width} in the header; mend the row."
                )
            yield rows.line_num, row
    except csv.Error as error:
        raise DataError(f"{files.where(name)}, line {rows.line_num}: {error}; mend the row.") from None


def json_value(text: str, place: str) -> Any:
    """What ``text`` says in JSON. Raises DataError naming ``place``."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: not JSON ({str(error)[:80]}); mend it.") from None


def json_object(files: Files, name: str) -> dict[str, Any]:
    """The JSON object that the file ``name`` holds."""
    value = json_value(text_of(files, name), files.where(name))
    if not isinstance(value, dict):
        raise DataError(f"{files.where(name)} holds {short(value)}, expected a JSON object: fetch the data again.")
    return value
