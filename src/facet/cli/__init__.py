"""``facet …``: parsing and printing only. Heavy libraries are imported inside the command that needs them."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from facet.cli import (
    bucket,
    chain,
    data,
    drawing,
    editing,
    evaluating,
    evaluation,
    exporting,
    fetching,
    inspecting,
    orchestration,
    registry,
    reporting,
    scoring,
    serving,
    tracking,
)
from facet.errors import FacetError

app = typer.Typer(
    name="facet",
    help="From raw face photographs and an attribute table to a registered face generator.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an expected error too.")] = False,
) -> None:
    if debug:
        os.environ["FACET_DEBUG"] = "1"


for _panel, _commands in {
    "Data": (fetching.fetch,),
    "The chain": (
        chain.params,
        chain.summary,
        reporting.report,
        evaluating.evaluate,
        evaluation.compare,
        tracking.mirror,
    ),
    "Flows": (orchestration.flow, orchestration.refresh, orchestration.schedule, orchestration.doctor),
    "The registry": (
        registry.promote,
        registry.rollback,
        registry.history,
        registry.models,
        registry.audit,
        serving.serve,
    ),
    "Pictures": (
        drawing.generate,
        editing.edit,
        editing.inpaint,
        editing.interpolate,
        editing.sweep,
        exporting.export,
        inspecting.inspect,
        drawing.draw_faces,
        scoring.score,
    ),
}.items():
    for _command in _commands:
        _settings = orchestration.PASS_ON if _panel == "Flows" else None
        app.command(_command.__name__.replace("_", "-"), rich_help_panel=_panel, context_settings=_settings)(_command)

app.add_typer(data.app, name="data", rich_help_panel="Data")
app.add_typer(bucket.app, name="bucket", rich_help_panel="S3")


def main() -> None:
    """Entry point: an expected error becomes one sentence on stderr and its exit code."""
    try:
        app()
    except FacetError as error:
        if os.environ.get("FACET_DEBUG") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
