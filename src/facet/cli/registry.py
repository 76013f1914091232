"""``facet promote``, ``rollback``, ``history``, ``models`` and ``audit``: who holds which alias, and why."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facet.cli.options import AsJson
from facet.errors import RegistryError

if TYPE_CHECKING:
    from facet.registry.promotion import Outcome
    from facet.registry.transaction import Registry

Name = Annotated[
    str | None, typer.Option("--name", help="The registered model (default: register.name of params.yaml).")
]


def promote(
    version: Annotated[str, typer.Argument(help="Its number, or latest.", metavar="VERSION|latest")],
    to: Annotated[
        str, typer.Option("--to", help="The alias it gets: staging, production, or one of your own.")
    ] = "staging",
    override: Annotated[
        str | None, typer.Option(help="Promote it although the gate says no, for this reason; it stays on record.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Ask the gate, move nothing.")] = False,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Give an alias to a version, if the gate lets it pass.

    The policy is section `promote` of params.yaml.

    Examples: facet promote latest --to staging; facet promote 3 --to production
    """
    from facet.registry.transaction import alias_name
    from facet.registry.trial import started_trial

    alias = alias_name(to)
    if override is not None and not override.strip():
        raise RegistryError("--override is empty: give the reason; it stays on record.")
    model, policy = _model(name), _policy()
    with started_trial() as trial, _opened(model) as registry:
        from facet.registry.promotion import promote as give

        outcome = give(registry, policy, trial, version, alias, override, dry_run)
    _tell(outcome, as_json)
    if outcome.decision and not outcome.decision.passed and outcome.status != "moved":
        failed = outcome.decision.failed
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        verb = "would be refused" if dry_run else "was refused"
        raise RegistryError(
            f"version {outcome.to_version} {verb} {alias}: {failed[0].reason}{more}; mend it, or promote it with "
            '--override "reason".'
        )


