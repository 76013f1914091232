"""Training the conditional denoiser on cached latents."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import nn

from facet.data.attributes import UNKNOWN
from facet.diffusion.objective import FlowObjective, VariancePreservingObjective
from facet.models.denoiser import Denoiser
from facet.params import Fraction
from facet.training import alarms
from facet.training.feed import resident, take
from facet.training.loop import Batch


@dataclasses.dataclass(frozen=True)
class DropoutParams:
    """How often conditions are hidden in training, so that guidance and partial requests work."""

    # Share of samples whose whole condition is hidden: the null condition of guidance.
    whole: Fraction
    # Share of samples that keep a random part of their attributes, the part's size uniform.
    some: Fraction

    def __post_init__(self) -> None:
        if self.whole + self.some > 1:
            raise ValueError(f"whole + some is {self.whole + self.some:g}, expected at most 1")


def drop_conditions(
    states: torch.Tensor, which: torch.Tensor, each: torch.Tensor, rates: DropoutParams
) -> torch.Tensor:
    """Hide attributes. ``states`` int [n, k]; ``which`` [n, 2] and ``each`` [n, k] uniform on [0, 1)."""
    whole = which[:, 0] < rates.whole
    some = (which[:, 0] >= rates.whole) & (which[:, 0] < rates.whole + rates.some)
    hidden = whole[:, None] | (some[:, None] & (each < which[:, 1:]))
    return torch.where(hidden, torch.full_like(states, UNKNOWN), states)


class DenoiserTask:
    """Predict the objective's target from noised latents, under attributes that are partly hidden."""

    def __init__(
        self,
        denoiser: Denoiser,
        objective: FlowObjective | VariancePreservingObjective,
        moments: np.ndarray,
        states: np.ndarray,
        mean: list[float],
        std: list[float],
        dropout: DropoutParams,
        device: torch.device,
    ):
        """``moments`` fp16 [n, 2, 2c, h, w] (upright and mirrored; mean and log-variance), ``states`` int8 [n, k],
        ``mean`` and ``std`` the c measured channel statistics."""
        self.players: dict[str, nn.Module] = {"denoiser": denoiser.to(memory_format=torch.channels_last)}
        self.rows = len(moments)
        self._objective, self._dropout, self._device = objective, dropout, device
        self._moments, self._states = resident(moments, device), resident(states, device)
        self._mean = torch.tensor(mean, device=device).view(1, -1, 1, 1)
        self._std = torch.tensor(std, device=device).view(1, -1, 1, 1)

    def clean(self, batch: Batch) -> torch.Tensor:
        """Standardised posterior samples [b, c, h, w], mirrored at random."""
        upright_or_mirrored = (batch.rand("flip", (), self._device) < 0.5).long()
        moments = take(self._moments, batch.rows, self._device)
        moments = moments[torch.arange(len(moments), device=self._device), upright_or_mirrored].float()
        mean, log_variance = moments.chunk(2, dim=1)
        latents = mean + (0.5 * log_variance).exp() * batch.randn("posterior", tuple(mean.shape[1:]), self._device)
        return ((latents - self._mean) / self._std).contiguous(memory_format=torch.channels_last)

    def states(self, batch: Batch) -> torch.Tensor:
        """Attribute states [b, k] after dropout."""
        states = take(self._states, batch.rows, self._device).long()
        which = batch.rand("drop which", (2,), self._device)
        each = batch.rand("drop each", (states.shape[1],), self._device)
        return drop_conditions(states, which, each, self._dropout)

    def loss(self, player: str, module: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        clean = self.clean(batch)
        noise = batch.randn("noise", tuple(clean.shape[1:]), self._device)
        noised = self._objective.noised(clean, noise, batch.rand("time", (), self._device))
        if batch.step == 0:
            alarms.batch_in_range("standardised latents", clean, mean=0.5, std=(0.5, 1.5))
            alarms.rows_differ("noise", noise)
            alarms.rows_differ("timestep", noised.timestep)
        prediction = module(noised.latents, noised.timestep, self.states(batch))
        weight = noised.weight.view(-1, 1, 1, 1)
        return {
            "loss": (weight * (prediction.float() - noised.target).square()).mean(),
            "trivial": (weight * noised.target.square()).mean(),
        }

    @torch.no_grad()
    def condition_share(self, module: nn.Module, batch: Batch) -> float:
        """How far the prediction moves when samples swap their conditions, relative to the prediction's own size."""
        clean = self.clean(batch)
        noise = batch.randn("noise", tuple(clean.shape[1:]), self._device)
        noised = self._objective.noised(clean, noise, batch.rand("time", (), self._device))
        states = take(self._states, batch.rows, self._device).long()
        own = module(noised.latents, noised.timestep, states).float()
        swapped = module(noised.latents, noised.timestep, states.roll(1, dims=0)).float()
        return float((own - swapped).square().mean().sqrt() / own.square().mean().sqrt())
