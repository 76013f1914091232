"""artifacts/latents: what the frozen encoder says of every face, so that it runs once and not once an epoch.

- ``latents.json``  schema, shape, measured mean and std of each channel, shards with their sha256
- ``latents-00000.safetensors`` …  tensor "moments", float16 [n, 2, 2c, h, w]: face upright and mirrored; posterior
  mean, then log-variance. Rows are in the order of the faces' manifest.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from facet.artifacts import LATENTS_SCHEMA, read_json
from facet.data.datasets import read_shards


@dataclasses.dataclass(frozen=True)
class LatentSet:
    """``moments`` float16 [n, 2, 2c, h, w]; ``mean`` and ``std``: one measured figure a latent channel."""

    moments: np.ndarray
    mean: list[float]
    std: list[float]
    about: dict

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one latent."""
        return (self.moments.shape[2] // 2, self.moments.shape[3], self.moments.shape[4])


def load_latents(folder: Path) -> LatentSet:
    """Open ``artifacts/latents``. Raises ArtifactError where it is missing or of another schema."""
    about = read_json(folder / "latents.json", LATENTS_SCHEMA)
    return LatentSet(read_shards(folder, about["shards"], "moments"), about["mean"], about["std"], about)
