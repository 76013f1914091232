"""The registry's commands as an operator meets them: a real process and trial, exit codes, JSON, narrow terminals."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from facet.cli import main
from facet.registry import trial_program
from facet.registry.promotion import promote
from facet.registry.trial import started_trial
from tests import tiny
from tests.registry.versions import MODEL, SHIPPED, HereTrial, add_version, opened

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def facet_here(store, monkeypatch, capsys):
    """`facet …` inside this process, its trials too: exit code, standard output, standard error."""
    import contextlib

    monkeypatch.setattr("facet.registry.trial.started_trial", lambda: contextlib.nullcontext(HereTrial()))

    def call(*arguments: str, columns: int = 80) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys, "argv", ["facet", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        code = end.value.code or 0
        return code, *capsys.readouterr()

    return call


def test_the_real_command_promotes_a_model_that_loads_by_its_own_code(store):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "from facet.cli import main; main()", "promote", "latest", "--json"],
        cwd=store,
        env=tiny.child_environment(COLUMNS="80"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["status"], told["alias"], told["from_version"], told["to_version"]) == ("moved", "staging", None, 3)
    assert next(f for f in told["findings"] if f["rule"] == "loads and draws")["given"] == "one face"
    assert told["entry"]["number"] == told["entry"]["place"] == 1
    with opened() as registry:
        assert registry.aliases() == {"staging": 3}


def test_a_model_that_does_not_load_is_told_by_its_trial(tmp_path):
    assert trial_program._try(str(tmp_path)).startswith("MlflowException: ")
    with started_trial() as trial:
        trial._process.kill()
        assert trial.draw(tmp_path).startswith("its process died")


def test_promote_prints_rules_with_given_and_expected(facet_here):
    code, said, _ = facet_here("promote", "1", "--to", "Staging")
    assert code == 0
    assert max(map(len, said.splitlines())) <= 80
    for words in ("adherence.mean", "at least 0.94", "0.97", "loads and draws", "one face", "first promotion"):
        assert words in said
    assert "staging is now at version 1, before at no version (entry 1)." in said
    code, said, _ = facet_here("promote", "1")
    assert (code, said.strip()) == (0, "staging is already at version 1; nothing was done.")


def test_a_refusal_is_a_table_a_sentence_and_exit_code_1(facet_here, tmp_path):
    number = add_version(5, tmp_path, mean=0.5)
    code, said, errors = facet_here("promote", "latest")
    assert code == 1
    assert "FAIL" in said
    (line,) = errors.strip().splitlines()
    assert line.startswith(
        f"error: version {number} was refused staging: adherence.mean is 0.5, expected at least 0.94"
    )
    code, said, errors = facet_here("promote", "latest", "--json", "--dry-run")
    assert code == 1
    assert json.loads(said)["passed"] is False
    assert "would be refused" in errors
    code, said, _ = facet_here("promote", "latest", "--override", "demo on Friday")
    assert code == 0
    assert "overriding the gate" in said
    assert "demo on Friday" in facet_here("history", columns=120)[1]
    said = facet_here("models")[1]
    assert "staging*" in said
    assert f"* version {number} got staging overriding the gate: demo on Friday (tester@here, " in said
    assert facet_here("promote", "1", "--override", " ")[0] == 1


def test_history_models_and_rollback_tell_what_there_is(facet_here):
    assert "no alias was ever moved" in facet_here("history")[1]
    for version in ("1", "2"):
        assert facet_here("promote", version)[0] == 0
    code, said, _ = facet_here("rollback", "--from", "staging", "--reason", "draws only hats")
    assert code == 0
    assert "staging is now at version 1, before at version 2 (entry 3)." in said
    told = json.loads(facet_here("history", "--json")[1])
    assert [(e["action"], e["from_version"], e["to_version"]) for e in told["entries"]] == [
        ("promote", None, 1),
        ("promote", 1, 2),
        ("rollback", 2, 1),
    ]
    assert told["faults"] == []
    listed = json.loads(facet_here("models", "--json")[1])["versions"]
    assert [(row["version"], row["aliases"]) for row in listed] == [(3, []), (2, []), (1, ["staging"])]
    assert listed[2]["scores"]["adherence.mean"] == 0.97
    assert all(len(line) <= 80 for line in facet_here("models")[1].splitlines())


def test_audit_is_quiet_where_all_is_well_and_exits_1_where_not(facet_here):
    facet_here("promote", "1")
    code, said, _ = facet_here("audit")
    assert code == 0
    assert "Everything is as the history says." in said
    with opened() as registry:
        registry.client.set_registered_model_alias(MODEL, "staging", "3")
    code, said, errors = facet_here("audit")
    assert code == 1
    assert "WRONG  alias staging is at version 3, the history says version 1\n" in said
    assert errors.startswith("error: alias staging is at version 3, the history says version 1: `facet audit --restore")
    assert facet_here("audit", "--restore", "a", "--accept", "b")[0] == 1
    code, said, _ = facet_here("audit", "--restore", "nobody agreed")
    assert code == 0
    assert "settled: staging: version 3 -> version 1, reconcile by tester@here" in said
    told = json.loads(facet_here("audit", "--json")[1])
    assert (told["faults"], told["entries"]) == ([], 2)


def test_an_edited_history_is_printed_and_refused(facet_here):
    facet_here("promote", "1")
    with opened() as registry:
        text = registry.ledger.read().lines[0].text
        registry.client.set_model_version_tag(
            registry.ledger.name, "1", "facet.entry", text.replace("tester", "nobody")
        )
    code, said, errors = facet_here("history", columns=120)
    assert code == 1
    assert "nobody@here" in said
    assert "run `facet audit`" in errors


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["promote", "9"], "there is no version '9': expected latest or one of 1, 2, 3"),
        (["promote", "1", "--to", "Archived"], "was a stage of MLflow and is no alias"),
        (["promote", "1", "--name", "face"], "has no version of a model 'face': did you mean faces?"),
        (["rollback"], "staging was never given to a version, so there is nothing to roll back to"),
        (["rollback", "--to", "9"], "there is no version '9'"),
    ],
)
def test_a_wrong_request_is_one_sentence(facet_here, arguments, says):
    code, _, errors = facet_here(*arguments)
    assert code == 1
    (line,) = errors.strip().splitlines()
    assert says in line


def test_a_policy_that_is_wrong_is_one_sentence(facet_here, store):
    params = store / "params.yaml"
    params.write_text(params.read_text().replace("unlike_protocol: refuse", "unlike_protocol: refuze"))
    code, _, errors = facet_here("promote", "1")
    assert code == 1
    assert "promote.unlike_protocol is 'refuze', expected one of refuse, skip" in errors


def test_the_policy_may_leave_out_scores(store):
    import dataclasses

    with opened() as registry:
        assert promote(registry, dataclasses.replace(SHIPPED, scores=()), HereTrial(), "1", "staging").status == "moved"
