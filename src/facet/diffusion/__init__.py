"""Diffusion: what the denoiser learns, and how faces are drawn with it."""

from facet import collector
from facet.torchvision_ops import declare_missing

with collector.paused():
    # diffusers probes for torchvision, whose registry build can't load beside a CPU torch.
    declare_missing()
    from diffusers import (  # noqa: F401 - imported here, so that the modules below find them at no cost
        AutoencoderKL,
        DiffusionPipeline,
        UNet2DConditionModel,
    )
