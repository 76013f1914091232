"""kill -9 of a real training step, at random moments: the same command goes on and ends with the same bytes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load

from tests import tiny

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STEPS, EVERY = 160, 10
MADE = {"train_vae": "artifacts/vae", "train_unet": "artifacts/unet"}


@pytest.fixture
def work_folder(tmp_path, faces_folder, latents_folder, text_folder):
    """Name -> a fresh folder as a training step finds it."""

    def make(name: str, **loop) -> Path:
        folder = tmp_path / name
        (folder / "artifacts").mkdir(parents=True)
        shutil.copytree(faces_folder, folder / "artifacts/faces")
        shutil.copytree(latents_folder, folder / "artifacts/latents")
        shutil.copytree(text_folder, folder / "artifacts/text")
        params = tiny.chain_params()
        long = {"steps": STEPS, "checkpoint_every": EVERY, "report_every": EVERY} | loop
        long["warmup_steps"] = long["steps"] // 2  # the alarm for learning nothing stays quiet
        for stage in MADE:
            params[stage]["loop"] |= long
        tiny.write_params(folder, params)
        return folder

    return make


def start(stage: str, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", f"facet.stages.{stage}"]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=tiny.child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=tiny.on_one_core,
    )


def finish(stage: str, folder: Path) -> None:
    process = start(stage, folder)
    said, _ = process.communicate()
    assert process.returncode == 0, said


def newest_checkpoint(folder: Path, stage: str) -> int:
    steps = [int(p.name.removeprefix("step-")) for p in (folder / "checkpoints" / stage).glob("*/step-*")]
    return max(steps, default=0)


def kill_after_progress(stage: str, folder: Path, chance: random.Random) -> int:
    """Start the step, let it save at least one more checkpoint, kill it at a moment of chance; the newest step."""
    before = newest_checkpoint(folder, stage)
    process = start(stage, folder)
    while process.poll() is None and newest_checkpoint(folder, stage) <= before:
        time.sleep(0.005)
    time.sleep(chance.uniform(0, 0.3))
    assert process.poll() is None, f"it ended before it could be killed: {process.stdout.read()}"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return newest_checkpoint(folder, stage)


def results(stage: str, folder: Path) -> dict[str, bytes]:
    return {
        **tiny.contents(folder / MADE[stage]),
        "curve": (folder / f"metrics/curves/{stage}.csv").read_bytes(),
        "metrics": (folder / f"metrics/{stage}.json").read_bytes(),
    }


@pytest.mark.parametrize("stage", list(MADE))
def test_a_killed_step_ends_with_the_same_bytes(stage, work_folder):
    whole, killed = work_folder("whole"), work_folder("killed")
    undisturbed = start(stage, whole)
    chance = random.Random(os.urandom(8))
    for _ in range(2):
        reached = kill_after_progress(stage, killed, chance)
        assert EVERY <= reached < STEPS
        assert not (killed / MADE[stage]).exists(), "no half-made artifact"
    finish(stage, killed)
    said, _ = undisturbed.communicate()
    assert undisturbed.returncode == 0, said
    assert results(stage, killed) == results(stage, whole)
    text = b"".join(content for name, content in results(stage, whole).items() if not name.endswith(".safetensors"))
    assert str(whole.parent).encode() not in text


def test_a_changed_param_starts_anew(work_folder):
    changed, fresh = work_folder("changed", steps=80), work_folder("fresh", steps=80)
    kill_after_progress("train_unet", changed, random.Random(0))
    for folder in (changed, fresh):
        content = yaml.safe_load((folder / "params.yaml").read_text())
        content["train_unet"]["dropout"]["attributes"] = 0.25
        tiny.write_params(folder, content)
        finish("train_unet", folder)
    assert results("train_unet", changed) == results("train_unet", fresh)


def test_two_processes_train_what_one_trains(work_folder):
    one, two = work_folder("one", steps=20, precision="fp32"), work_folder("two", steps=20, precision="fp32")
    finish("train_unet", one)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2", "--cpu", "-m"]
    done = subprocess.run(
        [*launch, "facet.stages.train_unet"],
        cwd=two,
        env=tiny.child_environment(ACCELERATE_USE_CPU="true"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = (results("train_unet", folder) for folder in (one, two))
    assert first.keys() == second.keys()
    compared = 0
    for name in (n for n in first if n.endswith(".safetensors")):
        a, b = load(first[name]), load(second[name])
        for key in a:
            np.testing.assert_allclose(b[key], a[key], atol=2e-4)
            compared += 1
    assert compared > 50
    counts = [json.loads(r["metrics"])["parameters"] for r in (first, second)]
    assert counts[0] == counts[1]
