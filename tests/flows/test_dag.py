"""The graph is DVC's own, and a stage's reasons to run are DVC's own words."""

from __future__ import annotations

import json

import pytest
import yaml

from facet.errors import ParamsError
from flows import dag
from tests import tiny


def graph(**upstream: tuple[str, ...]) -> dag.Graph:
    return dag.Graph(tuple(dag.Stage(name, needs, gpu=False) for name, needs in upstream.items()), {})


def test_the_graph_of_the_chain_is_what_deps_and_outs_say(monkeypatch):
    monkeypatch.chdir(tiny.ROOT)
    content = yaml.safe_load((tiny.ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]

    def paths(stage: dict, *parts: str) -> set[str]:
        return {next(iter(p)) if isinstance(p, dict) else p for part in parts for p in stage.get(part, [])}

    makers = {path: name for name, s in content.items() for path in paths(s, "outs", "metrics", "plots")}
    makers |= {"data": "data.dvc"}
    expected = {name: {makers[p] for p in paths(s, "deps") & makers.keys()} for name, s in content.items()}
    found = dag.read_graph()
    assert {stage.name: set(stage.upstream) for stage in found.stages} == expected | {"data.dvc": set()}
    names = [stage.name for stage in found.stages]
    assert all(names.index(need) < names.index(stage.name) for stage in found.stages for need in stage.upstream)
    assert {s.name for s in found.stages if not s.gpu} == {"data.dvc", "prepare", "validate", "register"}


def test_the_decoder_the_judge_and_the_denoiser_do_not_wait_for_each_other(monkeypatch):
    monkeypatch.chdir(tiny.ROOT)
    found = dag.read_graph()
    side_by_side = {"tune_decoder", "train_judge", "train_unet"}
    for name in side_by_side:
        needed = {stage.name for stage in found.wanted([name])}
        assert needed & side_by_side == {name}


def test_targets_bring_what_they_need_and_no_more():
    found = graph(a=(), b=("a",), c=("a",), d=("b",))
    assert [stage.name for stage in found.wanted(["d"])] == ["a", "b", "d"]
    assert len(found.wanted([])) == 4
    with pytest.raises(ParamsError, match="no stage is called 'trian': did you mean train"):
        graph(train=()).wanted(["trian"])


def lock(**stages) -> dict:
    return {name: {"deps": deps, "outs": outs} for name, (deps, outs) in stages.items()}


def test_an_unchanged_stage_has_no_reason():
    assert dag.reasons("b", [], lock(b=({"x": "1"}, {"y": "2"})), ran=[]) == []


def test_the_reasons_are_told_by_value_and_path():
    changes = [
        {"changed deps": {"params.yaml": {"b.steps": "modified"}, "src/b.py": "modified"}},
        {"changed outs": {"y": "deleted"}},
        "changed command",
    ]
    assert dag.reasons("b", changes, {}, ran=[]) == [
        "b.steps modified",
        "src/b.py modified",
        "out y deleted",
        "changed command",
    ]


@pytest.mark.parametrize(("made", "expected"), [("1", []), ("2", ["x is another"])])
def test_what_ran_meanwhile_is_judged_by_its_new_hash(made, expected):
    now = lock(a=({}, {"x": made}), b=({"x": "1"}, {"y": "7"}))
    # Before `a` ran its out was missing; that is out of date, and no reason any more.
    assert dag.reasons("b", [{"changed deps": {"x": "deleted"}}], now, ran=["a"]) == expected


def test_a_lock_that_is_being_written_is_read_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert dag.read_lock() == {}
    content = {"stages": {"a": {"deps": [{"path": "x", "md5": "1"}], "outs": [{"path": "y", "md5": "2"}]}}}
    (tmp_path / "dvc.lock").write_text("stages: [")
    monkeypatch.setattr("time.sleep", lambda _: (tmp_path / "dvc.lock").write_text(json.dumps(content)))
    assert dag.read_lock() == {"a": {"deps": {"x": "1"}, "outs": {"y": "2"}}}
