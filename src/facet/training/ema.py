"""Exponential moving average of weights: the weights that are sampled from, scored and shipped."""

from __future__ import annotations

import torch
from torch import nn


class Ema:
    """Keeps ``average <- d * average + (1 - d) * weights`` for every trainable parameter, in fp32.

    ``d = min(decay, (1 + step) / (10 + step))``: the ramp keeps the first, random weights from lingering.
    """

    def __init__(self, module: nn.Module, decay: float):
        self._decay = decay
        self._parameters = dict(module.named_parameters())
        self.average = {name: p.detach().float().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Fold in the weights as they stand after optimiser step ``step`` (counted from 1)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        weights = [p.detach().float() for p in self._parameters.values()]
        torch._foreach_lerp_(list(self.average.values()), weights, 1 - decay)

    @torch.no_grad()
    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Continue from a checkpointed average."""
        for name, value in self.average.items():
            value.copy_(state[name])

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Overwrite ``module``'s parameters with the average."""
        for name, parameter in module.named_parameters():
            parameter.copy_(self.average[name])
