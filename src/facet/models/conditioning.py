"""Attributes as conditions: one token each for cross-attention, and their pooled sum beside the time embedding."""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn


class AttributeEncoder(ModelMixin, ConfigMixin):
    """States of k attributes -> condition.

    Every (attribute, state) pair owns one learned vector, so "unknown" is a state of its own and not the mean of the
    other two. All attributes unknown is the null condition of classifier-free guidance (Ho & Salimans, 2022).
    """

    @register_to_config
    def __init__(self, attribute_names: tuple[str, ...] = (), token_dim: int = 128, pooled_dim: int = 128):
        super().__init__()
        count = len(attribute_names)
        self.tokens = nn.Embedding(3 * count, token_dim)
        self.pooled = nn.Embedding(3 * count, pooled_dim)
        nn.init.normal_(self.tokens.weight, std=1.0)
        # The sum over attributes should start near unit variance, like the time embedding it joins.
        nn.init.normal_(self.pooled.weight, std=count**-0.5 if count else 1.0)
        self.register_buffer("offset", 3 * torch.arange(count) + 1, persistent=False)

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``states`` integer [n, k] of -1, 0, 1 -> tokens [n, k, token_dim], pooled [n, pooled_dim]."""
        index = states.long() + self.offset
        return self.tokens(index), self.pooled(index).sum(dim=1)
