"""A real Prefect server on loopback, once a session, and small real DVC projects whose stages can be looked at."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests import tiny

# A stage as the chain's own are: it ends with its parent, keeps checkpoints, has a child, and goes on where it was.
TRAINER = """
import os, pathlib, subprocess, sys, time
from facet.lifeline import die_with_parent
die_with_parent()
subprocess.Popen([sys.executable, "-c", "from facet.lifeline import *; die_with_parent(); time.sleep(600)"])
kept = pathlib.Path("checkpoints/step"); kept.parent.mkdir(exist_ok=True)
step = int(kept.read_text()) if kept.exists() else 0
print(f"from step {step}", flush=True)
while step < int(sys.argv[1]):
    time.sleep(0.05)
    step += 1
    scratch = kept.with_name("partial"); scratch.write_text(str(step)); os.replace(scratch, kept)
pathlib.Path(sys.argv[2]).write_text("trained")
os._exit(0)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(true: Callable[[], Any], seconds: float, what: str | Callable[[], str]) -> Any:
    """The first true value of ``true()``; fails after ``seconds``, telling ``what`` was awaited."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := true():
            return value
        time.sleep(0.05)
    pytest.fail(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}")


@dataclasses.dataclass
class Server:
    """A Prefect server as a process, and questions to it."""

    home: Path
    port: int
    process: subprocess.Popen | None = None

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def start(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--no-ui"],
                env={**os.environ, "PREFECT_HOME": str(self.home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until(self._answers, 90, "the Prefect server answers")

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.home / "log").read_text()
        try:
            urllib.request.urlopen(f"{self.api}/health", timeout=2).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def ask(self, path: str, content: Mapping[str, Any] | None = None, method: str | None = None) -> Any:
        request = urllib.request.Request(
            f"{self.api}/{path}",
            None if content is None else json.dumps(content).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        for wait in (0.2, 1, 3, None):
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.loads(answer.read() or b"null")
            except urllib.error.HTTPError as error:
                # SQLite has one writer: a busy server says 503, and Prefect's own client asks again.
                if wait is None or error.code < 500:
                    raise
                time.sleep(wait)
        raise AssertionError("unreachable")

    def runs(self, flow: str = "pipeline") -> list[dict[str, Any]]:
        """Runs of ``flow`` that have started, newest first."""
        wanted = {"flows": {"name": {"any_": [flow]}}, "flow_runs": {"state": {"type": {"not_any_": ["SCHEDULED"]}}}}
        return self.ask("flow_runs/filter", {**wanted, "sort": "START_TIME_DESC"})

    def tasks(self, run: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self.ask("task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})

    def limit_gpu(self, places: int) -> None:
        """What a user does with `prefect gcl create` or `update`: so many places on the GPU."""
        try:
            self.ask("v2/concurrency_limits/facet-gpu", {"limit": places}, method="PATCH")
        except urllib.error.HTTPError:  # no flow has made it yet
            self.ask("v2/concurrency_limits/", {"name": "facet-gpu", "limit": places, "active_slots": 0})

    def states(self, run: Mapping[str, Any]) -> dict[str, str]:
        """Task name -> name of its state."""
        return {task["name"]: task["state_name"] for task in self.tasks(run)}


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("prefect"), free_port())
    made.start()
    yield made
    made.kill()


@dataclasses.dataclass
class Project:
    """A git and DVC project with stages of the test's own."""

    folder: Path
    server: Server

    def environment(self, **changes: str) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        quiet = tiny.child_environment(PATH=path, PYTHONPATH=f"{tiny.ROOT / 'src'}{os.pathsep}{tiny.ROOT}")
        for name in (
            "PYTHONUNBUFFERED",
            "PREFECT__FLOW_RUN_ID",
            "FACET_WEBHOOK_URL",
            "FACET_REPORTS_URL",
            "MLFLOW_TRACKING_URI",
        ):
            quiet.pop(name, None)
        # A folder of its own for the GPU's lock: other tests, and other people, must not be waited for.
        locks = self.folder.parent / "locks"
        locks.mkdir(exist_ok=True)
        own = {"PREFECT_API_URL": self.server.api, "PREFECT_HOME": str(self.server.home), "TMPDIR": str(locks)}
        # DVC starts steps through $SHELL. Cron and CI set none, and Debian's sh, unlike bash, stays beside its command.
        own["SHELL"] = "/bin/sh"
        return {**quiet, **own, **changes}

    def stages(self, stages: Mapping[str, Any]) -> None:
        (self.folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": dict(stages)}, sort_keys=False))

    def dvc(self, *arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def start(self, module: str = "pipeline", *arguments: str, **changes: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", f"flows.{module}", *arguments],
            cwd=self.folder,
            env=self.environment(**changes),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # Tests may run where Ctrl-C is ignored (in the background of a shell), which a child would inherit.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, module: str = "pipeline", *arguments: str, code: int = 0, **changes: str) -> str:
        process = self.start(module, *arguments, **changes)
        said, _ = process.communicate(timeout=120)
        assert process.returncode == code, said
        return said

    def processes(self, besides: Set[str] = frozenset()) -> list[psutil.Process]:
        """All processes at work in the project's folder whose command has none of the words ``besides``."""
        found = []
        for process in psutil.process_iter():
            try:
                here = process.cwd() == str(self.folder) and process.status() != psutil.STATUS_ZOMBIE
                if here and not besides & set(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def step(self) -> int:
        """The newest checkpoint of TRAINER."""
        kept = self.folder / "checkpoints/step"
        return int(kept.read_text()) if kept.exists() else 0


@pytest.fixture
def project(tmp_path, server) -> Project:
    folder = tmp_path / "project"
    folder.mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=folder, check=True)
    shutil.copy2(tiny.ROOT / ".dvc/config", folder / ".dvc/config")
    (folder / "trainer.py").write_text(TRAINER)
    (folder / "params.yaml").write_text("seed: 0\n")
    (folder / "in.txt").write_text("raw")
    return Project(folder, server)
