"""What the data's page shows: which faces, and figures of its attributes, its sizes and what was put aside.

All is chosen by rule, so the same tables give the same page; only the pixels of the chosen faces are read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facet.data.attributes import ABSENT, PRESENT, UNKNOWN
from facet.data.datasets import map_tensor
from facet.data.profile import ALL, EDGES
from facet.data.raw import SPLITS
from facet.data.tables import Tables, readable
from facet.errors import ArtifactError
from facet.evaluation.page import picture

_GRID, _EXTREMES = 64, 10
_STRIPS, _STRIP = 8, 6
_PAIRS = 8
# A map of more attributes is no map; those that vary most are kept.
_MAPPED = 48
_KINDS, _EXAMPLES = 20, 4
_SIZES = 6
# Name, column of the manifest, whether the greatest values are meant.
_ENDS = (
    ("darkest", "brightness", False),
    ("brightest", "brightness", True),
    ("flattest", "contrast", False),
    ("blurriest", "sharpness", False),
)


@dataclasses.dataclass(frozen=True)
class Pictured:
    """A face as the page shows it: a data URI, its id and split in words, and a caption below it."""

    source: str
    alt: str
    caption: str = ""


class Gallery:
    """The prepared pixels of single faces, each shard mapped and only what is shown read.

    Raises ArtifactError where a shard is missing, or shorter than the manifest says.
    """

    def __init__(self, folder: Path, tables: Tables):
        self._folder, self._tables = folder, tables
        self._shard, self._row = tables.column("shard"), tables.column("row")
        self._open: dict[int, np.ndarray] = {}

    def show(self, row: int, caption: str = "") -> Pictured:
        """The face in ``row`` of the manifest."""
        shard, place = int(self._shard[row]), int(self._row[row])
        shards = self._tables.about["shards"]
        if not 0 <= shard < len(shards) or not 0 <= place < shards[shard]["count"]:
            raise ArtifactError(
                f"{self._folder} has no face {place} in shard {shard}, which its manifest names: delete it, run "
                "`dvc repro prepare`."
            )
        if shard not in self._open:
            self._open[shard] = map_tensor(self._folder / shards[shard]["file"], "faces")
        name = readable(str(self._tables.faces["id"][row]))
        return Pictured(picture(self._open[shard][place]), f"{name}, {self._tables.split[row]}", caption)


# --- faces ------------------------------------------------------------------------------------------------------------


def sample(tables: Tables, gallery: Gallery) -> list[Pictured]:
    """Faces in even steps through the whole manifest."""
    rows = np.unique(np.linspace(0, len(tables) - 1, min(_GRID, len(tables))).round().astype(int))
    return [gallery.show(row) for row in rows]


def extremes(tables: Tables, gallery: Gallery) -> list[dict[str, Any]]:
    """The darkest, brightest, flattest and blurriest faces, the most extreme first."""
    rows = []
    for name, column, greatest in _ENDS:
        values = tables.column(column)
        order = np.argsort(-values if greatest else values, kind="stable")[:_EXTREMES]
        rows.append(
            {"name": name, "figure": column, "faces": [gallery.show(i, f"{values[i]:.1f}") for i in order]},
        )
    return rows


def near_duplicates(tables: Tables, gallery: Gallery) -> dict[str, Any]:
    """The groups of near duplicates: how many, how many lie across splits, and the first of them as strips, those
    across splits first, then the largest."""
    near = tables.column("near")
    order = np.argsort(near, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(near[order]) != 0])
    groups = [rows for rows in np.split(order, starts[1:]) if len(rows) > 1]
    across = [len(set(tables.split[rows])) > 1 for rows in groups]
    shown = sorted(range(len(groups)), key=lambda g: (not across[g], -len(groups[g]), groups[g][0]))[:_STRIPS]
    strips = [
        {
            "count": len(groups[g]),
            "across": across[g],
            "faces": [gallery.show(row, str(tables.split[row])) for row in groups[g][:_STRIP]],
        }
        for g in shown
    ]
    return {"groups": len(groups), "faces": sum(map(len, groups)), "across": sum(across), "strips": strips}


# --- attributes -------------------------------------------------------------------------------------------------------


def balance(profile: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry an attribute: shares of present and unknown among all faces and those of each split, of which some
    face is; in the table's order."""
    rows = []
    for name, groups in profile["attributes"].items():
        shares = {
            group: {state: count / total for state, count in counts.items()}
            for group, counts in groups.items()
            if (total := sum(counts.values()))
        }
        splits = {split: shares[split] for split in SPLITS if split in shares}
        rows.append({"name": readable(name, 40), "all": shares[ALL], "splits": splits})
    return rows


