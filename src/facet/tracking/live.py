"""What a step's files say while the chain runs: nothing yet, a curve so far, a death, or the whole record.

A step's curve file and numbers are written at its end, and DVC takes the previous ones away at its start; in between
the event log is all there is. It is kept over runs, so what lies in it counts only while it is newer than the curve
file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from facet.artifacts import CURVES, METRICS, RUNS, digest_file, digest_json
from facet.params import DEFAULT_PATH, load_yaml
from facet.tracking.events import EventTail, SpeedPoint, is_being_written, live_curve
from facet.tracking.records import StageRecord, read_curve, read_numbers

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]

# Sections that have nothing to mirror and make no other model: the step that closes a chain and copies everything
# itself, and what is decided afterwards.
NOT_MIRRORED = ("register", "promote")


@dataclasses.dataclass(frozen=True)
class LiveRecord:
    """A step's record so far, MLflow's word for its state, its speed, and, where it failed, why."""

    record: StageRecord
    status: Status
    speed: tuple[SpeedPoint, ...] = ()
    error: str | None = None


class StageWatch:
    """The files of one step."""

    def __init__(self, name: str):
        self.name = name
        self._events = EventTail(RUNS / name / "events.jsonl")
        self._curve = CURVES / f"{name}.csv"
        self._metrics = METRICS / f"{name}.json"

    @property
    def alive(self) -> bool:
        """Whether a process is writing the log."""
        return is_being_written(self._events.path)

    def signature(self) -> tuple[object, ...]:
        """Changes whenever ``read`` would; all None and False where the step has left nothing."""
        return (*(_stamp(path) for path in (self._events.path, self._curve, self._metrics)), self.alive)

    def read(self, params: Mapping[str, str]) -> LiveRecord | None:
        """What the files say now, beside the step's flat ``params``; None where they tell of earlier runs only."""
        alive = self.alive  # before the files: a step that ends meanwhile must not look killed
        so_far = live_curve(self._events.read())
        if _newer(self._events.path, self._curve):
            if so_far.ended and not alive:  # the next run has begun, its predecessor's curve is gone
                return None
            status: Status = "RUNNING" if alive else "FAILED" if so_far.error else "KILLED"
            record = StageRecord(self.name, dict(params), {}, so_far.curve)
            return LiveRecord(record, status, so_far.speed, so_far.error)
        whole = self._metrics.exists()
        if not whole and not self._curve.exists():
            return None
        numbers, curve = read_numbers(self._metrics), read_curve(self._curve)
        status = "FINISHED" if whole else "RUNNING" if alive else "KILLED"
        speed = so_far.speed if curve and so_far.curve == curve else ()
        return LiveRecord(StageRecord(self.name, dict(params), numbers, curve), status, speed)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _newer(events: Path, curve: Path) -> bool:
    """Whether the log tells of a run that has not written its curve file."""
    logged, written = _stamp(events), _stamp(curve)
    return logged is not None and (written is None or logged[0] > written[0])


def live_key(params: Path = DEFAULT_PATH, data: Path = Path("data.dvc")) -> str | None:
    """Names the chain that runs in this checkout with these params and data, before its model has a digest.

    None where ``runs/``, whose name tells one checkout from another, can't be written.
    """
    try:
        checkout = _checkout_name(RUNS / ".checkout")
    except OSError:
        return None
    values = {name: section for name, section in load_yaml(params).items() if name not in NOT_MIRRORED}
    pinned = digest_file(data) if data.is_file() else None
    return "live-" + digest_json({"checkout": checkout, "params": values, "data": pinned})[:32]


def _checkout_name(path: Path) -> str:
    """A name made once, which moves along with the event logs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError), path.open("x", encoding="utf-8") as stream:
        stream.write(uuid.uuid4().hex + "\n")
    return path.read_text(encoding="utf-8").strip()


@contextlib.contextmanager
def taking_turns(patience: float = 10.0) -> Iterator[None]:
    """Hold this checkout's lock on its live runs, so that nobody adds to them while another closes them.

    After ``patience`` seconds it goes on without: whoever holds it then waits for a server that does not answer, and a
    chain must not.
    """
    try:
        RUNS.mkdir(parents=True, exist_ok=True)
        lock = os.open(RUNS / ".mirror.lock", os.O_RDONLY | os.O_CREAT, 0o644)
    except OSError:
        yield
        return
    try:
        limit = time.monotonic() + patience
        while time.monotonic() < limit:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.05)
        yield
    finally:
        os.close(lock)
