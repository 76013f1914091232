"""Programs that a flow starts: each heads a process group, and none outlives the flow, however that ends.

Two ways lead there. A flow that is told to stop kills the groups (`stop_all`). A flow that is killed itself can't; so
each program is started through `facet.lifeline`, and each of the chain's steps arms the same.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

from facet.errors import FacetError

# What an interrupted step is given to print its last line; its checkpoints are on disk already.
_GRACE_SECONDS = 3.0

_alive: dict[int, subprocess.Popen] = {}
_stopped: set[int] = set()
_closing = threading.Event()


class Stopped(FacetError):
    """The flow was told to stop, and so this program was stopped, or never started."""


def start(
    command: Sequence[str],
    stderr: int = subprocess.STDOUT,
    stdout: int = subprocess.PIPE,
    keep_open: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen:
    """Start ``command`` in a session of its own: a group that can be killed whole, untouched by the terminal's signals.

    The calling thread must live as long as the program: Linux ends the program with it. Raises Stopped where the flow
    is stopping.
    """
    if _closing.is_set():
        raise Stopped("the flow is stopping; nothing new is started.")
    process = subprocess.Popen(
        [sys.executable, "-m", "facet.lifeline", str(os.getpid()), *command],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        pass_fds=tuple(keep_open),
        # A step's words are logged as it says them, not when a buffer is full.
        env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
    )
    _alive[process.pid] = process
    if _closing.is_set():  # `stop_all` may have looked a moment too early
        _stopped.add(process.pid)
        stop(process)
    return process


def stop(process: subprocess.Popen, word: signal.Signals = signal.SIGINT, grace: float = _GRACE_SECONDS) -> None:
    """End the program and its whole group: a word first, then by force. Safe to call twice, from two threads."""
    if process.poll() is None:
        _signal_group(process, word)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    # The leader may be gone and its children not.
    _signal_group(process, signal.SIGKILL)
    process.wait()
    _alive.pop(process.pid, None)


def _signal_group(process: subprocess.Popen, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def was_stopped(process: subprocess.Popen) -> bool:
    """Whether `stop_all` ended it."""
    return process.pid in _stopped


def stopping() -> bool:
    """Whether `stop_all` was called, and nothing new is started."""
    return _closing.is_set()


def stop_all() -> None:
    """Stop every program that this process started, all at once, and start no other."""
    _closing.set()
    running = list(_alive.values())
    _stopped.update(process.pid for process in running)
    stoppers = [threading.Thread(target=stop, args=(process,)) for process in running]
    for stopper in stoppers:
        stopper.start()
    for stopper in stoppers:
        stopper.join()


def reopen() -> None:
    """Allow programs again: a process that ran one flow to its end may run another."""
    _closing.clear()
    _stopped.clear()
