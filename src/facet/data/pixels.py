"""Between stored pictures (uint8, height x width x channel) and what networks see (float, channels first, [-1, 1])."""

from __future__ import annotations

import numpy as np
import torch


def to_pixels(faces: torch.Tensor, flip: torch.Tensor | None = None) -> torch.Tensor:
    """uint8 [n, h, w, 3] -> float [n, 3, h, w] in [-1, 1], channels last; ``flip`` bool [n] mirrors those rows."""
    pixels = faces.permute(0, 3, 1, 2).float() / 127.5 - 1
    if flip is not None:
        pixels = torch.where(flip.view(-1, 1, 1, 1), pixels.flip(-1), pixels)
    return pixels.contiguous(memory_format=torch.channels_last)


def to_uint8(pixels: torch.Tensor) -> np.ndarray:
    """Float [n, 3, h, w] in [-1, 1] (values outside are clamped) -> uint8 [n, h, w, 3]."""
    scaled = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()
