"""Promotions, rollbacks, races and kills against real SQLite stores and a real MLflow server."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from facet.errors import RegistryError, UnreachableError
from facet.registry.ledger import Ledger
from facet.registry.promotion import promote, reconcile, rollback
from facet.registry.transaction import Registry
from tests import tiny
from tests.registry.versions import MODEL, SHIPPED, HereTrial, add_version, copy_store, opened

pytestmark = pytest.mark.filterwarnings("ignore")


def give(version, alias="staging", policy=SHIPPED, **how):
    with opened() as registry:
        return promote(registry, policy, HereTrial(), str(version), alias, **how)


def take_back(alias="staging", **how):
    with opened() as registry:
        return rollback(registry, HereTrial(), alias, **how)


def held() -> dict[str, int]:
    with opened() as registry:
        assert registry.misplaced(registry.ledger.read()) == {}
        return registry.aliases()


def records():
    with opened() as registry:
        return registry.ledger.read().records


def test_a_promotion_moves_the_alias_and_says_why(store):
    done = give("latest")
    assert (done.status, done.from_version, done.to_version) == ("moved", None, 3)
    assert held() == {"staging": 3}
    (record,) = records()
    entry = record.entry
    assert (entry.who, entry.action, entry.decision, entry.alias) == ("tester@here", "promote", "passed", "staging")
    assert {finding["rule"] for finding in entry.findings} >= {"model digest", "loads and draws", "adherence.mean"}
    with opened() as registry:
        tags = registry.versions()[3].tags
        assert (entry.model_digest, entry.record_digest) == (tags["facet.digest"], tags["facet.evaluation_digest"])
        assert registry.file.read() == [entry.text()]
        shown = registry.client.get_model_version(registry.ledger.name, "1")
        assert "staging: none -> version 3, promote by tester@here" in shown.description


def test_production_comes_from_staging_and_each_move_follows_the_last(store):
    with pytest.raises(RegistryError, match="there is no version '9'"):
        give(9)
    assert give(1, "production").status == "refused"
    assert held() == {}
    give(1)
    assert give(1, "production").status == "moved"
    give(2)
    assert held() == {"staging": 2, "production": 1}
    assert [r.entry.number for r in records()] == [1, 2, 3]
    assert give(2).status == "unchanged"
    assert len(records()) == 3


def test_a_dry_run_moves_nothing(store):
    done = give(2, dry_run=True)
    assert (done.status, done.decision.passed) == ("dry run", True)
    assert held() == {}
    assert records() == ()


def test_an_override_needs_no_gate_and_stays_visible(store):
    strict = dataclasses.replace(SHIPPED, adherence=dataclasses.replace(SHIPPED.adherence, overall=0.999))
    refused = give(1, policy=strict)
    assert (refused.status, [f.rule for f in refused.decision.failed]) == ("refused", ["adherence, overall"])
    done = give(1, policy=strict, override="demo on Friday")
    assert done.status == "moved"
    assert done.overridden
    give(2)
    with opened() as registry:
        tag = registry.versions()[1].tags["facet.override.staging"]
    assert tag.startswith("demo on Friday (tester@here, ")
    first = records()[0].entry
    assert (first.decision, first.reason) == ("overridden", "demo on Friday")
    assert [f["rule"] for f in first.findings if not f["passed"]] == ["adherence, overall"]


def test_a_new_protocol_is_refused_by_name_and_can_be_overridden(store, tmp_path):
    give(1)
    number = add_version(7, tmp_path, steps=50)
    refused = give(number)
    assert "sampling.steps 50; there sampling.steps 2" in refused.decision.failed[0].reason
    assert give(number, override="new protocol from today").overridden
    assert held() == {"staging": number}


def test_a_version_scored_again_is_judged_by_its_newest_record(store, tmp_path):
    number = add_version(8, tmp_path, mean=0.5)
    assert give(number).status == "refused"
    assert add_version(8, tmp_path, mean=0.98) == number
    assert give(number).status == "moved"


def test_rollback_returns_to_what_was_there_and_on(store):
    for version in (1, 2, 3):
        give(version)
    assert take_back(reason="only hats").to_version == 2
    assert take_back().to_version == 1
    with pytest.raises(RegistryError, match="nothing to roll back to: name one with --to"):
        take_back()
    assert take_back(to=3).to_version == 3
    assert take_back(to=3).status == "unchanged"
    assert held() == {"staging": 3}
    rolled = records()[3].entry
    assert (rolled.action, rolled.decision, rolled.reason) == ("rollback", "not asked", "only hats")
    with pytest.raises(RegistryError, match="production was never given"):
        take_back("production")


def test_no_rollback_to_a_version_that_is_gone_or_does_not_draw(store):
    for version in (1, 2, 3):
        give(version)

    class Broken:
        def draw(self, folder):
            return "OSError: no weights"

    with opened() as registry:
        with pytest.raises(RegistryError, match=r"version 2 can't take staging again \(OSError: no weights\)"):
            rollback(registry, Broken(), "staging")
        registry.client.delete_model_version(MODEL, "2")
    with pytest.raises(RegistryError, match="version 2, which staging had before, was deleted"):
        take_back()
    assert held() == {"staging": 3}


def test_an_alias_moved_behind_the_back_stops_promotions_until_it_is_settled(store):
    give(1)
    with opened() as registry:
        registry.client.set_registered_model_alias(MODEL, "staging", "3")
    for action in (lambda: give(2), take_back, lambda: give(1, "production")):
        with pytest.raises(RegistryError, match="staging is at version 3, but the history says version 1"):
            action()
    with opened() as registry:
        (settled,) = reconcile(registry, "restore", "not agreed")
    assert (settled.from_version, settled.to_version) == (3, 1)
    assert held() == {"staging": 1}
    with opened() as registry:
        registry.client.set_registered_model_alias(MODEL, "staging", "2")
        registry.client.set_registered_model_alias(MODEL, "shadow", "3")
        reconcile(registry, "accept", "hotfix by hand")
    assert held() == {"staging": 2, "shadow": 3}
    assert [r.entry.action for r in records()] == ["promote", *["reconcile"] * 3]
    assert take_back().to_version == 1


def test_an_edited_history_is_not_built_upon(store):
    give(1)
    give(2)
    with opened() as registry:
        text = registry.ledger.read().lines[0].text
        registry.client.set_model_version_tag(
            registry.ledger.name, "1", "facet.entry", text.replace("tester", "nobody")
        )
    with pytest.raises(RegistryError, match=r"the history of faces is not what it was \(entry 1 .*run `facet audit`"):
        give(3)


# --- kills ------------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (Registry, "_apply"),  # the entry is written, the alias not moved
        (Ledger, "mark_applied"),  # the alias is moved, nobody said so
        (Ledger, "append"),  # nothing is written
    ],
)
def test_a_promotion_killed_between_entry_and_alias_is_completed_by_the_next(store, monkeypatch, where, name):
    give(1)

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(where, name, killed)
        with pytest.raises(Killed):
            give(2, override=None)
    done = give(3)
    began = name != "append"
    assert [record.entry.to_version for record in done.completed] == ([2] if began else [])
    assert [r.entry.to_version for r in records()] == ([1, 2, 3] if began else [1, 3])
    assert done.from_version == (2 if began else 1)
    assert held() == {"staging": 3}
    with opened() as registry:
        assert registry.file.differences(registry.ledger.read()) == []
        assert len(registry.file.read()) == len(records())


def test_an_entry_whose_version_was_deleted_meanwhile_does_not_block(store, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "_apply", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            give(2)
    with opened() as registry:
        registry.client.delete_model_version(MODEL, "2")
    with pytest.raises(RegistryError, match="staging is at no version, but the history says version 2"):
        give(1)
    with opened() as registry:
        reconcile(registry, "accept", "version 2 is deleted")
    assert give(1).status == "moved"


# --- two at once ------------------------------------------------------------------------------------------------------

RACER = """
import json, sys, time
from pathlib import Path
from facet.errors import RegistryError
from facet.params import read_section
from facet.registry.gate import Policy
from facet.registry.promotion import promote
from facet.registry.transaction import open_registry

