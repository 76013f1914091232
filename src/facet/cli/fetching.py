"""``facet fetch``: a data set from where people keep it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from facet.cli.options import AsJson


def fetch(
    source: Annotated[
        str,
        typer.Argument(
            help="celeba, celeba-hq, celebamask-hq, ffhq, cartoon-faces, mnist; hf:OWNER/NAME, "
            "hf:OWNER/NAME@REVISION, kaggle:OWNER/NAME, s3://BUCKET/FOLDER, https://…/FILE; or a folder or file here."
        ),
    ],
    to: Annotated[Path, typer.Option(help="The folder it becomes.")] = Path("data"),
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="You have read the licence and accept it.")
    ] = False,
    mirror: Annotated[list[str] | None, typer.Option(help="Try this address first; may be repeated.")] = None,
    allow_private: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="A machine of your own network that may be asked.")
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Take what the source holds now.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace other data that lies there.")] = False,
    no_pin: Annotated[bool, typer.Option("--no-pin", help="Leave data.dvc as it is.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a data set: checked, resumed where it was cut, noted in source.json, pinned in data.dvc.

    facet fetch celeba --accept-licence

    facet fetch hf:flwrlabs/celeba --accept-licence

    facet fetch kaggle:OWNER/NAME

    facet fetch s3://team-data/celeba --accept-licence

    facet fetch https://example.org/faces.zip

    facet fetch ~/photographs --to data

    Run again, it moves nothing that is there. Exit code 75: the host does not answer now, the same command goes on
    later. Recipes for every source: docs/fetching.md.
    """
    from facet.data.fetch.fetching import Options
    from facet.data.fetch.fetching import fetch as fetch_data
    from facet.data.fetch.pinning import is_raw_data, pin

    options = Options(accept_licence, tuple(mirror or ()), tuple(allow_private or ()), update, force)
    done = fetch_data(source, to, options)
    pinned = is_raw_data(to) and not no_pin
    asked = pin(to, done.source) if pinned else None
    told = {
        "to": str(to),
        "name": done.record["name"],
        "kind": done.record["kind"],
        "revision": done.record["revision"],
        "layout": done.layout,
        "files": len(done.record["files"]),
        "bytes": done.bytes,
        "moved": done.moved,
        "moved_bytes": done.moved_bytes,
        "pinned": pinned,
    }
    if as_json:
        print(json.dumps(told))
        return
    at = f" at {done.record['revision'][:12]}" if done.record["revision"] else ""
    came = f"{done.moved} fetched ({done.moved_bytes:,} bytes)" if done.moved else "all of them there already"
    print(f"{to}: {told['name']} ({told['kind']}{at}), {told['files']} files of {done.bytes:,} bytes, {came}.")
    if pinned:
        again = f"`dvc repro` asks {asked} for changes" if asked else "`facet fetch --update` asks for changes"
        print(f"Pinned in data.dvc, {again}; next: dvc repro")
