"""A step's own log: what happened when, as JSON lines in ``runs/<stage>/events.jsonl``.

The file is the truth and MLflow a copy of it, so training needs no server. It is no DVC out: it may hold times, and
it grows over resumed runs. `facet.tracking.events` reads it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facet.artifacts import RUNS


class RunLog:
    """Appends one line an event: ``{"step": 10, "time": 1700000000.0, "run": "1f0c…", "loss": 0.5}``.

    ``run`` names the training run, which may be killed and resumed: lines of one run, whoever wrote them, make one
    curve. Each line is written at once and whole, so that a follower sees it and a kill loses none. A disk that can't
    be written is reported once on stderr and never raises: a log must not end the training it tells of. The file stays
    locked (shared) while its writer lives, so that a follower can tell a slow run from a dead one.
    """

    def __init__(self, stage: str, root: Path = RUNS, run: str | None = None):
        self.path = root / stage / "events.jsonl"
        self._named = {} if run is None else {"run": run}
        self._silent = False
        self._fresh = True
        self._lock: int | None = None

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Append an event. ``values`` are numbers, booleans, text or None, under names other than step, time, run."""
        if self._silent:
            return
        event = {"step": int(step), "time": round(time.time(), 3), **self._named, **values}
        try:
            self._append(json.dumps(event, default=_plain) + "\n")
        except OSError as error:
            self._silent = True
            print(
                f"warning: {self.path} can't be written ({error.strerror}); the run goes on unlogged.", file=sys.stderr
            )

    def close(self) -> None:
        """Give the file's lock back: nothing more will be written."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __del__(self) -> None:
        self.close()

    def _append(self, line: str) -> None:
        if self._fresh:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # A run that was killed, or whose disk was full, in the middle of a line must not swallow the next one.
            line = line if _ends_whole(self.path) else "\n" + line
            self._fresh = False
        with self.path.open("ab", buffering=0) as stream:
            stream.write(line.encode())
            if self._lock is None:
                self._hold(stream.fileno())

    def _hold(self, descriptor: int) -> None:
        """Lock the file, or leave it for the next line where a follower is just trying the lock: nothing waits here."""
        own = os.dup(descriptor)
        try:
            fcntl.flock(own, fcntl.LOCK_SH | fcntl.LOCK_NB)
            self._lock = own
        except OSError:
            with contextlib.suppress(OSError):
                os.close(own)


def _ends_whole(path: Path) -> bool:
    """Whether the file is missing, empty, or ends with a newline."""
    if not path.is_file() or path.stat().st_size == 0:
        return True
    with path.open("rb") as stream:
        stream.seek(-1, 2)
        return stream.read(1) == b"\n"


def _plain(value: Any) -> Any:
    """NumPy and torch scalars as Python numbers."""
    return value.item() if hasattr(value, "item") else str(value)
