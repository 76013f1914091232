"""FacePipeline: attributes and seeds in, faces out; a diffusers DiffusionPipeline."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel
from diffusers.utils import BaseOutput
from diffusers.utils import logging as diffusers_logging
from PIL import Image

from facet.artifacts import read_json, write_json
from facet.data.attributes import UNKNOWN, parse_request
from facet.data.pixels import to_uint8
from facet.diffusion.objective import ObjectiveParams
from facet.diffusion.schedulers import SamplerName, build_scheduler
from facet.errors import ParamsError
from facet.models.autoencoder import load_autoencoder, save_model
from facet.models.conditioning import AttributeEncoder
from facet.models.denoiser import load_denoiser
from facet.params import Between, Positive
from facet.precision import Precision, autocast
from facet.seeding import torch_stream

# CPU kernels choose their blocking by the number of rows and of threads, and with it the last bits of each row. So on a
# CPU the network always sees 16 rows, the last of them repeated where fewer are asked for
# (tests/diffusion/test_pipeline.py holds that a row's place among them doesn't matter).
_ROWS = 16


@dataclasses.dataclass(frozen=True)
class SamplingParams:
    """How the denoiser is run; kept with the model as its defaults, and part of every score's protocol."""

    # One of diffusers' schedulers, by name.
    sampler: SamplerName
    # Denoising steps; the network runs once a step, twice where guided.
    steps: Annotated[int, Between(1, 1000)]
    # Classifier-free guidance scale (Ho & Salimans, 2022); 1 is no guidance.
    guidance_scale: Annotated[float, Between(0, 30)]
    # Part of the time axis (1 = pure noise) in which guidance acts (Kynkäänniemi et al., 2024).
    guidance_interval: tuple[Annotated[float, Between(0, 1)], ...]
    # auto | fp32 | bf16
    precision: Precision
    # Pictures drawn at a time on a GPU; a CPU draws 16 at a time, so that it has no influence on the pixels.
    batch_size: Positive

    def __post_init__(self) -> None:
        if len(self.guidance_interval) != 2 or self.guidance_interval[0] > self.guidance_interval[1]:
            raise ValueError(f"guidance_interval is {list(self.guidance_interval)}, expected [low, high] in 0..1")


@dataclasses.dataclass
class FaceOutput(BaseOutput):
    """Drawn faces: a list of PIL images, or uint8 [n, h, w, 3]."""

    images: list[Image.Image] | np.ndarray


