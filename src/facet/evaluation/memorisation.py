"""Are samples copies of training faces? How near each lies to its nearest one, beside how near held-out faces lie.

Distances alone say nothing: faces resemble each other. A held-out face was never trained on, so its distance to the
nearest training face is what chance gives; a sample nearer than almost all of those is suspect. This is the comparison
of the data-copying test of Meehan et al. (2020, "A Non-Parametric Test to Detect Data-Copying in Generative Models"),
taken over all space at once and not by cells. Of its kin, authenticity (Alaa et al., 2022, "How Faithful is your
Synthetic Data?") asks of each sample whether it is nearer to its training face than that face's own neighbour is; the
extraction attack of Carlini et al. (2023, "Extracting Training Data from Diffusion Models") also compares with what
distances are usual around that training face. Both need the distances among all training faces; this doesn't.

Training sees every face mirrored as well, so a mirrored copy is a copy: a picture and its mirror image are both looked
up, and the nearer counts. The held-out faces get the same treatment.

Two spaces: the extractor's features (the judge's: what a face shows) and small pictures (how it looks). A copy is near
in both; a face of the same kind may be near in features alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from facet.data.datasets import FaceSet
from facet.errors import ArtifactError
from facet.evaluation.features import extract
from facet.evaluation.reference import Reference

if TYPE_CHECKING:
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

FEATURES, PIXELS = "judge", "pixels"
# A sample is suspect where it is nearer than this percentile of the held-out faces; a model that doesn't copy has a
# share of about a hundredth of them.
PERCENTILE = 1.0
CLOSEST = 16
# Small pictures: a shift of a pixel or JPEG's marks hide no copy, and the search stays exact and cheap.
_SMALL = 16
# Distances held at a time, 32 MiB: memory does not grow with the training set, nor with samples times training faces.
_CELLS = 1 << 22
_CHUNK = 2048


# Indices int64 [n] into the training faces -> what describes them, float64 [n, d].
Base = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Pair:
    """A sample and the training face nearest to it."""

    # Row of ``SampleSet.faces``.
    sample: int
    # Row of ``FaceSet.pixels``.
    row: int
    # Whether the sample resembles that face's mirror image.
    mirrored: bool
    # Euclidean, in the space's own unit: of the features, or root mean square over grey levels of 0 to 255.
    distance: float
    # Share of held-out faces that lie at most as far from their nearest training face, 0..1.
    percentile: float


@dataclasses.dataclass(frozen=True)
class Nearest:
    """For each of n pictures the nearest training face: ``distance`` float64, ``row`` int64, ``mirrored`` bool, [n]."""

    distance: np.ndarray
    row: np.ndarray
    mirrored: np.ndarray


def memorisation(
    extractor: FeatureExtractorBase,
    drawn: np.ndarray,
    faces: FaceSet,
    reference: Reference,
    features: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, Any]:
    """How near ``drawn`` uint8 [n, h, w, 3] lies to the training faces; the record's part ``memorisation``.

    For each space, ``judge`` and ``pixels``:

    - ``share``         samples nearer to a training face than the 1st percentile of held-out faces; 0.01 is innocent
    - ``nearer``        chance that a sample is nearer to the training faces than a held-out face is; 0.5 is innocent,
      towards 1 the samples crowd around training faces (Mann-Whitney U / nm, the statistic of Meehan et al., 2020)
    - ``median_ratio``  median distance of the samples over that of the held-out faces
    - ``threshold``     that 1st percentile, a distance

    and ``closest`` holds, for each space, the 16 closest pairs (``closest_pairs`` reads them). ``faces`` counts.
    ``features`` are those of ``drawn`` and of the held-out faces (valid and test, ascending rows), where they are known
    already. Raises ArtifactError where there is no held-out face, or where ``reference`` is not of these faces.
    """
    training, held_out = faces.rows("train"), faces.rows("valid", "test")
    real = np.array(faces.pixels[held_out])
    known = _training_features(extractor, faces, training, reference)
    pictures = (drawn, real)
    straight = features or tuple(extract(extractor, some, "nearest faces") for some in pictures)
    straight = tuple(some.astype(np.float64) for some in straight)
    turned = tuple(extract(extractor, some[:, :, ::-1], "nearest faces, mirrored") for some in pictures)
    spaces: dict[str, tuple[Any, Any, Base]] = {
        FEATURES: (straight, turned, lambda at: known[at]),
        PIXELS: (
            tuple(_small(some) for some in pictures),
            tuple(_small(some[:, :, ::-1]) for some in pictures),
            lambda at: _small(faces.pixels[training[at]]),
        ),
    }
    scores: dict[str, Any] = {}
    closest: dict[str, Any] = {}
    for space, (plain, mirrored, base) in spaces.items():
        found, usual = (nearest(plain[i], mirrored[i], base, len(training)) for i in range(2))
        scores[space] = compare(found.distance, usual.distance)
        closest[space] = [dataclasses.asdict(pair) for pair in _closest(found, usual, training)]
    counts = {"training": len(training), "held_out": len(held_out), "samples": len(drawn)}
    return {**scores, "closest": closest, "faces": counts}


def closest_pairs(record: Mapping[str, Any], space: str = FEATURES) -> list[Pair]:
    """The closest pairs in ``space`` (judge | pixels) of an evaluation record, the closest first; [] where it holds
    none."""
    return [Pair(**pair) for pair in record.get("memorisation", {}).get("closest", {}).get(space, [])]


def compare(drawn: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Distances to the nearest training face of samples, [n], and of held-out faces, [m] -> the scores of one space."""
    threshold = np.percentile(real, PERCENTILE)
    order = np.sort(real)
    # Pairs of (sample, held-out face) in which the sample is nearer; a tie counts half.
    farther = len(real) - (np.searchsorted(order, drawn, "left") + np.searchsorted(order, drawn, "right")) / 2
    usual = float(np.median(real))
    return {
        "share": round(float((drawn < threshold).mean()), 4),
        "nearer": round(float(farther.mean() / len(real)), 4),
        "median_ratio": round(float(np.median(drawn)) / usual, 4) if usual > 0 else 1.0,
        "threshold": round(float(threshold), 4),
    }


