"""`facet data diff` on a real git repository with real DVC in it, and a sentence for every revision it can't read."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from facet.artifacts import FACES_SCHEMA
from facet.data.revisions import fetch_tables
from facet.errors import ArtifactError, ParamsError
from tests.cli_app import data_app
from tests.prepared import columns, write_prepared

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

CHAIN = """\
stages:
  prepare:
    cmd: rm -rf artifacts/faces && mkdir -p artifacts && cp -r made artifacts/faces
    deps: [made]
    outs: [artifacts/faces]
"""


class Checkout:
    """A git repository whose step `prepare` copies hand-written faces, each version with a tag."""

    def __init__(self, root: Path):
        self.root = root
        self.run("git", "init", "--quiet")
        self.run(sys.executable, "-m", "dvc", "init", "--quiet")
        (root / ".dvc/config").write_text("[core]\n    analytics = false\n    check_update = false\n")
        (root / ".gitignore").write_text("/artifacts/\n/made/\n/.site/\n")
        (root / "dvc.yaml").write_text(CHAIN)
        self.commit("unprepared")

    def run(self, *command: str) -> None:
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

    def commit(self, tag: str) -> None:
        identity = ("-c", "user.name=tester", "-c", "user.email=tester@localhost")
        self.run("git", "add", "--all")
        self.run("git", *identity, "commit", "--quiet", "--message", tag)
        self.run("git", "tag", tag)

    def prepare(self, tag: str, *faces, **about) -> None:
        shutil.rmtree(self.root / "made", ignore_errors=True)
        write_prepared(self.root / "made", *faces, **about)
        self.run(sys.executable, "-m", "dvc", "repro", "--quiet")
        self.commit(tag)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Tags: unprepared; old, of an earlier schema; may and june, which differ. The workspace holds june."""
    root = tmp_path_factory.mktemp("checkout")
    os.environ["DVC_SITE_CACHE_DIR"] = str(root / ".site")
    try:
        checkout = Checkout(root)
        checkout.prepare("old", columns(20), schema="facet.faces/1")
        checkout.prepare("may", columns(60))
        checkout.prepare("june", changed(), [("000003.jpg", "broken", "cut\x1b[2J")])
    finally:
        del os.environ["DVC_SITE_CACHE_DIR"]
    return root


def changed() -> dict:
    faces = columns(62)
    faces["attribute:Male"] = np.r_[columns(60)["attribute:Male"], 1, 1]
    faces["attribute:Smiling"] = np.r_[-np.ones(60), 1, 1]
    faces["attribute:Young"] = np.r_[columns(60)["attribute:Young"], 0, 0]
    faces["split"][0] = "test"
    return {name: [values[i] for i in range(62) if i != 3] for name, values in faces.items()}


@pytest.fixture
def checkout(built, monkeypatch) -> Path:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(built / ".site"))
    monkeypatch.chdir(built)
    return built


def diff(*words: str) -> str:
    done = CliRunner().invoke(data_app(), ["diff", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_two_revisions_are_told_apart(checkout):
    told = json.loads(diff("may", "june", "--json"))
    found = told["difference"]
    assert (told["before"], told["after"]) == ("may", "june")
    assert found["added"] == {"count": 2, "examples": ["000060.jpg", "000061.jpg"]}
    assert found["removed"] == {"count": 1, "examples": ["000003.jpg"]}
    assert [(one["before"], one["after"], one["faces"]["count"]) for one in found["moved"]] == [("train", "test", 1)]
    assert [one["name"] for one in found["relabelled"]] == ["Smiling"]
    assert [(one["kind"], one["were_faces"]) for one in found["quarantined"]] == [("broken", 1)]
    assert told["drift"]["attributes"][0]["name"] == "Smiling"


def test_the_workspace_is_the_other_one_by_default(checkout):
    said = diff("may")
    assert said.startswith("From may (60 faces) to the workspace (61):\n")
    assert "  2  added: 000060.jpg, 000061.jpg\n" in said
    assert "put aside, broken (1 of them were in the set): 000003.jpg" in said
    assert "beyond chance" in said
    assert diff("june") == "june and the workspace hold the same 61 faces.\n"


def test_only_the_tables_are_fetched(checkout, tmp_path):
    fetch_tables("may", tmp_path / "tables")
    assert sorted(os.listdir(tmp_path / "tables")) == ["faces.json", "manifest.parquet", "quarantine.parquet"]


def test_below_the_root_it_is_the_same_repository(checkout, tmp_path, monkeypatch):
    (checkout / "made").mkdir(exist_ok=True)
    monkeypatch.chdir(checkout / "made")
    fetch_tables("may", tmp_path / "tables")


@pytest.mark.parametrize(
    ("revision", "error", "sentence"),
    [
        ("nowhere", ParamsError, r"^'nowhere' is no revision of this repository: name a commit, tag or branch"),
        ("--help", ParamsError, r"^'--help' is no revision of this repository"),
        ("unprepared", ArtifactError, r"^revision unprepared pins no artifacts/faces/faces\.json: name one whose"),
        (
            "old",
            ArtifactError,
            rf"^artifacts/faces of old has schema 'facet\.faces/1', this facet .*'{FACES_SCHEMA}'",
        ),
    ],
)
def test_a_revision_that_can_not_be_read_gets_a_sentence(checkout, tmp_path, revision, error, sentence):
    with pytest.raises(error, match=sentence):
        fetch_tables(revision, tmp_path / "tables")


def test_what_the_cache_has_lost_is_named(built, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / ".site"))
    copy = tmp_path / "copy"
    shutil.copytree(built, copy, symlinks=True)
    monkeypatch.chdir(copy)
    for file in (copy / ".dvc/cache").rglob("*"):
        if file.is_file() and not file.name.endswith(".dir"):
            file.unlink()
    with pytest.raises(
        ArtifactError, match=r"^artifacts/faces of may is neither in DVC's cache here nor in its remote"
    ):
        fetch_tables("may", tmp_path / "a")
    shutil.rmtree(copy / ".dvc/cache")
    with pytest.raises(
        ArtifactError, match=r"^artifacts/faces of may is neither in DVC's cache here nor in its remote"
    ):
        fetch_tables("may", tmp_path / "b")


def test_outside_a_repository_there_is_nothing_to_compare(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError, match=r"^this folder is in no git repository"):
        fetch_tables("HEAD", tmp_path / "tables")
