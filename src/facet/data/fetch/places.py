"""From what the command line names to the sources that are tried, in their order."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence

from facet.data.fetch.catalogue import CATALOGUE, DRIVE_FILES
from facet.data.fetch.folders import Bucket, Local
from facet.data.fetch.huggingface import HuggingFace
from facet.data.fetch.links import Drive, Kaggle, Link
from facet.data.fetch.listing import Source
from facet.data.fetch.web import Web
from facet.errors import ParamsError, did_you_mean


@dataclasses.dataclass(frozen=True)
class Place:
    """A source, and the layout its files are in where the catalogue knows it."""

    source: Source
    layout: str | None


def places(given: str, mirrors: Sequence[str], web: Web, before: str | None) -> Iterator[Place]:
    """The mirrors that were given (`--mirror`, then FACET_MIRROR of the environment), then those of the catalogue.

    Of the latter those of kind ``before``, which an earlier fetch used, go first. Each is made when it is its turn.
    Raises ParamsError for an address that is none.
    """
    if not given or given != given.strip():
        raise ParamsError(f"the source is given as {given!r}, expected a name or an address: see `facet fetch --help`")
    known = CATALOGUE.get(given)
    own = os.environ.get("FACET_MIRROR")
    for mirror in (*mirrors, *([f"{own.rstrip('/')}/{given}"] if own and known else [])):
        yield Place(_source(mirror, web), None)
    if known is None and not mirrors:
        yield Place(_source(given, web), None)
    elif known is not None:
        for mirror in sorted(known.mirrors, key=lambda mirror: mirror.given.partition(":")[0] != before):
            yield Place(_source(mirror.given, web, mirror.only), mirror.layout)


def _source(given: str, web: Web, only: tuple[str, ...] = ()) -> Source:
    scheme, colon, rest = given.partition(":")
    if given.startswith("s3://"):
        return Bucket(given)
    if given.startswith(("https://", "http://")):
        return Link(given, web)
    if "://" in given:
        raise ParamsError(f"{scheme}:// is no kind of source: give hf:…, kaggle:…, s3://…, https://… or a folder")
    if colon and scheme == "hf":
        return HuggingFace(rest, web, only)
    if colon and scheme == "kaggle":
        return Kaggle(rest, web)
    if colon and scheme == "drive":
        return Drive(rest, DRIVE_FILES.get(rest, ()), web)
    if "/" not in given and not os.path.exists(given) and (hint := did_you_mean(given, CATALOGUE)):
        raise ParamsError(f"no data set is called {given!r}:{hint} Known are {', '.join(CATALOGUE)}.")
    return Local(given)
