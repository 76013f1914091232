"""The history of a model's aliases: entries chained by their digests, and the copy of them in a file.

Entry n holds the digest of what stands at place n - 1, so an entry can't be edited, removed or put elsewhere without
the next one telling. MLflow gives the places (`facet.registry.ledger`); an entry that got another place than the one it
was written for came too late: it lost, and counts for nothing but the record.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from facet.artifacts import digest_json
from facet.errors import RegistryError

SCHEMA = "facet.history/1"
# What the first entry follows.
GENESIS = "0" * 64

Action = Literal["promote", "rollback", "reconcile"]
# overridden: the gate said no, a person said yes; not asked: a rollback or a reconciliation.
Verdict = Literal["passed", "overridden", "not asked"]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One move of one alias."""

    number: int
    # Digest of entry number - 1.
    previous: str
    # Tells two equal wishes apart, and a wish from its repetition by a nervous HTTP client.
    id: str
    # UTC, ISO 8601.
    when: str
    who: str
    model: str
    alias: str
    action: Action
    # None: nobody held the alias before, or nobody does from now on.
    from_version: int | None
    to_version: int | None
    decision: Verdict
    # Why, where a person gave a reason.
    reason: str
    findings: tuple[dict[str, Any], ...]
    model_digest: str | None
    record_digest: str | None
    schema: str = SCHEMA

    def text(self) -> str:
        """Canonical JSON: what is stored, and what `digest` is of."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))

    def sentence(self) -> str:
        """The entry in words."""
        move = f"{self.alias}: {_named(self.from_version)} -> {_named(self.to_version)}"
        why = f" ({self.reason})" if self.reason else ""
        return f"{move}, {self.action} by {self.who} at {self.when}, gate {self.decision}{why}"


def _named(version: int | None) -> str:
    return "none" if version is None else f"version {version}"


@dataclasses.dataclass(frozen=True)
class Record:
    """An entry at its place. ``applied``: its alias has been moved, and whoever moved it said so."""

    place: int
    entry: Entry
    digest: str
    applied: bool

    @property
    def lost(self) -> bool:
        """Another entry was faster."""
        return self.entry.number != self.place


@dataclasses.dataclass(frozen=True)
class Line:
    """An entry as it is stored: its place, its text, and the digest left by whoever moved the alias, if anybody did."""

    place: int
    text: str
    applied: str | None = None


@dataclasses.dataclass(frozen=True)
class History:
    """Every record that can be read, in order, and what is wrong with the chain."""

    records: tuple[Record, ...]
    faults: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def head(self) -> tuple[int, str]:
        """Place and digest of the last record."""
        return (self.records[-1].place, self.records[-1].digest) if self.records else (0, GENESIS)

    def moves(self, alias: str | None = None) -> list[Record]:
        """Records that count, of one alias or of all."""
        return [r for r in self.records if not r.lost and alias in (None, r.entry.alias)]

    def current(self, alias: str) -> int | None:
        """The version that holds ``alias``."""
        moves = self.moves(alias)
        return moves[-1].entry.to_version if moves else None

    def aliases(self) -> dict[str, int]:
        """Alias -> version, for every alias that is held."""
        names = {record.entry.alias for record in self.moves()}
        return {name: version for name in sorted(names) if (version := self.current(name)) is not None}

    def before(self, alias: str) -> int | None:
        """The version to roll back to: a rollback takes the newest off the pile, and so walks on when repeated."""
        pile: list[int] = []
        for record in self.moves(alias):
            target = record.entry.to_version
            if record.entry.action == "rollback" and target in pile:
                del pile[pile.index(target) + 1 :]
            elif target is not None:
                pile = [version for version in pile if version != target] + [target]
        current = self.current(alias)
        earlier = [version for version in pile if version != current]
        return earlier[-1] if earlier else None

    def unapplied(self) -> list[Record]:
        """Moves that a kill may have cut short."""
        return [record for record in self.moves() if not record.applied]


def read_chain(lines: Sequence[Line]) -> History:
    """Entries from their stored lines, and every break of the chain."""
    records, faults, digests, following = [], [], {0: GENESIS}, 1
    for line in lines:
        faults += [f"entry {gone} is missing" for gone in range(following, line.place)]
        following = line.place + 1
        try:
            content = json.loads(line.text)
            entry = Entry(**content | {"findings": tuple(content["findings"])})
        except (ValueError, TypeError, KeyError) as error:
            faults.append(f"entry {line.place} can't be read ({type(error).__name__})")
            continue
        digest = digests[line.place] = digest_json(content)
        records.append(Record(line.place, entry, digest, line.applied is not None))
        if line.applied not in (None, digest):
            faults.append(f"entry {line.place} was edited after its alias was moved")
        before = digests.get(entry.number - 1)
        if not 0 < entry.number <= line.place or (before is not None and before != entry.previous):
            faults.append(
                f"entry {line.place} does not follow from the one before it: one of the two was edited or moved"
            )
    return History(tuple(records), tuple(faults), tuple(lines))


# --- the copy in a file -----------------------------------------------------------------------------------------------


class HistoryFile:
    """One entry a line, appended only. A copy of MLflow's history, taken by each checkout that promotes.

    Whoever rewrites the history in MLflow, digests and all, is found out by any copy.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[str]:
        """The texts of the entries; a last line cut short by a kill is left out."""
        try:
            content = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        return content.split("\n")[:-1]

    def differences(self, history: History) -> list[str]:
        """How the file and MLflow's history disagree; that the file is behind is none."""
        there = {line.place: line.text for line in history.lines}
        faults = list(read_chain([Line(place, text) for place, text in enumerate(self.read(), 1)]).faults)
        faults = [f"{self.path}: {fault}" for fault in faults]
        for place, text in enumerate(self.read(), 1):
            if place not in there:
                faults.append(f"entry {place} is in {self.path}, but not in MLflow")
            elif there[place] != text:
                faults.append(f"entry {place} differs between {self.path} and MLflow")
        return faults

    def catch_up(self, history: History) -> None:
        """Append what the file lacks. Raises RegistryError where file and history disagree, and writes nothing."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                if faults := self.differences(history):
                    raise RegistryError(f"the history is not what it was ({faults[0]}): run `facet audit`.")
                known = self.read()
                stream.truncate(sum(len(text.encode()) + 1 for text in known))
                for line in history.lines[len(known) :]:
                    stream.write(f"{line.text}\n".encode())
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise RegistryError(
                f"the history's copy {self.path} can't be written ({error.strerror}): make its folder writable and run "
                "it again."
            ) from error