def association(states: np.ndarray) -> np.ndarray:
    """Phi coefficients of int8 states [n, k]: float64 [k, k] in -1..1, each over the faces that both labels are known
    of, NaN where one of them has but one value there.

    Phi is Pearson's correlation of two yes-or-no answers (Yule, 1912).
    """
    present, known = (states == PRESENT).astype(np.float32), (states != UNKNOWN).astype(np.float32)
    # Sums of ones stay exact in float32 up to 16.7 million faces; products of sums need more.
    both, first, total = (
        product.astype(np.float64) for product in (present.T @ present, present.T @ known, known.T @ known)
    )
    second = first.T
    spread = first * (total - first) * second * (total - second)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 0, (total * both - first * second) / np.sqrt(spread), np.nan)


def mapped(states: np.ndarray) -> np.ndarray:
    """Indices of the attributes on the map: those with both values, the most even ones where they are too many."""
    shares = np.minimum((states == PRESENT).mean(axis=0), (states == ABSENT).mean(axis=0))
    return np.sort(np.argsort(-shares, kind="stable")[: min(_MAPPED, int((shares > 0).sum()))])


def strongest(names: Sequence[str], phi: np.ndarray) -> list[tuple[str, str, float]]:
    """The pairs that go together, or against each other, most: (name, name, phi)."""
    rows, columns = np.tril_indices(len(names), -1)
    values = phi[rows, columns]
    order = [i for i in np.argsort(-np.abs(values), kind="stable") if np.isfinite(values[i])][:_PAIRS]
    return [(names[columns[i]], names[rows[i]], float(values[i])) for i in order]


# --- figures, sizes, quarantine ---------------------------------------------------------------------------------------


def limits(validation: Mapping[str, Any] | None) -> dict[str, list[float]]:
    """The limits that `validate` sets to each figure, ascending, apart from the ends of its scale."""
    found: dict[str, list[float]] = {}
    for outcome in (validation or {}).get("outcomes", []):
        settings = outcome["settings"]
        if settings.get("column") in EDGES:
            ends = (settings.get("min_value"), settings.get("max_value"))
            inside = [float(end) for end in ends if end is not None and 0 < end < 255]
            found[settings["column"]] = sorted({*found.get(settings["column"], []), *inside})
    return found


def sizes(tables: Tables) -> dict[str, Any]:
    """The commonest sizes of the source pictures, how many sizes there are, and how many faces were enlarged."""
    width, height = (tables.column(name).astype(np.int64) for name in ("width", "height"))
    pairs, counts = np.unique(width << 32 | height, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_SIZES]
    return {
        "several": len(pairs),
        "commonest": [(f"{pairs[i] >> 32}×{pairs[i] & 0xFFFFFFFF}", int(counts[i])) for i in order],
        "enlarged": int((np.minimum(width, height) < tables.about["size"]).sum()),
    }


def put_aside(tables: Tables) -> Iterator[dict[str, Any]]:
    """The quarantine by kind, the commonest first: how many, and the first few with their reasons."""
    kinds = tables.quarantine["kind"].to_numpy().astype(str)
    names, counts = np.unique(kinds, return_counts=True)
    for k in np.argsort(-counts, kind="stable")[:_KINDS]:
        rows = tables.quarantine.take(np.flatnonzero(kinds == names[k])[:_EXAMPLES]).to_pylist()
        examples = [(readable(row["id"]), readable(row["reason"], 160)) for row in rows]
        yield {"kind": readable(str(names[k])), "count": int(counts[k]), "examples": examples}
