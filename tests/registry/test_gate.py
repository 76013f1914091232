"""Each rule of the gate passes and fails, with figures; nothing here needs a registry."""

from __future__ import annotations

import csv
import dataclasses
import json
import subprocess
import sys

import pytest

from facet.artifacts import digest_json
from facet.errors import ParamsError
from facet.params import build
from facet.registry import card, gate
from facet.registry.card import CardFacts, CardParams, render_card
from facet.registry.gate import BalanceCeiling, CandidateFacts, Finding, MemorisationCeiling, Policy, ScoreLimit, decide
from tests import tiny
from tests.registry.versions import SHIPPED, evaluation, validation

DIGEST = "d1" * 32


def facts(version: int = 2, record=None, checked=None, **changes) -> CandidateFacts:
    record = evaluation(DIGEST) if record is None else record
    checked = validation() if checked is None else checked
    tags = {
        "facet.digest": DIGEST,
        "facet.evaluation_digest": digest_json(record),
        "facet.validation_digest": digest_json(checked),
    }
    whole = CandidateFacts(
        version=version,
        alias="staging",
        tags=tags,
        digest=DIGEST,
        evaluation=record,
        validation=checked,
        card_gaps=(),
        drawing_error="",
    )
    return dataclasses.replace(whole, **changes)


def failed(candidate, champion=None, policy=SHIPPED) -> dict[str, Finding]:
    return {finding.rule: finding for finding in decide(candidate, champion, policy).failed}


def with_score(value: float, *path: str, base=None) -> dict:
    record = json.loads(json.dumps(base or evaluation(DIGEST)))
    inner = record
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return record


def test_a_sound_first_version_passes_and_says_that_there_is_no_champion():
    decision = decide(facts(), None, SHIPPED)
    assert decision.passed
    assert not any(finding.reason for finding in decision.findings)
    told = {finding.rule: finding.given for finding in decision.findings}
    assert told["protocol"] == told["against champion"] == "first promotion"


def test_nothing_known_passes_no_rule_that_needs_it():
    unknown = CandidateFacts(version=1, alias="production")
    passed = {finding.rule for finding in decide(unknown, None, SHIPPED).findings if finding.passed}
    assert passed == {"protocol", "against champion"}


@pytest.mark.parametrize(
    ("changes", "rule", "says"),
    [
        ({"digest": "e2" * 32}, "model digest", "do not name one model"),
        ({"record": evaluation("e2" * 32)}, "model digest", "do not name one model"),
        ({"evaluation": evaluation(DIGEST, mean=0.99)}, "evaluation record", "not the one that the tag names"),
        ({"validation": None}, "validation record", "is not there"),
        ({"drawing_error": "OSError: no weights"}, "loads and draws", "OSError: no weights"),
        ({"drawing_error": None}, "loads and draws", "not tried"),
        ({"card_gaps": None}, "model card", "no card"),
        ({"card_gaps": ("Limits",)}, "model card", "lacks Limits"),
        ({"checked": validation(passed=False)}, "data validation", "every face has a file"),
        ({"record": evaluation(DIGEST, mean=0.9)}, "adherence.mean", "is 0.9, expected at least 0.94"),
        (
            {"record": with_score(2.5, "fidelity", "judge", "frechet_over_floor")},
            "fidelity.judge.frechet_over_floor",
            "is 2.5, expected at most 2",
        ),
        (
            {"record": with_score(0.2, "adherence", "attributes", "Male", "present")},
            "adherence, present",
            "too seldom drawn as asked: Male 0.200",
        ),
        (
            {"record": with_score(0.3, "memorisation", "judge", "share")},
            "memorisation.judge.share",
            "is 0.3, expected at most 0.05",
        ),
        (
            {"record": with_score(0.06, "memorisation", "pixels", "share")},
            "memorisation.pixels.share",
            "is 0.06, expected at most 0.05",
        ),
        (
            {"record": with_score(0.2, "balance", "adherence_gap")},
            "balance.adherence_gap",
            "is 0.2, expected at most 0.08",
        ),
        (
            {"record": with_score(0.4, "balance", "marginals", "max_gap")},
            "balance.marginals.max_gap",
            "is 0.4, expected at most 0.3",
        ),
        (
            {"record": with_score(None, "balance", "marginals")},  # sample.unconditional was 0
            "balance.marginals.max_gap",
            "holds no balance.marginals.max_gap",
        ),
        ({"alias": "production"}, "order of aliases", "holds no alias, expected staging"),
    ],
)
def test_each_rule_refuses_with_figures(changes, rule, says):
    found = failed(facts(**changes))
    assert rule in found
    assert says in found[rule].reason
    assert found[rule].given
    assert found[rule].expected


def test_production_is_taken_from_staging():
    assert failed(facts(alias="production", holds=("staging",))) == {}
    assert failed(facts(alias="shadow")) == {}  # not in the order: no alias comes before it


