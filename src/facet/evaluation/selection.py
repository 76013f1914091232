"""Which of the denoiser's snapshots is the best: a cheap score of each, on faces that no later score sees.

Chosen after the training, not in it, so that the denoiser need not wait for the judge, and no change to a score trains
it again. The faces are drawn with seeds of their own for conditions of the validation split: the evaluation, which
draws others, is not flattered by the choice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from facet.artifacts import DECODER, TEXT
from facet.data.datasets import FaceSet
from facet.diffusion.sampling import SamplingParams
from facet.diffusion.saving import assemble
from facet.evaluation.adherence import agreement, judge_faces
from facet.evaluation.fidelity import frechet_of
from facet.evaluation.reference import Reference
from facet.models.judge import Judge
from facet.params import Between
from facet.precision import default_device
from facet.progress import bar
from facet.seeding import numpy_stream

# Far above the seeds of `sample`, which count from 0.
_FIRST_SEED = 2**30


@dataclasses.dataclass(frozen=True)
class SelectParams:
    """Section ``select``."""

    # frechet: the snapshot whose faces lie nearest to the reference; adherence: the one that shows most of what is
    # asked; last: the last one, whatever the scores, which are measured all the same.
    by: Literal["frechet", "adherence", "last"]
    # Faces drawn with each snapshot. Few are enough to compare snapshots, which all draw the same ones.
    faces: Annotated[int, Between(2)]


Score = dict[str, float]


def score_snapshots(
    snapshots: Mapping[int, Path],
    params: SelectParams,
    sampling: SamplingParams,
    faces: FaceSet,
    reference: Reference,
    judge: Judge,
    seed: int,
) -> dict[int, Score]:
    """Step -> {"frechet", "adherence"} of each snapshot, in judge features against the reference."""
    states = _conditions(faces, params.faces, seed)
    seeds = list(range(_FIRST_SEED, _FIRST_SEED + len(states)))
    scores = {}
    with bar(len(snapshots), "select", "snapshot") as progress:
        for step, folder in snapshots.items():
            pipeline = assemble(folder, TEXT, DECODER, sampling).to(default_device())
            pipeline.set_progress_bar_config(disable=True)
            drawn = pipeline(attributes=states, seeds=seeds, output_type="np").images
            features, seen = judge_faces(judge, drawn)
            scores[step] = {
                "frechet": round(frechet_of(reference.gaussian, features.astype(np.float64)), 4),
                "adherence": agreement(states, seen, faces.names, faces.learnable())["mean"],
            }
            progress.update(1)
    return scores


def best(scores: Mapping[int, Score], by: str) -> int:
    """The step with the best score; of equals the later one."""
    if by == "last":
        return max(scores)
    sign = -1 if by == "frechet" else 1
    return max(scores, key=lambda step: (sign * scores[step][by], step))


def _conditions(faces: FaceSet, count: int, seed: int) -> np.ndarray:
    """``count`` attribute vectors of the validation split, int8 [count, k]; in rounds where it has fewer."""
    rows = faces.rows("valid")
    order = numpy_stream(seed, "select conditions").permutation(rows)
    return faces.attributes[np.resize(order, count)]
