"""A real training under a real flow, killed at moments of chance: nothing is left, at most an interval is lost.

FACET_KILLS=20 kills twenty times.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from flows import locks
from tests import tiny
from tests.flows.conftest import Project, until

KILLS = int(os.environ.get("FACET_KILLS", "1"))
EVERY = 10
STEPS = 400 * KILLS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 + 60 * KILLS)]


@pytest.fixture
def training(project, faces_folder, latents_folder, text_folder) -> Project:
    shutil.copytree(faces_folder, project.folder / "artifacts/faces")
    shutil.copytree(latents_folder, project.folder / "artifacts/latents")
    shutil.copytree(text_folder, project.folder / "artifacts/text")
    params = tiny.chain_params()
    loop = {"steps": STEPS, "checkpoint_every": EVERY, "report_every": EVERY, "warmup_steps": STEPS // 2}
    params["train_unet"]["loop"] |= loop
    tiny.write_params(project.folder, params)
    project.stages(
        {
            "train_unet": {
                "cmd": "python -m facet.stages.train_unet",
                "deps": ["artifacts/faces", "artifacts/latents", "artifacts/text"],
                "params": ["seed", "train_unet"],
                "outs": ["artifacts/unet"],
                "metrics": ["metrics/train_unet.json", "metrics/curves/train_unet.csv"],
                "meta": {"gpu": True},
            }
        }
    )
    return project


def newest(project: Project) -> int:
    steps = (project.folder / "checkpoints/train_unet").glob("*/step-*")
    return max((int(path.name.removeprefix("step-")) for path in steps), default=0)


def held(project: Project) -> list[Path]:
    """Locks that somebody still holds."""
    found = []
    checkout = project.folder / locks.CHECKOUT_LOCK
    for path in [*([checkout] if checkout.exists() else []), *Path(project.environment()["TMPDIR"]).glob("*.lock")]:
        with path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(path)
    return found


def kill_once(project: Project, reached: int, how: signal.Signals, early: bool, wait: float) -> int:
    """Start the flow, kill it while it starts or trains, see that nothing is left; the newest checkpoint."""
    flow = project.start(OMP_NUM_THREADS="1")
    if not early:
        until(lambda: newest(project) > reached, 90, "it trains")
    time.sleep(wait)
    assert flow.poll() is None, flow.communicate()
    flow.send_signal(how)

    def others() -> list:
        return [process for process in project.processes() if process.pid != flow.pid]

    until(lambda: not others(), 10, lambda: f"all gone after {how.name}: {others()}")
    flow.communicate(timeout=20)  # it may still tell Prefect
    assert not project.processes()
    assert not held(project)
    assert newest(project) >= reached, f"{how.name} lost checkpoints"
    return newest(project)


def test_killed_at_any_moment_nothing_is_left_and_nothing_is_lost(training):
    chance = random.Random(os.urandom(8))
    reached = 0
    for number in range(KILLS):
        how = chance.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
        # Half of them fall into the start, the others into the training.
        early = chance.random() < 0.5
        reached = kill_once(training, reached, how, early, chance.uniform(0, 8 if early else 2))
        print(f"{number + 1} of {KILLS}: {how.name}, {'starting' if early else 'training'}, checkpoint {reached}")
    said = training.run("doctor")
    assert "RUNNING" not in {run["state_type"] for run in training.server.runs()}, said
    kill_once(training, reached, signal.SIGKILL, early=False, wait=0.5)
    training.run("doctor")
    assert reached < newest(training) < STEPS
    events = (training.folder / "runs/train_unet/events.jsonl").read_text()
    # The first step after the last kill is reported one interval after the checkpoint that was reached.
    assert f'"step": {reached + EVERY},' in events
