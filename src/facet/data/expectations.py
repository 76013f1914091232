"""What artifacts/faces must keep before any hardware is spent on it: a Great Expectations suite, written in code.

Each expectation is a `Promise`: a sentence, a severity and the Great Expectations object that checks it. A broken
``fail`` promise stops the chain, a broken ``warn`` promise is printed and counted. The suite runs in an ephemeral
context; what remains is a normalised record (no times, ids or paths) and Data Docs to look at.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pyarrow.parquet as pq

from facet.artifacts import FACES_SCHEMA, VALIDATION_SCHEMA, read_json, whole_folder
from facet.data.attributes import CELEBA_ATTRIBUTES
from facet.data.raw import SPLITS
from facet.errors import ArtifactError, DataError, ParamsError, did_you_mean
from facet.params import Between, Fraction

if TYPE_CHECKING:
    import pandas as pd

Severity = Literal["fail", "warn"]

# The manifest's columns beside the attributes (facet.data.manifest), and the one this module adds to the table.
_FIXED = ("id", "shard", "row", "split", "identity", "brightness", "contrast", "sharpness", "captions")
_SPLITS_OF_IDENTITY = "splits_of_identity"
_QUALITY = ("brightness", "contrast", "sharpness")

_Luma = Annotated[float, Between(0, 255)]


@dataclasses.dataclass(frozen=True)
class SplitShares:
    """A share of all faces for each split."""

    train: Fraction
    valid: Fraction
    test: Fraction


@dataclasses.dataclass(frozen=True)
class ValidateParams:
    """What the prepared faces must keep. Shares are of all faces."""

    # The least that each split may hold; below it the chain stops.
    split_share: SplitShares
    # Warn of an attribute that fewer faces than this show, or lack: it can't be learned well.
    attribute_share: Fraction
    # Groups of attributes of which a face has one at most; those that the table lacks are left out.
    exclusive: tuple[tuple[str, ...], ...]
    # How many faces may break one of those groups, labels being made by hand.
    max_contradictory: Fraction
    # How many faces may show a person who is in another split too; above 0, test scores are flattered.
    max_leaking: Fraction
    # Faces outside these are blank, burnt out or blurred away; luma figures in 0..255 (facet.data.faces.quality).
    min_brightness: _Luma
    max_brightness: _Luma
    min_contrast: _Luma
    min_sharpness: _Luma
    # How many faces may be.
    max_unusable: Fraction

    def __post_init__(self) -> None:
        if self.min_brightness >= self.max_brightness:
            raise ValueError(f"min_brightness is {self.min_brightness:g}, expected less than max_brightness")
        if any(len(group) < 2 for group in self.exclusive):
            raise ValueError("a group in exclusive names one attribute, expected at least two")


@dataclasses.dataclass(frozen=True)
class Promise:
    """One expectation: its sentence, what a break of it means, its Great Expectations class and settings."""

    name: str
    severity: Severity
    check: str
    settings: dict[str, Any]


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


# --- the suite --------------------------------------------------------------------------------------------------------


def suite(about: dict[str, Any], params: ValidateParams) -> list[Promise]:
    """The promises for faces described by ``about``, the content of faces.json. No name occurs twice."""
    groups = exclusive_groups(about["attributes"], params.exclusive)
    return [
        *_table_promises(about, groups),
        *_split_promises(params),
        *_attribute_promises(about["attributes"], groups, params),
        *_picture_promises(params),
    ]


def _table_promises(about: dict[str, Any], groups: Sequence[tuple[str, ...]]) -> Iterator[Promise]:
    columns = [*_FIXED, *about["attributes"], _SPLITS_OF_IDENTITY, *map(_group_column, groups)]
    yield Promise(
        "the manifest has the columns it announces",
        "fail",
        "ExpectTableColumnsToMatchSet",
        {"column_set": sorted(columns)},
    )
    yield Promise("the manifest has one row a face", "fail", "ExpectTableRowCountToEqual", {"value": about["count"]})
    for column in _FIXED:
        yield Promise(f"{column} is never empty", "fail", "ExpectColumnValuesToNotBeNull", {"column": column})
    yield Promise("id is unique", "fail", "ExpectColumnValuesToBeUnique", {"column": "id"})
    yield Promise(
        "no two faces share a place in the shards",
        "fail",
        "ExpectCompoundColumnsToBeUnique",
        {"column_list": ["shard", "row"]},
    )


def _split_promises(params: ValidateParams) -> Iterator[Promise]:
    yield _in_set("split is train, valid or test", "fail", "split", list(SPLITS))
    for split in SPLITS:
        share = getattr(params.split_share, split)
        yield _in_set(f"at least {share:.4g} of the faces are in split {split}", "fail", "split", [split], share)
    yield _between("no person is in two splits", "fail", _SPLITS_OF_IDENTITY, high=1, mostly=1 - params.max_leaking)


def _attribute_promises(
    names: Sequence[str], groups: Sequence[tuple[str, ...]], params: ValidateParams
) -> Iterator[Promise]:
    for name in names:
        yield _in_set(f"{name} is -1, 0 or 1", "fail", name, [-1, 0, 1])
    # Present and absent apart: a mean of the column would hide an attribute that is unknown almost everywhere.
    for name in names:
        for value, word in ((1, "present"), (-1, "absent")):
            rule = f"{name} is {word} in at least {params.attribute_share:.4g} of the faces"
            yield _in_set(rule, "warn", name, [value], params.attribute_share)
    for group in groups:
        rule = "a face has one at most of " + ", ".join(group)
        yield _between(rule, "fail", _group_column(group), high=1, mostly=1 - params.max_contradictory)


def _picture_promises(params: ValidateParams) -> Iterator[Promise]:
    for column in _QUALITY:
        yield _between(f"{column} is a number from 0 to 255", "fail", column, low=0, high=255)
    usable = 1 - params.max_unusable
    low, high = params.min_brightness, params.max_brightness
    yield _between("pictures are neither black nor burnt out", "fail", "brightness", low=low, high=high, mostly=usable)
    yield _between("pictures are not flat", "fail", "contrast", low=params.min_contrast, mostly=usable)
    yield _between("pictures are not blurred away", "fail", "sharpness", low=params.min_sharpness, mostly=usable)


def _in_set(name: str, severity: Severity, column: str, values: list, mostly: float = 1.0) -> Promise:
    settings = {"column": column, "value_set": values, "mostly": mostly}
    return Promise(name, severity, "ExpectColumnValuesToBeInSet", settings)


def _between(
    name: str,
    severity: Severity,
    column: str,
    low: float | None = None,
    high: float | None = None,
    mostly: float = 1.0,
) -> Promise:
    settings = {"column": column, "min_value": low, "max_value": high, "mostly": mostly}
    return Promise(name, severity, "ExpectColumnValuesToBeBetween", settings)


def exclusive_groups(names: Sequence[str], groups: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The groups, reduced to the attributes in ``names``; those with fewer than two left are dropped.

    Raises ParamsError for a name that is neither in the table nor one of CelebA's: a slip of the pen that would
    otherwise switch the check off in silence.
    """
    for group in groups:
        for name in group:
            if name not in names and name not in CELEBA_ATTRIBUTES:
                hint = did_you_mean(name, [*names, *CELEBA_ATTRIBUTES])
                raise ParamsError(
                    f"validate.exclusive names {name!r}, which the faces don't have:{hint or ' remove it.'}"
                )
    reduced = [tuple(name for name in group if name in names) for group in groups]
    return [group for group in reduced if len(group) > 1]


