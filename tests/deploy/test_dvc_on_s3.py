"""DVC's own program with its remote, and the import of the data, on an S3 endpoint."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.contracts.closure import ROOT
from tests.deploy.processes import BIN

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


class Project:
    """A folder with git and DVC in it, as this repository has them."""

    def __init__(self, root: Path, env: dict[str, str]):
        self.root = root
        self.env = {
            **os.environ,
            **env,
            "DVC_SITE_CACHE_DIR": str(root / ".site"),
            "PATH": f"{BIN}:{os.environ['PATH']}",
        }
        self.run("git", "init", "--quiet")
        self.run("dvc", "init", "--quiet")
        shutil.copy(ROOT / ".dvc/config", root / ".dvc/config")

    def run(self, *command: str) -> str:
        done = subprocess.run(command, cwd=self.root, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def project(tmp_path, s3):
    return Project(tmp_path, s3.env)


def test_what_is_pushed_to_the_remote_comes_back(project, s3):
    folder = project.root / "faces"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_text(name * 100)
    project.run("dvc", "remote", "add", "--default", "team", f"{s3.bucket('remote')}/cache")
    project.run("dvc", "pull", "--run-cache", "--allow-missing")  # as train.yml begins
    project.run("dvc", "add", "faces")
    project.run("dvc", "push", "--run-cache")
    assert len(s3.keys("remote")) == 3  # two files and the list of them
    shutil.rmtree(project.root / ".dvc/cache")
    shutil.rmtree(folder)
    project.run("dvc", "pull")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a": "a" * 100, "b": "b" * 100}
    assert json.loads(project.run("dvc", "status", "--json")) == {}


def test_data_is_imported_from_s3_and_again_only_when_the_source_changed(project, s3):
    """As docs/deployment.md has it: import, then let it thaw, as this repository's own data.dvc is."""
    url = s3.bucket("source") + "/celeba"
    client = s3.client()
    client.put_object(Bucket="source", Key="celeba/list.txt", Body=b"one")
    client.put_object(Bucket="source", Key="celeba/img/1.jpg", Body=b"\xff\xd8")
    project.run("dvc", "import-url", url, "data")
    project.run("sed", "-i", "/^frozen: true$/d", "data.dvc")
    ours, imported = (yaml.safe_load((root / "data.dvc").read_text()) for root in (ROOT, project.root))
    assert ours.keys() - {"md5"} == imported.keys() - {"md5"}
    assert (project.root / "data/list.txt").read_text() == "one"
    assert (project.root / "data/img/1.jpg").read_bytes() == b"\xff\xd8"
    pinned = (project.root / "data.dvc").read_text()
    assert "didn't change" in project.run("dvc", "repro", "data.dvc")

    client.put_object(Bucket="source", Key="celeba/list.txt", Body=b"two")
    project.run("dvc", "repro", "data.dvc")
    assert (project.root / "data/list.txt").read_text() == "two"
    assert (project.root / "data.dvc").read_text() != pinned
