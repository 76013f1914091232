"""Real servers for tests: started on a free loopback port, waited for, and gone with the test run however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from facet.lifeline import die_with_parent

# Where the environment's programs lie.
BIN = Path(sys.executable).parent


def free_port() -> int:
    """A TCP port of loopback that nobody listened on a moment ago."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


def answers(url: str) -> bool:
    """Whether a GET of ``url`` is answered with any status below 500."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


@contextlib.contextmanager
def running(
    command: Sequence[str],
    ready: Callable[[], bool],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    user: int | None = None,
    stop: signal.Signals = signal.SIGTERM,
    within: float = 120.0,
) -> Iterator[subprocess.Popen]:
    """``command`` as a process (group) of its own, from the moment that ``ready`` says so; ended on the way out.

    ``user`` is the id to run it as, which only root may choose; ``within`` counts seconds. Raises RuntimeError with the
    tail of its log where it ends early or does not get ready.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(command),
            cwd=log.parent,
            env=None if env is None else {**os.environ, **env},
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    try:
        deadline = time.monotonic() + within
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not get ready:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.1)
        yield process
    finally:
        _end(process, stop)


def _end(process: subprocess.Popen, stop: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(stop)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
    with contextlib.suppress(ProcessLookupError, PermissionError):  # workers that outlived their head
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=10)