me, other, rounds, meeting = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])

def meet(name):
    (meeting / f"{name}-{me}").touch()
    while not (meeting / f"{name}-{other}").exists():
        time.sleep(0.001)

class Meeting:  # both have examined, neither has written; what is drawn is not the question here
    def draw(self, folder):
        meet(f"examined-{number}")
        return ""

told, policy = [], read_section("promote", Policy)
with open_registry("faces") as registry:
    for number in range(rounds):
        meet(f"start-{number}")
        current = registry.ledger.read().current("staging")
        mine = [v for v in (1, 2, 3) if v != current][me == "b"]
        meet(f"known-{number}")
        try:
            done = promote(registry, policy, Meeting(), str(mine), "staging")
            told.append([mine, done.status, ""])
        except RegistryError as error:
            told.append([mine, "lost", str(error)])
        meet(f"end-{number}")
print(json.dumps(told))
"""


def race(folder: Path, rounds: int, **changes: str) -> tuple[list, list]:
    """Two processes that promote different versions at the same moment, ``rounds`` times; what each was told."""
    meeting = folder / "meeting"
    meeting.mkdir()
    racers = []
    for me, other in ("ab", "ba"):
        (folder / me).mkdir()
        here = {k: v.format(me=me) for k, v in changes.items()}
        environment = tiny.child_environment(FACET_ACTOR=f"{me}@host", **here)
        command = [sys.executable, "-W", "ignore", "-c", RACER, me, other, str(rounds), str(meeting)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        racers.append(subprocess.Popen(command, cwd=folder, env=environment, **pipes))
    try:
        answers = [racer.communicate(timeout=200) for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
    assert [racer.returncode for racer in racers] == [0, 0], answers[0][1][-2000:] + answers[1][1][-2000:]
    return tuple(json.loads(said.splitlines()[-1]) for said, _ in answers)


def assert_one_won_each_time(rounds: int, told: tuple[list, list]) -> None:
    for ours, theirs in zip(*told, strict=True):
        assert sorted([ours[1], theirs[1]]) == ["lost", "moved"]
        winner, loser = (ours, theirs) if ours[1] == "moved" else (theirs, ours)
        assert f"staging was not given to version {loser[0]}: meanwhile" in loser[2]
        assert f"gave staging to version {winner[0]}" in loser[2]
    with opened() as registry:
        history = registry.ledger.read()
        assert history.faults == ()
        assert len(history.moves()) == rounds
        assert len(history.records) == 2 * rounds  # who lost is on record too
        assert history.unapplied() == []
        last = next(mine for mine, status, _ in (told[0][-1], told[1][-1]) if status == "moved")
        assert registry.aliases() == {"staging": last}


def test_of_two_at_once_in_one_checkout_exactly_one_wins_and_both_know(store):
    assert_one_won_each_time(4, race(store, 4))


@pytest.fixture
def server(store, monkeypatch):
    """An MLflow server over the store's database; the current folder's registry is there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{store}/mlflow.db"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--artifacts-destination", str(store)]
    url = f"http://127.0.0.1:{port}"
    with (store / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=tiny.child_environment(), start_new_session=True
        )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, (store / "server.log").read_text()
                time.sleep(0.1)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        yield url
    finally:
        os.killpg(process.pid, 9)
        process.wait()


