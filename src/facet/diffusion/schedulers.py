"""diffusers' samplers by name, set up for the objective that the denoiser was trained with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)

from facet.diffusion.objective import TRAIN_TIMESTEPS, ObjectiveParams
from facet.errors import ParamsError, did_you_mean

SamplerName = Literal["dpm++", "unipc", "euler", "heun", "ddim", "ddpm", "pndm"]

# diffusers' own default is minus infinity, for which JSON has no word.
_NO_CLIP = -1e9

_FLOW: dict[str, Callable[[], Any]] = {
    "dpm++": lambda: DPMSolverMultistepScheduler(
        TRAIN_TIMESTEPS,
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=1.0,
        lambda_min_clipped=_NO_CLIP,
    ),
    "unipc": lambda: UniPCMultistepScheduler(
        TRAIN_TIMESTEPS, prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=1.0
    ),
    "euler": lambda: FlowMatchEulerDiscreteScheduler(TRAIN_TIMESTEPS),
    "heun": lambda: FlowMatchHeunDiscreteScheduler(TRAIN_TIMESTEPS),
}

_VARIANCE_PRESERVING: dict[str, Callable[..., Any]] = {
    "dpm++": lambda **given: DPMSolverMultistepScheduler(TRAIN_TIMESTEPS, lambda_min_clipped=_NO_CLIP, **given),
    "unipc": lambda **given: UniPCMultistepScheduler(TRAIN_TIMESTEPS, **given),
    "euler": lambda **given: EulerDiscreteScheduler(TRAIN_TIMESTEPS, **given),
    "heun": lambda **given: HeunDiscreteScheduler(TRAIN_TIMESTEPS, **given),
    "ddim": lambda **given: DDIMScheduler(TRAIN_TIMESTEPS, clip_sample=False, set_alpha_to_one=True, **given),
    "ddpm": lambda **given: DDPMScheduler(TRAIN_TIMESTEPS, clip_sample=False, **given),
    # Its Runge-Kutta start takes twelve looks at the network; the multistep method alone is how it is used since.
    "pndm": lambda **given: PNDMScheduler(TRAIN_TIMESTEPS, skip_prk_steps=True, set_alpha_to_one=True, **given),
}

# DDPMScheduler's, with which `facet.diffusion.objective` mixes.
_BETAS = (0.0001, 0.02)

# These go down by 1000 // steps of the 1000 levels whatever their own timesteps are, so a number of steps that does not
# divide 1000 leaves noise behind; up to this share of it can't be seen.
_WHOLE_STRIDES = ("ddim", "pndm")
_MOST_LEFT = 0.02


def build_scheduler(name: str, params: ObjectiveParams) -> Any:
    """The diffusers scheduler ``name``. Raises ParamsError where it doesn't fit the objective."""
    flow = params.prediction == "flow"
    known = _FLOW if flow else _VARIANCE_PRESERVING
    if name not in known:
        raise ParamsError(
            f"sampler {name!r} does not fit prediction {params.prediction!r}:{did_you_mean(name, known)} "
            f"it takes {', '.join(known)}."
        )
    if flow:
        return known[name]()
    prediction = "v_prediction" if params.prediction == "v" else "epsilon"
    return known[name](
        # Of the training path, said to all of them: Heun's own default is another one.
        beta_start=_BETAS[0],
        beta_end=_BETAS[1],
        beta_schedule=params.beta_schedule,
        prediction_type=prediction,
        timestep_spacing="trailing",
    )


def set_steps(scheduler: Any, name: str, steps: int, device: torch.device) -> None:
    """Set ``scheduler`` up for ``steps`` from pure noise. Raises ParamsError for a number that it can't go down in."""
    if name in _WHOLE_STRIDES and _left(steps) > _MOST_LEFT:
        fitting = min(
            (n for n in range(1, TRAIN_TIMESTEPS + 1) if _left(n) <= _MOST_LEFT), key=lambda n: abs(n - steps)
        )
        raise ParamsError(
            f"sampler {name!r} goes down {TRAIN_TIMESTEPS} noise levels in equal whole strides, which {steps} steps "
            f"don't make: take {fitting}."
        )
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        # Even steps to 0. By itself it takes the last but one at 1/1000, a step that does nothing.
        scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps).tolist(), device=device)
    else:
        scheduler.set_timesteps(steps, device=device)


def remaining_timesteps(scheduler: Any, skipped: int) -> torch.Tensor:
    """The timesteps after the first ``skipped`` steps, where ``scheduler`` is told to begin."""
    if isinstance(scheduler, PNDMScheduler):
        # It takes its second timestep twice, to begin with a Heun step, wherever it begins.
        plain = torch.unique_consecutive(scheduler.timesteps)[skipped:]
        return torch.cat([plain[:2], plain[1:]])
    at = skipped * getattr(scheduler, "order", 1)
    if skipped and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(at)
    return scheduler.timesteps[at:]


def draws_noise(scheduler: Any) -> bool:
    """Whether ``scheduler`` adds noise at each step."""
    return isinstance(scheduler, DDPMScheduler)


def _left(steps: int) -> float:
    return 1 - steps * (TRAIN_TIMESTEPS // steps) / TRAIN_TIMESTEPS


def levels(params: ObjectiveParams, timestep: float) -> tuple[float, float]:
    """(signal, noise) that latents are made of at ``timestep`` in 0..1000, as `facet.diffusion.objective` mixes them;
    between the steps of the epsilon and v objectives, alpha is interpolated, and 0 is clean."""
    if params.prediction == "flow":
        return 1 - timestep / TRAIN_TIMESTEPS, timestep / TRAIN_TIMESTEPS
    alphas = DDPMScheduler(TRAIN_TIMESTEPS, beta_schedule=params.beta_schedule).alphas_cumprod.double().numpy()
    alpha = 1.0 if timestep == 0 else float(np.interp(timestep, np.arange(TRAIN_TIMESTEPS), alphas))
    return alpha**0.5, (1 - alpha) ** 0.5