def test_an_attribute_that_nobody_asked_for_is_not_held_against_the_model():
    record = with_score(None, "adherence", "attributes", "Male", "present")
    assert failed(facts(record=record)) == {}


def test_a_score_that_was_not_measured_is_named():
    record = evaluation(DIGEST)
    del record["autoencoder"]
    assert failed(facts(record=record))["autoencoder.rfd_over_floor"].given == "none"


def test_worse_than_the_champion_is_refused_beyond_the_margin_alone():
    champion = facts(1, record=evaluation(DIGEST, mean=0.975))
    assert failed(facts(record=evaluation(DIGEST, mean=0.966)), champion) == {}
    found = failed(facts(record=evaluation(DIGEST, mean=0.964)), champion)
    assert list(found) == ["adherence.mean, change"]
    assert "is 0.964, expected at least 0.965: version 1 has 0.975" in found["adherence.mean, change"].reason


def test_for_a_distance_more_is_worse():
    path = ("fidelity", "judge", "frechet_over_floor")
    champion = facts(1)
    assert failed(facts(record=with_score(1.0, *path)), champion) == {}
    assert list(failed(facts(record=with_score(1.5, *path)), champion)) == [".".join(path) + ", change"]


@pytest.mark.parametrize("part", ["memorisation", "balance"])
def test_a_record_from_before_a_rule_is_refused_and_told_what_to_do(part):
    older = evaluation(DIGEST)
    del older[part]
    found = failed(facts(record=older))
    assert found
    assert all(rule.startswith(part) for rule in found)
    assert all(f"holds no {rule}, expected at most" in finding.reason for rule, finding in found.items())
    assert all("score the version again" in finding.reason for finding in found.values())


def test_a_ceiling_that_is_null_is_not_asked_for():
    record = with_score(0.9, "memorisation", "judge", "share")
    lenient = dataclasses.replace(SHIPPED, memorisation=MemorisationCeiling(judge=None, pixels=0.05))
    assert failed(facts(record=record), policy=lenient) == {}
    unmeasured = with_score(None, "balance", "marginals")
    lenient = dataclasses.replace(SHIPPED, balance=BalanceCeiling(adherence_gap=0.08, marginal_gap=None))
    assert failed(facts(record=unmeasured), policy=lenient) == {}


MEAN = "adherence.mean"


@pytest.mark.parametrize(
    ("ours", "theirs", "half", "passes"),
    [
        (0.966, 0.975, 0.008, True),  # worse by 0.009, of which chance explains 0.0113
        (0.966, 0.975, 0.006, False),  # chance explains 0.0085: really worse, though within the margin
        (0.967, 0.975, 0.006, True),
        (0.964, 0.975, 0.05, False),  # chance would explain it, the margin doesn't
        (0.99, 0.95, 0.001, True),  # really better
    ],
)
def test_intervals_refuse_what_is_really_worse_and_the_margin_what_is_much_worse(ours, theirs, half, passes):
    found = failed(facts(record=scored(ours, half)), facts(1, record=scored(theirs, half)))
    assert (found == {}) == passes
    if not passes:
        assert f"is {ours}, expected at least" in found[f"{MEAN}, change"].reason


def scored(mean: float, half: float) -> dict:
    return evaluation(DIGEST, mean=mean) | {"intervals": {MEAN: [mean - half, mean + half]}}


def test_what_chance_explains_is_told():
    (found,) = failed(facts(record=scored(0.966, 0.003)), facts(1, record=scored(0.975, 0.004))).values()
    assert found.reason == (
        "adherence.mean is 0.966, expected at least 0.97: version 1 has 0.975, and chance explains 0.005"
    )
    assert found.given == "0.966, champion 0.975, chance ± 0.005"


def test_a_distance_has_its_worse_side_above():
    path = ("fidelity", "judge", "frechet_over_floor")
    name = ".".join(path)
    champion, better, worse = (
        with_score(value, *path) | {"intervals": {name: [value - 0.02, value + 0.02]}} for value in (1.3, 1.2, 1.4)
    )
    assert failed(facts(record=better), facts(1, record=champion)) == {}
    assert list(failed(facts(record=worse), facts(1, record=champion))) == [f"{name}, change"]


@pytest.mark.parametrize("intervals", [{}, None, {MEAN: None}, {MEAN: [0.9, None]}])
def test_without_both_intervals_the_margin_decides_alone(intervals):
    narrow = facts(record=scored(0.966, 0.0001))
    champion = facts(1, record=evaluation(DIGEST, mean=0.975) | {"intervals": intervals})
    assert failed(narrow, champion) == {}
    assert failed(narrow, facts(1, record=evaluation(DIGEST, mean=0.975))) == {}


