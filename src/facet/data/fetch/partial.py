"""The part of a file that has arrived, so that a fetch that was cut or killed goes on with the rest.

Beside the bytes lies a small record: what the file is known by at its host (never its address, which differs from one
mirror or one signed link to the next), and how much of each piece is there. The record is written after the bytes it
speaks of have reached the disk.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from facet.artifacts import write_json
from facet.data.fetch.listing import RemoteFile
from facet.errors import DataError

_EVERY_S = 1.0


class Partial:
    """Pieces of ``piece`` bytes of the file that is to stand at ``path``. May be written by several threads."""

    def __init__(self, path: Path, file: RemoteFile, piece: int):
        self.path = path.with_name(f".{path.name}.partial")
        self._record = path.with_name(f".{path.name}.partial.json")
        self._identity = {"size": file.size, "digests": [list(digest) for digest in file.digests], "piece": piece}
        self._piece, self._lock, self._saved_at = piece, threading.RLock(), time.monotonic()
        self.etag: str | None = None
        self._size = self.total = file.size
        self._have: dict[int, int] = {}
        self._load()
        self.resumed = bool(self._have)
        self._stream = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        if not self.resumed:
            os.ftruncate(self._stream, 0)

    def _load(self) -> None:
        """What an earlier fetch left, if it was of the same file and can be told from a changed one."""
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
            have = {int(index): int(count) for index, count in record["have"].items()}
            etag, total = record["etag"], record["total"]
            length = self.path.lstat().st_size
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return
        recognised = bool(etag or self._identity["digests"])
        ends = [index * self._piece + count for index, count in have.items()]
        plausible = all(0 <= count <= self._piece for count in have.values()) and max(ends, default=0) <= length
        if record["identity"] == self._identity and recognised and plausible:
            self._have, self.etag, self.total = have, etag, total

    @property
    def bytes_there(self) -> int:
        """How much of the file has arrived."""
        return sum(self._have.values())

    def missing(self) -> Iterator[tuple[int, int]]:
        """Start and end of what is missing of each piece; ``total`` has to be known."""
        for index in range(-(-(self.total or 0) // self._piece)):
            start = index * self._piece
            stop = min(start + self._piece, self.total or 0)
            start += self._have.get(index, 0)
            if start < stop:
                yield start, stop

    def write(self, position: int, chunk: bytes) -> None:
        """Put ``chunk`` where it belongs; what lies there of its piece must end at ``position``."""
        view = memoryview(chunk)
        while view:
            written = os.pwrite(self._stream, view[: self._piece - position % self._piece], position)
            with self._lock:
                index = position // self._piece
                self._have[index] = position % self._piece + written
            position, view = position + written, view[written:]
        if time.monotonic() - self._saved_at > _EVERY_S:
            self.save()

    def save(self) -> None:
        """Note what is there, after it is safely on the disk."""
        with self._lock:
            have = {str(index): count for index, count in self._have.items()}
            os.fdatasync(self._stream)
            write_json(self._record, {"identity": self._identity, "etag": self.etag, "total": self.total, "have": have})
            self._saved_at = time.monotonic()

    def start_over(self) -> None:
        """Forget all that has arrived."""
        with self._lock:
            self._have.clear()
            self.etag, self.total, self.resumed = None, self._size, False
            os.ftruncate(self._stream, 0)
            self._record.unlink(missing_ok=True)

    def close(self) -> None:
        """Keep what is there for the next try."""
        # A small file that is whole gets its name at once, and a set may hold very many of them.
        if self._have and not (self.total is not None and self.bytes_there == self.total <= self._piece):
            self.save()
        os.close(self._stream)
        if not self._have and self.total != 0 and self.path.stat().st_size == 0:
            self.path.unlink()

    def finish(self, path: Path) -> None:
        """Give the whole file its name; to be called after ``close``."""
        if path.is_dir():
            raise DataError(f"{path} is a folder where a file is to stand: remove it and run the same command again")
        os.replace(self.path, path)
        self._record.unlink(missing_ok=True)

    def remove(self) -> None:
        """Leave nothing; to be called after ``close``."""
        self.path.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)
