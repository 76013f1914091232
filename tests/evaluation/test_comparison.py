"""The report's table against another version: which way each score moved, and the one place on the page for it."""

from __future__ import annotations

import pytest

from facet.errors import ArtifactError
from facet.evaluation.comparison import BEGIN, END, OPEN, compared, part, with_comparison

PAGE = f"<html>{'a' * 64}<h3>Against</h3>\n{part(OPEN)}\n<p>more</p></html>"


def record(model: str = "a" * 64, **scores: float) -> dict:
    """The headline scores of a record; ``scores`` replace some, by the last word of their path."""
    values = {"mean": 0.9, "balanced": 0.8, "frechet": 50.0, "kid_mean": 0.01, "precision": 0.7, "share": 0.01}
    values |= {"psnr_db": 23.0, "rfd": 5.0} | scores
    fidelity = {name: values[name] for name in ("frechet", "kid_mean", "precision")}
    bounds = {"frechet_floor": 40.0, "frechet_over_floor": 1.2, "kid_std": 0.001, "kid_floor": 0.005}
    bounds |= {"recall": 0.5, "precision_floor": 0.9, "recall_floor": 0.9}
    rates = {"judge_on_real": 0.97, "judge_on_real_balanced": 0.95, "attributes": {}}
    around = {"adherence.mean": 0.01, "fidelity.judge.frechet": 1.0, "autoencoder.psnr_db": 0.1}
    flat = {"adherence.mean": values["mean"], "fidelity.judge.frechet": values["frechet"]}
    flat |= {"autoencoder.psnr_db": values["psnr_db"]}
    return {
        "schema": "facet.evaluation/1",
        "fidelity": {"judge": fidelity | bounds},
        "adherence": {"mean": values["mean"], "balanced": values["balanced"]} | rates,
        "autoencoder": {"faces": 100, "psnr_db": values["psnr_db"], "ssim": 0.9, "rfd": values["rfd"]},
        "memorisation": {"judge": {"share": values["share"]}},
        "intervals": {path: [flat[path] - width, flat[path] + width] for path, width in around.items()},
        "protocol": {"model": model, "samples": 1024, "floor_faces": 836},
    }


def test_a_score_is_better_worse_or_unclear_in_its_own_direction():
    found = compared(record(mean=0.95, frechet=60.0, psnr_db=23.05), "faces version 3", record("b" * 64))
    rows = {row.name: row for row in found.rows}
    assert rows["Adherence"].verdict == "better"
    assert (rows["Adherence"].there, rows["Adherence"].here) == ("90.0%", "95.0%")
    assert rows["Adherence"].difference == "+5.0 points"
    assert rows["Adherence"].interval == "+3.6 to +6.4 points"
    assert (rows["Fréchet distance"].verdict, rows["Fréchet distance"].difference) == ("worse", "+10")
    assert (rows["Autoencoder, PSNR"].verdict, rows["Autoencoder, PSNR"].here) == ("unclear", "23.1 dB")
    assert (rows["Precision"].verdict, rows["Precision"].interval) == ("", "")  # no interval, no verdict
    assert found.sentence.endswith(
        f"faces version 3, of {len(rows)} scores: 1 better, 1 worse, 1 unclear, 6 without an interval."
    )


def test_a_lower_distance_is_better():
    (row,) = [
        row for row in compared(record(frechet=40.0), "it", record("b" * 64)).rows if row.name == "Fréchet distance"
    ]
    assert row.verdict == "better"


def test_what_the_other_was_not_measured_by_is_said():
    other = record("b" * 64)
    del other["memorisation"]
    rows = {row.name: row for row in compared(record(), "faces version 3", other).rows}
    assert (rows["Nearer than chance"].there, rows["Nearer than chance"].verdict) == ("not measured", "")


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        (None, None, "No earlier version with other weights is registered"),
        ("faces version 3", None, "Not compared with faces version 3: it has no evaluation record."),
        ("faces version 3", {"schema": "facet.evaluation/0"}, "its record is of schema 'facet.evaluation/0'"),
        (
            "faces version 3",
            {"protocol": {"model": "b", "samples": 512, "floor_faces": 836}},
            "different protocols (samples 512 and 1024)",
        ),
    ],
)
def test_what_cannot_be_compared_is_one_sentence_without_a_table(name, change, told):
    found = compared(record(), name, None if change is None else record("b" * 64) | change)
    assert told in found.sentence
    assert found.rows == ()
    assert "<table" not in with_comparison(PAGE, record(), found)


def test_the_table_takes_the_marked_place_and_nothing_else_and_can_be_replaced():
    once = with_comparison(PAGE, record(), compared(record(mean=0.95), "faces version 3", record("b" * 64)))
    assert once.startswith(PAGE.partition(BEGIN)[0] + BEGIN)
    assert once.endswith(END + PAGE.partition(END)[2])
    assert '<td class="better">better</td>' in once
    assert with_comparison(once, record(), OPEN) == PAGE


def test_a_hostile_name_stays_text_and_makes_no_second_place():
    name = f"{END}<script>alert(1)</script>"
    page = with_comparison(PAGE, record(), compared(record(), name, record("b" * 64)))
    assert "<script" not in page
    assert with_comparison(page, record(), OPEN) == PAGE


@pytest.mark.parametrize("page", ["", BEGIN, END + BEGIN, PAGE + part(OPEN), PAGE + END, PAGE.replace(BEGIN, "")])
def test_a_page_without_one_place_is_refused(page):
    with pytest.raises(ArtifactError, match="no place for a comparison"):
        with_comparison("a" * 64 + page, record(), OPEN)


def test_the_page_of_another_model_is_refused():
    with pytest.raises(ArtifactError, match="not that of model bbbbbbbbbbbb"):
        with_comparison(PAGE, record("b" * 64), OPEN)
