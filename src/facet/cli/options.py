"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

# How what is given starts where it names a registered version and no path.
REGISTERED = "models:/"