def nearest(pictures: np.ndarray, mirrored: np.ndarray, base: Base, count: int) -> Nearest:
    """The nearest of ``count`` training faces, exactly. ``pictures`` and ``mirrored`` float64 [n, d] describe each
    picture and its mirror image, ``base(indices)`` those training faces, float64 [., d]."""
    queries = np.concatenate([pictures, mirrored])
    square = np.square(queries).sum(axis=1)
    best, where = np.full(len(queries), np.inf), np.zeros(len(queries), dtype=np.int64)
    step = max(16, _CELLS // len(queries))
    for start in range(0, count, step):
        some = base(np.arange(start, min(start + step, count)))
        squares = square[:, None] + np.square(some).sum(axis=1) - 2 * queries @ some.T
        at = squares.argmin(axis=1)
        found = squares[np.arange(len(at)), at]
        better = found < best
        best[better], where[better] = found[better], at[better] + start
    # Squares that are small against the norms have lost their digits: those found are measured again.
    exact = np.concatenate(
        [
            np.linalg.norm(queries[i : i + _CHUNK] - base(where[i : i + _CHUNK]), axis=1)
            for i in range(0, len(queries), _CHUNK)
        ]
    )
    straight, turned = exact[: len(pictures)], exact[len(pictures) :]
    flip = turned < straight
    rows = np.where(flip, where[len(pictures) :], where[: len(pictures)])
    return Nearest(np.where(flip, turned, straight), rows, flip)


def _closest(found: Nearest, usual: Nearest, training: np.ndarray) -> list[Pair]:
    order = np.sort(usual.distance)
    return [
        Pair(
            sample=int(i),
            row=int(training[found.row[i]]),
            mirrored=bool(found.mirrored[i]),
            distance=round(float(found.distance[i]), 4),
            percentile=round(float(np.searchsorted(order, found.distance[i], "right") / len(order)), 4),
        )
        for i in np.argsort(found.distance, kind="stable")[:CLOSEST]
    ]


def _training_features(
    extractor: FeatureExtractorBase, faces: FaceSet, training: np.ndarray, reference: Reference
) -> np.ndarray:
    """Features of the training faces, float64 [n, d]: the reference's own where it is of the training split."""
    if reference.about["split"] != "train":
        return extract(extractor, faces.pixels[training], "training faces")
    if len(reference.features) != len(training):
        raise ArtifactError(
            f"the reference holds {len(reference.features)} training faces, the data {len(training)}: "
            "run `dvc repro reference`."
        )
    return reference.features


def _small(pictures: np.ndarray) -> np.ndarray:
    """uint8 [n, h, w, 3] -> float64 [n, d], averaged over areas; distances of them are root mean squares."""
    planes = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float()
    flat = F.adaptive_avg_pool2d(planes, _SMALL).flatten(1).double().numpy()
    return flat / np.sqrt(flat.shape[1])
