"""Moving an alias so that it and the history agree, whoever else does so, and whenever a kill comes.

The order is what makes it safe. An entry of the history is written first, for the number after what was examined.
MLflow numbers it, so of two at once exactly one gets its number, and the other has lost (`facet.registry.ledger`). Only
then the alias is moved, and the entry marked as applied. A kill in between leaves an entry without that mark, and
whoever opens the registry next moves the alias as the entry says; doing it twice does no harm.

The lock of this host keeps two processes from moving an alias in the wrong order. Between hosts one gap remains: a host
that stops for long between its entry and its move may move the alias back behind a later entry. It looks again after
moving and mends that; if it is killed just there, `facet audit` finds it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from facet.artifacts import RUNS, digest_json
from facet.errors import RegistryError, did_you_mean
from facet.registry.history import Entry, History, HistoryFile, Record
from facet.registry.ledger import Ledger
from facet.registry.mlflow_registry import OVERRIDE_TAG, all_versions
from facet.tracking.mlflow_mirror import alone_at, connect, mlflow_errors_named, place, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_NO_ALIAS = re.compile(r"latest|v\d+|none|archived")


def alias_name(word: str) -> str:
    """The alias meant by ``word``: lower case, so that Staging and staging are one. Raises RegistryError on others."""
    alias = word.strip().lower()
    if alias in ("none", "archived"):
        raise RegistryError(
            f"{word!r} was a stage of MLflow and is no alias: a version is archived when another one takes its alias; "
            "`facet promote` or `facet rollback` does that."
        )
    if not re.fullmatch(r"[a-z0-9_-]{1,255}", alias) or _NO_ALIAS.fullmatch(alias):
        raise RegistryError(
            f"{word!r} can't be an alias: expected letters, digits, - and _, and neither latest nor v1, which are "
            "MLflow's own."
        )
    return alias


def actor() -> str:
    """Who acts: FACET_ACTOR where set, else user@host."""
    with contextlib.suppress(KeyError, OSError):  # a container may run as a user without a name
        return os.environ.get("FACET_ACTOR") or f"{getpass.getuser()}@{socket.gethostname()}"
    return f"uid-{os.getuid()}@{socket.gethostname()}"


# --- the registry, opened ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Registry:
    """One registered model and its history, here and in MLflow."""

    client: MlflowClient
    uri: str
    model: str
    ledger: Ledger
    file: HistoryFile

    def versions(self) -> dict[int, ModelVersion]:
        """Number -> version. Raises RegistryError where there is none."""
        found = {int(version.version): version for version in all_versions(self.client, self.model)}
        if not found:
            models = [m.name for m in self.client.search_registered_models() if not m.name.endswith("-history")]
            known = did_you_mean(self.model, models) or " register one with `dvc repro`."
            raise RegistryError(f"MLflow at {place(self.uri)} has no version of a model {self.model!r}:{known}")
        return found

    def aliases(self) -> dict[str, int]:
        """Alias -> version, as MLflow has it now."""
        model = self.client.search_registered_models(f"name = '{self.model}'")
        return {alias: int(version) for alias, version in model[0].aliases.items()} if model else {}

    def settled(self) -> tuple[History, list[Record]]:
        """The history, and the entries in it that were cut short and have been completed now.

        Raises RegistryError where the history is not what it was; then nothing may be built on it.
        """
        history, completed = self.ledger.read(), []
        if history.unapplied():
            with alone_at(self.uri):  # whoever is in the middle of it finishes first
                history = self.ledger.read()
                completed = history.unapplied()
                self._apply(history)
                history = self.ledger.read()
        if history.faults:
            raise RegistryError(
                f"the history of {self.model} is not what it was ({history.faults[0]}): run `facet audit`."
            )
        self.file.catch_up(history)
        return history, completed

    def misplaced(self, history: History) -> dict[str, tuple[int | None, int | None]]:
        """Alias -> (version in the history, version in MLflow), where they differ."""
        said, found = history.aliases(), self.aliases()
        return {a: (said.get(a), found.get(a)) for a in sorted(said.keys() | found) if said.get(a) != found.get(a)}

    def hold_against(self, history: History, *aliases: str) -> None:
        """Raises RegistryError where MLflow's alias is not where the history says."""
        for alias, (said, found) in self.misplaced(history).items():
            if alias in aliases:
                raise RegistryError(
                    f"alias {alias} is at {named(found)}, but the history says {named(said)}, so it was moved behind "
                    "its back: run `facet audit`, which says how to settle it."
                )

    def commit(self, seen: History, minding: tuple[str, ...], entry: Callable[[int, str], Entry]) -> Record:
        """Write the entry that follows ``seen`` and move its alias. Raises RegistryError where another entry about one
        of the aliases ``minding`` was faster; then nothing was moved."""
        with alone_at(self.uri):
            while True:
                place_, digest = seen.head
                wanted = entry(place_ + 1, digest)
                now = self.ledger.append(wanted)
                ours = next(record for record in now.records if record.entry.id == wanted.id)
                if not ours.lost:
                    break
                faster = [r for r in now.moves() if wanted.number <= r.place < ours.place and r.entry.alias in minding]
                if faster:
                    self.file.catch_up(now)
                    raise RegistryError(_lost(wanted, faster[-1]))
                seen = now  # somebody wrote about another alias: ask again
            self._apply(now)
            self.file.catch_up(self.ledger.read())
        return ours

    def _apply(self, history: History) -> None:
        """Move the aliases as the entries say that nobody has marked as applied, and mark them."""
        while pending := history.unapplied():
            versions = self.versions()
            for record in pending:
                entry = record.entry
                if history.moves(entry.alias)[-1] is record:
                    self._move(entry.alias, entry.to_version, versions)
                if entry.decision == "overridden" and entry.to_version in versions:
                    told = f"{entry.reason} ({entry.who}, {entry.when}, entry {record.place})"
                    key = f"{OVERRIDE_TAG}.{entry.alias}"
                    self.client.set_model_version_tag(self.model, str(entry.to_version), key, told)
                self.ledger.mark_applied(record.place, record.digest)
            touched = {record.entry.alias for record in pending}
            history = self.ledger.read()
            for alias in touched:  # another host's later entry may have been applied before ours
                self._move(alias, history.current(alias), versions)

    def _move(self, alias: str, target: int | None, versions: dict[int, ModelVersion]) -> None:
        there = self.aliases().get(alias)
        if target is None and there is not None:
            self.client.delete_registered_model_alias(self.model, alias)
        # A version deleted meanwhile can't be pointed at; `facet audit` tells.
        elif target in versions and there != target:
            self.client.set_registered_model_alias(self.model, alias, str(target))


@contextlib.contextmanager
def open_registry(model: str, folder: Path = RUNS / "registry") -> Iterator[Registry]:
    """The registry that MLFLOW_TRACKING_URI names, or this checkout's. ``folder`` keeps the history's copy.

    Within the block, what MLflow and the libraries below it raise comes out as one RegistryError.
    """
    uri = tracking_uri()
    client = connect(uri)
    # Another registry under the same name has another history.
    file = HistoryFile(folder / f"{model}-{digest_json(place(uri))[:8]}.jsonl")
    with mlflow_errors_named(uri, "what was begun is completed by the next `facet promote` or `facet audit`"):
        yield Registry(client, uri, model, Ledger(client, model), file)


def _lost(wanted: Entry, faster: Record) -> str:
    theirs = faster.entry
    return (
        f"{wanted.alias} was not given to version {wanted.to_version}: meanwhile {theirs.who} gave {theirs.alias} to "
        f"{named(theirs.to_version)} (entry {faster.place}); look at `facet history` and decide again."
    )


def named(number: int | None) -> str:
    """A version in words."""
    return "no version" if number is None else f"version {number}"
