"""Trying a registered model out in a process of its own: with its own code, pickles forbidden.

A process, because the model's copy of facet is not the one that runs here, because a model that crashes must not take
the promotion with it, and because the imports (half of the time a promotion takes) pass while MLflow is asked.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# Loading and one step take 2 s where the imports are done; a GPU box with a cold disk takes longer.
_PATIENCE_S = 300


class Trial:
    """A process that waits for the folder of a saved MLflow model."""

    def __init__(self, process: subprocess.Popen) -> None:
        self._process = process

    def draw(self, folder: Path) -> str:
        """Why the model in ``folder`` can't be loaded and drawn from; the empty string where it can. Ask once."""
        try:
            said, complaints = self._process.communicate(f"{folder}\n", timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            return f"no face within {_PATIENCE_S} s"
        try:
            return json.loads(said.splitlines()[-1])["error"]
        except (IndexError, ValueError, KeyError, TypeError):
            last = (complaints.strip().splitlines() or [f"exit code {self._process.returncode}"])[-1]
            return f"its process died: {last[:200]}"


@contextlib.contextmanager
def started_trial() -> Iterator[Trial]:
    """A trial that is already importing what it will need; gone when the block ends."""
    program = Path(__file__).with_name("trial_program.py")
    quiet = {"DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        # -P: this folder's modules must not stand in for the libraries'.
        [sys.executable, "-P", str(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**quiet, **os.environ},
    )
    try:
        yield Trial(process)
    finally:
        process.kill()
        process.communicate()
