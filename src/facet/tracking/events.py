"""Reading a step's event log while the step may still be writing it: the curve so far, and whether its writer lives."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

# What an event says beside the values of the curve.
_BESIDE = ("step", "time", "run", "samples_per_second")
# Events that tell of the run instead of a step.
_ENDED, _ERROR = "ended", "error"

# (name, step, value)
Point = tuple[str, int, float]
# (step, samples a second, milliseconds since 1970)
SpeedPoint = tuple[int, float, int]


def parse_events(lines: bytes) -> list[dict[str, Any]]:
    """The whole events among ``lines``, in the order written; lines that a kill cut short are skipped."""
    events = []
    for line in lines.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "step" in event:
            events.append(event)
    return events


def read_events(path: Path) -> list[dict[str, Any]]:
    """The whole events of a log; none where there is no log."""
    return parse_events(path.read_bytes()) if path.exists() else []


class EventTail:
    """A log that grows: each ``read`` parses only what was added since the last one."""

    def __init__(self, path: Path):
        self.path = path
        self.events: list[dict[str, Any]] = []
        self._inode, self._offset = 0, 0

    def read(self) -> list[dict[str, Any]]:
        """All whole events so far; none where the log is missing. A line still being written waits for its end."""
        try:
            stream = self.path.open("rb")
        except FileNotFoundError:
            self.events, self._inode, self._offset = [], 0, 0
            return self.events
        with stream:
            status = os.fstat(stream.fileno())
            if status.st_ino != self._inode or status.st_size < self._offset:  # another file, or cut: start anew
                self.events, self._inode, self._offset = [], status.st_ino, 0
            stream.seek(self._offset)
            whole = stream.read().rpartition(b"\n")[0:2]
        added = b"".join(whole)
        self._offset += len(added)
        self.events = self.events + parse_events(added)
        return self.events


@dataclasses.dataclass(frozen=True)
class LiveCurve:
    """What the newest run in a log has reported: its curve, its speed, whether it reached its last step, and, where it
    failed, why."""

    curve: tuple[Point, ...]
    speed: tuple[SpeedPoint, ...]
    ended: bool
    error: str | None


def live_curve(events: Iterable[Mapping[str, Any]]) -> LiveCurve:
    """The curve of the run that wrote last, rounded as its curve file will be.

    A run that was killed and resumed reports the steps since its last checkpoint again: the later report counts, as in
    the curve file. Its first speed counts, so that what a follower has copied stays as it is.
    """
    events = list(events)
    newest = events[-1].get("run") if events else None
    rows: dict[int, Mapping[str, Any]] = {}
    speed: dict[int, SpeedPoint] = {}
    last: Mapping[str, Any] = {}
    for last in (event for event in events if event.get("run") == newest):
        if _ENDED in last or _ERROR in last:
            continue
        step = int(last["step"])
        rows[step] = {name: value for name, value in last.items() if name not in _BESIDE}
        if "samples_per_second" in last and "time" in last:
            speed.setdefault(step, (step, float(last["samples_per_second"]), int(last["time"] * 1000)))
    curve = [(name, step, rounded(value)) for step in sorted(rows) for name, value in rows[step].items()]
    return LiveCurve(
        curve=tuple(point for point in curve if math.isfinite(point[2])),
        speed=tuple(point for _, point in sorted(speed.items()) if math.isfinite(point[1])),
        ended=_ENDED in last,
        error=last.get(_ERROR),
    )


def rounded(value: Any) -> float:
    """``value`` as a curve file keeps it, with six significant digits; NaN for what is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    return float(f"{value:.6g}")


def is_being_written(path: Path) -> bool:
    """Whether a living process holds the log (`facet.tracking.runlog` locks it)."""
    try:
        stream = path.open("rb")
    except OSError:
        return False
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        return False
