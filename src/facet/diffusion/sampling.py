"""How the denoiser is run: the sampling params, and the loop from noise to clean latents under guidance."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import torch

from facet.diffusion.objective import TRAIN_TIMESTEPS, ObjectiveParams
from facet.diffusion.schedulers import (
    SamplerName,
    build_scheduler,
    draws_noise,
    levels,
    remaining_timesteps,
    set_steps,
)
from facet.errors import ParamsError
from facet.params import Between, Fraction, Positive
from facet.precision import Precision


@dataclasses.dataclass(frozen=True)
class SamplingParams:
    """How the denoiser is run; kept with the model as its defaults, and part of every score's protocol."""

    # One of diffusers' schedulers, by name.
    sampler: SamplerName
    # Denoising steps; the network runs once a step (heun: twice), twice that where guided.
    steps: Annotated[int, Between(1, 1000)]
    # Classifier-free guidance scale (Ho & Salimans, 2022); 1 is no guidance.
    guidance_scale: Annotated[float, Between(0, 30)]
    # Part of the time axis (1 = pure noise) in which guidance acts (Kynkäänniemi et al., 2024).
    guidance_interval: tuple[Annotated[float, Between(0, 1)], ...]
    # How far a guided prediction is brought back to the spread of the conditional one (Lin et al., 2024, section 3.4).
    guidance_rescale: Fraction
    # Whether attributes that a request leaves open are filled in from a training face that fits it, drawn by the seed
    # (facet.diffusion.completion); a photo's are left open always.
    complete: bool
    # auto | fp32 | bf16
    precision: Precision
    # Pictures drawn at a time on a GPU; a CPU draws 16 at a time, so that it has no influence on the pixels.
    batch_size: Positive

    def __post_init__(self) -> None:
        if len(self.guidance_interval) != 2 or self.guidance_interval[0] > self.guidance_interval[1]:
            raise ValueError(f"guidance_interval is {list(self.guidance_interval)}, expected [low, high] in 0..1")


