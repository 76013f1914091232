"""``facet params`` and ``facet summary``: what goes into the chain, and what came out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from facet.cli.options import AsJson


def params(
    path: Annotated[Path, typer.Option(help="The file to check.")] = Path("params.yaml"),
    as_json: AsJson = False,
) -> None:
    """Check every section of params.yaml against the step that reads it, before anything runs."""
    from facet.sections import check_file

    sections = check_file(path)
    print(json.dumps({"sections": sections}) if as_json else f"{path}: {len(sections)} sections, all well-formed.")


def summary(as_json: AsJson = False) -> None:
    """Print the chain's scores, and where the pictures, the report and the registry lie."""
    from facet.evaluation.summary import read_summary

    rows, places = read_summary()
    if as_json:
        scores = {name: value for name, value, _, _ in rows}
        intervals = {name: interval for name, _, interval, _ in rows if interval}
        print(json.dumps({"scores": scores, "intervals": intervals, "places": dict(places)}))
    else:
        _print_summary(rows, places)


def _print_summary(rows: list[tuple[str, Any, list[float] | None, str]], places: list[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="facet", title_justify="left")
    for heading in ("score", "value", "95 % interval", "what it says"):
        table.add_column(heading, justify="right" if heading == "value" else "left")
    for name, value, interval, meaning in rows:
        around = "" if interval is None else f"{interval[0]:.4g} to {interval[1]:.4g}"
        table.add_row(name, f"{value:g}" if isinstance(value, float) else str(value), around, meaning)
    console = Console()
    console.print(table)
    for what, where in places:
        console.print(f"{what:>16}  {where}", soft_wrap=True, highlight=False)
