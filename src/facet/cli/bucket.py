"""``facet bucket …``: is a bucket usable, upload of a data set, a link to the report."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from facet.cli.options import AsJson

app = typer.Typer(no_args_is_help=True, help="S3: is a bucket usable, upload a data set, share a report by link.")

Url = Annotated[str, typer.Argument(help="s3://BUCKET or s3://BUCKET/FOLDER; endpoint and keys from AWS_… variables.")]


@app.command()
def check(url: Url, as_json: AsJson = False) -> None:
    """Write, read and delete a few bytes there. Exit code 75: no answer, try later; 1: credentials, bucket, rights."""
    from facet.bucket import check as check_bucket

    endpoint = check_bucket(url)
    done = {"url": url, "endpoint": endpoint, "may": ["write", "read", "delete"]}
    print(json.dumps(done) if as_json else f"{url} at {endpoint}: may write, read and delete.")


@app.command()
def upload(
    folder: Annotated[Path, typer.Argument(help="The data set.")],
    url: Url,
    as_json: AsJson = False,
) -> None:
    """Copy a folder there; what lies there with the same content is skipped. Interrupted, run it again: it goes on."""
    from facet.bucket import upload_folder

    done = upload_folder(folder, url)
    if as_json:
        print(json.dumps(dataclasses.asdict(done) | {"place": str(done.place)}))
    else:
        print(f"{done.place}: {done.sent} files sent ({done.sent_bytes:,} bytes), {done.skipped} were there already.")


@app.command()
def share(
    path: Annotated[Path, typer.Argument(help="The file, such as reports/report.html.")],
    url: Url,
    expires: Annotated[str, typer.Option(help="How long the link opens it: 7d at most, 12h, 30m.")] = "7d",
    as_json: AsJson = False,
) -> None:
    """Upload a file and print a link that opens it without credentials, for whoever has the link."""
    from facet.bucket import parse_duration
    from facet.bucket import share as share_file

    link = share_file(path, url, parse_duration(expires))
    print(json.dumps({"url": link, "expires": expires}) if as_json else link)
