"""One file, from its host to the disk: in pieces side by side where the host allows that, gone on with after a cut,
and checked before it gets its name."""

from __future__ import annotations

import contextlib
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from facet.data.fetch.digests import digests
from facet.data.fetch.limits import ChangedError, HostError, InterruptedTransferError, Limits, Patience
from facet.data.fetch.listing import RemoteFile
from facet.data.fetch.origin import Opened, Origin, check_same
from facet.data.fetch.partial import Partial
from facet.errors import DataError
from facet.progress import bar


class _StoppedError(Exception):
    """Another piece of the same file failed for good."""


class Download:
    """The file ``file`` of ``origin``, to stand at ``path``. ``progress`` counts the bytes that arrive."""

    def __init__(self, origin: Origin, file: RemoteFile, path: Path, limits: Limits, progress: tqdm):
        self._origin, self._file, self._path, self._limits, self._progress = origin, file, path, limits, progress
        self._partial = Partial(path, file, limits.piece)
        self._stopped = threading.Event()
        self._patience = Patience(limits, f"{file.path} from {origin.host}", self._stopped)
        self._counted = self._partial.bytes_there
        progress.update(self._counted)

    def run(self) -> str:
        """Fetch it; returns its SHA-256.

        Raises UnreachableError where the host gives up on it, and DataError where what it sends is not the file that it
        announces. What has arrived is kept for the next try, unless it is wrong.
        """
        while True:
            try:
                self._fetch()
            except OSError as error:
                raise DataError(f"{self._path} can't be written: {error.strerror}; what arrived is kept") from error
            finally:
                self._partial.close()
            found = self._check()
            if found is not None:
                self._partial.finish(self._path)
                return found
            # What lay here from an earlier fetch was damaged: once more, from nothing.
            self._partial.remove()
            self._partial = Partial(self._path, self._file, self._limits.piece)
            self._uncount()

    def _check(self) -> str | None:
        """The SHA-256 of what arrived; None where it is wrong and may be so because of an earlier fetch."""
        length = self._partial.path.stat().st_size
        # Small files are checked side by side, and in no time.
        large = length > self._limits.piece
        with bar(length, f"check of {self._path.name}", unit="B") if large else contextlib.nullcontext() as progress:
            if progress is not None:
                progress.unit_scale = True
            found, wrong = digests(self._partial.path, self._file.digests, progress)
        if wrong is None:
            return found
        if self._partial.resumed:
            return None
        self._partial.remove()
        raise HostError(
            f"{self._origin.host} sends other bytes for {self._file.path} than it announces (its {wrong} differs): the "
            "file was dropped; run the same command again, or use another mirror (--mirror URL)"
        )

    def _fetch(self) -> None:
        partial = self._partial
        while True:
            try:
                if partial.total is None or not partial.bytes_there:
                    self._forget()
                    if not self._begin():
                        return
                self._pieces()
                return
            except InterruptedTransferError as error:
                lost = isinstance(error, ChangedError) or not self._recognised()
                if lost:
                    self._forget()
                self._patience.failed(error, lost)

    def _recognised(self) -> bool:
        """Whether anything tells that the rest is of the same file as what is there."""
        return bool(self._partial.etag or self._file.digests)

    def _begin(self) -> bool:
        """The first request, which tells length, version and whether parts may be asked for; True where they are left.

        A file that is announced as small is asked for as a whole.
        """
        announced = self._file.size
        if announced is None or announced > self._limits.piece:
            with contextlib.suppress(ChangedError), self._origin.open(0, self._limits.piece, None) as opened:
                self._accept(opened)
                if opened.ranged and opened.total is not None and self._recognised():
                    self._take(opened, 0, min(self._limits.piece, opened.total))
                    return True
                if not opened.ranged:
                    self._take(opened, 0, opened.total if announced is None else announced)
                    return False
        with self._origin.open(0, None, None) as opened:
            self._accept(opened)
            self._take(opened, 0, opened.total if announced is None else announced)
        return False

    def _accept(self, opened: Opened) -> None:
        """Check what the host says of the whole file before anything is written."""
        host, name, announced = self._origin.host, self._file.path, self._file.size
        if announced is not None and opened.total not in (None, announced):
            raise HostError(
                f"{host} announces {name} with {announced:,} bytes and sends {opened.total:,}: use another mirror"
            )
        self._partial.etag = opened.etag
        self._partial.total = opened.total if opened.total is not None else announced
        if self._partial.total is not None:
            check_space(self._path.parent, self._partial.total - self._partial.bytes_there, self._limits)

    def _pieces(self) -> None:
        failures: list[BaseException] = []

        def one(ends: tuple[int, int]) -> None:
            try:
                self._piece(*ends)
            except _StoppedError:
                pass
            except BaseException as error:
                failures.append(error)
                self._stopped.set()

        missing = list(self._partial.missing())
        self._stopped.clear()
        with ThreadPoolExecutor(min(self._limits.at_once, max(1, len(missing)))) as pool:
            try:
                list(pool.map(one, missing))
            finally:
                # Also after Ctrl-C, which reaches this thread alone.
                self._stopped.set()
        self._stopped.clear()
        if failures:
            raise failures[0]

    def _piece(self, start: int, stop: int) -> None:
        while True:
            try:
                with self._origin.open(start, stop, self._partial.etag) as opened:
                    what = f"{self._file.path} at {self._origin.host}"
                    if not opened.ranged:
                        raise ChangedError(f"{what} changed while it was fetched")
                    check_same(opened, self._partial.etag, self._partial.total, what)
                    start = self._take(opened, start, stop)
                return
            except ChangedError:
                raise
            except InterruptedTransferError as error:
                if self._stopped.is_set():
                    raise _StoppedError from error
                start = next((s for s, e in self._partial.missing() if e == stop), stop)
                if start == stop:
                    return
                self._patience.failed(error)

    def _take(self, opened: Opened, position: int, stop: int | None) -> int:
        """Write what arrives, from ``position`` to ``stop``; returns where it ended."""
        most = self._limits.most_unannounced if stop is None else stop
        for chunk in opened.chunks:
            if self._stopped.is_set():
                raise _StoppedError
            if position + len(chunk) > most:
                raise HostError(
                    f"{self._origin.host} sends more than {most:,} bytes of {self._file.path}, which is more than it "
                    "announces or than is taken from it: use another mirror"
                )
            self._partial.write(position, chunk)
            position += len(chunk)
            self._counted += len(chunk)
            self._progress.update(len(chunk))
            self._patience.progressed()
        if stop is not None and position < stop:
            raise InterruptedTransferError(f"ends after {position:,} of {stop:,} bytes")
        return position

    def _forget(self) -> None:
        self._partial.start_over()
        self._uncount()

    def _uncount(self) -> None:
        self._progress.update(-self._counted)
        self._counted = 0


def check_space(folder: Path, needed: int, limits: Limits) -> None:
    """Raises DataError where the disk of ``folder`` has no room for ``needed`` bytes more."""
    free = shutil.disk_usage(folder).free
    if free < needed + limits.spare:
        raise DataError(
            f"the target's disk has {free / 1e9:,.1f} GB free, and {(needed + limits.spare) / 1e9:,.1f} GB are "
            "needed: make room, or fetch to another disk (--to FOLDER)"
        )
