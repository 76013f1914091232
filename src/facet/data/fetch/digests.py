"""Digests that hosts publish of their files, all computed in one reading.

Kinds: ``sha256``, ``md5``; ``git``, the id by which git knows a file's content; ``s3``, the ETag of an object, with
the size of its parts where it was sent in several: ``ETAG@BYTES``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

_BLOCK = 1 << 20


class _Parts:
    """The ETag of an object sent in parts: the MD5 of the parts' MD5 sums, and how many they are."""

    def __init__(self, part: int):
        self._part, self._room = part, part
        self._sums: list[bytes] = []
        self._now = hashlib.md5(usedforsecurity=False)

    def update(self, block: bytes) -> None:
        while block:
            taken, block = block[: self._room], block[self._room :]
            self._now.update(taken)
            self._room -= len(taken)
            if not self._room:
                self._close()

    def _close(self) -> None:
        self._sums.append(self._now.digest())
        self._now, self._room = hashlib.md5(usedforsecurity=False), self._part

    def hexdigest(self) -> str:
        if self._room != self._part:
            self._close()
        return f"{hashlib.md5(b''.join(self._sums), usedforsecurity=False).hexdigest()}-{len(self._sums)}"


def digests(path: Path, wanted: Iterable[tuple[str, str]], progress: tqdm | None = None) -> tuple[str, str | None]:
    """The file's SHA-256, and the kind of the first of the ``wanted`` digests that it does not have."""
    size = path.stat().st_size
    sha256 = hashlib.sha256()
    others = [(kind, value, _hasher(kind, value, size)) for kind, value in wanted if kind != "sha256"]
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            for hasher in (sha256, *(hasher for *_, hasher in others)):
                hasher.update(block)
            if progress is not None:
                progress.update(len(block))
    found = sha256.hexdigest()
    for kind, value in wanted:
        if kind == "sha256" and value != found:
            return found, kind
    for kind, value, hasher in others:
        if hasher.hexdigest() != value.partition("@")[0]:
            return found, kind
    return found, None


def _hasher(kind: str, value: str, size: int) -> Any:
    if kind == "md5" or (kind == "s3" and "-" not in value):
        return hashlib.md5(usedforsecurity=False)
    if kind == "s3":
        return _Parts(int(value.partition("@")[2]))
    if kind == "git":
        return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    raise ValueError(f"no digest is called {kind!r}")
