"""The data's commands as an app of their own, for tests that run them in this process."""

from __future__ import annotations

import typer

from facet.cli import data_pages


def data_app() -> typer.Typer:
    """`report` and `diff`, as `facet data` has them."""
    app = typer.Typer()
    app.command()(data_pages.report)
    app.command()(data_pages.diff)
    return app
