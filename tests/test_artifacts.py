"""Artifacts are whole or absent, whatever happens while they are written; digests say what is in them."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facet.artifacts import (
    digest_code,
    digest_file,
    digest_folder,
    digest_json,
    flatten,
    read_json,
    whole_file,
    whole_folder,
    write_json,
)
from facet.data.manifest import write_faces
from facet.diffusion.grids import save_picture
from facet.errors import ArtifactError
from facet.models.autoencoder import save_model
from facet.training.checkpoint import CheckpointStore
from tests import tiny


@pytest.fixture
def full_disk(tmp_path):
    """A real file system with room for 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    with contextlib.suppress(OSError):
        if os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
            yield folder
            subprocess.run(["umount", str(folder)], check=True)
            return
    pytest.skip("only root can mount a tiny disk here")


def test_a_folder_appears_when_it_is_whole(tmp_path):
    with whole_folder(tmp_path / "a/out") as folder:
        (folder / "x").write_text("1")
        assert not (tmp_path / "a/out").exists()
    assert tiny.contents(tmp_path) == {"a/out/x": b"1"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_folder_and_nothing_half_written(error, tmp_path):
    with whole_folder(tmp_path / "out") as folder:
        (folder / "x").write_text("old")
    with pytest.raises(error), whole_folder(tmp_path / "out") as folder:  # noqa: PT012 - the point is what is left
        (folder / "x").write_text("new")
        raise error
    assert tiny.contents(tmp_path) == {"out/x": b"old"}
    with pytest.raises(error), whole_file(tmp_path / "out/x") as scratch:  # noqa: PT012
        scratch.write_text("new")
        raise error
    assert tiny.contents(tmp_path) == {"out/x": b"old"}
    assert not list(tmp_path.glob(".*"))


def test_what_an_earlier_kill_left_is_swept_away(tmp_path):
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial/stale").write_text("half")
    with whole_folder(tmp_path / "out") as folder:
        (folder / "x").write_text("1")
    assert tiny.contents(tmp_path) == {"out/x": b"1"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_sentence(number, tmp_path):
    for writer in (whole_folder, whole_file):
        full = pytest.raises(ArtifactError, match=r"the disk is full: .*out was not written; free some space")
        with full, writer(tmp_path / "out"):
            raise OSError(number, os.strerror(number))
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written_is_one_sentence(tmp_path):
    with pytest.raises(ArtifactError, match="check the folder's permissions"), whole_file(tmp_path / "out"):
        raise PermissionError(errno.EACCES, "Permission denied")


def _picture(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    save_picture(Image.fromarray(noise), folder / "out")


WRITERS = {
    "faces": lambda folder, raw: write_faces(raw, tiny.prepare_params(crop="square"), folder / "out"),
    "checkpoint": lambda folder, raw: CheckpointStore("s", {}, folder).save(1, {"a": torch.ones(50_000)}, {}),
    "json": lambda folder, raw: write_json(folder / "out", list(range(50_000))),
    "picture": lambda folder, raw: _picture(folder),
}


@pytest.mark.parametrize("what", list(WRITERS))
def test_a_disk_that_is_really_full_is_one_sentence_and_leaves_nothing(what, full_disk, raw):
    with pytest.raises(ArtifactError, match="the disk is full"):
        WRITERS[what](full_disk, raw)
    assert tiny.contents(full_disk) == {}


def test_saved_weights_on_a_full_disk_leave_nothing(full_disk):
    with pytest.raises(ArtifactError, match="the disk is full"), whole_folder(full_disk / "out") as folder:
        save_model(tiny.autoencoder(), folder)
    assert tiny.contents(full_disk) == {}


def test_json_is_the_same_bytes_for_the_same_content(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": {"d": 1.5, "c": "é"}})
    write_json(tmp_path / "b.json", {"a": {"c": "é", "d": 1.5}, "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a.json").read_text().endswith("}\n")
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "c.json", {"a": float("nan")})
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "run the step that makes it"),
        ("{", "is damaged"),
        ('{"schema": "facet.faces/0"}', r"has schema 'facet\.faces/0', expected 'facet\.faces/1'"),
        ("[1]", "has schema 'list'"),
        ("{}", "has schema None"),
    ],
)
def test_an_artifact_of_another_kind_is_a_sentence(text, says, tmp_path):
    if text is not None:
        (tmp_path / "a.json").write_text(text)
    with pytest.raises(ArtifactError, match=says):
        read_json(tmp_path / "a.json", "facet.faces/1")


def test_digests_follow_names_and_contents_alone(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder / "sub").mkdir(parents=True)
        for name in ("x", "sub/y") if folder == "a" else ("sub/y", "x"):
            (tmp_path / folder / name).write_text(name)
    assert digest_folder(tmp_path / "a") == digest_folder(tmp_path / "b")
    assert digest_file(tmp_path / "a/x") == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    (tmp_path / "b/x").rename(tmp_path / "b/z")
    assert digest_folder(tmp_path / "a") != digest_folder(tmp_path / "b")
    (tmp_path / "a/x").write_text("y")
    assert digest_folder(tmp_path / "a") != digest_folder(tmp_path / "b")
    with pytest.raises(ArtifactError, match="empty or missing"):
        digest_folder(tmp_path / "none")
    assert digest_json({"a": 1, "b": [2]}) == digest_json({"b": [2], "a": 1}) != digest_json({"a": 1, "b": [3]})


def test_the_code_digest_sees_the_step_that_runs(tmp_path):
    """A step runs as __main__; its own file is part of its code all the same."""
    src = tmp_path / "src/facet"
    src.mkdir(parents=True)
    said = []
    for text in ("1", "2"):
        (src / "__init__.py").write_text("")
        (src / "errors.py").write_text((tiny.ROOT / "src/facet/errors.py").read_text())
        (src / "artifacts.py").write_text((tiny.ROOT / "src/facet/artifacts.py").read_text())
        (src / "step.py").write_text(f"from facet.artifacts import digest_code\nx = {text}\nprint(digest_code())\n")
        done = subprocess.run(
            ["python", "-m", "facet.step"],
            env=tiny.child_environment(PYTHONPATH=str(src.parent)),
            capture_output=True,
            text=True,
            check=True,
        )
        said.append(done.stdout)
    assert said[0] != said[1]
    assert digest_code() == digest_code()


def test_flat_names_are_joined_by_dots():
    assert flatten({"a": {"b": 1, "c": {"d": 2}}, "e": [3]}) == {"a.b": 1, "a.c.d": 2, "e": [3]}
