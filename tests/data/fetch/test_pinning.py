"""After a fetch into a repository data.dvc pins what came; a real git and DVC repository each."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from facet import bucket
from facet.artifacts import SOURCE
from facet.data.fetch.pinning import is_raw_data, pin
from facet.errors import FacetError
from tests import tiny
from tests.data.fetch.host import File
from tests.deploy.s3 import s3, s3_env

__all__ = ["s3", "s3_env"]

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def run(root: Path, *command: str) -> str:
    done = subprocess.run(
        command, cwd=root, env=tiny.child_environment(), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dvc(root: Path, *arguments: str) -> str:
    return run(root, sys.executable, "-m", "dvc", *arguments)


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    """A repository whose raw data is the sample that lies in it. Read only: copy it."""
    root = tmp_path_factory.mktemp("first") / "repository"
    (root / "sample/img").mkdir(parents=True)
    (root / "sample/img/1.png").write_bytes(b"1")
    (root / "sample/list.csv").write_text("a")
    (root / "dvc.yaml").write_text("stages: {}\n")
    run(root, "git", "init", "-q")
    dvc(root, "init", "-q")
    run(root, "git", "config", "user.email", "a@example.org")
    run(root, "git", "config", "user.name", "a")
    dvc(root, "import-url", "-q", "sample", "data")
    run(root, "git", "add", "-A")
    run(root, "git", "commit", "-qm", "first")
    return root


@pytest.fixture
def root(first, tmp_path, monkeypatch) -> Path:
    root = tmp_path / "repository"
    shutil.copytree(first, root)
    monkeypatch.chdir(root)
    return root


def stage(root: Path) -> dict:
    return yaml.safe_load((root / "data.dvc").read_text())


def up_to_date(root: Path) -> bool:
    return "up to date" in dvc(root, "status")


def test_only_the_data_folder_of_a_repository_is_pinned(root, tmp_path):
    assert is_raw_data(Path("data"))
    assert is_raw_data(root / "data")
    assert not is_raw_data(root / "other")
    assert not is_raw_data(tmp_path / "data")


def test_what_came_from_a_host_is_pinned_by_its_hash_alone(root, host, take):
    host.answers["/faces.zip"] = File(b"faces", '"1"')
    done = take("/faces.zip", target=Path("data"), force=True)
    assert pin(Path("data"), done.source) is None
    assert set(stage(root)) == {"outs"}
    assert stage(root)["outs"][0]["nfiles"] == 2
    assert up_to_date(root)
    assert "data" not in run(root, "git", "status", "--porcelain").replace("data.dvc", "")
    host.forget()
    dvc(root, "repro", "data.dvc")
    assert host.asked == []


def test_a_folder_here_stays_an_import_and_moves_no_byte_again(root, take):
    target = Path("data")
    done = take("sample", target=target, force=True)
    inodes = {path: path.stat().st_ino for path in target.rglob("*") if path.is_file()}
    assert pin(target, done.source) == "sample"
    assert [dep["path"] for dep in stage(root)["deps"]] == ["sample"]
    assert up_to_date(root)
    dvc(root, "repro", "data.dvc")
    assert {path: path.stat().st_ino for path in target.rglob("*") if path.is_file()} == inodes
    assert (target / SOURCE).is_file()


def test_after_a_change_in_the_folder_dvc_and_fetch_bring_it(root, take):
    target = Path("data")
    pin(target, take("sample", target=target, force=True).source)
    Path("sample/list.csv").write_text("b")
    assert "modified" in dvc(root, "status")
    pin(target, take("sample", target=target, update=True).source)
    assert (target / "list.csv").read_text() == "b"
    assert up_to_date(root)


def test_a_folder_outside_is_named_by_its_path(root, tmp_path, take):
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs/1.png").write_bytes(b"1")
    done = take(str(tmp_path / "photographs"), target=Path("data"), force=True)
    assert pin(Path("data"), done.source) == str(tmp_path / "photographs")
    assert up_to_date(root)


def test_a_folder_in_a_bucket_stays_an_import(root, s3_env, take):
    url = s3_env.bucket("pinned") + "/faces"
    bucket.upload_folder(root / "sample", url)
    done = take(url, target=Path("data"), force=True)
    assert pin(Path("data"), done.source) == "s3://pinned/faces"
    assert [dep["path"] for dep in stage(root)["deps"]] == ["s3://pinned/faces"]
    assert up_to_date(root)
    s3_env.client().put_object(Bucket="pinned", Key="faces/list.csv", Body=b"new")
    assert "modified" in dvc(root, "status")


def test_where_dvc_refuses_data_dvc_is_as_it_was(root, host, take):
    before = (root / "data.dvc").read_bytes()
    done = take("sample", target=Path("data"), force=True)
    (root / ".dvc/config").write_text("[core]\nnonsense")
    with pytest.raises(FacetError, match=r"the data is there, but `dvc commit --force data.dvc` could not pin it"):
        pin(Path("data"), done.source)
    assert (root / "data.dvc").read_bytes() == before
