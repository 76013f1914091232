"""From a photo back to noise: the probability-flow ODE run upwards (Song et al., 2021, section 4.3).

What comes out, run down again under the same condition, gives the photo back; run down under another, an edited one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch

from facet.diffusion.objective import ObjectiveParams
from facet.diffusion.photos import Photo, as_faces
from facet.diffusion.pipeline import ROWS, FacePipeline
from facet.diffusion.requests import Request, build_request
from facet.diffusion.sampling import Condition, Sampler, noise_of, predict, resolve_sampling
from facet.diffusion.schedulers import levels


@torch.no_grad()
def invert(
    pipeline: FacePipeline,
    faces: Photo,
    *,
    prompt: str | Sequence[str] = "",
    attributes: str | np.ndarray | torch.Tensor = "",
    strength: float = 0.8,
    steps: int | None = None,
) -> torch.Tensor:
    """Latents [n, c, h, w] of ``faces`` (PIL, or uint8 [n, size, size, 3]) at the noise level of ``strength``, to be
    handed to the pipeline as ``latents`` with the same ``strength`` and ``steps``.

    ``prompt`` and ``attributes`` say what the photos show, without guidance, which would bend the path. Each of
    ``steps`` (None: the pipeline's own), counted over the whole axis as in drawing, runs the network twice. Raises
    ParamsError on values out of range.
    """
    faces = as_faces(faces, pipeline.size)
    request = build_request(
        prompt, attributes, "", list(range(len(faces))), None, pipeline.attribute_names, pipeline.conditioning
    )
    sampling = resolve_sampling(pipeline.config.sampling, {"steps": steps})
    objective = ObjectiveParams(**pipeline.config.objective)
    device = pipeline._execution_device
    sampler = Sampler(objective, sampling, device, strength)
    found = []
    with pipeline.arithmetic(sampling):
        for at in range(0, len(faces), ROWS):
            rows = slice(at, at + ROWS)
            block: Request = request.part(rows).padded(ROWS)
            clean = pipeline.encode_faces(faces[rows])
            clean = torch.cat([clean, clean[-1:].expand(len(block) - len(clean), -1, -1, -1)])
            condition, _ = pipeline.conditions(block)
            times = [0.0, *sampler.distinct_timesteps().tolist()[::-1]]
            found.append(upwards(pipeline.unet, objective, clean, condition, times)[: len(faces[rows])])
    return torch.cat(found)


def upwards(
    unet: torch.nn.Module, objective: ObjectiveParams, latents: torch.Tensor, condition: Condition, times: list[float]
) -> torch.Tensor:
    """Clean latents [n, c, h, w] -> those at the last of ``times``, by the explicit midpoint rule."""

    def moved(slope_at: torch.Tensor, begin: float, middle: float, end: float) -> torch.Tensor:
        """From ``begin`` to ``end`` along the noise that the network sees in ``slope_at`` at ``middle``."""
        prediction = predict(unet, slope_at, torch.tensor(middle, device=slope_at.device), condition)
        noise = noise_of(objective, prediction, slope_at, middle)
        (alpha, sigma), (alpha_end, sigma_end) = levels(objective, begin), levels(objective, end)
        return alpha_end / alpha * latents + (sigma_end - alpha_end / alpha * sigma) * noise

    for begin, end in itertools.pairwise(times):
        middle = (begin + end) / 2
        latents = moved(moved(latents, begin, begin, middle), begin, middle, end)
    return latents
