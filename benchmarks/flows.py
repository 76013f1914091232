"""The flow beside plain `dvc repro`: over an unchanged chain, and for each stage that runs."""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from tests.flows.conftest import Project, Server, free_port

_ROUNDS = 3
_STAGES = 5


def measure() -> dict[str, Any]:
    """Seconds, medians. ``unchanged`` is this checkout's own chain, which must be up to date."""
    with tempfile.TemporaryDirectory() as scratch:
        server = Server(Path(scratch) / "prefect", free_port())
        server.start()
        try:
            here = {"PREFECT_API_URL": server.api, "PREFECT_HOME": str(server.home)}
            unchanged = {
                "dvc_repro": _median(lambda: _time("dvc", "repro")),
                "flow_running_server": _median(lambda: _time("flows.pipeline", **here)),
            }
            stages = _per_stage(Path(scratch), server)
        finally:
            server.kill()
        alone = {"PREFECT_API_URL": "", "PREFECT_HOME": str(Path(scratch) / "alone")}
        unchanged["flow_fresh_private_server"] = _time("flows.pipeline", **alone)
    return {"unchanged_s": unchanged, "executed": stages}


def _per_stage(folder: Path, server: Server) -> dict[str, float]:
    """What the flow adds to each stage that runs: a chain of stages that do nothing, forced and unchanged."""
    project = Project(folder / "project", server)
    project.folder.mkdir()
    for command in (["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet"]):
        subprocess.run(command, cwd=project.folder, check=True)
    (project.folder / "0").write_text("raw")
    (project.folder / "params.yaml").write_text("seed: 0\n")
    names = [str(number) for number in range(_STAGES + 1)]
    stages = {
        f"s{b}": {"cmd": f"cp {a} {b}", "deps": [a], "outs": [b], "meta": {"gpu": True}}
        for a, b in itertools.pairwise(names)
    }
    (project.folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    project.run()

    def timed(call: Any) -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    flow = _median(lambda: timed(lambda: project.run("pipeline", "--force")) - timed(project.run))
    dvc = _median(lambda: timed(lambda: project.dvc("repro", "--force")) - timed(lambda: project.dvc("repro")))
    return {"stages": _STAGES, "dvc_s_each": dvc / _STAGES, "flow_adds_s_each": (flow - dvc) / _STAGES}


def _time(module: str, *arguments: str, **changes: str) -> float:
    environment = {name: value for name, value in {**os.environ, **changes}.items() if value}
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", module, *arguments], env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


def _median(call: Any) -> float:
    return statistics.median(call() for _ in range(_ROUNDS))
