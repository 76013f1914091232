"""The version that a model is held against: the newest one that holds other weights."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from facet.registry.mlflow_registry import DIGEST_TAG, RUN_TAG, all_versions, read_run_record

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclasses.dataclass(frozen=True)
class Predecessor:
    """``name`` says which version it is; ``record`` is its newest evaluation, None where its run holds none."""

    name: str
    record: dict[str, Any] | None


def predecessor(client: MlflowClient, model: str, digest: str, earlier: bool = False) -> Predecessor | None:
    """The newest version of ``model`` whose weights are not those of ``digest``; None where there is none.

    With ``earlier``, one from before the version that holds ``digest``, where that is registered: the answer is then
    the same whenever that version is registered again. Raises what MLflow raises.
    """
    versions = all_versions(client, model)
    if earlier:
        own = next((i for i, version in enumerate(versions) if version.tags.get(DIGEST_TAG) == digest), len(versions))
        versions = versions[:own]
    found = next((version for version in reversed(versions) if version.tags.get(DIGEST_TAG) != digest), None)
    if found is None:
        return None
    run = found.tags.get(RUN_TAG)
    return Predecessor(
        f"{model} version {found.version}", read_run_record(client, run, "evaluation.json") if run else None
    )
