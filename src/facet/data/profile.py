"""A prepared set as a page of numbers, and how far two such pages lie apart.

A profile is what a data set looks like without its rows: counts of labels and histograms over bins that never move, so
that profiles made in different years can be held against each other. ``drift`` does that, with

- for each attribute, the difference of its share among the faces whose label is known, with Newcombe's 95 % interval
  (Newcombe, Statistics in Medicine 17, 1998, method 10, from two of Wilson's intervals, 1927) and the z of the pooled
  two-proportion test. Both take the sets for independent draws; of two versions that share most faces the interval is
  too wide.
- for each figure of the pictures, the population stability index, Σ (q − p) ln(q / p) over the bins (Siddiqi, Credit
  Risk Scorecards, 2006, who calls 0.1 a shift to look at and 0.25 a large one; it is Jeffreys' divergence), beside the
  value that it exceeds by chance once in twenty times, (1/n + 1/m) times the χ² quantile of the bins in use less one
  (Yurdakul & Naranjo, Journal of Risk Model Validation 14, 2020), and the shift of the mean in standard deviations.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from facet.artifacts import PROFILE_SCHEMA, read_json
from facet.data.attributes import ABSENT, PRESENT, UNKNOWN
from facet.data.raw import SPLITS
from facet.data.tables import Tables, read_tables

STATES = {"present": PRESENT, "absent": ABSENT, "unknown": UNKNOWN}
# All splits together, in a profile's counts of an attribute.
ALL = "all"

# Between these lie a figure's bins; what is beyond the last edge, either way, counts into the bin beside it. Luma is
# 0..255, its deviation can't exceed half of that, and sharpness beyond 64 is noise. Sides of pictures, in pixels,
# lie in bins of equal ratio.
EDGES: dict[str, tuple[float, ...]] = {
    "brightness": tuple(np.linspace(0, 256, 33).tolist()),
    "contrast": tuple(np.linspace(0, 128, 33).tolist()),
    "sharpness": tuple(np.linspace(0, 64, 33).tolist()),
    **dict.fromkeys(("width", "height"), (0, *(round(16 * 2 ** (k / 2)) for k in range(21)))),
}
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_MODERATE, _LARGE = 0.1, 0.25
_Z = NormalDist().inv_cdf(0.975)


def profile(folder: Path) -> dict[str, Any]:
    """The profile of the prepared faces in ``folder``: the same manifest gives the same content, which JSON can hold.

    Raises ArtifactError where a table is missing or damaged.
    """
    return describe(read_tables(folder))


def describe(tables: Tables) -> dict[str, Any]:
    """The profile of ``tables``."""
    about, identities = tables.about, tables.column("identity")
    kinds, counts = np.unique(tables.quarantine["kind"].to_numpy().astype(str), return_counts=True)
    return {
        "schema": PROFILE_SCHEMA,
        "digest": about["manifest_sha256"],
        "layout": about["layout"],
        "crop": about["crop"],
        "size": about["size"],
        "count": len(tables),
        "splits": {name: int((tables.split == name).sum()) for name in SPLITS},
        "identities": len(np.unique(identities[identities >= 0])),
        "captions": {"faces": int((tables.caption_counts > 0).sum()), "captions": int(tables.caption_counts.sum())},
        "quarantined": {str(kind): int(count) for kind, count in zip(kinds, counts, strict=True)},
        "attributes": _label_counts(tables),
        "figures": {name: _figure(tables.column(name), edges) for name, edges in EDGES.items()},
    }


def read_profile(path: Path) -> dict[str, Any]:
    """A profile from its file, or that of the prepared faces in a folder. Raises ArtifactError where it is neither."""
    return profile(path) if path.is_dir() else read_json(path, PROFILE_SCHEMA)


def _label_counts(tables: Tables) -> dict[str, dict[str, dict[str, int]]]:
    """Attribute -> all or a split -> state -> number of faces."""
    groups = {ALL: tables.states} | {name: tables.states[tables.split == name] for name in SPLITS}
    counted = {
        group: {word: (states == state).sum(axis=0) for word, state in STATES.items()}
        for group, states in groups.items()
    }
    return {
        name: {group: {word: int(counts[k]) for word, counts in words.items()} for group, words in counted.items()}
        for k, name in enumerate(tables.names)
    }


def _figure(values: np.ndarray, edges: Sequence[float]) -> dict[str, Any]:
    values = values.astype(np.float64)
    inside = np.clip(values, edges[0], np.nextafter(edges[-1], 0))
    return {
        "edges": list(edges),
        "counts": np.histogram(inside, edges)[0].tolist(),
        "mean": float(values.mean()),
        "std": float(values.std()),
        "quantiles": dict(zip(map(str, _QUANTILES), np.quantile(values, _QUANTILES).tolist(), strict=True)),
    }


# --- drift ------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class ShareDrift:
    """How the share of faces that show an attribute, of those whose label is known, has moved.

    ``before`` and ``after`` are None where a set knows no label of it, and so is what compares them. ``notable`` is
    whether z is beyond what the greatest of all attributes' z reaches by chance once in twenty times (Bonferroni).
    """

    name: str
    before: float | None
    after: float | None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    z: float | None = None
    notable: bool = False


@dataclasses.dataclass(frozen=True)
class FigureDrift:
    """How the spread of a figure of the pictures has moved.

    ``psi`` is the population stability index, ``chance`` what it stays below 19 times in 20 where nothing changed,
    ``shift`` the change of the mean in standard deviations of before, None where those values did not differ.
    """

    name: str
    before: float
    after: float
    shift: float | None
    psi: float
    chance: float

    @property
    def level(self) -> Literal["none", "small", "moderate", "large"]:
        """In a word: none up to what chance gives, then by Siddiqi's 0.1 and 0.25."""
        if self.psi <= self.chance:
            return "none"
        return "small" if self.psi < _MODERATE else "moderate" if self.psi < _LARGE else "large"


