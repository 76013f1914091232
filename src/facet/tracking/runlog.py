"""A step's own log: what happened when, as JSON lines in ``runs/<stage>/events.jsonl``.

The file is the truth and MLflow a copy of it, so training needs no server. It is no DVC out: it may hold times, and
it grows over resumed runs.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facet.artifacts import RUNS


class RunLog:
    """Appends one line an event: ``{"step": 10, "time": 1700000000.0, "loss": 0.5}``.

    Each line is written at once and whole, so that a follower sees it and a kill loses none. A disk that can't be
    written is reported once on stderr and never raises: a log must not end the training it tells of.
    """

    def __init__(self, stage: str, root: Path = RUNS):
        self.path = root / stage / "events.jsonl"
        self._silent = False
        self._fresh = True

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Append an event. ``values`` are numbers, booleans, text or None, under names other than step and time."""
        if self._silent:
            return
        line = json.dumps({"step": int(step), "time": round(time.time(), 3), **values}, default=_plain) + "\n"
        try:
            self._append(line)
        except OSError as error:
            self._silent = True
            print(
                f"warning: {self.path} can't be written ({error.strerror}); the run goes on unlogged.", file=sys.stderr
            )

    def _append(self, line: str) -> None:
        if self._fresh:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # A run that was killed, or whose disk was full, in the middle of a line must not swallow the next one.
            line = line if _ends_whole(self.path) else "\n" + line
            self._fresh = False
        with self.path.open("ab", buffering=0) as stream:
            stream.write(line.encode())


def read_events(path: Path) -> list[dict[str, Any]]:
    """The whole events of a log, in the order written; lines that a kill cut short are skipped."""
    events = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "step" in event:
            events.append(event)
    return events


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
