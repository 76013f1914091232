"""Whatever is done behind the history's back is found: in aliases, entries, files, artifacts, records and tags."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from facet.registry.audit import audit
from facet.registry.promotion import promote
from facet.registry.transaction import Registry
from tests.registry.versions import MODEL, SHIPPED, HereTrial, add_version, opened

pytestmark = pytest.mark.filterwarnings("ignore")


SAID = "the history says"
EDIT = (
    "update model_version_tags set value = replace(value, 'tester', 'nobody') where key = 'facet.entry' and version = ?"
)


def found(every: bool = False) -> list[str]:
    with opened() as registry:
        return [fault.what for fault in audit(registry, every).faults]


def sql(store: Path, statement: str, *values: object) -> None:
    """Past MLflow, straight into its database."""
    with sqlite3.connect(store / "mlflow.db") as database:
        assert database.execute(statement, values).rowcount == 1
    database.close()


def test_nothing_is_found_where_nothing_was_done(promoted):
    with opened() as registry:
        looked = audit(registry)
        assert (looked.faults, looked.completed) == ((), ())
        assert (looked.entries, looked.aliases, looked.versions) == (3, 2, (1, 2))
        assert audit(registry, every_version=True).versions == (1, 2, 3)


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda c: c.set_registered_model_alias(MODEL, "staging", "3"), f"staging is at version 3, {SAID} version 2"),
        (lambda c: c.delete_registered_model_alias(MODEL, "staging"), f"staging is at no version, {SAID} version 2"),
        (lambda c: c.set_registered_model_alias(MODEL, "shadow", "3"), f"shadow is at version 3, {SAID} no version"),
        (lambda c: c.set_registered_model_alias(MODEL, "Staging", "3"), f"Staging is at version 3, {SAID} no version"),
        (lambda c: c.delete_model_version(MODEL, "2"), f"staging is at no version, {SAID} version 2"),
    ],
)
def test_an_alias_moved_set_or_deleted_in_mlflow(promoted, act, says):
    with opened() as registry:
        act(registry.client)
    assert f"alias {says}" in found()


def test_an_entry_edited_in_mlflow(promoted):
    sql(promoted, EDIT, 3)
    told = found()
    assert "entry 3 was edited after its alias was moved" in told
    assert any("entry 3 differs between" in what for what in told)


def test_an_edited_entry_is_found_without_any_copy_of_the_history(promoted):
    shutil.rmtree(promoted / "runs")
    sql(promoted, EDIT, 2)
    assert any("entry 3 does not follow from the one before it" in what for what in found())


def test_an_entry_removed_from_mlflow(promoted):
    with opened() as registry:
        registry.client.delete_model_version(registry.ledger.name, "2")
    assert "entry 2 is missing" in found()


def test_the_last_entry_removed_from_mlflow(promoted):
    with opened() as registry:
        registry.client.delete_model_version(registry.ledger.name, "3")
    told = found()
    assert any("entry 3 is in " in what and "not in MLflow" in what for what in told)
    assert "alias staging is at version 2, the history says version 1" in told


def test_the_whole_history_removed_from_mlflow(promoted):
    with opened() as registry:
        registry.client.delete_registered_model(registry.ledger.name)
    assert sum("but not in MLflow" in what for what in found()) == 3


def test_entries_put_in_another_order(promoted):
    swap = "update model_version_tags set version = ? where key = 'facet.entry' and version = ? and name = ?"
    for to, of in ((93, 2), (2, 3), (3, 93)):
        if to == 93:  # a place for the meantime
            with sqlite3.connect(promoted / "mlflow.db") as database:
                database.execute("pragma foreign_keys = off")
        sql(promoted, swap, to, of, f"{MODEL}-history")
    assert any("was edited or moved" in what for what in found())


@pytest.mark.parametrize(
    "edit",
    [
        lambda lines: [lines[0].replace("tester", "nobody"), *lines[1:]],
        lambda lines: [lines[0], lines[2]],
        lambda lines: [lines[1], lines[0], lines[2]],
    ],
)
def test_the_file_edited_shortened_or_put_in_another_order(promoted, edit):
    (file,) = (promoted / "runs/registry").glob("*.jsonl")
    file.write_text("".join(f"{line}\n" for line in edit(file.read_text().splitlines())))
    assert any("differs between" in what for what in found())


def test_a_history_rewritten_with_all_its_digests_is_found_by_a_copy(promoted):
    """Whoever can write to the database can compute digests; a checkout's file is what he can't reach."""
    from facet.artifacts import digest_json
    from facet.registry.history import GENESIS

    with opened() as registry:
        previous = GENESIS
        for line in registry.ledger.read().lines:
            content = json.loads(line.text) | {"who": "nobody", "previous": previous}
            previous = digest_json(content)
            for key, value in (("facet.entry", json.dumps(content)), ("facet.applied", previous)):
                registry.client.set_model_version_tag(registry.ledger.name, str(line.place), key, value)
        assert registry.ledger.read().faults == ()
    assert sum("differs between" in what for what in found()) == 3


def test_artifacts_whose_bytes_were_changed(promoted):
    with opened() as registry:
        version = registry.versions()[2]
        model = registry.client.get_logged_model(version.source.removeprefix("models:/"))
        config = Path(model.artifact_location.removeprefix("file://")) / "artifacts/pipeline/unet/config.json"
    before = config.read_bytes()
    try:
        config.write_bytes(before + b" ")
        (what,) = found()
    finally:
        config.write_bytes(before)  # the template's: other tests read it
    assert what.startswith("version 2: the stored model has digest ")


def test_a_record_whose_digest_is_not_its_tag(promoted):
    with opened() as registry:
        run = registry.versions()[2].tags["facet.run"]
        location = Path(registry.client.get_run(run).info.artifact_uri.removeprefix("file://"))
    record = location / "evaluation.json"
    before = record.read_text()
    try:
        record.write_text(before.replace("0.971", "0.999"))
        (what,) = found()
    finally:
        record.write_text(before)
    assert what.startswith("version 2: its evaluation record has digest ")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("facet.data_licence", "CC0", "tag facet.data_licence is 'CC0', but 'Apache-2.0' in the run that made it"),
        ("facet.digest", "e2" * 32, "its tag now says e2e2e2e2e2e2"),
        ("facet.evaluation_digest", "e2" * 32, "its evaluation record has digest"),
        ("facet.run", "0" * 32, "its evaluation record has digest none"),
        ("facet.data.invented", "yes", "tag facet.data.invented is 'yes', but None in the run"),
    ],
)
def test_a_tag_of_a_version_edited(promoted, key, value, says):
    with opened() as registry:
        registry.client.set_model_version_tag(MODEL, "2", key, value)
    assert any(says in what for what in found())


def test_a_tag_of_a_version_removed(promoted):
    with opened() as registry:
        registry.client.delete_model_version_tag(MODEL, "2", "facet.model_licence")
    assert any("tag facet.model_licence is None, but 'Apache-2.0' in the run" in what for what in found())


def test_the_tag_of_an_override_removed(store):
    with opened() as registry:
        promote(registry, SHIPPED, HereTrial(), "1", "production", override="on call")
        assert not audit(registry).faults
        registry.client.delete_model_version_tag(MODEL, "1", "facet.override.production")
    assert found() == ["version 1: the tag of the override in entry 1 is gone"]


def test_being_scored_again_is_no_fault(promoted, tmp_path):
    number = add_version(9, tmp_path)
    with opened() as registry:
        promote(registry, SHIPPED, HereTrial(), str(number), "staging")
    assert add_version(9, tmp_path, mean=0.98) == number
    assert found(every=True) == []


def test_what_a_kill_cut_short_is_completed_and_told(promoted, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "_apply", killed)
        with opened() as registry, pytest.raises(KeyboardInterrupt):
            promote(registry, SHIPPED, HereTrial(), "3", "staging")
    with opened() as registry:
        looked = audit(registry)
        assert [record.entry.to_version for record in looked.completed] == [3]
        assert looked.faults == ()
        assert registry.aliases()["staging"] == 3