def resolve_sampling(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> SamplingParams:
    """``given`` laid over ``defaults``, None being the default. Raises ParamsError for what is out of range."""
    values = dict(defaults) | {k: v for k, v in given.items() if v is not None}
    values["guidance_interval"] = tuple(values["guidance_interval"])
    if not 1 <= values["steps"] <= TRAIN_TIMESTEPS:
        raise ParamsError(f"steps is {values['steps']}, expected 1 to {TRAIN_TIMESTEPS}.")
    if not 0 <= values["guidance_scale"] < math.inf:
        raise ParamsError(f"guidance scale is {values['guidance_scale']}, expected at least 0 (1 is no guidance).")
    if not 0 <= values["guidance_rescale"] <= 1:
        raise ParamsError(f"guidance rescale is {values['guidance_rescale']}, expected 0 (none) to 1.")
    if values["batch_size"] < 1:
        raise ParamsError(f"batch_size is {values['batch_size']}, expected at least 1.")
    try:
        return SamplingParams(**values)
    except ValueError as error:
        raise ParamsError(f"{error}.") from None


class Condition(NamedTuple):
    """What the denoiser is conditioned on: ``tokens`` [n, l, d] for cross-attention, ``pooled`` [n, d], and which
    tokens are attended to, ``kept`` bool [n, l]."""

    tokens: torch.Tensor
    pooled: torch.Tensor
    kept: torch.Tensor


class Known(NamedTuple):
    """Where a picture is given: its clean ``latents`` [n, c, h, w], the ``noise`` that hides them, and ``free`` bool
    [n, 1, h, w], the places to be drawn."""

    latents: torch.Tensor
    noise: torch.Tensor
    free: torch.Tensor


# (index of the step, timestep, latents [n, c, h, w] after it, the clean ones it foresees) -> the latents to go on with.
OnStep = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class Sampler:
    """One of diffusers' schedulers, set up for ``steps`` of the noise axis from ``strength`` (1: pure noise) down."""

    def __init__(
        self, objective: ObjectiveParams, sampling: SamplingParams, device: torch.device, strength: float = 1.0
    ):
        self._sampling, self._objective = sampling, objective
        self._scheduler = build_scheduler(sampling.sampler, objective)
        set_steps(self._scheduler, sampling.sampler, sampling.steps, device)
        self._pure = strength >= 1
        skipped = sampling.steps - max(1, round(sampling.steps * strength))
        self.timesteps = remaining_timesteps(self._scheduler, skipped)

    def noised(self, clean: torch.Tensor, noise: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """``clean`` latents as they are at ``timestep``, in the scheduler's own scale."""
        times = timestep.expand(len(clean))
        if hasattr(self._scheduler, "scale_noise"):
            return self._scheduler.scale_noise(clean, times, noise)
        return self._scheduler.add_noise(clean, noise, times)

    def distinct_timesteps(self) -> torch.Tensor:
        """The noise levels passed on the way down, each once: a sampler of second order looks twice at most of them."""
        return torch.unique_consecutive(self.timesteps).float()

    def scaled(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents at the first timestep in the objective's scale -> in the scheduler's own."""
        if not hasattr(self._scheduler, "scale_model_input"):
            return latents
        return latents / self._scheduler.scale_model_input(torch.ones_like(latents), self.timesteps[0])

    def start(self, noise: torch.Tensor, clean: torch.Tensor | None = None) -> torch.Tensor:
        """Latents of the first timestep: pure noise, or ``clean`` ones under as much of it as ``strength`` asks."""
        if clean is None or self._pure:
            return noise * getattr(self._scheduler, "init_noise_sigma", 1.0)
        return self.noised(clean, noise, self.timesteps[0])

    def run(
        self,
        unet: torch.nn.Module,
        latents: torch.Tensor,
        condition: Condition,
        null: Condition,
        known: Known | None = None,
        on_step: OnStep | None = None,
        generators: Sequence[torch.Generator] | None = None,
    ) -> torch.Tensor:
        """``start``'s latents -> clean ones, guided away from ``null``; what is ``known`` is put back at each step. A
        sampler that draws noise on the way takes it from ``generators``, one a row."""
        drawn = {"generator": list(generators)} if draws_noise(self._scheduler) else {}
        for index, timestep in enumerate(self.timesteps):
            prediction = self._predict(unet, latents, timestep, condition, null)
            clean = None if on_step is None else self._clean(prediction, latents, timestep)
            latents = self._scheduler.step(prediction, timestep, latents, **drawn, return_dict=False)[0]
            if known is not None:
                last = index + 1 == len(self.timesteps)
                given = known.latents if last else self.noised(known.latents, known.noise, self.timesteps[index + 1])
                latents = torch.where(known.free, latents, given)
            if on_step is not None:
                latents = on_step(index, timestep, latents, clean)
        return latents

    def _clean(self, prediction: torch.Tensor, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """The clean latents that ``prediction`` for ``latents`` in the scheduler's own scale means."""
        if hasattr(self._scheduler, "scale_model_input"):
            latents = self._scheduler.scale_model_input(latents, timestep)
        alpha, sigma = levels(self._objective, float(timestep))
        if self._objective.prediction == "epsilon":
            return (latents - sigma * prediction) / alpha
        return (latents if self._objective.prediction == "flow" else alpha * latents) - sigma * prediction

    def _predict(
        self,
        unet: torch.nn.Module,
        latents: torch.Tensor,
        timestep: torch.Tensor,
        condition: Condition,
        null: Condition,
    ) -> torch.Tensor:
        if hasattr(self._scheduler, "scale_model_input"):
            latents = self._scheduler.scale_model_input(latents, timestep)
        sampling, (low, high) = self._sampling, self._sampling.guidance_interval
        if sampling.guidance_scale == 1 or not low <= float(timestep) / TRAIN_TIMESTEPS <= high:
            return predict(unet, latents, timestep, condition)
        both = Condition(*(torch.cat(parts) for parts in zip(condition, null, strict=True)))
        conditional, unconditional = predict(unet, torch.cat([latents, latents]), timestep, both).chunk(2)
        guided = unconditional + sampling.guidance_scale * (conditional - unconditional)
        return _rescaled(guided, conditional, sampling.guidance_rescale)


def predict(unet: torch.nn.Module, latents: torch.Tensor, timestep: torch.Tensor, condition: Condition) -> torch.Tensor:
    """The denoiser's prediction [n, c, h, w] in float32."""
    made = unet(
        latents,
        timestep,
        encoder_hidden_states=condition.tokens,
        encoder_attention_mask=condition.kept,
        class_labels=condition.pooled,
    )
    return made.sample.float()


def noise_of(
    objective: ObjectiveParams, prediction: torch.Tensor, latents: torch.Tensor, timestep: float
) -> torch.Tensor:
    """The noise [n, c, h, w] that a ``prediction`` for ``latents`` in the objective's scale means."""
    alpha, sigma = levels(objective, timestep)
    if objective.prediction == "epsilon":
        return prediction
    # flow: v = e - x0, x = (1 - t) x0 + t e. v: v = a e - s x0, x = a x0 + s e.
    return latents + alpha * prediction if objective.prediction == "flow" else sigma * latents + alpha * prediction


def _rescaled(guided: torch.Tensor, conditional: torch.Tensor, share: float) -> torch.Tensor:
    if share == 0:
        return guided
    axes = (1, 2, 3)
    alike = guided * (conditional.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True))
    return share * alike + (1 - share) * guided
