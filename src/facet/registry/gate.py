"""The gate: facts about a candidate and about the champion it would replace, and a policy -> a decision with reasons.

Pure: nothing is read or written here. A rule is a function ``(candidate, champion, policy) -> list[Finding]`` in RULES;
a new one is written below and added to that list, and nothing else changes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from facet.artifacts import digest_json, flatten
from facet.params import Fraction, NonNegative

# What may differ between two protocols whose scores are compared: which model was scored is the question itself.
_NOT_COMPARED = {"model"}


# --- what is decided upon ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class ScoreLimit:
    """How good one score must be. Exactly one of at_least and at_most is given: it says which way is better."""

    # Its place in artifacts/evaluation.json, with dots: adherence.mean.
    name: str
    at_least: float | None
    at_most: float | None
    # By how much it may be worse than the champion's, whatever the intervals say; null doesn't compare.
    margin: NonNegative | None

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"{self.name} needs one of at_least and at_most, and null for the other")


@dataclasses.dataclass(frozen=True)
class AdherenceFloor:
    """Lowest share of samples, for each attribute, in which the judge sees what was asked for."""

    overall: Fraction
    # Among the samples that were asked to have the attribute; rare ones are the hard ones.
    present: Fraction
    # Among those that were asked not to have it.
    absent: Fraction


@dataclasses.dataclass(frozen=True)
class MemorisationCeiling:
    """Highest share of samples nearer to a training face than all but a hundredth of held-out faces are; a model that
    copies nothing has about 0.01. null doesn't ask."""

    # In the judge's features.
    judge: Fraction | None
    # In small pictures.
    pixels: Fraction | None


@dataclasses.dataclass(frozen=True)
class BalanceCeiling:
    """How unlike the model may serve the groups that its attributes name. null doesn't ask."""

    # Largest difference of adherence.mean between samples asked with and without a grouping attribute (Male, Young).
    adherence_gap: Fraction | None
    # Largest difference of an attribute's share among unconditional samples from its share among held-out faces.
    marginal_gap: Fraction | None


@dataclasses.dataclass(frozen=True)
class Policy:
    """Section ``promote``: what a version must be to get an alias. Not a step: only the gate reads it."""

    # Aliases that are reached one after the other: each is taken from what holds the one before it.
    order: tuple[str, ...]
    # A champion scored by another protocol: refuse the promotion, or skip the comparison and trust the limits alone.
    unlike_protocol: Literal["refuse", "skip"]
    scores: tuple[ScoreLimit, ...]
    adherence: AdherenceFloor
    memorisation: MemorisationCeiling
    balance: BalanceCeiling


