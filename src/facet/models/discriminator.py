"""A patch discriminator: one verdict for each patch of a picture, and the features that led to it."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import nn


class PatchDiscriminator(nn.Module):
    """Pixels [n, 3, h, w] -> logits [n, 1, h/8, w/8] and the activations of each level (Isola et al., 2017)."""

    def __init__(self, width: int):
        super().__init__()
        widths = (3, width, 2 * width, 4 * width)
        self.levels = nn.ModuleList(
            nn.utils.parametrizations.spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1))
            for a, b in itertools.pairwise(widths)
        )
        self.verdict = nn.utils.parametrizations.spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        activations = []
        for level in self.levels:
            pixels = F.leaky_relu(level(pixels), 0.2)
            activations.append(pixels)
        return self.verdict(pixels), activations
