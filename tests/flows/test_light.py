"""A worker imports the flows without torch, MLflow or anything else that only steps need."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import tiny

HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "mlflow",
    "numpy",
    "pyarrow",
    "great_expectations",
    "boto3",
    "dvc",
    "PIL",
)


@pytest.mark.parametrize("module", ["pipeline", "refresh", "serve", "doctor"])
def test_a_flow_imports_nothing_that_only_steps_need(module):
    code = f"import sys, flows.{module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tiny.ROOT,
        env=tiny.child_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "[]"
