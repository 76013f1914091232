"""``facet data …``: what the data is, what changed in it, which of it later data is held against, and its mirror."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from facet.cli import data_pages
from facet.cli.options import AsJson

app = typer.Typer(
    no_args_is_help=True, help="The data: a page about it, what changed in it, what was accepted, a mirror of it."
)

for _command in (data_pages.report, data_pages.diff, data_pages.accept):
    app.command(_command.__name__)(_command)


@app.command()
def push(
    url: Annotated[str, typer.Argument(help="s3://BUCKET/FOLDER; endpoint and keys from AWS_… variables.")],
    folder: Annotated[Path, typer.Argument(help="The data set.")] = Path("data"),
    as_json: AsJson = False,
) -> None:
    """Mirror a fetched set to a bucket of yours, from which the team fetches it: `facet fetch s3://BUCKET/FOLDER`.

    The folder is checked against its source.json first, which goes last. Interrupted, run it again: it goes on. Mind
    the licence: CelebA may be copied only within one site of one organisation.
    """
    from facet.data.fetch.pushing import push as push_data

    done = push_data(folder, url)
    if as_json:
        print(json.dumps(dataclasses.asdict(done) | {"place": str(done.place)}))
    else:
        print(f"{done.place}: {done.sent} files sent ({done.sent_bytes:,} bytes), {done.skipped} were there already.")