@dataclasses.dataclass(frozen=True)
class Drift:
    """``attributes`` both sets have, the farthest moved first; ``appeared`` and ``vanished`` name those one has."""

    attributes: tuple[ShareDrift, ...]
    figures: tuple[FigureDrift, ...]
    appeared: tuple[str, ...]
    vanished: tuple[str, ...]


def drift(before: Mapping[str, Any], after: Mapping[str, Any]) -> Drift:
    """How far the profile ``after`` lies from the profile ``before``. Figures that one of them lacks, or has in other
    bins, are left out."""
    old, new = before["attributes"], after["attributes"]
    common = [name for name in new if name in old]
    moved = [_share_drift(name, old[name][ALL], new[name][ALL], len(common)) for name in common]
    figures = [(name, before["figures"].get(name), figure) for name, figure in after["figures"].items()]
    return Drift(
        attributes=tuple(sorted(moved, key=lambda one: -abs(one.z or 0.0))),
        figures=tuple(_figure_drift(n, a, b) for n, a, b in figures if a and a["edges"] == b["edges"]),
        appeared=tuple(name for name in new if name not in old),
        vanished=tuple(name for name in old if name not in new),
    )


def _share_drift(name: str, before: Mapping[str, int], after: Mapping[str, int], tests: int) -> ShareDrift:
    (x, n), (y, m) = ((c["present"], c["present"] + c["absent"]) for c in (before, after))
    if n == 0 or m == 0:
        return ShareDrift(name, x / n if n else None, y / m if m else None)
    pooled = (x + y) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    z = (y / m - x / n) / error if error else 0.0
    notable = abs(z) > NormalDist().inv_cdf(1 - 0.025 / tests)
    return ShareDrift(name, x / n, y / m, y / m - x / n, newcombe((x, n), (y, m)), z, notable)


def newcombe(before: tuple[int, int], after: tuple[int, int]) -> tuple[float, float]:
    """95 % interval of the difference of two shares, each (count, total), from before to after."""
    (p, p_low, p_high), (q, q_low, q_high) = _wilson(*before), _wilson(*after)
    low = q - p - math.hypot(q - q_low, p_high - p)
    high = q - p + math.hypot(q_high - q, p - p_low)
    return low, high


def _wilson(count: int, total: int) -> tuple[float, float, float]:
    """A share and its 95 % interval."""
    share, wide = count / total, _Z * _Z / total
    middle = (share + wide / 2) / (1 + wide)
    half = _Z / (1 + wide) * math.sqrt(share * (1 - share) / total + wide / (4 * total))
    return share, middle - half, middle + half


def _figure_drift(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> FigureDrift:
    index, chance = stability(before["counts"], after["counts"])
    apart = after["mean"] - before["mean"]
    shift = apart / before["std"] if before["std"] else None
    return FigureDrift(name, before["mean"], after["mean"], shift, index, chance)


def stability(before: Sequence[int], after: Sequence[int]) -> tuple[float, float]:
    """The population stability index of two histograms over the same bins, and what chance gives once in twenty times.

    A bin that is empty in both is left out; where some bin is empty in one, each bin is given half a face more, since
    the logarithm of an empty share is infinite.
    """
    counts = np.array([before, after], dtype=np.float64)
    totals = counts.sum(axis=1)
    counts = counts[:, counts.sum(axis=0) > 0]
    if (counts == 0).any():
        counts += 0.5
    p, q = counts / counts.sum(axis=1, keepdims=True)
    index = float(((q - p) * np.log(q / p)).sum())
    return index, float((1 / totals).sum()) * _chi_square_95(counts.shape[1] - 1)


def _chi_square_95(freedom: int) -> float:
    """The χ² quantile that chance exceeds once in twenty times, as Wilson & Hilferty (1931) have it: within 3 % even
    for one degree of freedom."""
    if freedom == 0:
        return 0.0
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + NormalDist().inv_cdf(0.95) * math.sqrt(spread)) ** 3
