"""Is the asked attribute in the picture? The judge says."""

from __future__ import annotations

import numpy as np
import torch

from facet.data.datasets import FaceSet
from facet.data.pixels import to_pixels
from facet.models.judge import Judge


@torch.no_grad()
def judge_faces(judge: Judge, faces: np.ndarray, batch_size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [n, h, w, 3] -> features float32 [n, d] and verdicts int8 [n, k] of -1, 1. fp32: scores don't round."""
    device = next(judge.parameters()).device
    features, verdicts = [], []
    for start in range(0, len(faces), batch_size):
        pixels = to_pixels(torch.from_numpy(np.array(faces[start : start + batch_size])).to(device))
        feature, logits = judge(pixels)
        features.append(feature.float().cpu().numpy())
        verdicts.append(np.where(logits.cpu().numpy() > 0, 1, -1).astype(np.int8))
    return np.concatenate(features), np.concatenate(verdicts)


def agreement(asked: np.ndarray, seen: np.ndarray, names: tuple[str, ...], columns: np.ndarray) -> dict:
    """How often ``seen`` int8 [n, k] of -1, 1 shows what ``asked`` int8 [n, k] of -1, 0, 1 says, over ``columns``.

    Per attribute: ``overall`` over all samples that ask, ``present`` and ``absent`` over those that ask for either
    (None where none does). ``mean`` averages ``overall``, ``balanced`` averages the mean of present and absent.
    """
    table, overall, balanced = {}, [], []
    for k in columns:
        right = asked[:, k] == seen[:, k]
        rates = {
            "overall": _rate(right, asked[:, k] != 0),
            "present": _rate(right, asked[:, k] > 0),
            "absent": _rate(right, asked[:, k] < 0),
        }
        table[names[k]] = rates
        if rates["overall"] is not None:
            overall.append(rates["overall"])
            balanced.append(np.mean([rates[side] for side in ("present", "absent") if rates[side] is not None]))
    return {
        "mean": round(float(np.mean(overall)), 4),
        "balanced": round(float(np.mean(balanced)), 4),
        "attributes": table,
    }


def _rate(right: np.ndarray, among: np.ndarray) -> float | None:
    return round(float(right[among].mean()), 4) if among.any() else None


def judge_accuracy(judge: Judge, faces: FaceSet, rows: np.ndarray) -> dict:
    """The judge's own agreement with the labels of real faces ``rows``: the ceiling of every adherence score."""
    _, seen = judge_faces(judge, faces.pixels[rows])
    return agreement(faces.attributes[rows], seen, faces.names, faces.learnable())
