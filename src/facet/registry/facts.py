"""What the gate decides upon, gathered from MLflow: tags, records, card, the stored bytes, and a trial."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from facet.artifacts import digest_folder
from facet.errors import ArtifactError
from facet.registry.card import gaps
from facet.registry.gate import CandidateFacts
from facet.registry.mlflow_registry import RUN_TAG, download, read_run_record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from facet.registry.trial import Trial

# The records by which a version is judged, as `facet.registry.publication` leaves them with the run.
RECORDS = ("evaluation", "validation")


def read_facts(
    client: MlflowClient,
    version: ModelVersion,
    alias: str,
    holds: tuple[str, ...] = (),
    records: tuple[str, ...] = RECORDS,
) -> CandidateFacts:
    """What the registry tells of ``version`` without its weights; ``holds`` is what the history says it holds.

    The records are those of the run that the tags name: the newest evaluation, where a version was scored again.
    """
    run = version.tags.get(RUN_TAG)
    read = {name: read_run_record(client, run, f"{name}.json") for name in records} if run else {}
    return CandidateFacts(version=int(version.version), alias=alias, holds=holds, tags=dict(version.tags), **read)


def examine(facts: CandidateFacts, version: ModelVersion, trial: Trial | None) -> CandidateFacts:
    """``facts`` with what only the stored model tells: digest of its bytes, card and, with ``trial``, whether it draws.
    It is fetched once, and gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="facet-examine-") as scratch:
        model = download(version.source, Path(scratch) / "model")
        card = model / "artifacts/card.md"
        try:
            digest = digest_folder(model / "artifacts/pipeline")
        except ArtifactError:  # there is none
            digest = None
        return dataclasses.replace(
            facts,
            digest=digest,
            card_gaps=gaps(card.read_text(encoding="utf-8")) if card.is_file() else None,
            drawing_error=trial.draw(model) if trial else None,
        )
