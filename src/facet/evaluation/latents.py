"""What the autoencoder's latents are like: their distribution by channel, pictures of them, and walks between faces.

All of it is about posterior means of faces upright, as ``artifacts/latents`` keeps them.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch

from facet.data.latents import LatentSet
from facet.data.pixels import to_pixels, to_uint8
from facet.precision import Precision, autocast

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

_CHUNK = 1024
# Faces whose latents decide the colours: their directions settle long before.
_FITTED = 512
# Two latents closer to parallel than this are mixed in a straight line, where the sine would be divided by nearly 0.
_PARALLEL = 1e-4


def means(latents: LatentSet, rows: np.ndarray) -> np.ndarray:
    """Posterior means of these faces, float64 [n, c, h, w]."""
    return latents.moments[rows, 0, : latents.shape[0]].astype(np.float64)


@torch.no_grad()
def encoded(vae: AutoencoderKL, faces: np.ndarray, precision: Precision = "auto", batch_size: int = 128) -> LatentSet:
    """The latents of ``faces`` uint8 [n, h, w, 3], upright alone, rounded as ``artifacts/latents`` keeps them."""
    device = next(vae.parameters()).device
    parts = []
    for start in range(0, len(faces), batch_size):
        pixels = to_pixels(torch.from_numpy(np.array(faces[start : start + batch_size])).to(device))
        with autocast(precision, device):
            moments = vae.encode(pixels).latent_dist.parameters.float()
        parts.append(moments.to(torch.float16).cpu().numpy()[:, None])
    return LatentSet(np.concatenate(parts), [], [], {})


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


# --- pictures ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Colours:
    """Latent channels as colours: ``axes`` float64 [3, c], and the range of each axis that is shown, [3, 2].

    ``share`` is how much of the variance the three axes hold.
    """

    mean: np.ndarray
    axes: np.ndarray
    ranges: np.ndarray
    share: float

    def __call__(self, latent: np.ndarray) -> np.ndarray:
        """[c, h, w] -> uint8 [h, w, 3]; what lies outside the range is clipped."""
        along = np.einsum("kc,chw->khw", self.axes, latent - self.mean[:, None, None])
        low, high = self.ranges[:, 0, None, None], self.ranges[:, 1, None, None]
        scaled = np.clip((along - low) / np.where(high > low, high - low, 1.0), 0, 1)
        return np.rint(255 * scaled).astype(np.uint8).transpose(1, 2, 0)


def colours(latents: LatentSet, rows: np.ndarray) -> Colours:
    """The first three principal components of the latents' channels over all positions of these faces.

    An axis points to where its largest coefficient is positive, so that equal latents have equal colours, and shows the
    range between the 1st and the 99th percentile. Where there are fewer channels the other colours stay dark.
    """
    values = means(latents, rows[:: max(1, len(rows) // _FITTED)]).transpose(1, 0, 2, 3).reshape(latents.shape[0], -1)
    mean = values.mean(axis=1)
    variances, vectors = np.linalg.eigh(np.cov(values - mean[:, None]).reshape(len(mean), len(mean)))
    found = vectors.T[::-1][:3]
    found = found * np.sign(found[np.arange(len(found)), np.abs(found).argmax(axis=1)])[:, None]
    axes = np.zeros((3, len(mean)))
    axes[: len(found)] = found
    ranges = np.percentile(axes @ (values - mean[:, None]), (1, 99), axis=1).T
    total = variances.sum()
    return Colours(mean, axes, ranges, float(variances[::-1][:3].sum() / total) if total > 0 else 1.0)


@torch.no_grad()
def walk(vae: AutoencoderKL, latents: LatentSet, start: int, end: int, steps: int) -> np.ndarray:
    """From face ``start`` to face ``end`` in ``steps`` pictures, both included, uint8 [steps, h, w, 3].

    Latents are standardised by channel and interpolated along the great circle between them (slerp; Shoemake, 1985):
    the middle of a straight line between two nearly orthogonal latents is shorter than any face's.
    """
    mean, std = (np.array(v).reshape(-1, 1, 1) for v in (latents.mean, latents.std))
    first, last = (means(latents, np.array([row]))[0] for row in (start, end))
    path = [slerp((first - mean) / std, (last - mean) / std, t) * std + mean for t in np.linspace(0, 1, steps)]
    parameter = next(vae.parameters())
    return to_uint8(vae.decode(torch.from_numpy(np.stack(path)).to(parameter.device, parameter.dtype)).sample)


def slerp(first: np.ndarray, last: np.ndarray, share: float) -> np.ndarray:
    """The point ``share`` of the way from ``first`` to ``last``: its direction lies on the great circle through theirs,
    its length between theirs."""
    lengths = np.linalg.norm(first), np.linalg.norm(last)
    if min(lengths) == 0:
        return (1 - share) * first + share * last
    one, other = first / lengths[0], last / lengths[1]
    angle = np.arccos(np.clip((one * other).sum(), -1, 1))
    if min(angle, np.pi - angle) < _PARALLEL:
        return (1 - share) * first + share * last
    direction = (np.sin((1 - share) * angle) * one + np.sin(share * angle) * other) / np.sin(angle)
    return ((1 - share) * lengths[0] + share * lengths[1]) * direction
