"""How well an autoencoder gives back what it was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from facet.data.pixels import to_pixels, to_uint8
from facet.errors import ArtifactError
from facet.precision import Precision, autocast

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

# Taps of SSIM's window, and MS-SSIM's weights from the finest scale to the coarsest.
_WINDOW = 11
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


@torch.no_grad()
def reconstruct(
    vae: AutoencoderKL, faces: np.ndarray, precision: Precision = "auto", batch_size: int = 128
) -> np.ndarray:
    """uint8 [n, h, w, 3] -> uint8 [n, h, w, 3] through the posterior mean."""
    device = next(vae.parameters()).device
    out = []
    for start in range(0, len(faces), batch_size):
        pixels = to_pixels(torch.from_numpy(np.array(faces[start : start + batch_size])).to(device))
        with autocast(precision, device):
            decoded = vae.decode(vae.encode(pixels).latent_dist.mean).sample
        out.append(to_uint8(decoded))
    return np.concatenate(out)


def psnr(faces: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each pair of uint8 pictures [n, h, w, 3], in dB, float64 [n]."""
    error = (faces.astype(np.float64) - others).reshape(len(faces), -1)
    return 10 * np.log10(255**2 / np.maximum(np.square(error).mean(axis=1), 1e-10))


def ssim(faces: np.ndarray, others: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Structural similarity of each pair of uint8 pictures [n, h, w, 3] in 0..1, float64 [n].

    Wang et al., 2004, with the paper's 11-tap Gaussian window (sigma 1.5), averaged over channels and valid positions.
    """
    return _by_batch(_ssim, faces, others, batch_size)


def ms_ssim(faces: np.ndarray, others: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Multi-scale structural similarity of each pair of uint8 pictures [n, h, w, 3] in 0..1, float64 [n].

    Wang, Simoncelli & Bovik, 2003, equation 7, with the window and constants of ``ssim``: contrast and structure at
    every scale, luminance at the coarsest alone, halved between scales by 2 x 2 means, a negative term counted as 0.
    ``scales`` says how many of the paper's five are used. Raises ArtifactError for pictures smaller than the window.
    """
    return _by_batch(_ms_ssim, faces, others, batch_size)


def scales(height: int, width: int) -> int:
    """How many of MS-SSIM's five scales fit: the coarsest must still hold the window, so 3 at 64 px, 5 from 176 px on.

    Their weights are the paper's first ones, divided by their sum. Raises ArtifactError where not even one fits.
    """
    fitting = [m for m in range(1, len(_SCALE_WEIGHTS) + 1) if min(height, width) // 2 ** (m - 1) >= _WINDOW]
    if not fitting:
        raise ArtifactError(
            f"pictures are {width} x {height} px, but SSIM compares windows of {_WINDOW}: prepare larger faces."
        )
    return fitting[-1]


Measure = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _by_batch(measure: Measure, faces: np.ndarray, others: np.ndarray, batch_size: int) -> np.ndarray:
    """``measure`` compares planes float32 [m, 1, h, w]; its mean over each picture's planes, float64 [n]."""
    values = []
    for start in range(0, len(faces), batch_size):
        first, second = (_planes(pictures[start : start + batch_size]) for pictures in (faces, others))
        values.append(measure(first, second).view(-1, faces.shape[-1]).mean(dim=1).double().numpy())
    return np.concatenate(values)


def _planes(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).flatten(0, 1).unsqueeze(1).float()


def _ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    luminance, structure = _terms(x, y)
    return (luminance * structure).mean(dim=(1, 2, 3))


def _ms_ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    weights = _SCALE_WEIGHTS[: scales(*x.shape[-2:])]
    product = torch.ones(len(x))
    for m, weight in enumerate(weights, start=1):
        luminance, structure = _terms(x, y)
        term = luminance * structure if m == len(weights) else structure
        product = product * term.mean(dim=(1, 2, 3)).clamp(min=0) ** (weight / sum(weights))
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return product


def _terms(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Luminance, and contrast times structure, at each position where the window fits."""
    rows, columns = (_window_matrix(size) for size in x.shape[-2:])

    def blur(plane: torch.Tensor) -> torch.Tensor:
        return rows @ plane @ columns.T

    mean_x, mean_y = blur(x), blur(y)
    variance_x, variance_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance, structure


def _window_matrix(size: int) -> torch.Tensor:
    """SSIM's window at each place along ``size`` pixels, float32 [size - 10, size]. Two products with it are a
    convolution, and at 64 px five times as fast as one on a CPU."""
    ramp = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
    window = torch.exp(-ramp.square() / (2 * 1.5**2))
    places = torch.arange(size - _WINDOW + 1)[:, None] + torch.arange(_WINDOW)
    matrix = torch.zeros(len(places), size, dtype=torch.float64)
    return matrix.scatter_(1, places, (window / window.sum()).expand(len(places), -1)).float()
