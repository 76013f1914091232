"""Params for one run are laid over params.yaml by dotted keys, and taken back without undoing a user's edit."""

from __future__ import annotations

import pytest

from facet.errors import ParamsError
from flows import overrides

CONTENT = {"seed": 0, "train_unet": {"loop": {"steps": 900}}}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Takes seconds, and is asked for real in test_pipeline.
    monkeypatch.setattr(overrides, "check", lambda path: None)
    (tmp_path / "params.yaml").write_text("seed: 0 # mine\n")
    return tmp_path / "params.yaml"


def test_a_key_replaces_one_value():
    assert overrides.laid_over(CONTENT, {"train_unet.loop.steps": 7}) == {
        "seed": 0,
        "train_unet": {"loop": {"steps": 7}},
    }
    assert CONTENT["train_unet"]["loop"]["steps"] == 900


@pytest.mark.parametrize("key", ["train_unet.loop.stepz", "train_unet.lop.steps", "seed.steps"])
def test_an_unknown_key_names_its_neighbour(key):
    with pytest.raises(ParamsError, match=f"params.yaml has no '{key}'"):
        overrides.laid_over(CONTENT, {key: 7})


def test_afterwards_the_file_is_what_it_was(here):
    with overrides.applied({"seed": 5}):
        assert here.read_text() == "seed: 5\n"
    assert here.read_text() == "seed: 0 # mine\n"


def test_what_a_killed_run_left_is_put_back(here):
    killed = overrides.applied({"seed": 5})
    killed.__enter__()
    assert here.read_text() == "seed: 5\n"
    assert "again what it was" in overrides.restore()
    assert here.read_text() == "seed: 0 # mine\n"
    assert overrides.restore() == ""


def test_an_edit_made_meanwhile_is_kept(here):
    with overrides.applied({"seed": 5}):
        here.write_text("seed: 8 # edited\n")
    assert here.read_text() == "seed: 8 # edited\n"
    (aside,) = overrides.KEPT.parent.glob("params.1*.yaml")
    assert aside.read_text() == "seed: 0 # mine\n"
