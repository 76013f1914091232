"""Blocks: what a kill leaves is gone on with, unless the pictures are others now; refusals keep their reason."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from facet.data import blocks
from facet.data.datasets import load_faces
from facet.data.manifest import write_faces
from facet.errors import DataError, FacetError
from tests import tiny

PARAMS = tiny.prepare_params()


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 32 * 32 * 3 * 20)


class _Counted:
    """Counts what is decoded, and stops at a picture like a kill does."""

    def __init__(self, read, stop_at: int = 10**9):
        self.read, self.stop_at = read, stop_at

    def __call__(self, name: str) -> bytes:
        if int(name[:6]) >= self.stop_at:
            raise KeyboardInterrupt
        return self.read(name)


def decoded(monkeypatch) -> list[int]:
    """The sides of what is decoded from now on."""
    seen: list[int] = []
    real = blocks.read_face
    monkeypatch.setattr(blocks, "read_face", lambda *given: seen.append(1) or real(*given))
    return seen


def test_an_interrupted_run_is_gone_on_with_and_ends_with_the_same_bytes(
    raw, faces_folder, tmp_path, monkeypatch, small_blocks
):
    whole = tmp_path / "whole"
    write_faces(raw, PARAMS, whole)
    with pytest.raises(KeyboardInterrupt):
        write_faces(dataclasses.replace(raw, read=_Counted(raw.read, 45)), PARAMS, tmp_path / "faces", tmp_path / "s")
    assert not (tmp_path / "faces").exists()
    assert len(list((tmp_path / "s").rglob("block-*"))) == 2
    seen = decoded(monkeypatch)
    write_faces(raw, PARAMS, tmp_path / "faces", tmp_path / "s")
    assert len(seen) == 64 - 40
    assert tiny.contents(tmp_path / "faces") == tiny.contents(whole)
    assert not list((tmp_path / "s").rglob("block-*"))


@pytest.fixture
def processes(monkeypatch):
    """As for many pictures on two cores."""
    monkeypatch.setattr(blocks, "_PROCESSES_FROM", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


def test_processes_make_the_same_bytes_as_threads(raw, tmp_path, monkeypatch, processes):
    """With small tasks, a picture that is put aside, and landmarks."""
    monkeypatch.setattr(blocks, "_BYTES_AT_ONCE", 5000)
    broken = dataclasses.replace(
        raw,
        read=lambda name: b"\xff\xd8" if name == raw.ids[9] else raw.read(name),
        landmarks=np.tile(np.float32([[60, 100], [118, 100], [89, 130], [65, 160], [113, 160]]), (len(raw), 1, 1)),
    )
    params = tiny.prepare_params(crop="landmarks", max_quarantined=0.1)
    write_faces(broken, params, tmp_path / "processes")
    monkeypatch.setattr(blocks, "_PROCESSES_FROM", 10**9)
    write_faces(broken, params, tmp_path / "threads")
    assert tiny.contents(tmp_path / "processes") == tiny.contents(tmp_path / "threads")
    assert len(tiny.table(tmp_path / "processes/quarantine.parquet")) == 1


def _killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("more", [0, 2**20], ids=["small pictures", "pictures that fill the pipe"])
def test_a_process_that_is_killed_is_one_sentence(raw, tmp_path, monkeypatch, processes, more):
    """And no wait for ever: half-written pictures are taken by nobody."""
    whole = raw.read
    raw = dataclasses.replace(raw, read=lambda name: whole(name) + bytes(more))
    monkeypatch.setattr(blocks, "_start_worker", _killed)
    with pytest.raises(FacetError, match="was killed, perhaps for want of memory: run the same command again"):
        write_faces(raw, PARAMS, tmp_path / "faces")
    assert not (tmp_path / "faces").exists()


def test_a_block_of_other_pictures_is_made_again(raw, tmp_path, monkeypatch, small_blocks):
    with pytest.raises(KeyboardInterrupt):
        write_faces(dataclasses.replace(raw, read=_Counted(raw.read, 45)), PARAMS, tmp_path / "faces", tmp_path / "s")
    first, second = raw.ids[3], raw.ids[5]
    swapped = dataclasses.replace(raw, read=lambda name: raw.read({first: second, second: first}.get(name, name)))
    seen = decoded(monkeypatch)
    write_faces(swapped, PARAMS, tmp_path / "faces", tmp_path / "s")
    assert len(seen) == 64 - 20
    faces, plain = load_faces(tmp_path / "faces"), tmp_path / "plain"
    write_faces(swapped, PARAMS, plain)
    assert np.array_equal(faces.pixels, load_faces(plain).pixels)


def test_blocks_of_other_params_are_not_taken(raw, tmp_path, monkeypatch, small_blocks):
    with pytest.raises(KeyboardInterrupt):
        write_faces(dataclasses.replace(raw, read=_Counted(raw.read, 45)), PARAMS, tmp_path / "faces", tmp_path / "s")
    seen = decoded(monkeypatch)
    write_faces(raw, tiny.prepare_params(crop="celeba-140"), tmp_path / "faces", tmp_path / "s")
    assert len(seen) == 64


def test_pictures_that_cannot_be_used_are_put_aside_with_their_reason(raw, tmp_path):
    def read(name: str) -> bytes:
        if name == raw.ids[4]:
            raise DataError("archive, member 000005.jpg is damaged")
        return {raw.ids[2]: b"", raw.ids[9]: raw.read(raw.ids[9])[:700]}.get(name, raw.read(name))

    broken = dataclasses.replace(raw, read=read)
    about = write_faces(broken, tiny.prepare_params(max_quarantined=0.1), tmp_path / "faces")
    faces = load_faces(tmp_path / "faces")
    assert about["count"] == len(faces.pixels) == 61
    assert set(raw.ids) - set(faces.ids) == {raw.ids[2], raw.ids[4], raw.ids[9]}
    assert sum(about["quarantined"].values()) == 3
    aside = tiny.table(tmp_path / "faces/quarantine.parquet")
    assert [row["id"] for row in aside] == [raw.ids[2], raw.ids[4], raw.ids[9]]
    assert aside[1] == {"id": raw.ids[4], "kind": "unreadable", "reason": "archive, member 000005.jpg is damaged"}
    # The pixels are still those of their rows.
    one = list(faces.ids).index(raw.ids[10])
    write_faces(raw, PARAMS, tmp_path / "whole")
    assert np.array_equal(faces.pixels[one], load_faces(tmp_path / "whole").pixels[10])


def test_too_many_stop_with_each_reason_named_once(raw, tmp_path):
    broken = dataclasses.replace(raw, read=lambda name: b"" if int(name[:6]) % 2 else raw.read(name))
    with pytest.raises(
        DataError, match=r"^32 of 64 pictures can't be used: 32 empty, such as 000001\.jpg \(.*max_quar"
    ):
        write_faces(broken, tiny.prepare_params(max_quarantined=0.4), tmp_path / "faces")
    assert not (tmp_path / "faces").exists()


_PROGRAM = """
import sys, time
from pathlib import Path
from facet.data import blocks
from facet.data.layouts import read_celeba
from facet.data.manifest import write_faces
from tests import tiny
blocks.BLOCK_BYTES = 32 * 32 * 3 * 8
real = blocks._write_block
def slowly(path, *rest):
    real(path, *rest)
    print(path.name, flush=True)
    time.sleep(0.2)
blocks._write_block = slowly
write_faces(read_celeba(Path(sys.argv[1])), tiny.prepare_params(), Path("faces"), Path("scratch"))
"""


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on(raw_folder, faces_folder, tmp_path, monkeypatch):
    command = [sys.executable, "-c", _PROGRAM, str(raw_folder)]
    environment = os.environ | {"PYTHONPATH": f"{tiny.ROOT}:{tiny.ROOT / 'src'}"}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    for _ in range(3):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "faces").exists()
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    made = again.stdout.split()
    assert made[-1] == "block-00007.safetensors"
    assert len(made) <= 8 - 3
    assert np.array_equal(load_faces(tmp_path / "faces").pixels, load_faces(faces_folder).pixels)
