"""Promotion, rollback and reconciliation: examine, decide, and hand the move to the transaction."""

from __future__ import annotations

import dataclasses
import datetime
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from facet.errors import RegistryError
from facet.registry.facts import examine, read_facts
from facet.registry.gate import CandidateFacts, Decision, Policy, decide
from facet.registry.history import Action, Entry, Record, Verdict
from facet.registry.transaction import Registry, actor

if TYPE_CHECKING:
    from facet.registry.trial import Trial


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a promotion, a rollback or a reconciliation."""

    status: Literal["moved", "refused", "unchanged", "dry run"]
    model: str
    alias: str
    from_version: int | None
    to_version: int | None
    # None where the gate was not asked.
    decision: Decision | None = None
    record: Record | None = None
    completed: tuple[Record, ...] = ()

    @property
    def overridden(self) -> bool:
        return self.record is not None and self.record.entry.decision == "overridden"


def promote(
    registry: Registry,
    policy: Policy,
    trial: Trial,
    wanted: str,
    alias: str,
    override: str | None = None,
    dry_run: bool = False,
) -> Outcome:
    """Give ``alias`` to version ``wanted`` (a number, or "latest") if the gate says so, or for the reason ``override``.

    Raises RegistryError where the version, the history or MLflow stand in the way, or somebody else was faster.
    """
    history, completed = registry.settled()
    versions = registry.versions()
    number = pick(versions, wanted)
    minding = (alias, *_before(policy, alias))
    registry.hold_against(history, *minding)
    current = history.current(alias)
    outcome = Outcome("unchanged", registry.model, alias, current, number, completed=tuple(completed))
    if current == number:
        return outcome
    holds = tuple(name for name, version in history.aliases().items() if version == number)
    champion = versions.get(current) and read_facts(registry.client, versions[current], alias)
    facts = examine(read_facts(registry.client, versions[number], alias, holds), versions[number], trial)
    decision = decide(facts, champion, policy)
    outcome = dataclasses.replace(outcome, decision=decision, status="dry run" if dry_run else "refused")
    if dry_run or not (decision.passed or override):
        return outcome
    verdict: Verdict = "passed" if decision.passed else "overridden"
    findings = tuple(dataclasses.asdict(finding) for finding in decision.findings)
    write = _writer(registry, "promote", alias, current, number, verdict, override or "", findings, facts)
    return dataclasses.replace(outcome, status="moved", record=registry.commit(history, minding, write))


def rollback(registry: Registry, trial: Trial, alias: str, to: int | None = None, reason: str = "") -> Outcome:
    """Give ``alias`` back to the version it had before (or ``to``), if that one still is itself, loads and draws. The
    gate is not asked. Raises RegistryError otherwise."""
    history, completed = registry.settled()
    registry.hold_against(history, alias)
    current, versions = history.current(alias), registry.versions()
    number = history.before(alias) if to is None else pick(versions, str(to))
    if number is None:
        held = f"has had no version before {current}" if current else "was never given to a version"
        raise RegistryError(f"alias {alias} {held}, so there is nothing to roll back to: name one with --to.")
    if number not in versions:
        raise RegistryError(f"version {number}, which {alias} had before, was deleted: name another with --to.")
    outcome = Outcome("unchanged", registry.model, alias, current, number, completed=tuple(completed))
    if number == current:
        return outcome
    facts = examine(read_facts(registry.client, versions[number], alias), versions[number], trial)
    if facts.digest != facts.tags.get("facet.digest") or facts.drawing_error:
        why = facts.drawing_error or "its bytes are not those that its tag facet.digest names"
        raise RegistryError(f"version {number} can't take {alias} again ({why}): name another with --to.")
    write = _writer(registry, "rollback", alias, current, number, "not asked", reason, (), facts)
    return dataclasses.replace(outcome, status="moved", record=registry.commit(history, (alias,), write))


def reconcile(registry: Registry, how: Literal["restore", "accept"], reason: str) -> list[Outcome]:
    """Settle every alias that is not where the history says: ``restore`` moves it back there, ``accept`` writes into
    the history where it is. Either way an entry tells. Raises RegistryError where the history itself is not whole."""
    outcomes = []
    for alias in sorted(registry.misplaced(registry.settled()[0])):
        history, _ = registry.settled()
        said, found = history.current(alias), registry.aliases().get(alias)
        origin, target = (found, said) if how == "restore" else (said, found)
        versions = registry.versions()
        if target is not None and target not in versions:
            raise RegistryError(f"version {target} was deleted, so {alias} can't be moved back: use --accept.")
        facts = read_facts(registry.client, versions[target], alias) if target else None
        write = _writer(registry, "reconcile", alias, origin, target, "not asked", reason, (), facts)
        record = registry.commit(history, (alias,), write)
        outcomes.append(Outcome("moved", registry.model, alias, origin, target, record=record))
    return outcomes


def pick(versions: dict[int, Any], wanted: str) -> int:
    """The number that ``wanted`` ("3", "v3" or "latest") means among ``versions``. Raises RegistryError."""
    if wanted == "latest":
        return max(versions)
    text = wanted.lower().removeprefix("v")
    if not text.isdecimal() or int(text) not in versions:
        known = ", ".join(map(str, sorted(versions)[-10:]))
        raise RegistryError(f"there is no version {wanted!r}: expected latest or one of {known} (`facet models`).")
    return int(text)


def _before(policy: Policy, alias: str) -> tuple[str, ...]:
    at = policy.order.index(alias) if alias in policy.order else 0
    return policy.order[at - 1 : at] if at else ()


def _writer(
    registry: Registry,
    action: Action,
    alias: str,
    origin: int | None,
    target: int | None,
    verdict: Verdict,
    reason: str,
    findings: tuple[dict[str, Any], ...],
    facts: CandidateFacts | None,
) -> Callable[[int, str], Entry]:
    """The entry of this wish, but for its number and what it follows."""
    tags = facts.tags if facts else {}

    def write(number: int, previous: str) -> Entry:
        return Entry(
            number=number,
            previous=previous,
            id=uuid.uuid4().hex,
            when=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            who=actor(),
            model=registry.model,
            alias=alias,
            action=action,
            from_version=origin,
            to_version=target,
            decision=verdict,
            reason=reason,
            findings=findings,
            model_digest=tags.get("facet.digest"),
            record_digest=tags.get("facet.evaluation_digest"),
        )

    return write