class FacePipeline(DiffusionPipeline):
    """Latent diffusion over standardised latents: noise -> denoiser under guidance -> autoencoder -> pixels."""

    model_cpu_offload_seq = "condition_encoder->unet->vae"

    # diffusers takes constructor arguments without a default for networks; these four have one for that reason alone.
    def __init__(
        self,
        vae: AutoencoderKL,
        unet: UNet2DConditionModel,
        condition_encoder: AttributeEncoder,
        scheduler: object,
        latents_mean: list[float] = (),
        latents_std: list[float] = (),
        objective: dict | None = None,
        sampling: dict | None = None,
    ):
        super().__init__()
        self.register_modules(vae=vae, unet=unet, condition_encoder=condition_encoder, scheduler=scheduler)
        self.register_to_config(
            latents_mean=list(latents_mean), latents_std=list(latents_std), objective=objective, sampling=sampling
        )

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The attributes this model was trained with, in the order of the states' columns."""
        return tuple(self.condition_encoder.config.attribute_names)

    @torch.no_grad()
    def __call__(
        self,
        attributes: str | np.ndarray | torch.Tensor = "",
        num_images: int = 1,
        seeds: Sequence[int] | int = 0,
        steps: int | None = None,
        guidance_scale: float | None = None,
        guidance_interval: tuple[float, float] | None = None,
        sampler: str | None = None,
        batch_size: int | None = None,
        output_type: Literal["pil", "np"] = "pil",
    ) -> FaceOutput:
        """Draw faces.

        ``attributes`` is ``"Smiling,-Male"`` for all, or states int [n, k] of -1, 0, 1. ``seeds`` is one seed a
        picture, or the first of ``num_images`` consecutive ones; a picture's pixels depend on its seed and condition
        alone. What is None comes from the model's own sampling defaults. Raises ParamsError on values out of range.
        """
        sampling = self._resolve(
            steps=steps,
            guidance_scale=guidance_scale,
            guidance_interval=guidance_interval,
            sampler=sampler,
            batch_size=batch_size,
        )
        seeds = list(range(seeds, seeds + num_images)) if isinstance(seeds, int) else [int(s) for s in seeds]
        states = self._states(attributes, len(seeds))
        faces = []
        with self.progress_bar(total=len(seeds)) as progress:
            rows = sampling.batch_size if self._execution_device.type == "cuda" else _ROWS
            for start in range(0, len(seeds), rows):
                chunk = slice(start, start + rows)
                faces.append(self._draw(states[chunk], seeds[chunk], sampling))
                progress.update(len(faces[-1]))
        pixels = np.concatenate(faces)
        return FaceOutput(images=pixels if output_type == "np" else [Image.fromarray(face) for face in pixels])

    def _resolve(self, **given: object) -> SamplingParams:
        values = dict(self.config.sampling) | {k: v for k, v in given.items() if v is not None}
        values["guidance_interval"] = tuple(values["guidance_interval"])
        if values["steps"] < 1 or values["steps"] > 1000:
            raise ParamsError(f"steps is {values['steps']}, expected 1 to 1000.")
        if not 0 <= values["guidance_scale"] < math.inf:
            raise ParamsError(f"guidance scale is {values['guidance_scale']}, expected at least 0 (1 is no guidance).")
        if values["batch_size"] < 1:
            raise ParamsError(f"batch_size is {values['batch_size']}, expected at least 1.")
        try:
            return SamplingParams(**values)
        except ValueError as error:
            raise ParamsError(f"{error}.") from None

    def _states(self, attributes: str | np.ndarray | torch.Tensor, count: int) -> torch.Tensor:
        if count < 1:
            raise ParamsError(f"{count} pictures were asked for, expected at least one.")
        if isinstance(attributes, str):
            attributes = np.tile(parse_request(attributes, self.attribute_names), (count, 1))
        states = torch.as_tensor(np.asarray(attributes))
        expected = (count, len(self.attribute_names))
        if tuple(states.shape) != expected:
            raise ParamsError(f"attributes have shape {tuple(states.shape)}, expected {expected}: a row a picture.")
        if not bool(((states == -1) | (states == 0) | (states == 1)).all()):
            raise ParamsError("attributes hold other values than -1, 0 or 1: say absent, unknown or present.")
        return states

    def _draw(self, states: torch.Tensor, seeds: list[int], sampling: SamplingParams) -> np.ndarray:
        """One batch: states [n, k] and n seeds -> uint8 [n, h, w, 3]."""
        count = len(seeds)
        noise = torch.stack([torch.randn(self._latent_shape, generator=torch_stream(s, "draw")) for s in seeds])
        noise, states = _pad(noise).to(self._execution_device), _pad(states).to(self._execution_device)
        with autocast(sampling.precision, self._execution_device):
            latents = self._denoise(noise, states, sampling)
            pixels = self.decode_latents(latents)
        return to_uint8(pixels[:count])

    @property
    def _latent_shape(self) -> tuple[int, int, int]:
        size = self.unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return (self.unet.config.in_channels, height, width)

    def _denoise(self, latents: torch.Tensor, states: torch.Tensor, sampling: SamplingParams) -> torch.Tensor:
        """Standard normal [n, c, h, w] -> standardised clean latents [n, c, h, w]."""
        scheduler = build_scheduler(sampling.sampler, ObjectiveParams(**self.config.objective))
        scheduler.set_timesteps(sampling.steps, device=latents.device)
        conditions = self.condition_encoder(states)
        null = self.condition_encoder(torch.full_like(states, UNKNOWN))
        low, high = sampling.guidance_interval
        latents = latents * scheduler.init_noise_sigma if hasattr(scheduler, "init_noise_sigma") else latents
        for timestep in scheduler.timesteps:
            scaled = (
                scheduler.scale_model_input(latents, timestep) if hasattr(scheduler, "scale_model_input") else latents
            )
            guided = sampling.guidance_scale != 1 and low <= float(timestep) / 1000 <= high
            prediction = self._predict(scaled, timestep, conditions, null if guided else None, sampling.guidance_scale)
            latents = scheduler.step(prediction, timestep, latents, return_dict=False)[0]
        return latents

    def _predict(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor,
        conditions: tuple[torch.Tensor, torch.Tensor],
        null: tuple[torch.Tensor, torch.Tensor] | None,
        scale: float,
    ) -> torch.Tensor:
        tokens, pooled = conditions
        if null is None:
            return self.unet(latents, timestep, encoder_hidden_states=tokens, class_labels=pooled).sample.float()
        both = self.unet(
            torch.cat([latents, latents]),
            timestep,
            encoder_hidden_states=torch.cat([tokens, null[0]]),
            class_labels=torch.cat([pooled, null[1]]),
        ).sample.float()
        conditional, unconditional = both.chunk(2)
        return unconditional + scale * (conditional - unconditional)

    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Standardised latents [n, c, h, w] -> pixels float [n, 3, h, w], about [-1, 1]."""
        mean = torch.tensor(self.config.latents_mean, device=latents.device).view(1, -1, 1, 1)
        std = torch.tensor(self.config.latents_std, device=latents.device).view(1, -1, 1, 1)
        return self.vae.decode(latents * std + mean).sample.float()


def _pad(rows: torch.Tensor) -> torch.Tensor:
    """Repeat the last row until the count is a multiple of ``_ROWS``."""
    missing = -rows.shape[0] % _ROWS
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing else rows


def assemble(unet: Path, decoder: Path, sampling: SamplingParams) -> FacePipeline:
    """The pipeline of the trained parts in two artifact folders, with ``sampling`` as its defaults."""
    network, condition_encoder, about = load_denoiser(unet)
    pipeline = FacePipeline(
        vae=load_autoencoder(decoder),
        unet=network,
        condition_encoder=condition_encoder,
        scheduler=build_scheduler(sampling.sampler, ObjectiveParams(**about["objective"])),
        latents_mean=about["latents_mean"],
        latents_std=about["latents_std"],
        objective=about["objective"],
        sampling=dataclasses.asdict(sampling),
    )
    return _with_progress(pipeline)


def load_pipeline(folder: Path) -> FacePipeline:
    """The pipeline saved in ``folder``: safetensors only, no network. Raises ArtifactError where there is none."""
    read_json(folder / "model_index.json")
    if not sys.stderr.isatty():
        diffusers_logging.disable_progress_bar()
    return _with_progress(FacePipeline.from_pretrained(folder, use_safetensors=True, local_files_only=True))


def save_pipeline(pipeline: FacePipeline, folder: Path) -> None:
    """``save_pretrained`` without the places that parts were loaded from, which would give one model many digests."""
    pipeline.save_pretrained(folder, safe_serialization=True)
    for name in ("vae", "unet", "condition_encoder"):
        save_model(getattr(pipeline, name), folder / name)
    for path in folder.rglob("*.json"):
        write_json(path, {key: value for key, value in read_json(path).items() if key != "_name_or_path"})


def _with_progress(pipeline: FacePipeline) -> FacePipeline:
    pipeline.set_progress_bar_config(disable=None, desc="draw", unit="face", leave=False)
    return pipeline
