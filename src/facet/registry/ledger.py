"""The history in MLflow: versions of a registered model of its own, `<model>-history`, one an entry.

MLflow has no compare-and-set, for tags and aliases the last writer wins in silence. What it does do atomically is to
number the versions of a model: no two get one number, on any host, over any server. So an entry says which number it
was written for, and whoever gets another one knows that somebody was faster; so does everybody who reads it later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facet.registry.history import Entry, History, Line, read_chain
from facet.registry.mlflow_registry import all_versions, ensure_model

if TYPE_CHECKING:
    from mlflow import MlflowClient

ENTRY_TAG = "facet.entry"
APPLIED_TAG = "facet.applied"
_ATTEMPTS = 5


class Ledger:
    """The history of ``model`` at the MLflow of ``client``."""

    def __init__(self, client: MlflowClient, model: str) -> None:
        self.client = client
        self.model = model
        self.name = f"{model}-history"

    def read(self) -> History:
        """Everything that was ever written, in order."""
        lines = (
            Line(int(version.version), version.tags.get(ENTRY_TAG, ""), version.tags.get(APPLIED_TAG))
            for version in all_versions(self.client, self.name)
        )
        return read_chain(sorted(lines, key=lambda line: line.place))

    def append(self, entry: Entry) -> History:
        """Write ``entry`` and return the history that holds it, won or lost."""
        ensure_model(self.client, self.name, f"Who moved which alias of {self.model}, when and why. Written by facet.")
        for attempt in range(_ATTEMPTS):
            try:
                self.client.create_model_version(
                    self.name,
                    source=f"facet-history:/{self.model}/{entry.number}",
                    tags={ENTRY_TAG: entry.text()},
                    description=entry.sentence()[:5000],
                    await_creation_for=0,
                )
                return self.read()
            except Exception:
                # MLflow gives up after three collisions, and an answer may get lost: look before asking again.
                history = self.read()
                if any(record.entry.id == entry.id for record in history.records):
                    return history
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def mark_applied(self, place: int, digest: str) -> None:
        """Say of the entry at ``place`` that its alias has been moved."""
        self.client.set_model_version_tag(self.name, str(place), APPLIED_TAG, digest)
