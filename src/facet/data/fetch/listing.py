"""What a source holds: files by relative name, how long they are, and by which digests they are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from facet.data.fetch.origin import Origin


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A file as its host announces it.

    ``path`` is clean (facet.data.fetch.names); ``size`` is in bytes, None where it is not announced; ``digests`` are
    (kind, hex) as facet.data.fetch.digests knows them; ``place`` is what the source needs to open it.
    """

    path: str
    size: int | None
    place: str
    digests: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Listing:
    """The files of a source at one revision. ``record`` is the source.json that a mirror carries, if it does."""

    revision: str | None
    files: tuple[RemoteFile, ...]
    record: Mapping[str, Any] | None = None


class Source(Protocol):
    """A place to fetch from. ``asked_again``: each fetch looks there for changes, also where all files are here."""

    kind: str
    name: str
    asked_again: bool

    def listing(self, revision: str | None) -> Listing:
        """What it holds, at ``revision`` where it keeps several."""
        ...

    def origin(self, file: RemoteFile) -> Origin:
        """Where the bytes of ``file`` are read."""
        ...

    def pin(self, root: Path) -> str | None:
        """The dependency by which DVC, run in ``root``, asks the source again; None where it can't."""
        ...
