"""Scores of photos that were edited or inpainted: was it done, and was the rest left alone?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from facet.data.attributes import UNKNOWN
from facet.data.datasets import FaceSet
from facet.evaluation.altered import Altered
from facet.evaluation.balance import Judged, judged
from facet.evaluation.bootstrap import mean_interval, wilson
from facet.evaluation.measures import Measured
from facet.models.judge import Judge


def editing(altered: Altered, seen: Judged, photos: Judged, faces: FaceSet, seed: int) -> Measured:
    """How often the judge sees the attribute that was to change (``flipped``), and the labels of all others as they
    were (``kept``; of the photos themselves it sees ``kept_of_photos``). ``identity`` is the mean cosine between the
    judge's features of a photo and of what was made of it, and ``identity_of_others`` that between different photos."""
    columns = faces.learnable()
    # Of an exclusive group it is the one that was asked for that must change; the others follow from it.
    labels = faces.attributes[altered.rows]
    changed = altered.touched & (altered.states != UNKNOWN)
    present = changed & (altered.states > 0)
    wanted = np.where(present.any(axis=1)[:, None], present, changed)
    right = (seen.seen == altered.states) & wanted
    rest = np.zeros(altered.states.shape, bool)
    rest[:, columns] = True
    rest &= ~altered.touched & (labels != UNKNOWN)
    flipped = right.sum(axis=1) == wanted.sum(axis=1)
    kept = ((seen.seen == labels) & rest).sum(axis=1) / rest.sum(axis=1)
    before = ((photos.seen == labels) & rest).sum(axis=1) / rest.sum(axis=1)
    alike = _cosine(photos.features, seen.features)
    values = {
        "photos": len(labels),
        "flipped": round(float(flipped.mean()), 4),
        "kept": round(float(kept.mean()), 4),
        "kept_of_photos": round(float(before.mean()), 4),
        "identity": round(float(alike.mean()), 4),
        "identity_of_others": round(float(_cosine(photos.features, np.roll(photos.features, 1, axis=0)).mean()), 4),
        "moved": round(_moved(altered, faces), 3),
    }
    intervals = {
        "flipped": wilson(float(flipped.mean()), len(flipped)),
        "kept": mean_interval(kept, seed, "held out"),
        "identity": mean_interval(alike, seed, "held out"),
    }
    return Measured(values, intervals)


def inpainting(altered: Altered, seen: Judged, photos: Judged, faces: FaceSet, seed: int) -> Measured:
    """Mean absolute error in grey levels of 0..255, ``inside`` the mask and ``outside`` it (where nothing may move),
    the error ``inside_of_others`` that another photo's pixels would have, and how many labels the judge still sees."""
    originals = np.array(faces.pixels[altered.rows]).astype(np.float64)
    apart = np.abs(altered.faces - originals).mean(axis=-1)
    inside = (apart * altered.masks).sum(axis=(1, 2)) / altered.masks.sum(axis=(1, 2))
    others = np.abs(np.roll(originals, 1, axis=0) - originals).mean(axis=-1)
    elsewhere = (others * altered.masks).sum(axis=(1, 2)) / altered.masks.sum(axis=(1, 2))
    columns, labels = faces.learnable(), faces.attributes[altered.rows]
    known = labels[:, columns] != UNKNOWN
    kept, before = (
        ((side.seen == labels)[:, columns] & known).sum(axis=1) / known.sum(axis=1) for side in (seen, photos)
    )
    values = {
        "photos": len(labels),
        "inside": round(float(inside.mean()), 3),
        "inside_of_others": round(float(elsewhere.mean()), 3),
        "outside": round(float((apart * ~altered.masks).max()), 3),
        "kept": round(float(kept.mean()), 4),
        "kept_of_photos": round(float(before.mean()), 4),
    }
    intervals = {
        "inside": mean_interval(inside, seed, "held out"),
        "kept": mean_interval(kept, seed, "held out"),
    }
    return Measured(values, intervals)


_SCORED = {"inpainted": ("inpainting", inpainting), "edited": ("editing", editing)}


def altered_scores(altered: Mapping[str, Altered], judge: Judge, faces: FaceSet, seed: int) -> dict[str, Measured]:
    """The record's parts ``inpainting`` and ``editing``, those of them that were drawn."""
    found = {}
    for kind, (part, score) in _SCORED.items():
        if kind in altered:
            done = altered[kind]
            photos = judged(judge, np.array(faces.pixels[done.rows]), f"{kind}, before")
            found[part] = score(done, judged(judge, done.faces, kind), photos, faces, seed)
    return found


def _moved(altered: Altered, faces: FaceSet) -> float:
    return float(np.abs(altered.faces.astype(np.float64) - faces.pixels[altered.rows]).mean())


def _cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(axis=1) / norms
