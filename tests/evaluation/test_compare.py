"""`facet compare`: the difference with its interval, and no comparison across protocols."""

from __future__ import annotations

import copy
import json
import sys

import numpy as np
import pytest

from facet.artifacts import EVALUATION_SCHEMA, write_json
from facet.cli import main
from facet.errors import ArtifactError
from facet.evaluation.compare import compare, difference_interval, read_record, unlike_fields

RECORD = {
    "schema": EVALUATION_SCHEMA,
    "fidelity": {"judge": {"frechet": 60.0, "kid_floor": 5.0}},
    "adherence": {"mean": 0.95, "attributes": {"Bald": {"overall": 0.9, "present": None}}},
    "autoencoder": {"faces": 836, "ssim": 0.87},
    "intervals": {"fidelity.judge.frechet": [55.0, 65.0], "adherence.mean": [0.94, 0.96]},
    "protocol": {"model": "a", "samples": 1024, "sampling": {"steps": 8, "guidance_interval": [0.2, 0.8]}},
    "made_by": {"facet": "0.1.0", "resamples": 1000},
}


def changed(value, *path: str) -> dict:
    record = copy.deepcopy(RECORD)
    inner = record
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return record


def row(rows, name):
    return next(r for r in rows if r.name == name)


def test_what_differs_by_more_than_both_intervals_is_marked():
    other = changed(50.0, "fidelity", "judge", "frechet")
    other["intervals"]["fidelity.judge.frechet"] = [46.0, 54.0]
    other["adherence"]["mean"] = 0.955
    rows = compare(RECORD, other)
    found = row(rows, "fidelity.judge.frechet")
    assert found.difference == -10.0
    assert found.interval == pytest.approx((-10 - np.hypot(4, 5), -10 + np.hypot(4, 5)), abs=1e-6)
    assert found.significant
    assert not row(rows, "adherence.mean").significant
    assert row(rows, "fidelity.judge.kid_floor").interval is None
    assert {r.name for r in rows} == {
        *("fidelity.judge.frechet", "fidelity.judge.kid_floor", "adherence.mean", "autoencoder.ssim"),
    }
    assert row(compare(RECORD, other, attributes=True), "adherence.attributes.Bald.overall").difference == 0


def test_the_interval_of_a_difference_holds_it_19_times_in_20():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(1000):
        a, b = rng.normal(1.0, 0.3), rng.normal(1.5, 0.4)
        low, high = difference_interval(a, (a - 1.96 * 0.3, a + 1.96 * 0.3), b, (b - 1.96 * 0.4, b + 1.96 * 0.4))
        hits += low <= 0.5 <= high
    assert 930 <= hits <= 970


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("protocol", "samples"), 512, "samples 1024 and 512"),
        (("protocol", "sampling", "steps"), 20, "sampling.steps 8 and 20"),
        (("protocol", "neighbours"), 3, "neighbours none and 3"),
        (("protocol",), {}, "protocol given and none"),
    ],
)
def test_other_protocols_are_refused_by_name(path, value, told):
    with pytest.raises(ArtifactError, match=told):
        compare(RECORD, changed(value, *path))


def test_another_model_or_release_of_facet_is_no_other_protocol():
    assert not unlike_fields(RECORD, changed("b", "protocol", "model"))
    assert not unlike_fields(RECORD, changed("9.9", "made_by", "facet"))


def test_other_inception_weights_are_another_protocol():
    one, two = ({"frechet": 5.0, "weights_sha256": digest} for digest in ("aa", "bb"))
    with pytest.raises(ArtifactError, match=r"weights_sha256 aa and bb"):
        compare(changed(one, "fidelity", "inception"), changed(two, "fidelity", "inception"))
    rows = compare(changed(one, "fidelity", "inception"), RECORD)
    assert row(rows, "fidelity.inception.frechet").difference is None


def test_an_older_record_compares_with_blanks():
    older = {name: part for name, part in RECORD.items() if name not in ("intervals", "made_by")}
    rows = compare(older, changed(3, "protocol", "neighbours"))
    assert row(rows, "adherence.mean").difference == 0
    assert row(rows, "adherence.mean").interval is None
    with pytest.raises(ArtifactError, match="samples"):
        compare(older, changed(9, "protocol", "samples"))


def test_a_record_is_found_in_a_file_and_in_a_folder(tmp_path):
    write_json(tmp_path / "chain/artifacts/evaluation.json", RECORD)
    assert read_record(tmp_path / "chain") == read_record(tmp_path / "chain/artifacts") == RECORD
    assert read_record(tmp_path / "chain/artifacts/evaluation.json") == RECORD
    with pytest.raises(ArtifactError, match="holds neither"):
        read_record(tmp_path)
    with pytest.raises(ArtifactError, match="does not exist"):
        read_record(tmp_path / "none.json")
    write_json(tmp_path / "old.json", {"schema": "facet.evaluation/0"})
    with pytest.raises(ArtifactError, match=r"has schema 'facet\.evaluation/0', expected"):
        read_record(tmp_path / "old.json")


@pytest.fixture
def facet_compare(tmp_path, monkeypatch, capsys):
    """`facet compare …` inside this process: exit code, standard output, standard error."""

    def call(other: dict, *options: str) -> tuple[int, str, str]:
        write_json(tmp_path / "a.json", RECORD)
        write_json(tmp_path / "b.json", other)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setattr(sys, "argv", ["facet", "compare", "a.json", "b.json", *options])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code or 0, *capsys.readouterr()

    return call


def test_the_command_prints_both_and_json(facet_compare):
    better = changed(0.99, "adherence", "mean")
    better["intervals"]["adherence.mean"] = [0.985, 0.995]
    code, out, err = facet_compare(better)
    assert (code, err) == (0, "")
    (line,) = (line for line in out.splitlines() if "adherence.mean" in line)
    assert line.split() == ["adherence.mean", "0.95", "0.99", "+0.04", "+0.0288", "to", "+0.0512", "*"]
    code, out, _ = facet_compare(better, "--json")
    told = {score["name"]: score for score in json.loads(out)["scores"]}
    assert told["adherence.mean"]["significant"] is True
    assert told["adherence.mean"]["a_interval"] == [0.94, 0.96]


def test_the_command_refuses_another_protocol_in_one_sentence(facet_compare):
    code, out, err = facet_compare(changed(512, "protocol", "samples"))
    assert (code, out) == (1, "")
    assert err.startswith("error: the two records have different protocols (samples 1024 and 512)")
    assert len(err.strip().splitlines()) == 1
