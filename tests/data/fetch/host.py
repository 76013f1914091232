"""A host of files on loopback that can do all that hosts do to those who fetch: cut, lie, redirect, be busy."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.server
import re
import threading
import time
from collections.abc import Callable, Iterator


@dataclasses.dataclass
class File:
    """A file as the host serves it. ``cut`` ends the first so many answers after so many bytes; ``slow`` waits
    that many seconds after each 64 KiB."""

    body: bytes
    etag: str | None = None
    ranges: bool = True
    cut: tuple[int, int] = (0, 0)
    slow: float = 0.0
    content_type: str = "application/octet-stream"
    claims: int | None = None


class Asked(http.server.BaseHTTPRequestHandler):
    """One request, and the means to answer it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        host = self.server.host
        with host.lock:
            host.asked.append((self.path, dict(self.headers)))
            answer = host.answers.get(path)
        if answer is None:
            self.say(404)
        elif isinstance(answer, File):
            self._send(answer)
        else:
            answer(self)

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole answer."""
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.put(body)

    def put(self, body: bytes) -> None:
        """Some of a body, counted."""
        self.wfile.write(body)
        with self.server.host.lock:
            self.server.host.sent += len(body)

    def _send(self, file: File) -> None:
        start, stop, status = 0, len(file.body), 200
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", file.etag) == file.etag
        if wanted and file.ranges and same:
            start, status = int(wanted[1]), 206
            stop = min(stop, int(wanted[2]) + 1) if wanted[2] else stop
            if start >= len(file.body):
                self.say(416)
                return
        self.send_response(status)
        self.send_header("Content-Length", str(stop - start if file.claims is None else file.claims))
        self.send_header("Content-Type", file.content_type)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(file.body)}")
        if file.etag:
            self.send_header("ETag", file.etag)
        self.end_headers()
        with self.server.host.lock:
            times, after = file.cut
            file.cut = (times - 1, after) if times else (0, 0)
        if times:
            stop = min(stop, start + after)
            self.close_connection = True
        for position in range(start, stop, 1 << 16):
            self.put(file.body[position : min(stop, position + (1 << 16))])
            time.sleep(file.slow)
        if file.claims is not None:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    host: Host

    def handle_error(self, *_: object) -> None:
        """A client that has gone is what these tests are about."""


class Host:
    """``answers`` are files or functions by path; ``asked`` and ``sent`` are what came and how many bytes went."""

    def __init__(self, port: int):
        self.port = port
        self.name = f"127.0.0.1:{port}"
        self.url = f"http://{self.name}"
        self.answers: dict[str, File | Callable[[Asked], None]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.sent = 0
        self.lock = threading.Lock()

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def forget(self) -> None:
        """Count from zero."""
        with self.lock:
            self.asked.clear()
            self.sent = 0

    def redirect(self, path: str, to: str, status: int = 302) -> None:
        self.answers[path] = lambda asked: asked.say(status, Location=to)


@contextlib.contextmanager
def hosting() -> Iterator[Host]:
    """A host on a free port of loopback."""
    server = _Server(("127.0.0.1", 0), Asked)
    server.host = Host(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.host
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def git_id(body: bytes) -> str:
    """By which git knows a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
