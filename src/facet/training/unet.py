"""Training the conditional denoiser on cached latents."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from facet.data.attributes import UNKNOWN
from facet.data.sentences import SentenceSet
from facet.diffusion.objective import FlowObjective, VariancePreservingObjective
from facet.models.denoiser import Denoiser
from facet.models.text import own_tokens
from facet.params import Fraction
from facet.precision import trained_attention
from facet.training import alarms
from facet.training.feed import resident, take
from facet.training.loop import Batch


@dataclasses.dataclass(frozen=True)
class DropoutParams:
    """How often conditions are hidden in training, so that guidance, partial requests, and requests by attributes or by
    sentence alone work. Attributes and sentence are hidden independently of one another."""

    # Share of samples whose attributes are all hidden. With the sentence hidden too, it is the null condition.
    attributes: Fraction
    # Share of samples that keep a random part of their attributes, the part's size uniform.
    some: Fraction
    # Share of samples whose sentence is hidden.
    text: Fraction

    def __post_init__(self) -> None:
        if self.attributes + self.some > 1:
            raise ValueError(f"attributes + some is {self.attributes + self.some:g}, expected at most 1")


def drop_attributes(
    states: torch.Tensor, which: torch.Tensor, each: torch.Tensor, rates: DropoutParams
) -> torch.Tensor:
    """Hide attributes. ``states`` int [n, k]; ``which`` [n, 2] and ``each`` [n, k] uniform on [0, 1)."""
    whole = which[:, 0] < rates.attributes
    some = (which[:, 0] >= rates.attributes) & (which[:, 0] < rates.attributes + rates.some)
    hidden = whole[:, None] | (some[:, None] & (each < which[:, 1:]))
    return torch.where(hidden, torch.full_like(states, UNKNOWN), states)


class Sentences:
    """The captions that a training run reads: at each step one of each face's, some of them hidden."""

    def __init__(self, sentences: SentenceSet, rows: np.ndarray, device: torch.device):
        """``rows``: the faces that are trained on, in the order of the task's rows."""
        self._device, self._empty = device, sentences.empty
        self._index = resident(sentences.index[rows].astype(np.int64), device)
        inputs: tuple[np.ndarray, ...] = (sentences.ids,)
        if sentences.features is not None:
            inputs = (*sentences.features, own_tokens(torch.from_numpy(sentences.ids)).numpy())
        self._inputs = tuple(resident(tensor, device) for tensor in inputs)
        self._said, self._written = resident(sentences.said, device), resident(sentences.written, device)

    def pick(self, batch: Batch, hide: float) -> torch.Tensor:
        """A caption's row for each sample [b], int64; of a share ``hide`` of them the empty one's."""
        own = take(self._index, batch.rows, self._device)
        choice = (batch.rand("caption", (), self._device) * own.shape[1]).long()
        picked = own[torch.arange(len(own), device=self._device), choice]
        hidden = batch.rand("drop text", (), self._device) < hide
        return torch.where(hidden, torch.full_like(picked, self._empty), picked)

    def inputs(self, picked: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What the denoiser takes for these captions: token ids, or a frozen text model's features."""
        found = tuple(take(tensor, picked, self._device) for tensor in self._inputs)
        return (found[0].long(),) if len(found) == 1 else (found[0].float(), found[1].float(), found[2])

    def misread(self, reading: torch.Tensor, picked: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of ``reading`` [b, k, 3] against what the captions say; those that came with the data say
        nothing that is known."""
        said = take(self._said, picked, self._device).long() + 1
        known = take(self._written, picked, self._device).float()
        each = F.cross_entropy(reading.transpose(1, 2), said, reduction="none").mean(dim=1)
        return (each * known).sum() / known.sum().clamp(min=1)


class DenoiserTask:
    """Predict the objective's target from noised latents, under attributes and sentences that are partly hidden."""

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
        sentences: Sentences | None = None,
        reading: float = 0.0,
        epoch: np.ndarray | None = None,
    ):
        """``moments`` fp16 [n, 2, 2c, h, w] (upright and mirrored; mean and log-variance), ``states`` int8 [n, k],
        ``mean`` and ``std`` the c measured channel statistics; ``reading`` weighs the loss of reading the sentences.
        ``epoch`` int [m] are the rows seen in one epoch, each row once where it isn't given."""
        self.players: dict[str, nn.Module] = {"denoiser": denoiser.to(memory_format=torch.channels_last)}
        self._epoch = torch.arange(len(moments)) if epoch is None else torch.from_numpy(epoch)
        self.rows = len(self._epoch)
        self._objective, self._dropout, self._device = objective, dropout, device
        self._moments, self._states = resident(moments, device), resident(states, device)
        self._mean = torch.tensor(mean, device=device).view(1, -1, 1, 1)
        self._std = torch.tensor(std, device=device).view(1, -1, 1, 1)
        self._sentences, self._reading = sentences, reading

    def seen(self, batch: Batch) -> Batch:
        """``batch`` with the rows of faces in place of their places in the epoch."""
        return dataclasses.replace(batch, rows=self._epoch[batch.rows])

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
        return drop_attributes(states, which, each, self._dropout)

    def loss(self, player: str, module: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        batch = self.seen(batch)
        clean = self.clean(batch)
        noise = batch.randn("noise", tuple(clean.shape[1:]), self._device)
        noised = self._objective.noised(clean, noise, batch.rand("time", (), self._device))
        if batch.step == 0:
            alarms.batch_in_range("standardised latents", clean, mean=0.5, std=(0.5, 1.5))
            alarms.rows_differ("noise", noise)
            alarms.rows_differ("timestep", noised.timestep)
        picked = None if self._sentences is None else self._sentences.pick(batch, self._dropout.text)
        text = () if picked is None else self._sentences.inputs(picked)
        with trained_attention(self._device, clean[0, 0].numel()):
            prediction = module(noised.latents, noised.timestep, self.states(batch), *text)
        weight = noised.weight.view(-1, 1, 1, 1)
        losses = {
            "denoising_loss": (weight * (prediction.target.float() - noised.target).square()).mean(),
            "trivial": (weight * noised.target.square()).mean(),
        }
        if picked is not None:
            losses["reading_loss"] = self._reading * self._sentences.misread(prediction.reading, picked)
        return losses

    @torch.no_grad()
    def condition_share(self, module: nn.Module, batch: Batch) -> float:
        """How far the prediction moves when samples swap their conditions, relative to the prediction's own size.
        Nothing is hidden."""
        batch = self.seen(batch)
        clean = self.clean(batch)
        noise = batch.randn("noise", tuple(clean.shape[1:]), self._device)
        noised = self._objective.noised(clean, noise, batch.rand("time", (), self._device))
        states = take(self._states, batch.rows, self._device).long()
        text = () if self._sentences is None else self._sentences.inputs(self._sentences.pick(batch, 0.0))
        own = module(noised.latents, noised.timestep, states, *text).target.float()
        others = (part.roll(1, dims=0) for part in (states, *text))
        swapped = module(noised.latents, noised.timestep, *others).target.float()
        return float((own - swapped).square().mean().sqrt() / own.square().mean().sqrt())
