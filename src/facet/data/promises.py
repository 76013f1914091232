"""The promises that prepared faces are held to: a Great Expectations suite, written in code.

Each expectation is a `Promise`: a sentence, a severity and the Great Expectations class that checks it. What single
rows don't tell is in columns that `facet.data.expectations` adds to the table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from facet.data.attributes import CELEBA_ATTRIBUTES
from facet.data.datasets import ATTRIBUTE
from facet.data.profile import ALL
from facet.data.raw import SPLITS
from facet.errors import ParamsError, did_you_mean
from facet.params import Between, Fraction, NonNegative

Severity = Literal["fail", "warn"]

# The manifest's columns beside the attributes (facet.data.manifest).
_FIXED = (
    "id",
    "source",
    "shard",
    "row",
    "split",
    "identity",
    "captions",
    "width",
    "height",
    "brightness",
    "contrast",
    "sharpness",
    "phash",
    "near",
)
# In how many splits the person of a face is, and its near duplicates are.
SPLITS_OF_IDENTITY = "splits_of_identity"
SPLITS_OF_NEAR = "splits_of_near"
_QUALITY = ("brightness", "contrast", "sharpness")

_Luma = Annotated[float, Between(0, 255)]


@dataclasses.dataclass(frozen=True)
class SplitShares:
    """A share of all faces for each split."""

    train: Fraction
    valid: Fraction
    test: Fraction


@dataclasses.dataclass(frozen=True)
class Band:
    """The share of all faces that must show an attribute."""

    name: str
    low: Fraction
    high: Fraction

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low is {self.low:g}, expected at most high, {self.high:g}")


@dataclasses.dataclass(frozen=True)
class DriftParams:
    """How far the faces may be from those that were accepted last (metrics/baseline.json, `facet data accept`)."""

    # What more than that means.
    severity: Severity
    # Change of the share of faces that show an attribute.
    max_share: Fraction
    # Change of the mean of brightness, contrast and sharpness, in standard deviations of the accepted faces.
    max_shift: NonNegative


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
    # Attributes whose share is known to lie within bounds.
    bands: tuple[Band, ...]
    # How many faces may show a person who is in another split too; above 0, test scores are flattered.
    max_leaking: Fraction
    drift: DriftParams
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


def suite(about: Mapping[str, Any], params: ValidateParams, baseline: Mapping[str, Any] | None = None) -> list[Promise]:
    """The promises for faces described by ``about``, the content of faces.json; with the profile of those that were
    accepted last, of drift too. No name occurs twice."""
    groups = exclusive_groups(about["attributes"], params.exclusive)
    return [
        *_table_promises(about, groups),
        *_split_promises(params),
        *_attribute_promises(about["attributes"], groups, params),
        *_picture_promises(about, params),
        *(() if baseline is None else _drift_promises(about["attributes"], params.drift, baseline)),
    ]


def _table_promises(about: Mapping[str, Any], groups: Sequence[tuple[str, ...]]) -> Iterator[Promise]:
    attributes = [f"{ATTRIBUTE}{name}" for name in about["attributes"]]
    columns = [*_FIXED, *attributes, SPLITS_OF_IDENTITY, SPLITS_OF_NEAR, *map(group_column, groups)]
    yield Promise(
        "the manifest has the columns it announces",
        "fail",
        "ExpectTableColumnsToMatchSet",
        {"column_set": sorted(columns)},
    )
    yield Promise("the manifest has one row a face", "fail", "ExpectTableRowCountToEqual", {"value": about["count"]})
    for column in _FIXED:
        yield Promise(f"{column} is never empty", "fail", "ExpectColumnValuesToNotBeNull", {"column": column})
    for column in ("id", "source"):
        yield Promise(f"{column} is unique", "fail", "ExpectColumnValuesToBeUnique", {"column": column})
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
    yield _between("no person is in two splits", "fail", SPLITS_OF_IDENTITY, high=1, mostly=1 - params.max_leaking)
    yield _between("no picture is in two splits, nearly the same", "fail", SPLITS_OF_NEAR, high=1)


def _attribute_promises(
    names: Sequence[str], groups: Sequence[tuple[str, ...]], params: ValidateParams
) -> Iterator[Promise]:
    for name in names:
        yield _in_set(f"{name} is -1, 0 or 1", "fail", f"{ATTRIBUTE}{name}", [-1, 0, 1])
    # Present and absent apart: a mean of the column would hide an attribute that is unknown almost everywhere.
    for name in names:
        for value, word in ((1, "present"), (-1, "absent")):
            rule = f"{name} is {word} in at least {params.attribute_share:.4g} of the faces"
            yield _in_set(rule, "warn", f"{ATTRIBUTE}{name}", [value], params.attribute_share)
    for band in params.bands:
        if band.name not in names:
            hint = did_you_mean(band.name, names) or " remove it."
            raise ParamsError(f"validate.bands names {band.name!r}, which the faces don't have:{hint}")
        yield from _share_within(f"{band.name} is in bounds", "fail", band.name, band.low, band.high)
    for group in groups:
        rule = "a face has one at most of " + ", ".join(group)
        yield _between(rule, "fail", group_column(group), high=1, mostly=1 - params.max_contradictory)


def _share_within(rule: str, severity: Severity, name: str, low: float, high: float) -> Iterator[Promise]:
    """The share of faces that show attribute ``name`` is from ``low`` to ``high``."""
    column = f"{ATTRIBUTE}{name}"
    yield _in_set(f"{rule}: at least {low:.4g} of the faces show it", severity, column, [1], low)
    yield _in_set(f"{rule}: at most {high:.4g} of the faces show it", severity, column, [-1, 0], 1 - high)


def _drift_promises(names: Sequence[str], params: DriftParams, baseline: Mapping[str, Any]) -> Iterator[Promise]:
    for name in names:
        counts = baseline["attributes"].get(name, {}).get(ALL)
        if counts:
            share = counts["present"] / sum(counts.values())
            low, high = max(0.0, share - params.max_share), min(1.0, share + params.max_share)
            rule = f"{name} is about as common as in the faces accepted last"
            yield from _share_within(rule, params.severity, name, low, high)
    for column in _QUALITY:
        was = baseline["figures"][column]
        reach = params.max_shift * was["std"]
        yield Promise(
            f"{column} is on average as in the faces accepted last, within {reach:.3g} of {was['mean']:.4g}",
            params.severity,
            "ExpectColumnMeanToBeBetween",
            {"column": column, "min_value": was["mean"] - reach, "max_value": was["mean"] + reach},
        )


def _picture_promises(about: Mapping[str, Any], params: ValidateParams) -> Iterator[Promise]:
    for column in ("width", "height"):
        yield _between(f"{column} is at least 1 pixel", "fail", column, low=1)
    yield _between("near is a row of the manifest", "fail", "near", low=0, high=max(0, about["count"] - 1))
    yield Promise(
        "phash is 16 hexadecimal digits",
        "fail",
        "ExpectColumnValuesToMatchRegex",
        {"column": "phash", "regex": "^[0-9a-f]{16}$"},
    )
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


def group_column(group: tuple[str, ...]) -> str:
    return "count_of_" + "+".join(group)
