"""Registered versions as MLflow writes them, ``models:/NAME/3`` or ``models:/NAME@staging``, and what is in them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facet.artifacts import digest_folder
from facet.errors import RegistryError
from facet.registry.facts import read_facts
from facet.registry.mlflow_registry import DIGEST_TAG, download
from facet.registry.transaction import Registry, open_registry

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

PREFIX = "models:/"


@contextlib.contextmanager
def named_version(reference: str) -> Iterator[tuple[Registry, ModelVersion]]:
    """The version that ``reference`` names, and its registry. Raises RegistryError where it names none."""
    model, at, alias = reference.removeprefix(PREFIX).partition("@")
    if not at:
        model, _, alias = model.rpartition("/")
    if not model or not alias or "/" in model:
        raise RegistryError(f"{reference!r} names no version: expected models:/NAME/3 or models:/NAME@staging.")
    with open_registry(model) as registry:
        versions = registry.versions()
        number = registry.aliases().get(alias) if at else int(alias) if alias.isdecimal() else None
        if number not in versions:
            there = ", ".join([*map(str, sorted(versions)), *(f"@{name}" for name in sorted(registry.aliases()))])
            raise RegistryError(f"{reference} is not in the registry, which has {there}: look at `facet models`.")
        yield registry, versions[number]


def registered_record(reference: str) -> dict[str, Any]:
    """The newest evaluation record of that version. Raises RegistryError where there is none."""
    with named_version(reference) as (registry, version):
        record = read_facts(registry.client, version, reference, records=("evaluation",)).evaluation
    if record is None:
        raise RegistryError(f"the run of {reference} holds no evaluation record: register it again with `dvc repro`.")
    return record


@contextlib.contextmanager
def registered_pipeline(reference: str) -> Iterator[Path]:
    """The folder of that version's pipeline, fetched, and gone when the block ends; the code beside it is left alone.

    Raises RegistryError where the version holds none, or not the one that was registered.
    """
    with tempfile.TemporaryDirectory(prefix="facet-model-") as scratch:
        with named_version(reference) as (_, version):
            folder = download(version.source, Path(scratch) / "model") / "artifacts/pipeline"
        if not folder.is_dir():
            raise RegistryError(f"{reference} holds no pipeline: register it again with `dvc repro`.")
        if digest_folder(folder) != version.tags.get(DIGEST_TAG):
            raise RegistryError(
                f"the stored files of {reference} have another digest than its tag {DIGEST_TAG}: run `facet audit`."
            )
        yield folder
