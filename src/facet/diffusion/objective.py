"""What the denoiser learns: how noise is mixed in, what is predicted, how much each noise level counts.

Notation: x0 clean latents, e noise ~ N(0, I), t the timestep in [0, 1000], both what the network sees and what the
diffusers schedulers count in.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal, NamedTuple

import torch
from diffusers import DDPMScheduler

from facet.params import Between

Prediction = Literal["flow", "epsilon", "v"]

TRAIN_TIMESTEPS = 1000


@dataclasses.dataclass(frozen=True)
class ObjectiveParams:
    """Noise schedule, prediction target and loss weighting."""

    # flow: linear path, velocity target (Lipman et al., 2023); epsilon and v: the variance-preserving DDPM path.
    prediction: Prediction
    # flow only: mean and standard deviation of logit(t) (Esser et al., 2024, section 3.1).
    logit_mean: float
    logit_std: Annotated[float, Between(0.05, 5)]
    # epsilon and v only: Min-SNR clamp (Hang et al., 2023); 0 weights all noise levels as the target does.
    min_snr_gamma: Annotated[float, Between(0)]
    # epsilon and v only: diffusers' name of the beta schedule.
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"]


class Noised(NamedTuple):
    """One noised batch: network input [n, c, h, w], timestep [n], target [n, c, h, w], loss weight [n]."""

    latents: torch.Tensor
    timestep: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor


class FlowObjective:
    """x_t = (1 - t) x0 + t e with target e - x0: rectified flow's straight path (Liu et al., 2023, equation 1)."""

    def __init__(self, params: ObjectiveParams):
        self._mean, self._std = params.logit_mean, params.logit_std

    def noised(self, clean: torch.Tensor, noise: torch.Tensor, quantile: torch.Tensor) -> Noised:
        """``clean`` and ``noise`` [n, c, h, w]; ``quantile`` [n] in (0, 1) picks each sample's logit-normal time."""
        normal = torch.special.ndtri(quantile.double().clamp(1e-9, 1 - 1e-9)).to(clean.dtype)
        time = torch.sigmoid(self._mean + self._std * normal)
        t = time.view(-1, 1, 1, 1)
        return Noised((1 - t) * clean + t * noise, time * TRAIN_TIMESTEPS, noise - clean, torch.ones_like(time))


class VariancePreservingObjective:
    """x_t = sqrt(a_t) x0 + sqrt(1 - a_t) e (Ho et al., 2020, equation 4), predicting e, or v = sqrt(a_t) e -
    sqrt(1 - a_t) x0 (Salimans & Ho, 2022, appendix D)."""

    def __init__(self, params: ObjectiveParams):
        self._predict_v = params.prediction == "v"
        self._gamma = params.min_snr_gamma
        self._alphas = DDPMScheduler(TRAIN_TIMESTEPS, beta_schedule=params.beta_schedule).alphas_cumprod

    def noised(self, clean: torch.Tensor, noise: torch.Tensor, quantile: torch.Tensor) -> Noised:
        """``clean`` and ``noise`` [n, c, h, w]; ``quantile`` [n] in [0, 1) picks each sample's step of 0..999."""
        timestep = (quantile * TRAIN_TIMESTEPS).long().clamp(max=TRAIN_TIMESTEPS - 1)
        alpha = self._alphas.to(clean.device)[timestep]
        signal, sigma = alpha.sqrt().view(-1, 1, 1, 1), (1 - alpha).sqrt().view(-1, 1, 1, 1)
        target = signal * noise - sigma * clean if self._predict_v else noise
        return Noised(signal * clean + sigma * noise, timestep.float(), target, self._weight(alpha))

    def _weight(self, alpha: torch.Tensor) -> torch.Tensor:
        if self._gamma == 0:
            return torch.ones_like(alpha)
        snr = alpha / (1 - alpha)
        clamped = snr.clamp(max=self._gamma)
        # Min-SNR weighs the x0 error by min(SNR, gamma); in e that is / SNR, in v / (SNR + 1).
        return clamped / (snr + 1) if self._predict_v else clamped / snr


def build_objective(params: ObjectiveParams) -> FlowObjective | VariancePreservingObjective:
    """The objective these params ask for."""
    return FlowObjective(params) if params.prediction == "flow" else VariancePreservingObjective(params)
