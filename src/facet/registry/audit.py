"""Does the registry hold what its history says, and do the versions hold what their tags say?"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from facet.artifacts import digest_json
from facet.errors import RegistryError
from facet.registry.facts import RECORDS, examine, read_facts
from facet.registry.history import History, Record
from facet.registry.mlflow_registry import OVERRIDE_TAG, RUN_TAG, is_published, run_tags
from facet.registry.transaction import Registry, named


@dataclasses.dataclass(frozen=True)
class Fault:
    """One thing that is not as it should be, and what to do."""

    about: Literal["history", "alias", "version"]
    what: str
    remedy: str


@dataclasses.dataclass(frozen=True)
class Audit:
    """What was looked at, and what was found."""

    entries: int
    aliases: int
    # Versions whose stored bytes were read.
    versions: tuple[int, ...]
    faults: tuple[Fault, ...]
    # Entries that a kill had cut short, and that were completed now.
    completed: tuple[Record, ...]


def audit(registry: Registry, every_version: bool = False) -> Audit:
    """Look at the history, the aliases, and each version that has ever held one (or at all of them)."""
    history, completed = _completed(registry)
    faults = _history_faults(registry, history) + _alias_faults(registry, history)
    versions = {int(v.version): v for v in registry.versions().values()}
    held = {r.entry.to_version for r in history.moves()} | set(registry.aliases().values())
    looked_at = tuple(number for number in sorted(versions) if every_version or number in held)
    for number in looked_at:
        faults += _version_faults(registry, versions[number], history)
    return Audit(len(history.records), len(registry.aliases()), looked_at, tuple(faults), tuple(completed))


def _completed(registry: Registry) -> tuple[History, list[Record]]:
    """The history after completing what was cut short; where that is refused, the history as it is."""
    try:
        return registry.settled()
    except RegistryError:  # it is not whole: that is what the audit tells, in full
        return registry.ledger.read(), []


def _history_faults(registry: Registry, history: History) -> list[Fault]:
    remedy = (
        f"compare {registry.file.path} of each checkout that promotes with model {registry.ledger.name} in MLflow, and "
        "restore MLflow's database from its last good backup"
    )
    return [Fault("history", what, remedy) for what in (*history.faults, *registry.file.differences(history))]


def _alias_faults(registry: Registry, history: History) -> list[Fault]:
    remedy = '`facet audit --restore "reason"` moves it back, `facet audit --accept "reason"` keeps it and says so'
    return [
        Fault("alias", f"alias {alias} is at {named(found)}, the history says {named(said)}", remedy)
        for alias, (said, found) in registry.misplaced(history).items()
    ]


def _version_faults(registry: Registry, version: Any, history: History) -> list[Fault]:
    facts = examine(read_facts(registry.client, version, ""), version, trial=None)
    tags, who = facts.tags, f"version {version.version}"
    again = "register it again with `dvc repro`, or promote another"
    found = []
    if facts.digest is None or facts.digest != tags.get("facet.digest"):
        tag = _short(tags.get("facet.digest"))
        what = f"{who}: the stored model has digest {_short(facts.digest)}, its tag says {tag}"
        found.append(Fault("version", what, "do not serve it; " + again))
    for name in RECORDS:
        record, tag = getattr(facts, name), tags.get(f"facet.{name}_digest")
        digest = None if record is None else digest_json(record)
        if digest is None or digest != tag:
            what = f"{who}: its {name} record has digest {_short(digest)}, its tag says {_short(tag)}"
            found.append(Fault("version", what, again))
    for key, (ours, theirs) in _edited_tags(registry, tags).items():
        what = f"{who}: tag {key} is {ours!r}, but {theirs!r} in the run that made it"
        found.append(Fault("version", what, f"find out who edited it; {again}"))
    return found + _promised(facts.version, tags, history)


def _edited_tags(registry: Registry, tags: Any) -> dict[str, tuple[str | None, str | None]]:
    """Tag -> (in the version, in its run), where they differ: a registration writes the same to both."""
    of_run = run_tags(registry.client, tags.get(RUN_TAG, ""))
    names = sorted(key for key in tags.keys() | of_run.keys() if is_published(key))
    return {k: (tags.get(k), of_run.get(k)) for k in names if tags.get(k) != of_run.get(k)}


def _promised(number: int, tags: Any, history: History) -> list[Fault]:
    """What the entries of the history say about this version, against its tags."""
    found = []
    for record in history.moves():
        entry = record.entry
        if entry.to_version != number:
            continue
        if entry.model_digest != tags.get("facet.digest"):
            what = (
                f"version {number}: entry {record.place} promoted model {_short(entry.model_digest)}, its tag now says "
                f"{_short(tags.get('facet.digest'))}"
            )
            found.append(Fault("version", what, "do not serve it; restore the tag or promote another"))
        if entry.decision == "overridden" and f"{OVERRIDE_TAG}.{entry.alias}" not in tags:
            what = f"version {number}: the tag of the override in entry {record.place} is gone"
            found.append(Fault("version", what, f"set tag {OVERRIDE_TAG}.{entry.alias} again: {entry.reason}"))
    return found


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]