def rollback(
    alias: Annotated[str, typer.Option("--from", help="The alias to take away.")] = "staging",
    to: Annotated[int | None, typer.Option("--to", help="The version to return to (default: the one before).")] = None,
    reason: Annotated[str, typer.Option(help="Why; it stays on record.")] = "",
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Give an alias back to the version that had it before. The gate is not asked, but the model must load and draw.

    Example: facet rollback --from staging --reason "draws only hats"
    """
    from facet.registry.transaction import alias_name
    from facet.registry.trial import started_trial

    with started_trial() as trial, _opened(_model(name)) as registry:
        from facet.registry.promotion import rollback as give_back

        outcome = give_back(registry, trial, alias_name(alias), to, reason)
    _tell(outcome, as_json)


def history(
    alias: Annotated[str | None, typer.Option("--alias", help="Only the moves of this one.")] = None,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Who moved which alias, when and why; checks the chain of entries as it prints them."""
    with _opened(_model(name)) as registry:
        told = registry.ledger.read()
        faults = [*told.faults, *registry.file.differences(told)]
    records = [r for r in told.records if alias in (None, r.entry.alias)]
    if as_json:
        entries = [_as_dict(record) for record in records]
        print(json.dumps({"model": registry.model, "entries": entries, "faults": faults}))
    else:
        _print_history(registry.model, records)
    if faults:
        raise RegistryError(f"the history is not what it was ({faults[0]}): run `facet audit`.")


def models(name: Name = None, as_json: AsJson = False) -> None:
    """The versions in the registry: aliases, scores, age, data and digest."""
    policy = _policy()
    with _opened(_model(name)) as registry:
        from facet.registry.catalogue import listing

        rows = listing(registry, policy)
    if as_json:
        print(json.dumps({"model": registry.model, "versions": [dataclasses.asdict(row) for row in rows]}))
    else:
        _print_models(registry.model, rows)


def audit(
    every: Annotated[bool, typer.Option("--all", help="Versions that never held an alias too.")] = False,
    restore: Annotated[str | None, typer.Option(help="Move misplaced aliases back, for this reason.")] = None,
    accept: Annotated[
        str | None, typer.Option(help="Write into the history where aliases are now, for this reason.")
    ] = None,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Find what was done behind the history's back: moved aliases, edited entries, changed artifacts, records and tags.

    Exit code 1 where anything is wrong.
    """
    if restore is not None and accept is not None:
        raise RegistryError("--restore and --accept contradict each other: give one of them.")
    reason = restore if restore is not None else accept
    if reason is not None and not reason.strip():
        raise RegistryError("--restore or --accept is empty: give the reason; it stays on record.")
    with _opened(_model(name)) as registry:
        from facet.registry.audit import audit as look
        from facet.registry.promotion import reconcile

        settled = reconcile(registry, "restore" if restore else "accept", reason) if reason else []
        found = look(registry, every)
    if as_json:
        told = dataclasses.asdict(found) | {
            "completed": [_as_dict(record) for record in found.completed],
            "settled": [_as_dict(outcome.record) for outcome in settled],
        }
        print(json.dumps({"model": registry.model, **told}))
    else:
        _print_audit(registry.model, found, settled)
    if found.faults:
        more = f" (and {len(found.faults) - 1} more)" if len(found.faults) > 1 else ""
        raise RegistryError(f"{found.faults[0].what}{more}: {found.faults[0].remedy}.")


# --- reading ----------------------------------------------------------------------------------------------------------


def _model(name: str | None) -> str:
    from facet.params import read_section
    from facet.registry.mlflow_registry import RegisterParams

    return name or read_section("register", RegisterParams).name


def _policy() -> Any:
    from facet.params import read_section
    from facet.registry.gate import Policy

    return read_section("promote", Policy)


@contextlib.contextmanager
def _opened(model: str) -> Iterator[Registry]:
    from facet.registry.transaction import open_registry

    with open_registry(model) as registry:
        yield registry


# --- printing ---------------------------------------------------------------------------------------------------------


def _as_dict(record: Any) -> dict[str, Any]:
    entry = dataclasses.asdict(record.entry)
    return entry | {"place": record.place, "digest": record.digest, "applied": record.applied, "lost": record.lost}


def _tell(outcome: Outcome, as_json: bool) -> None:
    """What came of it, as JSON or as a table of rules and a sentence."""
    decision, record = outcome.decision, outcome.record
    if as_json:
        told = {
            "model": outcome.model,
            "alias": outcome.alias,
            "status": outcome.status,
            "from_version": outcome.from_version,
            "to_version": outcome.to_version,
            "passed": decision and decision.passed,
            "overridden": outcome.overridden,
            "findings": [dataclasses.asdict(finding) for finding in decision.findings] if decision else [],
            "entry": record and _as_dict(record),
            "completed": [_as_dict(record) for record in outcome.completed],
        }
        print(json.dumps(told))
        return
    for finished in outcome.completed:
        print(f"entry {finished.place} had been interrupted and is completed now: {finished.entry.sentence()}")
    if decision:
        _print_findings(f"{outcome.model} version {outcome.to_version} to {outcome.alias}", decision.findings)
    if outcome.status == "unchanged":
        print(f"{outcome.alias} is already at version {outcome.to_version}; nothing was done.")
    elif record:
        before = "no version" if outcome.from_version is None else f"version {outcome.from_version}"
        gate = ", overriding the gate" if outcome.overridden else ""
        print(
            f"{outcome.alias} is now at version {outcome.to_version}, before at {before}{gate} (entry {record.place})."
        )
    elif decision and decision.passed:
        print(f"dry run: version {outcome.to_version} would get {outcome.alias}; nothing was moved.")


def _table(title: str, *headings: str) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _print(table: Any) -> None:
    from rich.console import Console

    Console(highlight=False).print(table)


def _print_findings(title: str, findings: Any) -> None:
    from rich.text import Text

    table = _table(title, "", "rule", "given", "expected")
    for finding in findings:
        mark = Text("pass", "green") if finding.passed else Text("FAIL", "bold red")
        table.add_row(mark, *map(Text, (finding.rule, finding.given, finding.expected)))
    _print(table)


def _print_history(model: str, records: list[Any]) -> None:
    from rich.text import Text

    if not records:
        print(f"{model}: no alias was ever moved by facet.")
        return
    table = _table(f"History of {model}", "no.", "when (UTC)", "alias", "move", "what", "who", "reason")
    for record in records:
        entry = record.entry
        what = f"{entry.action}, overridden" if entry.decision == "overridden" else entry.action
        state = "" if record.applied else ", not completed"
        if record.lost:
            state = ", lost: another was faster"
        move = f"{_number(entry.from_version)} > {_number(entry.to_version)}"
        when = entry.when[:16].replace("T", " ")
        cells = (str(record.place), when, entry.alias, move, what + state, entry.who, entry.reason)
        table.add_row(*(Text(cell, "dim" if record.lost else "") for cell in cells))
    _print(table)


def _number(version: int | None) -> str:
    return "none" if version is None else str(version)


def _print_models(model: str, rows: list[Any]) -> None:
    from rich.text import Text

    names = list(rows[0].scores)
    table = _table(model, "no.", "aliases", *map(_heading, names), "age", "data", "digest")
    for row in rows:
        scores = ("-" if row.scores[name] is None else f"{row.scores[name]:.3f}" for name in names)
        held = "\n".join(f"{alias}*" if alias in row.overrides else alias for alias in row.aliases)
        cells = (
            str(row.version),
            held or "-",
            *scores,
            _age(row.age_s),
            (row.data or "-")[:7],
            (row.digest or "-")[:7],
        )
        table.add_row(*map(Text, cells))
    _print(table)
    for row in rows:
        for alias, why in row.overrides.items():
            print(f"* version {row.version} got {alias} overriding the gate: {why}")


def _heading(score: str) -> str:
    """A score's name in a narrow column: its last part, with the one before it where that is a single word."""
    last = score.split(".")[-1]
    return "\n".join((last if "_" in last else score).replace("_", ".").split("."))


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _print_audit(model: str, found: Any, settled: list[Outcome]) -> None:
    for outcome in settled:
        print(f"settled: {outcome.record.entry.sentence()} (entry {outcome.record.place})")
    for record in found.completed:
        print(f"completed entry {record.place}, which had been interrupted: {record.entry.sentence()}")
    versions = ", ".join(map(str, found.versions)) or "none"
    print(f"{model}: history entries {found.entries}, aliases {found.aliases}; bytes read of versions {versions}.")
    for fault in found.faults:
        print(f"\nWRONG  {fault.what}\n       {fault.remedy}")
    if not found.faults:
        print("Everything is as the history says.")
