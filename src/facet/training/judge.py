"""Training the judge."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from facet.data.pixels import to_pixels
from facet.models.judge import Judge
from facet.params import Between, Natural, Positive
from facet.training.feed import resident, take
from facet.training.loop import Batch


@dataclasses.dataclass(frozen=True)
class JudgeParams:
    """Architecture and augmentation of the attribute classifier."""

    # Width of each convolution level; each halves the resolution.
    widths: tuple[Positive, ...]
    # Length of the feature vector that FID and KID are measured in.
    feature_dim: Positive
    # Largest shift of a training face in pixels.
    shift: Natural
    # Standard deviation of Gaussian noise added to training faces, in [-1, 1] units.
    noise: Annotated[float, Between(0, 1)]
    # Share of a label given to the other side (label smoothing).
    smoothing: Annotated[float, Between(0, 0.5)]


class JudgeTask:
    """Binary cross-entropy over the attributes that are known; a face's unknown ones don't count."""

    def __init__(self, judge: Judge, faces: np.ndarray, states: np.ndarray, params: JudgeParams, device: torch.device):
        """``faces`` uint8 [n, h, w, 3] and ``states`` int8 [n, k] of -1, 0, 1: the training split."""
        self.players: dict[str, nn.Module] = {"judge": judge.to(memory_format=torch.channels_last)}
        self.rows = len(faces)
        self._faces, self._states = resident(faces, device), resident(states, device)
        self._params, self._device = params, device

    def loss(self, player: str, module: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        flip = batch.rand("flip", (), self._device) < 0.5
        pixels = to_pixels(take(self._faces, batch.rows, self._device), flip)
        pixels = _shift(pixels, batch.rand("shift", (2,), self._device), self._params.shift)
        pixels = pixels + self._params.noise * batch.randn("pixel noise", tuple(pixels.shape[1:]), self._device)
        states = take(self._states, batch.rows, self._device)
        _, logits = module(pixels)
        target = (states > 0).float() * (1 - 2 * self._params.smoothing) + self._params.smoothing
        known = (states != 0).float()
        entropy = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
        return {"loss": (entropy * known).sum() / known.sum().clamp(min=1)}


def _shift(pixels: torch.Tensor, where: torch.Tensor, most: int) -> torch.Tensor:
    """Move each picture by up to ``most`` pixels each way, repeating the border; ``where`` [n, 2] uniform on [0, 1)."""
    if most == 0:
        return pixels
    count, _, height, width = pixels.shape
    offset = (where * (2 * most + 1)).long() - most
    y = (torch.arange(height, device=pixels.device)[None] + offset[:, :1]).clamp(0, height - 1)
    x = (torch.arange(width, device=pixels.device)[None] + offset[:, 1:]).clamp(0, width - 1)
    rows = torch.arange(count, device=pixels.device)[:, None, None]
    moved = pixels.permute(0, 2, 3, 1)[rows, y[:, :, None], x[:, None, :]]
    return moved.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
