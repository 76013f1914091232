"""CSV, TSV and JSON lines as tables of cells."""

from __future__ import annotations

from array import array

from facet.data.files import Files
from facet.data.layouts.cells import MOST_CELLS, Builder, Table, cell_of
from facet.data.layouts.text import csv_rows, json_value, short, text_of
from facet.errors import DataError
from facet.progress import bar

TEXT_TABLES = (".csv", ".tsv", ".jsonl")


def read_text_table(files: Files, name: str) -> Table:
    """The table ``name``. Raises DataError naming file and line for a row of another length or that is no JSON object,
    a column that stands there twice, and more cells than memory should hold."""
    return _read_lines(files, name) if name.casefold().endswith(".jsonl") else _read_csv(files, name)


def _read_csv(files: Files, name: str) -> Table:
    where, rows = files.where(name), csv_rows(files, name)
    _, header = next(rows, (1, []))
    header = [title.strip() for title in header]
    titles = [title for title in header if title]
    if len(set(titles)) != len(titles):
        twice = next(title for title in titles if titles.count(title) > 1)
        raise DataError(f"{where}, line 1: column {short(twice)} stands there twice; rename one.")
    builders = [Builder() for _ in header]
    lines = array("q")
    with bar(None, f"read {name}", "row") as progress:
        for number, row in rows:
            for builder, cell in zip(builders, row, strict=True):
                builder.add(cell.strip())
            lines.append(number)
            _refuse_too_many(where, len(lines) * len(header))
            progress.update()
    # pandas writes its row numbers below an empty title.
    columns = {title: builder.done() for title, builder in zip(header, builders, strict=True) if title}
    return Table(where, len(lines), columns, lines)


def _read_lines(files: Files, name: str) -> Table:
    where = files.where(name)
    builders: dict[str, Builder] = {}
    lines = array("q")
    with bar(None, f"read {name}", "row") as progress:
        # Only a line feed ends a line of JSON; a caption may hold what Unicode calls one.
        for number, line in enumerate(text_of(files, name).split("\n"), start=1):
            if not line.strip():
                continue
            row = json_value(line, f"{where}, line {number}")
            if not isinstance(row, dict):
                raise DataError(f"{where}, line {number}: {short(line)}, expected a JSON object; mend the line.")
            for title, value in row.items():
                builder = builders.setdefault(title.strip(), Builder())
                if len(builder.codes) == len(lines) + 1:
                    raise DataError(f"{where}, line {number}: column {short(title)} stands there twice; rename one.")
                builder.fill(len(lines))
                builder.add(cell_of(value))
            lines.append(number)
            _refuse_too_many(where, len(lines) * len(builders))
            progress.update()
    for builder in builders.values():
        builder.fill(len(lines))
    return Table(where, len(lines), {title: builder.done() for title, builder in builders.items() if title}, lines)


def _refuse_too_many(where: str, cells: int) -> None:
    if cells > MOST_CELLS:
        raise DataError(f"{where} has over {MOST_CELLS:,} cells: split it, or drop columns.")
