"""``facet compare``: two evaluation records side by side."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facet.cli.options import REGISTERED, AsJson

if TYPE_CHECKING:
    from facet.evaluation.compare import Row


def compare(
    a: Annotated[
        str, typer.Argument(help="evaluation.json, a chain's folder, models:/NAME/3 or models:/NAME@staging.")
    ],
    b: Annotated[str, typer.Argument(help="The same, of the model that it is compared with.")],
    attributes: Annotated[bool, typer.Option("--attributes", help="Each attribute's scores too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Two models' scores side by side, the difference b - a, and its 95 % interval; * marks what is no accident.

    Exit code 1 where the two were measured by different protocols.

    Examples: facet compare artifacts/evaluation.json ../other; facet compare models:/facet-faces@production .
    """
    from facet.evaluation.compare import compare as side_by_side

    rows = side_by_side(record_of(a), record_of(b), attributes)
    if as_json:
        scores = [dataclasses.asdict(row) | {"significant": row.significant} for row in rows]
        print(json.dumps({"a": a, "b": b, "scores": scores}))
    else:
        _print_rows(a, b, rows)


# --- reading ----------------------------------------------------------------------------------------------------------


def record_of(given: str) -> dict[str, Any]:
    if given.startswith(REGISTERED):
        from facet.registry.references import registered_record

        return registered_record(given)
    from facet.evaluation.compare import read_record

    return read_record(Path(given))


# --- printing ---------------------------------------------------------------------------------------------------------


def _print_rows(a: str, b: str, rows: list[Row]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    print(f"a  {a}\nb  {b}")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("score", "a", "b", "b - a", "95 % of b - a", ""):
        table.add_column(heading, justify="left" if heading in ("score", "") else "right", overflow="fold")
    for row in rows:
        mark = "*" if row.significant else ""
        cells = (row.name, _figure(row.a), _figure(row.b), _signed(row.difference), _between(row.interval), mark)
        table.add_row(*map(Text, cells), style="bold" if row.significant else "")
    Console(highlight=False).print(table)
    print("* the interval leaves out 0. Without an interval: a figure of the reference, or of an older record.")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.3g}"


def _between(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:+.3g} to {interval[1]:+.3g}"
