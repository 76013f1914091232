"""Registered versions by number and by alias: `facet compare` finds their records, `facet evaluate` their pipelines."""

from __future__ import annotations

import json
import sys

import pytest

from facet.artifacts import digest_folder
from facet.cli import main
from facet.registry.mlflow_registry import DIGEST_TAG
from facet.registry.references import named_version, registered_pipeline
from tests.registry.versions import MODEL

pytestmark = pytest.mark.filterwarnings("ignore")


def compare(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["facet", "compare", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0, *capsys.readouterr()


def test_versions_are_found_by_alias_number_and_file(promoted, monkeypatch, capsys):
    code, out, _ = compare(monkeypatch, capsys, f"models:/{MODEL}@production", f"models:/{MODEL}/3", "--json")
    assert code == 0
    told = {score["name"]: score for score in json.loads(out)["scores"]}
    assert told["adherence.mean"]["difference"] == pytest.approx(0.002)
    assert told["adherence.mean"]["interval"] is None
    assert compare(monkeypatch, capsys, "artifacts/evaluation.json", f"models:/{MODEL}@staging")[0] == 0


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        (f"models:/{MODEL}/9", "is not in the registry, which has 1, 2, 3, @production, @staging"),
        (f"models:/{MODEL}@nobody", "is not in the registry"),
        (f"models:/{MODEL}", "names no version: expected models:/NAME/3"),
        ("models:/facess/1", "has no version of a model"),
    ],
)
def test_a_version_that_is_not_there_is_one_sentence(promoted, reference, told, monkeypatch, capsys):
    code, out, err = compare(monkeypatch, capsys, reference, "artifacts/evaluation.json")
    assert (code, out) == (1, "")
    assert told in err


def test_a_versions_pipeline_is_fetched_and_gone_afterwards(promoted):
    reference = f"models:/{MODEL}@production"
    with named_version(reference) as (_, version):
        digest = version.tags[DIGEST_TAG]
    with registered_pipeline(reference) as folder:
        assert digest_folder(folder) == digest
        assert not list(folder.rglob("*.py"))
    assert not folder.exists()
