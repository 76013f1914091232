"""Holds artifacts/faces to its promises before any hardware is spent on it, with Great Expectations.

A broken ``fail`` promise stops the chain, a broken ``warn`` promise is printed and counted. The suite runs in an
ephemeral context; what remains is a normalised record (no times, ids or paths) and Data Docs to look at.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from facet.artifacts import FACES_SCHEMA, PROFILE_SCHEMA, VALIDATION_SCHEMA, read_json, whole_folder
from facet.data.datasets import ATTRIBUTE
from facet.data.promises import (
    SPLITS_OF_IDENTITY,
    SPLITS_OF_NEAR,
    Promise,
    Severity,
    ValidateParams,
    exclusive_groups,
    group_column,
    suite,
)
from facet.errors import ArtifactError, DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a promise fared; ``unexpected`` counts the faces that break it, None where it is not about single faces."""

    promise: Promise
    passed: bool
    unexpected: int | None

    def __str__(self) -> str:
        return f"{self.promise.name} ({self.unexpected} faces against it)" if self.unexpected else self.promise.name


@dataclasses.dataclass(frozen=True)
class Verdict:
    """All outcomes, in the suite's order, over ``faces`` faces."""

    faces: int
    outcomes: tuple[Outcome, ...]

    def broken(self, severity: Severity) -> list[Outcome]:
        return [o for o in self.outcomes if not o.passed and o.promise.severity == severity]

    def counts(self) -> dict[str, int]:
        """The content of metrics/validate.json."""
        return {
            "expectations": len(self.outcomes),
            "passed": sum(o.passed for o in self.outcomes),
            "warned": len(self.broken("warn")),
            "faces": self.faces,
        }

    def record(self) -> dict[str, Any]:
        """The content of artifacts/validation.json: the same faces and params give the same bytes."""
        return {
            "schema": VALIDATION_SCHEMA,
            **self.counts(),
            "outcomes": [
                {**dataclasses.asdict(o.promise), "passed": o.passed, "unexpected": o.unexpected}
                for o in sorted(self.outcomes, key=lambda o: o.promise.name)
            ],
        }

    def raise_if_failed(self, faces: Path, docs: Path) -> None:
        """Raises DataError naming the broken promises where one of severity ``fail`` is among them."""
        failed = self.broken("fail")
        if failed:
            raise DataError(
                f"{faces} breaks {len(failed)} of {len(self.outcomes)} expectations: {listed(failed)}; look at "
                f"{docs}/index.html, mend the data (or the `validate` section of params.yaml) and run it again."
            )


def listed(outcomes: list[Outcome], most: int = 5) -> str:
    """The first ``most`` outcomes in words, and how many more there are."""
    more = f"; and {len(outcomes) - most} more" if len(outcomes) > most else ""
    return "; ".join(map(str, outcomes[:most])) + more


def check_faces(faces: Path, params: ValidateParams, docs: Path, baseline: Mapping[str, Any] | None = None) -> Verdict:
    """Check the faces in folder ``faces``, also against the profile ``baseline`` of those accepted last, and write Data
    Docs to folder ``docs``, whatever the outcome.

    Raises ArtifactError where faces.json or the manifest can't be read. Broken promises are in the verdict.
    """
    about = read_json(faces / "faces.json", FACES_SCHEMA)
    promises = suite(about, params, baseline)
    table = _derive(_read_manifest(faces / "manifest.parquet"), exclusive_groups(about["attributes"], params.exclusive))
    with whole_folder(docs) as folder:
        return Verdict(len(table), tuple(_run(table, promises, folder.absolute())))


def comparable_baseline(faces: Path, path: Path) -> dict[str, Any] | None:
    """The profile of the faces accepted last, where it is of the same kind of set as those in ``faces``: same
    attributes, layout, crop and size. None otherwise, since drift from another set says nothing."""
    if not path.is_file():
        return None
    about, baseline = read_json(faces / "faces.json", FACES_SCHEMA), read_json(path, PROFILE_SCHEMA)
    alike = all(baseline[key] == about[key] for key in ("layout", "crop", "size"))
    return baseline if alike and set(baseline["attributes"]) == set(about["attributes"]) else None


def _read_manifest(path: Path) -> pd.DataFrame:
    try:
        return pq.read_table(path).to_pandas()
    except (OSError, ValueError) as error:  # pyarrow's own errors descend from these
        raise ArtifactError(f"{path} is missing or damaged ({error}): delete its folder, run `dvc repro`.") from None


def _derive(table: pd.DataFrame, groups: Sequence[tuple[str, ...]]) -> pd.DataFrame:
    """The table with what single rows don't tell: in how many splits a face's person and near duplicates are, how many
    of an exclusive group it has."""
    for column, derived, alone in (("identity", SPLITS_OF_IDENTITY, -1), ("near", SPLITS_OF_NEAR, None)):
        if {column, "split"} <= set(table.columns):
            known = table[column].notna() & (table[column] != alone)
            counted = table[known].groupby(column)["split"].nunique()
            table[derived] = table[column].map(counted).fillna(0).astype(np.int64)
    for group in groups:
        columns = [f"{ATTRIBUTE}{name}" for name in group]
        if set(columns) <= set(table.columns):
            table[group_column(group)] = (table[columns] == 1).sum(axis=1)
    return table


def _run(table: pd.DataFrame, promises: Sequence[Promise], docs: Path) -> list[Outcome]:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    # Seconds of import: whoever only wants the params or the suite doesn't pay for it.
    import great_expectations as gx

    context = _context(docs)
    batch = context.data_sources.add_pandas("artifacts").add_dataframe_asset("faces")
    wanted = [
        getattr(gx.expectations, p.check)(
            **p.settings,
            description=p.name,
            severity="critical" if p.severity == "fail" else "warning",
            meta={"promise": p.name},
        )
        for p in promises
    ]
    definition = gx.ValidationDefinition(
        name="faces",
        data=batch.add_batch_definition_whole_dataframe("manifest"),
        suite=context.suites.add(gx.ExpectationSuite("faces", expectations=wanted)),
    )
    context.validation_definitions.add(definition)
    results = definition.run(batch_parameters={"dataframe": table}, result_format="BASIC").results
    context.build_data_docs()
    fared = {r.expectation_config.meta["promise"]: r for r in results}
    return [Outcome(p, bool(fared[p.name].success), fared[p.name].result.get("unexpected_count")) for p in promises]


def _context(docs: Path) -> Any:
    """An ephemeral context that keeps nothing, asks nobody, and writes its Data Docs to ``docs``."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    site = {
        "class_name": "SiteBuilder",
        "site_name": "faces",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        data_docs_sites={"faces": site},
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    return gx.get_context(mode="ephemeral", project_config=config)