@dataclasses.dataclass(frozen=True)
class CandidateFacts:
    """What is known of one version. None is "not there", which no rule takes for good."""

    version: int
    # The alias that is asked for, and those that the history says the version holds.
    alias: str
    holds: tuple[str, ...] = ()
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    # SHA-256 of the pipeline's bytes as they came out of the artifact store.
    digest: str | None = None
    # evaluation.json and validation.json of the run that the version's tags name.
    evaluation: Mapping[str, Any] | None = None
    validation: Mapping[str, Any] | None = None
    # What the card lacks; None where there is no card.
    card_gaps: tuple[str, ...] | None = None
    # Why the model can't be loaded and drawn from; the empty string where it can, None where nobody tried.
    drawing_error: str | None = None


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one rule found: figures for a table, and a sentence."""

    rule: str
    passed: bool
    given: str
    expected: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Decision:
    """All findings, in the order of the rules."""

    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        return all(finding.passed for finding in self.findings)

    @property
    def failed(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if not finding.passed)


def decide(candidate: CandidateFacts, champion: CandidateFacts | None, policy: Policy) -> Decision:
    """Whether ``candidate`` may take its alias from ``champion`` (None: nobody holds it)."""
    return Decision(tuple(finding for rule in RULES for finding in rule(candidate, champion, policy)))


# --- rules: is it what it says it is ----------------------------------------------------------------------------------


def same_bytes(candidate: CandidateFacts, champion: CandidateFacts | None, policy: Policy) -> list[Finding]:
    """The stored bytes, the version's tag and the record's protocol name one model."""
    protocol = (candidate.evaluation or {}).get("protocol", {})
    told = {
        "artifact": candidate.digest,
        "tag": candidate.tags.get("facet.digest"),
        "scored": protocol.get("model"),
    }
    passed = None not in told.values() and len(set(told.values())) == 1
    if passed:
        return [_finding("model digest", True, _short(candidate.digest), "artifact = tag = scored")]
    given = ", ".join(f"{what} {_short(value)}" for what, value in told.items())
    reason = "the bytes in the artifact store, the tag and the evaluation record do not name one model"
    return [_finding("model digest", False, given, "artifact = tag = scored", reason)]


def same_records(candidate: CandidateFacts, champion: CandidateFacts | None, policy: Policy) -> list[Finding]:
    """Each record's content has the digest that the version's tag says."""
    found = []
    for name in ("evaluation", "validation"):
        record, tag = getattr(candidate, name), candidate.tags.get(f"facet.{name}_digest")
        digest = None if record is None else digest_json(record)
        passed = digest is not None and digest == tag
        reason = f"the {name} record is " + ("not there" if digest is None else "not the one that the tag names")
        found.append(_finding(f"{name} record", passed, _short(digest), f"tag {_short(tag)}", reason))
    return found


def loads_and_draws(candidate: CandidateFacts, champion: CandidateFacts | None, policy: Policy) -> list[Finding]:
    """The registered model was loaded with pickles forbidden, and drew."""
    error = candidate.drawing_error
    given = "not tried" if error is None else error or "one face"
    return [_finding("loads and draws", error == "", given, "one face", f"the model drew no face: {given}")]


def card_is_complete(candidate: CandidateFacts, champion: CandidateFacts | None, policy: Policy) -> list[Finding]:
    """The model card says all that it should."""
    gaps = candidate.card_gaps
    given = "no card" if gaps is None else "lacks " + ", ".join(gaps) if gaps else "complete"
    return [_finding("model card", gaps == (), given, "complete", f"the model card is not complete: {given}")]


def validation_passed(candidate: CandidateFacts, champion: CandidateFacts | None, policy: Policy) -> list[Finding]:
    """The data kept every expectation that it must keep."""
    outcomes = (candidate.validation or {}).get("outcomes")
    if not outcomes:
        return [_finding("data validation", False, "no outcomes", "none broken", "the data's validation is unknown")]
    broken = [o["name"] for o in outcomes if not o["passed"] and o["severity"] == "fail"]
    given = f"{len(broken)} of {len(outcomes)} broken"
    return [_finding("data validation", not broken, given, "none broken", f"the data breaks {_listed(broken)}")]


# --- rules: is it good ------------------------------------------------------------------------------------------------


def scores_within_limits(candidate: CandidateFacts, champion: CandidateFacts | None, policy: Policy) -> list[Finding]:
    """Each score that the policy names is within its limit."""
    found = []
    for limit in policy.scores:
        value = _score(candidate, limit.name)
        low = limit.at_most is None
        bound = limit.at_least if low else limit.at_most
        passed = value is not None and (value >= bound if low else value <= bound)
        expected = f"at least {bound:g}" if low else f"at most {bound:g}"
        reason = f"{limit.name} is {_figure(value)}, expected {expected}"
        found.append(_finding(limit.name, passed, _figure(value), expected, reason))
    return found


def adherence_floors(candidate: CandidateFacts, champion: CandidateFacts | None, policy: Policy) -> list[Finding]:
    """Each attribute is drawn when asked for, and left out when not."""
    rates = ((candidate.evaluation or {}).get("adherence") or {}).get("attributes")
    found = []
    for kind, floor in dataclasses.asdict(policy.adherence).items():
        rule, expected = f"adherence, {kind}", f"each at least {floor:g}"
        # A rate that is None: no sample asked for that.
        measured = {name: rate[kind] for name, rate in (rates or {}).items() if rate.get(kind) is not None}
        if not measured:
            found.append(_finding(rule, False, "not scored", expected, f"no attribute has a rate {kind!r}"))
            continue
        low = sorted((rate, name) for name, rate in measured.items() if rate < floor)
        rate, name = min((rate, name) for name, rate in measured.items())
        reason = "too seldom drawn as asked: " + _listed([f"{n} {r:.3f}" for r, n in low])
        found.append(_finding(rule, not low, f"{name} {rate:.3f}", expected, reason))
    return found


def copies_no_faces(candidate: CandidateFacts, champion: CandidateFacts | None, policy: Policy) -> list[Finding]:
    """No more samples than the policy allows lie suspiciously near to a training face."""
    ceilings = dataclasses.asdict(policy.memorisation)
    return _below(candidate, {f"memorisation.{space}.share": most for space, most in ceilings.items()})


def serves_all_alike(candidate: CandidateFacts, champion: CandidateFacts | None, policy: Policy) -> list[Finding]:
    """Neither do the groups' scores lie further apart than the policy allows, nor drawn attributes from the data's."""
    ceiling = policy.balance
    return _below(
        candidate,
        {"balance.adherence_gap": ceiling.adherence_gap, "balance.marginals.max_gap": ceiling.marginal_gap},
    )


# --- rules: is it better than what is there ---------------------------------------------------------------------------


def comparable(candidate: CandidateFacts, champion: CandidateFacts | None, policy: Policy) -> list[Finding]:
    """The champion was scored by the same protocol; a score under another one says nothing about this one."""
    rule = "protocol"
    if champion is None:
        return [_finding(rule, True, "first promotion", "the champion's")]
    unlike = _unlike(candidate, champion)
    if not unlike:
        return [_finding(rule, True, f"as version {champion.version}", f"as version {champion.version}")]
    given, expected = _told(unlike, 0), _told(unlike, 1)
    if policy.unlike_protocol == "skip":
        return [_finding(rule, True, given, f"{expected}; not compared")]
    reason = (
        f"version {champion.version} was scored by another protocol ({given}; there {expected}), so the two can't be "
        "compared"
    )
    return [_finding(rule, False, given, expected, reason)]


def not_worse(candidate: CandidateFacts, champion: CandidateFacts | None, policy: Policy) -> list[Finding]:
    """No score is worse than the champion's by more than its margin, nor, where both records hold an interval for it,
    by more than chance explains."""
    compared = [limit for limit in policy.scores if limit.margin is not None]
    if champion is None:
        return [_finding("against champion", True, "first promotion", "not compared")]
    if _unlike(candidate, champion):
        return [_finding("against champion", True, "another protocol", "not compared")]
    return [_change(limit, candidate, champion) for limit in compared]


def _change(limit: ScoreLimit, candidate: CandidateFacts, champion: CandidateFacts) -> Finding:
    ours, theirs = _score(candidate, limit.name), _score(champion, limit.name)
    sign = 1 if limit.at_most is None else -1
    noise = _noise(candidate, champion, limit.name)
    allowed = limit.margin if noise is None else min(limit.margin, noise)
    passed = None not in (ours, theirs) and sign * (ours - theirs) >= -allowed
    expected = "the champion's" if theirs is None else _allowed(theirs - sign * allowed, sign)
    given = f"{_figure(ours)}, champion {_figure(theirs)}"
    reason = f"{limit.name} is {_figure(ours)}, expected {expected}: version {champion.version} has {_figure(theirs)}"
    if noise is not None:
        given, reason = f"{given}, chance ± {_figure(noise)}", f"{reason}, and chance explains {_figure(noise)}"
    return _finding(f"{limit.name}, change", passed, given, expected, reason)


def _noise(candidate: CandidateFacts, champion: CandidateFacts, name: str) -> float | None:
    """Half the width of the 95 % interval of the scores' difference, None where one has no interval.

    The two are taken as independent, so the squares of the half-widths add (Zou & Donner, 2008, eq. 3). Samples drawn
    with the same seeds and conditions rise and fall together: the true interval is narrower, and the test the milder.
    """
    widths = []
    for facts in (candidate, champion):
        interval = ((facts.evaluation or {}).get("intervals") or {}).get(name)
        if not isinstance(interval, Sequence) or len(interval) != 2 or None in interval:
            return None
        widths.append((interval[1] - interval[0]) / 2)
    return math.hypot(*widths)


def in_order(candidate: CandidateFacts, champion: CandidateFacts | None, policy: Policy) -> list[Finding]:
    """The version holds the alias before the one that is asked for."""
    at = policy.order.index(candidate.alias) if candidate.alias in policy.order else 0
    if at == 0:
        return []
    before = policy.order[at - 1]
    held = ", ".join(candidate.holds) or "no alias"
    reason = f"version {candidate.version} holds {held}, expected {before}: promote it --to {before} first"
    return [_finding("order of aliases", before in candidate.holds, held, before, reason)]


Rule = Callable[[CandidateFacts, CandidateFacts | None, Policy], list[Finding]]

RULES: list[Rule] = [
    same_bytes,
    same_records,
    loads_and_draws,
    card_is_complete,
    validation_passed,
    scores_within_limits,
    adherence_floors,
    copies_no_faces,
    serves_all_alike,
    comparable,
    not_worse,
    in_order,
]


# --- figures and words ------------------------------------------------------------------------------------------------


def _finding(rule: str, passed: bool, given: str, expected: str, reason: str = "") -> Finding:
    return Finding(rule, passed, given, expected, "" if passed else reason)


def _below(candidate: CandidateFacts, ceilings: Mapping[str, float | None]) -> list[Finding]:
    """A finding for each score, by its path, that has a ceiling."""
    found = []
    for name, most in ceilings.items():
        if most is None:
            continue
        value, expected = _score(candidate, name), f"at most {most:g}"
        reason = f"{name} is {_figure(value)}, expected {expected}"
        if value is None:
            reason = f"the record holds no {name}, expected {expected}: score the version again, `dvc repro` does"
        passed = value is not None and value <= most
        found.append(_finding(name, passed, _figure(value), expected, reason))
    return found


def _score(facts: CandidateFacts, name: str) -> float | None:
    value = flatten(facts.evaluation or {}).get(name)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _unlike(candidate: CandidateFacts, champion: CandidateFacts) -> dict[str, tuple[Any, Any]]:
    """Protocol field -> (ours, theirs), where they differ."""
    ours, theirs = (flatten((facts.evaluation or {}).get("protocol") or {}) for facts in (candidate, champion))
    names = sorted((ours.keys() | theirs.keys()) - _NOT_COMPARED)
    if not names:  # neither was scored
        return {"protocol": (None, None)}
    return {name: (ours.get(name), theirs.get(name)) for name in names if ours.get(name) != theirs.get(name)}


def _told(unlike: Mapping[str, tuple[Any, Any]], side: int) -> str:
    return ", ".join(f"{name} {'none' if pair[side] is None else pair[side]}" for name, pair in unlike.items())


def _allowed(bound: float, sign: int) -> str:
    return f"at {'least' if sign > 0 else 'most'} {bound:.4g}"


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