def _group_column(group: tuple[str, ...]) -> str:
    return "count_of_" + "+".join(group)


# --- running it -------------------------------------------------------------------------------------------------------


def check_faces(faces: Path, params: ValidateParams, docs: Path) -> Verdict:
    """Check the faces in folder ``faces`` and write Data Docs to folder ``docs``, whatever the outcome.

    Raises ArtifactError where faces.json or the manifest can't be read. Broken promises are in the verdict.
    """
    about = read_json(faces / "faces.json", FACES_SCHEMA)
    promises = suite(about, params)
    table = _derive(_read_manifest(faces / "manifest.parquet"), exclusive_groups(about["attributes"], params.exclusive))
    with whole_folder(docs) as folder:
        return Verdict(len(table), tuple(_run(table, promises, folder.absolute())))


def _read_manifest(path: Path) -> pd.DataFrame:
    try:
        return pq.read_table(path).to_pandas()
    except (OSError, ValueError) as error:  # pyarrow's own errors descend from these
        raise ArtifactError(f"{path} is missing or damaged ({error}): delete its folder, run `dvc repro`.") from None


def _derive(table: pd.DataFrame, groups: Sequence[tuple[str, ...]]) -> pd.DataFrame:
    """The table with what single rows don't tell: in how many splits a face's person is, how many of a group it has."""
    if {"identity", "split"} <= set(table.columns):
        known = table["identity"].fillna(-1) != -1
        counted = table[known].groupby("identity")["split"].nunique()
        table[_SPLITS_OF_IDENTITY] = table["identity"].map(counted).fillna(0).astype(np.int64)
    for group in groups:
        if set(group) <= set(table.columns):
            table[_group_column(group)] = (table[list(group)] == 1).sum(axis=1)
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
