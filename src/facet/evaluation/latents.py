"""What the autoencoder's latents are like: their distribution by channel.

All of it is about posterior means of faces upright, as ``artifacts/latents`` keeps them.
"""

from __future__ import annotations

import numpy as np

from facet.data.latents import LatentSet

_CHUNK = 1024


def means(latents: LatentSet, rows: np.ndarray) -> np.ndarray:
    """Posterior means of these faces, float64 [n, c, h, w]."""
    return latents.moments[rows, 0, : latents.shape[0]].astype(np.float64)


# --- numbers ----------------------------------------------------------------------------------------------------------


def moments_by_channel(latents: LatentSet, rows: np.ndarray) -> dict[str, list[float]]:
    """Mean, standard deviation and kurtosis of each latent channel over the faces ``rows`` and all positions.

    Kurtosis is Pearson's, the fourth central moment over the squared variance: 3 for a Gaussian, which is what a
    diffusion model starts from; more means heavy tails. A channel without variance has none, and counts as 3.
    """
    chunks = [rows[i : i + _CHUNK] for i in range(0, len(rows), _CHUNK)]
    count = len(rows) * latents.shape[1] * latents.shape[2]

    def average(power: int, centre: np.ndarray) -> np.ndarray:
        sums = [((means(latents, chunk) - centre) ** power).sum(axis=(0, 2, 3)) for chunk in chunks]
        return np.sum(sums, axis=0) / count

    mean = average(1, np.zeros((1, latents.shape[0], 1, 1)))
    second, fourth = (average(power, mean.reshape(1, -1, 1, 1)) for power in (2, 4))
    kurtosis = np.divide(fourth, second**2, out=np.full_like(fourth, 3.0), where=second > 0)
    named = {"mean": mean, "std": np.sqrt(second), "kurtosis": kurtosis}
    return {name: [round(float(value), 4) for value in values] for name, values in named.items()}
