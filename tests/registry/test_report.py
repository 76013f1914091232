"""The report that is kept with a version, and `facet report`: against which version, and when there is none."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from facet.artifacts import EVALUATION, REPORT, read_json, write_json
from facet.cli import main
from facet.evaluation.comparison import OPEN, part
from facet.registry.mlflow_registry import download
from facet.registry.predecessor import predecessor
from facet.registry.publication import publish
from facet.stages.register import complete
from tests.registry.test_register import params, tiny_pipeline
from tests.registry.versions import MODEL, evaluation, opened

pytestmark = pytest.mark.filterwarnings("ignore")


def write_page() -> str:
    """A page as `evaluate` leaves it, of the model whose record lies here."""
    page = f"<html>{read_json(EVALUATION)['protocol']['model']}\n{part(OPEN)}\n</html>"
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(page, encoding="utf-8")
    return page


def report(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["facet", "report", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0, *capsys.readouterr()


def test_the_version_before_has_other_weights_and_a_lower_number(store):
    with opened() as registry:
        digests = {number: version.tags["facet.digest"] for number, version in registry.versions().items()}

        def of(digest: str, **how: bool) -> str | None:
            found = predecessor(registry.client, MODEL, digest, **how)
            return found and found.name

        assert [of(digest) for digest in digests.values()] == ["faces version 3", "faces version 3", "faces version 2"]
        assert [of(digest, earlier=True) for digest in digests.values()] == [
            None,
            "faces version 1",
            "faces version 2",
        ]
        assert of("new", earlier=True) == of("new") == "faces version 3"
        assert predecessor(registry.client, "nobody", "new") is None


def test_the_report_kept_with_a_version_tells_of_the_one_before_each_time_the_same(store, tmp_path):
    def kept() -> str:
        done = publish(tiny_pipeline(2), params(MODEL), complete)
        return download(f"runs:/{done.run}/{REPORT}", tmp_path).read_text(encoding="utf-8")

    page = write_page()
    first = kept()
    assert "Held against faces version 2" in first
    assert '<table class="rates versions">' in first
    assert REPORT.read_text(encoding="utf-8") == page  # the chain's own copy is an out of another step
    assert kept() == first


def test_the_command_takes_the_newest_version_with_other_weights(store, monkeypatch, capsys):
    page = write_page()
    code, out, _ = report(monkeypatch, capsys)
    assert (code, out.count("\n")) == (0, 1)
    assert out.startswith("reports/compared.html: Held against faces version 2, of ")
    assert '<table class="rates versions">' in Path("reports/compared.html").read_text(encoding="utf-8")
    assert REPORT.read_text(encoding="utf-8") == page


def test_the_command_takes_a_version_or_a_file_by_name(promoted, monkeypatch, capsys):
    write_page()
    code, out, _ = report(monkeypatch, capsys, "--against", f"models:/{MODEL}@production", "--json")
    told = json.loads(out)
    assert (code, told["against"], told["rows"][0]["difference"]) == (0, f"models:/{MODEL}@production", "+0.2 points")
    write_json(Path("other.json"), evaluation("e" * 64, steps=9))
    code, out, _ = report(monkeypatch, capsys, "--against", "other.json", "--out", "here.html", "--json")
    told = json.loads(out)
    assert (code, told["out"], told["rows"]) == (0, "here.html", [])
    assert "different protocols (sampling.steps 9 and 2)" in told["sentence"]
    assert "sampling.steps 9 and 2" in Path("here.html").read_text(encoding="utf-8")


def test_with_nothing_registered_the_page_says_so(store, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow.db")
    write_page()
    params_yaml = store / "params.yaml"
    params_yaml.write_text(params_yaml.read_text().replace(f"name: {MODEL}", "name: nobody"))
    code, out, _ = report(monkeypatch, capsys)
    assert (code, "No earlier version with other weights is registered" in out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--against", f"models:/{MODEL}/9"), "is not in the registry"),
        (("--against", "nowhere.json"), "nowhere.json does not exist"),
        (("--out", "reports/../reports/report.html"), "is an out of the step `evaluate`"),
    ],
)
def test_what_is_not_there_or_not_to_be_written_is_one_sentence(store, arguments, told, monkeypatch, capsys):
    page = write_page()
    code, out, err = report(monkeypatch, capsys, *arguments)
    assert (code, out) == (1, "")
    assert told in err
    assert [p.name for p in REPORT.parent.iterdir()] == [REPORT.name]
    assert REPORT.read_text(encoding="utf-8") == page


def test_without_a_report_there_is_nothing_to_compare_on(store, monkeypatch, capsys):
    code, _, err = report(monkeypatch, capsys)
    assert (code, "run `dvc repro evaluate`" in err) == (1, True)
