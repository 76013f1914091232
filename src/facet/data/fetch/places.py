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
    """An address, the files to take there (all where empty), and their layout where the catalogue knows it."""

    given: str
    layout: str | None = None
    only: tuple[str, ...] = ()

    def source(self, web: Web) -> Source:
        """What stands there. Raises HostError where that is nothing, ParamsError for an address that is none."""
        return _source(self.given, web, self.only)


def places(given: str, mirrors: Sequence[str], before: str | None) -> Iterator[Place]:
    """The mirrors that were given (`--mirror`, then FACET_MIRROR of the environment), then those of the catalogue, or
    ``given`` itself where that is an address.

    Of the catalogue's those of kind ``before``, which an earlier fetch used, go first. Raises ParamsError for an empty
    address.
    """
    if not given or given != given.strip():
        raise ParamsError(f"the source is given as {given!r}, expected a name or an address: see `facet fetch --help`")
    known = CATALOGUE.get(given)
    yield from map(Place, mirrors)
    if known is None:
        yield Place(given)
        return
    own = os.environ.get("FACET_MIRROR")
    if own:
        yield Place(f"{own.rstrip('/')}/{given}")
    for mirror in sorted(known.mirrors, key=lambda mirror: mirror.given.partition(":")[0] != before):
        yield Place(mirror.given, mirror.layout, mirror.only)


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
