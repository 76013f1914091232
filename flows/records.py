"""Which process is behind a flow run: a file for each in runs/flows, so that a dead one can be told from a slow one."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil

from facet.artifacts import RUNS, write_json

FOLDER = RUNS / "flows"
# Each program of a run carries it, so that a left-over one can be found.
VARIABLE = "FACET_FLOW_RUN"


@dataclasses.dataclass(frozen=True)
class Record:
    """The process of a flow run. ``born`` tells it from a later process with the same number."""

    flow_run: str
    name: str
    pid: int
    born: float
    host: str

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.flow_run}.json"

    def here(self) -> bool:
        """Whether it ran on this host, so that this host can tell."""
        return self.host == socket.gethostname()

    def alive(self) -> bool:
        """Whether the process still runs."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.born) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


@contextlib.contextmanager
def recorded(flow_run: str, name: str) -> Iterator[Record]:
    """Keep a record of this process as the one behind ``flow_run`` while the block runs.

    Where the block ends by an error the record stays: whether Prefect could be told is only known later.
    """
    born = psutil.Process().create_time()
    record = Record(flow_run, name, os.getpid(), born, socket.gethostname())
    write_json(record.path, dataclasses.asdict(record))
    yield record
    record.path.unlink(missing_ok=True)


def left_over() -> list[Record]:
    """Records whose process is dead, on this host."""
    return [record for record in read_all() if record.here() and not record.alive()]


def read_all() -> list[Record]:
    """Every record in this checkout; what is no record is left out."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            found.append(Record(**json.loads(path.read_text(encoding="utf-8"))))
    return found
