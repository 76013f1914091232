"""diffusers' samplers by name, set up for the objective that the denoiser was trained with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    UniPCMultistepScheduler,
)

from facet.diffusion.objective import TRAIN_TIMESTEPS, ObjectiveParams
from facet.errors import ParamsError, did_you_mean

SamplerName = Literal["dpm++", "unipc", "euler", "heun", "ddim"]

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
    "dpm++": lambda **given: DPMSolverMultistepScheduler(
        TRAIN_TIMESTEPS, timestep_spacing="trailing", lambda_min_clipped=_NO_CLIP, **given
    ),
    "unipc": lambda **given: UniPCMultistepScheduler(TRAIN_TIMESTEPS, timestep_spacing="trailing", **given),
    "ddim": lambda **given: DDIMScheduler(
        TRAIN_TIMESTEPS, timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=True, **given
    ),
}


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
    return known[name](beta_schedule=params.beta_schedule, prediction_type=prediction)


def levels(params: ObjectiveParams, timestep: float) -> tuple[float, float]:
    """(signal, noise) that latents are made of at ``timestep`` in 0..1000, as `facet.diffusion.objective` mixes them;
    between the steps of the epsilon and v objectives, alpha is interpolated, and 0 is clean."""
    if params.prediction == "flow":
        return 1 - timestep / TRAIN_TIMESTEPS, timestep / TRAIN_TIMESTEPS
    alphas = DDPMScheduler(TRAIN_TIMESTEPS, beta_schedule=params.beta_schedule).alphas_cumprod.double().numpy()
    alpha = 1.0 if timestep == 0 else float(np.interp(timestep, np.arange(TRAIN_TIMESTEPS), alphas))
    return alpha**0.5, (1 - alpha) ** 0.5
