"""Register the trained model: runs, report and lineage to MLflow, and a version for each new model digest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facet import artifacts
from facet.diffusion.saving import load_pipeline
from facet.evaluation.comparison import compared, with_comparison
from facet.params import read_section
from facet.registry.mlflow_registry import RegisterParams
from facet.registry.predecessor import Predecessor
from facet.registry.publication import publish
from facet.stages import run

SECTION = RegisterParams


def main() -> None:
    params = read_section("register", SECTION)
    # A receipt must not outlive the registration it speaks of.
    artifacts.REGISTRATION.unlink(missing_ok=True)
    done = publish(load_pipeline(artifacts.PIPELINE), params, complete)
    artifacts.write_json(artifacts.REGISTRATION, done.record)
    verb = "registered as" if done.created else "is already"
    print(f"register: {done.record['digest'][:12]} {verb} {params.name} version {done.version}, run {done.run}")
    print(f"register: look at it with `mlflow ui --backend-store-uri {done.uri}`")


def complete(page: str, record: Mapping[str, Any], before: Predecessor | None) -> str:
    """The report ``page`` with its table against the version before."""
    name, other = (before.name, before.record) if before else (None, None)
    return with_comparison(page, record, compared(record, name, other))


if __name__ == "__main__":
    run(main)
