"""``facet data …``: what the data is, what changed in it, and which of it later data is held against."""

from __future__ import annotations

import typer

from facet.cli import data_pages

app = typer.Typer(no_args_is_help=True, help="The data: a page about it, what changed in it, what was accepted.")

for _command in (data_pages.report, data_pages.diff, data_pages.accept):
    app.command(_command.__name__)(_command)
