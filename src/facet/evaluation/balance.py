"""Does the model serve all alike? Scores by group, and what it draws when nothing is asked.

Two questions. First, for a few attributes that split the faces into groups (Male, Young, where the data has them): is
what was asked drawn as reliably for those with the attribute as for those without, and do their faces come as close to
real ones? Buolamwini & Gebru (2018, "Gender Shades") is the pattern: one score over all hides that one group pays for
it. Second, asked for nothing, does the model draw each attribute as often as the data shows it? A generator that
amplifies its data's majority (Maluleke et al., 2022, "Studying Bias in GANs through the Lens of Race") is seen here and
in no score of single pictures. The judge's own errors are the same on both sides of the second comparison, so they
cancel.

The groups are attributes of the data set and no facts about people.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from facet.data.attributes import ABSENT, PRESENT
from facet.data.datasets import FaceSet
from facet.evaluation.adherence import agreement, judge_faces
from facet.evaluation.fidelity import frechet_of, gaussian
from facet.evaluation.reference import Reference
from facet.models.judge import Judge
from facet.progress import bar

PREFERRED = ("Male", "Young")
GROUPINGS = 2
# Fewer samples than this say nothing about a rate.
LEAST = 30
# A group has a fraction of the samples, too few for a covariance of all features. So its distance is taken in the
# directions in which real faces differ most, and where there are at least twice as many faces as directions.
DIRECTIONS = 64
_Z95 = 1.959964
_AT_ONCE = 256
_SIDES = {"present": PRESENT, "absent": ABSENT}


@dataclasses.dataclass(frozen=True)
class Judged:
    """Pictures as the judge sees them: ``features`` float64 [n, d], ``seen`` int8 [n, k] of -1, 1."""

    features: np.ndarray
    seen: np.ndarray


def judged(judge: Judge, pictures: np.ndarray, what: str = "judged") -> Judged:
    """``pictures`` uint8 [n, h, w, 3] as ``judge`` sees them, ``what`` on the progress bar: the features that
    ``facet.evaluation.features.extract`` gives, and the verdicts from the same pass."""
    parts = []
    with bar(len(pictures), what, "face") as progress:
        for start in range(0, len(pictures), _AT_ONCE):
            parts.append(judge_faces(judge, pictures[start : start + _AT_ONCE]))
            progress.update(len(parts[-1][0]))
    features, seen = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Judged(features.astype(np.float64), seen)


@torch.no_grad()
def verdicts(judge: Judge, features: np.ndarray) -> np.ndarray:
    """What ``judge`` sees in faces whose ``features`` [n, d] it has given, int8 [n, k] of -1, 1."""
    weights = next(judge.parameters())
    logits = judge.head(torch.from_numpy(features).to(weights.device, weights.dtype))
    return np.where(logits.cpu().numpy() > 0, 1, -1).astype(np.int8)


def balance(
    drawn: Judged,
    states: np.ndarray,
    real: Judged,
    unconditional: Judged | None,
    of_data: np.ndarray,
    faces: FaceSet,
    reference: Reference,
) -> dict[str, Any]:
    """The record's part ``balance``.

    ``drawn`` are the samples, ``states`` int8 [n, k] what they were asked for; ``real`` the held-out faces (valid and
    test, ascending rows); ``unconditional`` samples with nothing asked, or None where none were drawn; ``of_data`` int8
    [m, k] what the judge sees in the reference's split, which the model has learned from.

    - ``groups``         for each grouping attribute and side (``present``, ``absent``) how many ``samples``, their
      ``adherence`` (mean over attributes), ``judge_on_real`` (its ceiling), ``fidelity`` (of ``n`` faces; over_floor 1
      is as good as real); and the ``difference`` of adherence, present less absent, with its 95 % ``interval``
    - ``adherence_gap``  the largest of those differences, its sign dropped
    - ``fidelity_gap``   the same for ``over_floor``
    - ``marginals``      how often each attribute is seen when nothing is asked, beside the data: see ``marginals``

    None stands wherever a group is too small to say: below 30 samples, for fidelity below twice the directions.
    """
    columns = faces.learnable()
    groups = {
        faces.names[k]: _group(int(k), drawn, states, real, faces, reference) for k in groupings(states, faces, columns)
    }
    nothing = unconditional is None or not len(columns)
    return {
        "groups": groups,
        "adherence_gap": _largest([group["difference"] for group in groups.values()]),
        "fidelity_gap": _largest([_fidelity_difference(group) for group in groups.values()]),
        "marginals": None if nothing else marginals(unconditional.seen, of_data, faces.names, columns),
    }


def balance_unasked(drawn: Judged, of_data: np.ndarray, faces: FaceSet) -> dict[str, Any]:
    """The record's part ``balance`` of samples that nothing was asked for: no groups, and their own marginals."""
    columns = faces.learnable()
    told = marginals(drawn.seen, of_data, faces.names, columns) if len(columns) else None
    return {"groups": {}, "adherence_gap": None, "fidelity_gap": None, "marginals": told}


