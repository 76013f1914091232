"""``facet report``: the chain's report with a table against another version."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from facet.artifacts import EVALUATION, EVALUATION_SCHEMA, REPORT, REPORTS, read_json, whole_file
from facet.cli.evaluation import record_of
from facet.cli.options import AsJson
from facet.errors import ArtifactError, ParamsError

COMPARED = REPORTS / "compared.html"


def report(
    against: Annotated[
        str | None,
        typer.Option(
            help="evaluation.json, a chain's folder, models:/NAME/3 or models:/NAME@staging. Left out, the newest "
            "registered version with other weights."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write it.")] = COMPARED,
    as_json: AsJson = False,
) -> None:
    """The chain's report with its headline scores beside another version's, the differences and their intervals.

    Examples: facet report; facet report --against models:/facet-faces@production --out report.html
    """
    from facet.evaluation.comparison import compared, with_comparison

    if out.resolve() == REPORT.resolve():
        raise ParamsError(f"{REPORT} is an out of the step `evaluate`, which DVC would make again: give another --out.")
    record, page = read_json(EVALUATION, EVALUATION_SCHEMA), _page()
    name, other = _newest(record) if against is None else (against, record_of(against))
    found = compared(record, name, other)
    page = with_comparison(page, record, found)
    with whole_file(out) as scratch:
        scratch.write_text(page, encoding="utf-8", newline="\n")
    if as_json:
        print(json.dumps({"out": str(out), "against": name, **dataclasses.asdict(found)}))
    else:
        print(f"{out}: {found.sentence}")


def _page() -> str:
    if not REPORT.is_file():
        raise ArtifactError(f"{REPORT} does not exist: run `dvc repro evaluate`, which makes it.")
    return REPORT.read_text(encoding="utf-8")


def _newest(record: dict[str, Any]) -> tuple[str | None, dict[str, Any] | None]:
    """Name and record of the newest version that does not hold the chain's model; (None, None) where there is none."""
    from facet.params import read_section
    from facet.registry.mlflow_registry import RegisterParams
    from facet.registry.predecessor import predecessor
    from facet.registry.transaction import open_registry

    with open_registry(read_section("register", RegisterParams).name) as registry:
        found = predecessor(registry.client, registry.model, record["protocol"]["model"])
    return (found.name, found.record) if found else (None, None)