def test_a_champion_without_the_score_is_no_comparison():
    bare = evaluation(DIGEST)
    del bare["autoencoder"]
    assert "autoencoder.rfd_over_floor, change" in failed(facts(), facts(1, record=bare))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("samples",), 64),
        (("sampling", "sampler"), "dpm++"),
        (("sampling", "steps"), 50),
        (("sampling", "guidance_scale"), 3.0),
        (("reference", "split"), "test"),
        (("reference", "extractor"), "judge:9999"),
        (("reference", "faces"), "ffff"),
        (("conditions",), "uniform"),
    ],
)
def test_another_protocol_is_refused_and_the_field_named(path, value):
    champion = facts(1, record=with_score(value, "protocol", *path))
    (found,) = failed(facts(), champion).values()
    assert found.rule == "protocol"
    assert f"{'.'.join(path)} {value}" in found.expected
    assert "can't be compared" in found.reason


def test_a_policy_may_skip_the_comparison_with_another_protocol():
    champion = facts(1, record=with_score(64, "protocol", "samples", base=evaluation(DIGEST, mean=0.999)))
    lenient = dataclasses.replace(SHIPPED, unlike_protocol="skip")
    decision = decide(facts(), champion, lenient)
    assert decision.passed
    assert any("not compared" in finding.expected for finding in decision.findings)


def test_other_weights_are_no_other_protocol():
    assert failed(facts(), facts(1, record=evaluation("e2" * 32))) == {}


def test_an_unscored_champion_is_no_comparison():
    assert list(failed(facts(), facts(1, evaluation=None))) == ["protocol"]


def test_a_new_rule_joins_the_list_and_touches_nothing_else(monkeypatch):
    def no_hats(candidate, champion, policy):
        return [Finding("no hats", False, "0.2", "at most 0.01", "it draws only hats")]

    monkeypatch.setattr(gate, "RULES", [*gate.RULES, no_hats])
    assert list(failed(facts())) == ["no hats"]


def test_the_gate_needs_neither_mlflow_nor_torch():
    code = "import sys, facet.registry.gate; print([m for m in ('mlflow', 'torch', 'numpy') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=tiny.child_environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_shipped_chain_passes_the_shipped_policy():
    record = json.loads((tiny.ROOT / "metrics/evaluate.json").read_text())
    with (tiny.ROOT / "metrics/adherence.csv").open(newline="") as stream:
        rows = {row.pop("attribute"): row for row in csv.DictReader(stream)}
    rates = {name: {k: float(v) if v else None for k, v in row.items()} for name, row in rows.items()}
    record["adherence"]["attributes"] = rates
    record["protocol"] = evaluation(DIGEST)["protocol"]  # the metrics hold the scores alone
    decision = decide(facts(record=record), None, SHIPPED)
    assert decision.failed == ()
    assert {"adherence, present", "autoencoder.rfd_over_floor"} <= {finding.rule for finding in decision.findings}


@pytest.mark.parametrize("bounds", [(None, None), (0.9, 1.0)])
def test_a_limit_has_one_side(bounds):
    with pytest.raises(ValueError, match="one of at_least and at_most"):
        ScoreLimit("adherence.mean", *bounds, margin=None)


def test_a_policy_is_read_strictly():
    with pytest.raises(ParamsError, match=r"unknown key promote\.order_"):
        build(Policy, {"order_": []}, where="promote", source="params.yaml")


def test_a_card_is_complete_with_all_its_parts_and_not_without():
    said = CardParams("Drawn.", "Apache-2.0", "Apache-2.0", "Tests.", ("Not for people.",))
    whole = CardFacts(
        "faces",
        DIGEST,
        ("Smiling",),
        "both",
        True,
        {"count": 4},
        evaluation(DIGEST),
        {"sample": {"n": "1"}},
        {"git": 1},
    )
    text = render_card(said, whole)
    assert card.gaps(text) == ()
    assert "## Balance\n\n| what" in text
    assert "the words of the training captions, no others" in text
    for way, told in (("attributes", "No prompt is read."), ("text", "No attribute is read."), ("none", "No prompt")):
        assert told in render_card(said, dataclasses.replace(whole, conditioning=way))
    licence = {"name": "CelebA", "terms": "research only", "url": "https://x.org", "non_commercial": True}
    faces = {"count": 4, "source": {"name": "celeba", "licence": licence}}
    fetched = render_card(said, dataclasses.replace(whole, faces=faces))
    assert "Licence of the data: CelebA: research only (https://x.org)" in fetched
    assert "Apache-2.0 Learned from data for non-commercial use only" in fetched
    assert "Fetched as `celeba`." in fetched
    unbalanced = {part: scores for part, scores in evaluation(DIGEST).items() if part != "balance"}
    assert "## Balance\n\nNot measured." in render_card(said, dataclasses.replace(whole, evaluation=unbalanced))
    assert card.gaps(text.replace("\n## Limits", "\n## Other")) == ("Limits",)
    unscored = render_card(said, dataclasses.replace(whole, evaluation={}))
    assert card.gaps(unscored) == ("scores with their protocol",)
    unprotocolled = render_card(said, dataclasses.replace(whole, evaluation={"fd": 3.5}))
    assert card.gaps(unprotocolled) == ("scores with their protocol",)