def gaps(balance: Mapping[str, Any]) -> dict[str, Any]:
    """Of the record's part ``balance`` the gaps that were measured, under the same names."""
    found: dict[str, Any] = {name: balance[name] for name in ("adherence_gap", "fidelity_gap")}
    found = {name: value for name, value in found.items() if value is not None}
    if balance["marginals"]:
        found["marginals"] = {name: balance["marginals"][name] for name in ("max_gap", "mean_gap")}
    return found


# --- groups -----------------------------------------------------------------------------------------------------------


def groupings(states: np.ndarray, faces: FaceSet, columns: np.ndarray) -> list[int]:
    """The attributes by which ``states`` int8 [n, k] fall into groups, of ``columns``: Male and Young where both sides
    are asked for often enough, else those that split the samples most evenly."""
    least = {int(k): min(int((states[:, k] == side).sum()) for side in _SIDES.values()) for k in columns}
    preferred = [k for k in least if faces.names[k] in PREFERRED and least[k] >= LEAST]
    others = sorted((k for k in least if k not in preferred), key=lambda k: (-least[k], k))
    return [*preferred, *others][:GROUPINGS]


def _group(
    column: int, drawn: Judged, states: np.ndarray, real: Judged, faces: FaceSet, reference: Reference
) -> dict[str, Any]:
    held_out = faces.rows("valid", "test")
    labels = faces.attributes[held_out]
    sides: dict[str, Any] = {}
    each = {}
    for side, state in _SIDES.items():
        asked, known = states[:, column] == state, labels[:, column] == state
        each[side] = _shares_right(states[asked], drawn.seen[asked], faces.learnable())
        sides[side] = {
            "samples": int(asked.sum()),
            "adherence": _adherence(states[asked], drawn.seen[asked], faces),
            "judge_on_real": _adherence(labels[known], real.seen[known], faces),
            "fidelity": _fidelity(column, state, drawn.features[asked], real, faces, reference),
        }
    present, absent = (sides[side]["adherence"] for side in _SIDES)
    measured = None not in (present, absent)
    difference = round(present - absent, 4) if measured else None
    noise = _Z95 * math.hypot(*(_error(shares) for shares in each.values())) if measured else None
    interval = [round(difference - noise, 4), round(difference + noise, 4)] if measured else None
    return {**sides, "difference": difference, "interval": interval}


def _adherence(asked: np.ndarray, seen: np.ndarray, faces: FaceSet) -> float | None:
    return agreement(asked, seen, faces.names, faces.learnable())["mean"] if len(asked) >= LEAST else None


