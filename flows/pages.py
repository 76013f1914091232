"""What a run leaves to look at in Prefect: a stage's metrics, its progress, the samples, the report."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import yaml
from prefect import get_run_logger
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from facet.artifacts import METRICS, REPORT, RUNS, SAMPLE_GRID, flatten
from facet.params import DEFAULT_PATH

_PROGRESS_SECONDS = 5.0
# The server keeps artifacts in its database.
_IMAGE_BYTES = 1_500_000


def key_of(*words: str) -> str:
    """An artifact's key: Prefect allows lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")


@contextlib.contextmanager
def harmless() -> Iterator[None]:
    """What can't be shown is logged, and the run goes on: it is there for the model, not for its pages."""
    try:
        yield
    except Exception as error:  # whatever Prefect's client raises, from a full disk to a server that restarts
        get_run_logger().warning("not shown in Prefect (%s: %s)", type(error).__name__, error)


class Progress:
    """A training stage's progress bar in Prefect, read from the events that the step writes."""

    def __init__(self, stage: str):
        self._stage, self._path = stage, RUNS / stage / "events.jsonl"
        self._total = _steps(stage)
        # What earlier runs wrote is not this run's progress.
        self._at = self._path.stat().st_size if self._path.exists() else 0
        self._artifact: UUID | None = None
        self._next = 0.0

    def look(self) -> None:
        """Bring the bar up to the newest event; cheap, and at most every few seconds."""
        if not self._total or time.monotonic() < self._next or not self._path.exists():
            return
        self._next = time.monotonic() + _PROGRESS_SECONDS
        with self._path.open("rb") as stream:
            stream.seek(min(self._at, self._path.stat().st_size))
            lines = stream.read().splitlines()
        for line in reversed(lines):
            try:
                event = json.loads(line)
            except ValueError:
                continue
            return self._show(100.0 * event["step"] / self._total, event)

    def _show(self, percent: float, event: Mapping[str, Any]) -> None:
        percent = min(100.0, percent)
        rate = event.get("samples_per_second")
        words = f"{self._stage}: step {event['step']} of {self._total}" + (f", {rate:.0f} samples/s" if rate else "")
        if self._artifact is None:
            self._artifact = create_progress_artifact(percent, key_of(self._stage, "progress"), words)
        else:
            update_progress_artifact(self._artifact, percent, words)


def _steps(stage: str) -> int:
    section = yaml.safe_load(DEFAULT_PATH.read_text(encoding="utf-8")).get(stage)
    loop = section.get("loop") if isinstance(section, dict) else None
    return int(loop.get("steps", 0)) if isinstance(loop, dict) else 0


def show_metrics(stage: str) -> None:
    """The stage's metrics file as a table; a stage without one has none."""
    path = METRICS / f"{stage}.json"
    if not path.exists():
        return
    flat = flatten(json.loads(path.read_text(encoding="utf-8")))
    rows = [{"metric": name, "value": value} for name, value in flat.items() if not isinstance(value, list)]
    create_table_artifact(rows, key_of(stage, "metrics"), f"What `{stage}` measured ({path}).")


def show_results(logger: logging.Logger | logging.LoggerAdapter, link: str | None) -> None:
    """The scores, the sample grid and the report of an evaluated chain. ``link`` is where the report was shared."""
    if SAMPLE_GRID.exists() and (picture := SAMPLE_GRID.read_bytes()) and len(picture) <= _IMAGE_BYTES:
        # A page can't show a file of another machine; what is small enough travels in the address itself.
        address = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
        create_image_artifact(address, "samples", "Held-out attributes, and what the model drew for them.")
    if REPORT.exists():
        words = "the report" if link else f"{REPORT} on the host of this run"
        create_link_artifact(link or REPORT.resolve().as_uri(), link_text=words, key="report")
        logger.info("report: %s", link or REPORT)


def show_plan(rows: list[tuple[str, str, str]]) -> None:
    """What became of each stage, as one table for the whole run: (stage, outcome, why)."""
    lines = ["| stage | outcome | why |", "| --- | --- | --- |", *(f"| {a} | {b} | {c} |" for a, b, c in rows)]
    create_markdown_artifact("\n".join(lines), "stages", "What each stage did in this run.")


def seconds(duration: float) -> str:
    """1.4 -> "1.4 s", 75 -> "1 min 15 s"."""
    return f"{duration:.1f} s" if duration < 60 else f"{int(duration // 60)} min {int(duration % 60)} s"
