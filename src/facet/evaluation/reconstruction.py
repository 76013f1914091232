"""How well an autoencoder gives back what it was given."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from facet.data.pixels import to_pixels, to_uint8
from facet.precision import Precision, autocast


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
    values = [_ssim(faces[i : i + batch_size], others[i : i + batch_size]) for i in range(0, len(faces), batch_size)]
    return np.concatenate(values)


def _ssim(faces: np.ndarray, others: np.ndarray) -> np.ndarray:
    ramp = torch.arange(11, dtype=torch.float64) - 5
    window = torch.exp(-ramp.square() / (2 * 1.5**2))
    window = (window / window.sum()).float()

    def blur(x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(F.conv2d(x, window.view(1, 1, 11, 1)), window.view(1, 1, 1, 11))

    def planes(pictures: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).flatten(0, 1).unsqueeze(1).float()

    x, y = planes(faces), planes(others)
    mean_x, mean_y = blur(x), blur(y)
    variance_x, variance_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    per_plane = (luminance * structure).mean(dim=(1, 2, 3))
    return per_plane.view(len(faces), -1).mean(dim=1).double().numpy()
