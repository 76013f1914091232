"""Faces with rare attributes come more than once an epoch."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np

from facet.params import Between, Fraction
from facet.seeding import numpy_stream


@dataclasses.dataclass(frozen=True)
class RepeatParams:
    """Which faces the denoiser sees more often than others: repeat factor sampling (Gupta et al., 2019, on LVIS)
    without its square root, which on a few thousand faces moves too little (docs/experiments.md)."""

    # Share of the training faces below which an attribute is rare: one that a third of that share shows comes three
    # times as often. 0 repeats nothing.
    rare: Fraction
    # What no face comes more often than.
    most: Annotated[float, Between(1)]


def repeated(attributes: np.ndarray, params: RepeatParams, seed: int) -> np.ndarray:
    """Rows of one epoch, int64 [m] in order, m >= n: each row of ``attributes`` int8 [n, k] at least once.

    A face's factor is that of the rarest attribute it has; its fraction is settled by chance, once for the run. Where
    all faces have something rare, as with ten classes of equal size, nothing is repeated.
    """
    present = attributes > 0
    share = np.maximum(present.mean(axis=0), 1 / max(1, len(attributes)))
    factors = np.where(present, params.rare / share, 1.0).max(axis=1, initial=1.0)
    factors = np.clip(factors / factors.min(initial=np.inf), 1.0, params.most)
    chance = numpy_stream(seed, "repeats").random(len(attributes))
    return np.repeat(np.arange(len(attributes)), np.floor(factors + chance).astype(np.int64))