def _shares_right(asked: np.ndarray, seen: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """For each sample the share of what was asked that is seen, float64 [n]; samples that ask for nothing are left
    out."""
    asked, seen = asked[:, columns], seen[:, columns]
    counted = (asked != 0).sum(axis=1)
    return ((asked == seen) & (asked != 0)).sum(axis=1)[counted > 0] / counted[counted > 0]


def _error(shares: np.ndarray) -> float:
    return float(shares.std(ddof=1) / math.sqrt(len(shares)))


def _fidelity(
    column: int, state: int, features: np.ndarray, real: Judged, faces: FaceSet, reference: Reference
) -> dict[str, Any]:
    """Frechet distance of a group's samples to the reference's faces of that group, over that of as many held-out
    ones."""
    split = reference.about["split"]
    held_out, rows = faces.rows("valid", "test"), faces.rows(split)
    others = (faces.attributes[held_out, column] == state) & (faces.split[held_out] != split)
    alike = reference.features[faces.attributes[rows, column] == state]
    directions = _directions(reference)
    count = min(len(features), int(others.sum()))
    if min(count, len(alike)) < 2 * directions.shape[1]:
        return {"n": count, "frechet": None, "floor": None, "over_floor": None}
    fitted = gaussian(alike @ directions)
    distance = frechet_of(fitted, features[:count].astype(np.float64) @ directions)
    floor = frechet_of(fitted, real.features[others][:count].astype(np.float64) @ directions)
    return {
        "n": count,
        "frechet": round(distance, 4),
        "floor": round(floor, 4),
        "over_floor": round(distance / floor, 4),
    }


def _directions(reference: Reference) -> np.ndarray:
    """The principal directions of the reference's features, float64 [d, at most 64]."""
    return np.linalg.eigh(reference.gaussian.covariance)[1][:, ::-1][:, :DIRECTIONS]


def _fidelity_difference(group: Mapping[str, Any]) -> float | None:
    present, absent = (group[side]["fidelity"]["over_floor"] for side in _SIDES)
    return None if None in (present, absent) else round(present - absent, 4)


def _largest(differences: list[float | None]) -> float | None:
    return max((abs(value) for value in differences if value is not None), default=None)


# --- marginals --------------------------------------------------------------------------------------------------------


def marginals(drawn: np.ndarray, real: np.ndarray, names: tuple[str, ...], columns: np.ndarray) -> dict[str, Any]:
    """How often each attribute is seen in unconditional samples, and in the data; int8 [n, k] and [m, k]. The data is
    the split that was learned from: held-out faces may well have other shares, by as much as their number allows.

    Per attribute ``drawn``, ``real``, their ``difference`` and its 95 % ``interval``; ``max_gap`` and ``mean_gap`` over
    them, signs dropped; ``samples`` counts.
    """
    table = {}
    for k in columns:
        counts = [(int((seen[:, k] == PRESENT).sum()), len(seen)) for seen in (drawn, real)]
        share, usual = (count / total for count, total in counts)
        table[names[k]] = {
            "drawn": round(share, 4),
            "real": round(usual, 4),
            "difference": round(share - usual, 4),
            "interval": [round(limit, 4) for limit in difference_interval(*counts)],
        }
    sizes = [abs(row["difference"]) for row in table.values()]
    return {
        "samples": len(drawn),
        "max_gap": max(sizes),
        "mean_gap": round(float(np.mean(sizes)), 4),
        "attributes": table,
    }


def difference_interval(one: tuple[int, int], other: tuple[int, int]) -> tuple[float, float]:
    """95 % interval of the difference of two shares, each (count, total): Newcombe (1998), method 10, which joins the
    two Wilson intervals and holds for shares near 0 and 1."""
    (p, low, high), (q, below, above) = _wilson(*one), _wilson(*other)
    return p - q - math.hypot(p - low, above - q), p - q + math.hypot(high - p, q - below)


def _wilson(count: int, total: int) -> tuple[float, float, float]:
    """The share and its 95 % score interval (Wilson, 1927)."""
    share, z2 = count / total, _Z95**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return share, middle - half, middle + half
