"""The judge: a small attribute classifier whose penultimate layer is also the offline feature space for FID."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn


class Judge(ModelMixin, ConfigMixin):
    """Faces float [n, 3, size, size] in [-1, 1] -> features [n, feature_dim] and one logit an attribute [n, k]."""

    @register_to_config
    def __init__(
        self,
        attribute_names: tuple[str, ...] = (),
        size: int = 64,
        widths: tuple[int, ...] = (32, 64, 96, 128),
        feature_dim: int = 256,
    ):
        super().__init__()
        blocks: list[nn.Module] = []
        before = 3
        for i, width in enumerate(widths):
            blocks += [
                nn.Conv2d(before, width, 4 if i == 0 else 3, stride=2, padding=1),
                nn.GroupNorm(8, width),
                nn.SiLU(),
            ]
            if i:
                blocks += [nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(8, width), nn.SiLU()]
            before = width
        self.trunk = nn.Sequential(*blocks)
        self.feature = nn.Linear(before * (size // 2 ** len(widths)) ** 2, feature_dim)
        self.head = nn.Linear(feature_dim, len(attribute_names))

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """[n, 3, size, size] in [-1, 1] -> [n, feature_dim]."""
        return F.silu(self.feature(self.trunk(pixels).flatten(1)))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.features(pixels)
        return features, self.head(features)
