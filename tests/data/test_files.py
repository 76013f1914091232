"""The raw folder: plain files by name, nothing beyond it, and a sentence for what can't be read."""

from __future__ import annotations

import os

import pytest

from facet.data.files import open_files, refusal
from facet.data.layouts import read_raw
from facet.errors import DataError
from tests import raw_sets


def test_names_are_relative_sorted_and_composed(tmp_path):
    for name in ("b/e\u0301.png", "a.png", ".hidden/x.png", ".DS_Store", "__MACOSX/a.png", "b/Thumbs.db"):
        raw_sets.write(tmp_path / name, name)
    files = open_files(tmp_path)
    assert list(files) == ["a.png", "b/\u00e9.png"]
    assert not files.left_out
    assert files.read("b/\u00e9.png").decode() == "b/e\u0301.png"
    assert files.path("a.png") == tmp_path / "a.png"
    assert "b" not in files


def test_links_that_leave_the_folder_are_counted(tmp_path):
    raw_sets.write(tmp_path / "secret.png", "secret")
    root = tmp_path / "raw"
    raw_sets.write(root / "a.png", "sound")
    (root / "out.png").symlink_to("../secret.png")
    (root / "absolute.png").symlink_to(tmp_path / "secret.png")
    (root / "folder").symlink_to("..")
    (root / "gone.png").symlink_to("nowhere.png")
    (root / "self.png").symlink_to("self.png")
    (root / "inside.png").symlink_to("a.png")
    files = open_files(root)
    assert list(files) == ["a.png", "inside.png"]
    assert files.left_out == {"a link that leaves the folder": 3, "a link to nothing": 2}
    assert files.read("inside.png") == b"sound"


def test_a_folder_that_is_a_link_is_not_walked(tmp_path):
    raw_sets.write(tmp_path / "a/b.png", "x")
    (tmp_path / "a/loop").symlink_to("..")
    files = open_files(tmp_path)
    assert list(files) == ["a/b.png"]
    assert files.left_out == {"no plain file": 1}


def test_the_folder_itself_may_be_a_link(tmp_path):
    raw_sets.write(tmp_path / "there/a.png", "x")
    (tmp_path / "raw").symlink_to("there")
    assert open_files(tmp_path / "raw").read("a.png") == b"x"


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    files = open_files(tmp_path)
    assert len(files) == 0
    assert files.left_out == {"no plain file": 1}


def test_names_of_plain_files_are_held_to_the_same_rules(tmp_path):
    for name in ("a\nb.png", "a\\b.png", "a\u202eb.png"):
        raw_sets.write(tmp_path / name, "x")
    (tmp_path / os.fsdecode(b"caf\xe9.png")).touch()
    files = open_files(tmp_path)
    assert not list(files)
    assert files.left_out == {"control characters in the name": 3, "a backslash in the name": 1}


@pytest.mark.parametrize("name", ["a.png", "a b/c.png", "日本/é.png", "a\u200db.png", "..a/b..png", "ab:c.png"])
def test_ordinary_names_may_be_borne(name):
    assert refusal(name) is None


def test_what_is_missing_too_large_or_gone_is_one_sentence(tmp_path):
    raw_sets.write(tmp_path / "a.png", "12345")
    files = open_files(tmp_path)
    assert files.read("a.png", 5) == b"12345"
    with pytest.raises(DataError, match=r"a\.png holds 5 bytes or more, expected 4 at most"):
        files.read("a.png", 4)
    with pytest.raises(DataError, match=r"b\.png does not exist"):
        files.read("b.png")
    with (tmp_path / "a.png").open("ab") as stream:
        stream.write(bytes(9))
    with pytest.raises(DataError, match=r"a\.png holds 6 bytes or more, expected 5 at most"):
        files.read("a.png", 5)
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png can't be read"):
        files.read("a.png")


def test_a_file_in_place_of_the_folder(tmp_path):
    raw_sets.write(tmp_path / "raw", "x")
    with pytest.raises(DataError, match="does not exist"):
        open_files(tmp_path / "raw")


def test_what_is_left_out_is_one_warning(tmp_path):
    raw_sets.classes(tmp_path)
    (tmp_path / "train/cat/gone.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "train/cat/pipe.png")
    with pytest.warns(UserWarning, match=r"2 files are left out: a link to nothing \(1\), no plain file \(1\)\.$"):
        read_raw(tmp_path)
