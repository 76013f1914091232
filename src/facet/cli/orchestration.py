"""``facet flow``, ``refresh``, ``schedule`` and ``doctor``: the flows of a checkout; the library never imports them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from facet.errors import ParamsError

# Everything behind the command's name, --help included, is the flow's own business.
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def flow(context: typer.Context) -> None:
    """Run what has changed of the chain as a Prefect flow: logs, retries, progress and pages in its UI."""
    _become("pipeline", context)


def refresh(context: typer.Context) -> None:
    """Ask the source for new data; where there is any, run the chain and promote what passes the gate."""
    _become("refresh", context)


def schedule(context: typer.Context) -> None:
    """Serve a flow on a schedule: --cron "0 3 * * *" --timezone Europe/Berlin."""
    _become("serve", context)


def doctor(context: typer.Context) -> None:
    """End what dead processes left behind, in Prefect and in this checkout, and say what was done."""
    _become("doctor", context)


def _become(module: str, context: typer.Context) -> None:
    if not Path("flows/__init__.py").is_file():
        raise ParamsError(f"{Path.cwd()} holds no flows/: run this in a checkout of facet.")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", f"flows.{module}", *context.args])