@pytest.mark.slow
def test_of_two_hosts_at_once_exactly_one_wins_and_both_know(server, store):
    """Through a server, without the lock that processes of one host share: each has a temporary folder of its own."""
    told = race(store, 3, TMPDIR=f"{store}/{{me}}", MLFLOW_TRACKING_URI=server)
    assert_one_won_each_time(3, told)


def test_two_that_move_different_aliases_do_not_hinder_one_another(store, monkeypatch):
    give(1)
    real, others = Ledger.append, ["3"]

    def late(ledger, entry):
        if others:  # between our examination and our entry, another host moves another alias
            promote(registry, SHIPPED, HereTrial(), others.pop(), "shadow")
        return real(ledger, entry)

    with opened() as registry, monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", late)
        patch.setattr("facet.registry.transaction.alone_at", contextlib.nullcontext)
        assert promote(registry, SHIPPED, HereTrial(), "2", "staging").status == "moved"
    assert held() == {"staging": 2, "shadow": 3}
    assert [(r.place, r.lost) for r in records()] == [(1, False), (2, False), (3, True), (4, False)]


# --- what is not there ------------------------------------------------------------------------------------------------


def test_a_dead_server_is_worth_another_try(store, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(UnreachableError):
            give(1)


def test_a_model_that_nobody_registered_is_named(store, template_store, tmp_path):
    folder = copy_store(template_store, tmp_path / "empty")
    shutil.rmtree(folder / "artifacts")
    with opened() as registry, pytest.raises(RegistryError, match="has no version of a model 'face'"):
        dataclasses.replace(registry, model="face").versions()
