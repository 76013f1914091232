"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

# How what is given starts where it names a registered version and no path.
REGISTERED = "models:/"

# --- of the commands that draw ----------------------------------------------------------------------------------------

DEFAULT_MODEL = "artifacts/pipeline"

Model = Annotated[
    str, typer.Option("--model", help="Folder of a saved pipeline, models:/NAME/3 or models:/NAME@staging.")
]
Prompt = Annotated[str | None, typer.Option("--prompt", "-p", help='A sentence: "a smiling man with a hat".')]
Negative = Annotated[str | None, typer.Option("--negative", help="A sentence to draw away from.")]
Attributes = Annotated[
    str | None,
    typer.Option("--attributes", "-a", help='Wanted and, with a minus, unwanted: "Smiling,Eyeglasses,-Male".'),
]
Sampler = Annotated[str | None, typer.Option(help="dpm++, unipc, euler, heun, … (default: the model's own).")]
Steps = Annotated[int | None, typer.Option(help="Denoising steps (default: the model's own).")]
Guidance = Annotated[float | None, typer.Option(help="Guidance scale; 1 is none (default: the model's own).")]
