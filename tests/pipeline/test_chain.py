"""The whole chain, tiny, by real `dvc repro`, in clean copies of this checkout."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import yaml

from facet.data.drawn import write_drawn_set
from facet.evaluation.report import read_curve
from tests import tiny

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = [
    "prepare",
    "validate",
    "train_vae",
    "encode",
    "tune_decoder",
    "train_unet",
    "train_judge",
    "reference",
    "select",
    "sample",
    "evaluate",
    "register",
]
DATA_DVC = """\
deps:
- path: sample
outs:
- path: data
"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "sample"
    write_drawn_set(folder, 120, seed=1)
    return folder


def clone(folder: Path, drawn: Path) -> Path:
    """A clean copy of the working tree with tiny data and params, nothing built, no lock, no cache."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=tiny.ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (tiny.ROOT / name).is_file() and not name.startswith(("sample/", "tests/", "docs/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tiny.ROOT / name, folder / name)
    for name in ("dvc.lock", "data.dvc"):
        (folder / name).unlink(missing_ok=True)
    (folder / "data.dvc").write_text(DATA_DVC)
    shutil.copytree(drawn, folder / "sample")
    tiny.write_params(folder, tiny.chain_params())
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """This copy's code, this interpreter's programs, and a registry in the copy itself."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    changed = tiny.child_environment(PATH=path, PYTHONPATH=str(folder / "src"))
    changed.pop("MLFLOW_TRACKING_URI", None)
    return changed


def dvc(folder: Path, *arguments: str, fails: bool = False) -> str:
    """What `dvc …` said, standard error included."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        preexec_fn=tiny.on_one_core,
    )
    assert (done.returncode != 0) == fails, done.stdout
    return done.stdout


def ran(said: str) -> list[str]:
    """The steps that `dvc repro` ran, in their order."""
    return [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage '")]


@pytest.fixture(scope="module")
def whole(drawn, tmp_path_factory) -> Path:
    """A copy in which the chain ran once, undisturbed. Its lock is kept aside as lock-of-first-run."""
    folder = clone(tmp_path_factory.mktemp("whole"), drawn)
    assert sorted(ran(dvc(folder, "repro"))) == sorted(STEPS)
    shutil.copy2(folder / "dvc.lock", folder / "lock-of-first-run")
    return folder


def test_the_chain_makes_what_people_look_for(whole):
    for name in ("reports/report.html", "reports/samples.png", "artifacts/pipeline/model_index.json", "mlflow.db"):
        assert (whole / name).is_file(), name
    done = subprocess.run(
        [sys.executable, "-c", "from facet.cli import main; main()", "generate", "-a", "Smiling,-Male", "-n", "3"],
        cwd=whole,
        env=environment(whole),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (whole / "faces.png").read_bytes().startswith(b"\x89PNG")


def test_dvc_plots_show_the_curves_of_the_report(whole):
    charts = [chart for entry in yaml.safe_load((whole / "dvc.yaml").read_text())["plots"] for chart in entry.values()]
    shown: dict[str, set[str]] = {}
    for file, columns in (item for chart in charts for item in chart["y"].items()):
        shown.setdefault(file, set()).update([columns] if isinstance(columns, str) else columns)
    for step in ("train_vae", "tune_decoder", "train_unet", "train_judge"):
        file = f"metrics/curves/{step}.csv"
        assert shown[file] == read_curve(whole / file).keys() - {"learning_rate"}  # which is the step's own plot
    told = json.loads(dvc(whole, "plots", "show", "--json").splitlines()[-1])
    assert not told.get("errors")
    assert len(told["data"]) == len(charts) + len(list((whole / "metrics").rglob("*.csv")))


def test_no_out_names_a_place(whole):
    place = str(whole).encode()
    for top in ("artifacts", "metrics", "dvc.lock"):
        files = [whole / top] if (whole / top).is_file() else [p for p in (whole / top).rglob("*") if p.is_file()]
        assert files
        assert [str(p) for p in files if place in p.read_bytes()] == []


def test_a_second_run_has_nothing_to_do(whole):
    assert ran(dvc(whole, "repro")) == []
    assert "up to date" in dvc(whole, "status")


def test_a_clone_that_is_killed_on_the_way_ends_with_the_same_lock(whole, drawn, tmp_path):
    """Two promises at once: a second clean clone makes the same bytes, and a kill in a training step changes none."""
    folder = clone(tmp_path / "clone", drawn)
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=tiny.on_one_core,
    )
    while process.poll() is None and not list((folder / "checkpoints/train_unet").glob("*/step-*")):
        time.sleep(0.01)
    time.sleep(random.Random(os.urandom(8)).uniform(0, 0.2))
    assert process.poll() is None, "the chain ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "artifacts/unet").exists()
    again = ran(dvc(folder, "repro"))
    assert "train_unet" in again
    assert "prepare" not in again
    assert (folder / "dvc.lock").read_bytes() == (whole / "lock-of-first-run").read_bytes()


def test_one_changed_value_reruns_what_depends_on_it_alone(whole):
    content = yaml.safe_load((whole / "params.yaml").read_text())
    tiny.write_params(whole, tiny.merged(content, {"sample": {"count": 12}}))
    # The registered version names all params; what else follows from the sample, DVC finds when it is another.
    assert json.loads(dvc(whole, "status", "--json")).keys() == {"sample", "register"}
    tiny.write_params(whole, tiny.merged(content, {"register": {"experiment": "another"}}))
    assert ran(dvc(whole, "repro")) == ["register"]


@pytest.fixture
def broken(drawn, tmp_path) -> Path:
    return clone(tmp_path / "broken", drawn)


def last_error(said: str) -> str:
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    return line


def test_a_params_file_with_a_wrong_key_is_one_sentence(broken):
    content = yaml.safe_load((broken / "params.yaml").read_text())
    content["prepare"]["sise"] = content["prepare"].pop("size")
    tiny.write_params(broken, content)
    said = last_error(dvc(broken, "repro", "prepare", fails=True))
    assert "unknown key prepare.sise: did you mean size or min_side?" in said
    assert not (broken / "artifacts/faces").exists()


def test_truncated_pictures_are_one_sentence_and_leave_nothing_behind(broken):
    archive = broken / "sample/img_align_celeba.zip"
    with zipfile.ZipFile(archive) as pictures:
        contents = {name: pictures.read(name) for name in pictures.namelist()}
    for name in ("000007.jpg", "000009.jpg", "000030.jpg"):
        contents[f"img_align_celeba/{name}"] = contents[f"img_align_celeba/{name}"][:900]
    with zipfile.ZipFile(archive, "w") as pictures:
        for name, content in contents.items():
            pictures.writestr(name, content)
    said = last_error(dvc(broken, "repro", "prepare", fails=True))
    assert "3 of 120 pictures can't be used: 3 broken, such as 000007.jpg" in said
    assert not list((broken / "artifacts").glob("*faces*"))
    assert not list((broken / "artifacts").glob(".*partial"))
