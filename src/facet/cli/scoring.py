"""``facet score``: how far one folder of pictures lies from another."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from facet import collector
from facet.cli.options import AsJson
from facet.errors import ParamsError


def score(
    reference: Annotated[Path, typer.Argument(help="Folder of real pictures.")],
    samples: Annotated[Path, typer.Argument(help="Folder of pictures to score.")],
    judge: Annotated[Path, typer.Option(help="Judge whose features are compared.")] = Path("artifacts/judge"),
    inception: Annotated[
        str | None, typer.Option(help="torch-fidelity's Inception weights instead, a file or a URL.")
    ] = None,
    sha256: Annotated[str, typer.Option(help="SHA-256 that the Inception weights must have.")] = "",
    resize: Annotated[bool, typer.Option("--resize", help="Bring all pictures to the judge's size.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of KID's subsets and of the intervals.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the record here, as JSON.")] = None,
    as_json: AsJson = False,
) -> None:
    """Frechet distance (FID's), KID, precision and recall of two folders of pictures, with 95 % intervals.

    Example: facet score photographs drawn --out score.json
    """
    if inception is not None and not sha256:
        raise ParamsError("--inception needs --sha256: the weights are loaded only if they are the ones you mean.")
    with collector.paused():
        from facet.artifacts import write_json
        from facet.evaluation.folders import inception_space, judge_space, score_folders
        from facet.precision import be_deterministic
    collector.freeze_imports()
    be_deterministic()
    space = judge_space(judge) if inception is None else inception_space(inception, sha256)
    record = score_folders(reference, samples, space, resize, seed)
    if out is not None:
        write_json(out, record)
    for warning in record.get("warnings", []):
        print(f"warning: {warning}", file=sys.stderr)
    if as_json:
        print(json.dumps(record))
        return
    protocol = record["protocol"]
    counts = f"{protocol['samples']['count']:,} pictures against {protocol['reference']['count']:,}"
    print(f"{counts}, features {protocol['extractor']}")
    for name, value in record.items():
        if isinstance(value, float):
            low, high = record["intervals"].get(name, (None, None))
            print(f"  {name:<20} {value:>12.6g}" + ("" if low is None else f"   95 % {low:.4g} to {high:.4g}"))
