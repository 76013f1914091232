"""Where the bytes of one file are read, from a given position on."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Protocol
from urllib.parse import urlsplit

import requests

from facet.data.fetch import pages
from facet.data.fetch.limits import ChangedError, HostError
from facet.data.fetch.web import Web


@dataclasses.dataclass(frozen=True)
class Opened:
    """Bytes from ``start`` on; ``total`` is the whole file's length, None where unknown; ``etag`` tells its versions
    apart; ``ranged`` says that any part of the file may be asked for."""

    start: int
    total: int | None
    etag: str | None
    ranged: bool
    chunks: Iterator[bytes]


class Origin(Protocol):
    """One file at its host. ``host`` is how sentences call it."""

    host: str

    def open(self, start: int, stop: int | None, etag: str | None) -> contextlib.AbstractContextManager[Opened]:
        """Bytes ``start`` to ``stop`` (excluded; None: the end), if the file still has ``etag``.

        Raises InterruptedTransferError where another try may help, FacetError where none will.
        """
        ...


class WebOrigin:
    """A file at an address. ``hints`` are sentences for statuses that say something at this host."""

    def __init__(self, web: Web, url: str, name: str, hints: Mapping[int, str]):
        self._web, self._url, self._name, self._hints = web, url, name, hints
        self.host = str(urlsplit(url).hostname)

    @contextlib.contextmanager
    def open(self, start: int, stop: int | None, etag: str | None) -> Iterator[Opened]:
        headers = {}
        if start or stop is not None:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
            if etag:
                headers["If-Range"] = etag
        with self._web.open(self._url, headers, self._hints) as response:
            begins, total = self._position(response, start, stop)
            chunks = self._web.chunks(response)
            if begins == 0:
                chunks = self._no_page(response, chunks)
            yield Opened(begins, total, _strong(response.headers.get("ETag")), response.status_code == 206, chunks)

    def _position(self, response: requests.Response, start: int, stop: int | None) -> tuple[int, int | None]:
        """Where the body begins in the file, and how long the file is."""
        length = response.headers.get("Content-Length", "")
        if response.status_code == 200:
            return 0, int(length) if length.isdecimal() else None
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        begins, last = (int(found[1]), int(found[2])) if found else (-1, -1)
        total = int(found[3]) if found and found[3] != "*" else None
        expected = min(stop or last + 1, last + 1 if total is None else total)
        agrees = not length.isdecimal() or int(length) == last + 1 - begins
        if begins != start or last + 1 != expected or not agrees:
            raise HostError(
                f"{self.host} was asked for bytes {start} to {stop or 'the end'} of {self._name} and sends others "
                f"({response.headers.get('Content-Range')}, length {length or 'unknown'}): use another mirror"
            )
        return begins, total

    def _no_page(self, response: requests.Response, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The same chunks. Raises FacetError where they are a web page's."""
        start = b""
        for chunk in chunks:
            start += chunk
            if len(start) >= 64:
                break
        if start and pages.is_page(self._name, response.headers.get("Content-Type", ""), start):
            for chunk in chunks:
                start += chunk
                if len(start) >= pages.MOST:
                    break
            raise pages.explain(self._name, self.host, start[: pages.MOST])
        if start:
            yield start
        yield from chunks


def check_same(opened: Opened, etag: str | None, total: int | None, what: str) -> None:
    """Raises ChangedError where what was opened is another version than the one begun with."""
    if (etag and opened.etag and opened.etag != etag) or (total is not None and opened.total not in (None, total)):
        raise ChangedError(f"{what} changed while it was fetched")


def _strong(etag: str | None) -> str | None:
    """An ETag that promises the same bytes; weak ones promise only the same meaning."""
    return etag if etag and etag.startswith('"') else None
