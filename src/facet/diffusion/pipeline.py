"""FacePipeline: attributes, a sentence, a photo and seeds in, faces out; a diffusers DiffusionPipeline."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel
from diffusers.utils import BaseOutput
from PIL import Image

from facet.data.attributes import UNKNOWN
from facet.data.pixels import to_pixels, to_uint8
from facet.diffusion.completion import completed, never_seen
from facet.diffusion.objective import ObjectiveParams
from facet.diffusion.photos import Photo, Start, as_faces, as_masks
from facet.diffusion.requests import Request, RequestWarning, build_request
from facet.diffusion.sampling import Condition, Known, Sampler, SamplingParams, resolve_sampling
from facet.diffusion.saved_files import write_manifest
from facet.errors import ParamsError
from facet.models.autoencoder import downscale
from facet.models.conditioning import ConditionEncoder, Conditioning, TextFeatures
from facet.models.text import (
    CLIPTextModel,
    CLIPTokenizer,
    cut_off,
    text_features,
    token_ids,
    unread_words,
)
from facet.precision import autocast

# CPU kernels choose their blocking by the number of rows and of threads, and with it the last bits of each row. So on a
# CPU the network always sees 16 rows, the last of them repeated where fewer are asked for
# (tests/diffusion/test_pipeline.py holds that a row's place among them doesn't matter).
ROWS = 16

_OutputType = Literal["pil", "np", "pt"]


# diffusers' convention: (pipeline, index of the step, timestep, {"latents": those after it, "clean": the clean ones it
# foresees}) -> {"latents": those to go on with}, or nothing.
StepCallback = Callable[["FacePipeline", int, torch.Tensor, dict[str, torch.Tensor]], dict[str, torch.Tensor] | None]


@dataclasses.dataclass
class FaceOutput(BaseOutput):
    """Drawn faces: a list of PIL images, uint8 [n, h, w, 3], or a float tensor [n, 3, h, w] in [0, 1]."""

    images: list[Image.Image] | np.ndarray | torch.Tensor


class FacePipeline(DiffusionPipeline):
    """Latent diffusion over standardised latents: noise or photo -> guided denoiser -> autoencoder -> pixels."""

    model_cpu_offload_seq = "text_encoder->condition_encoder->unet->vae"
    _optional_components: ClassVar = ["tokenizer", "text_encoder"]

    # diffusers takes constructor arguments without a default for networks; the others have one for that reason alone.
    def __init__(
        self,
        vae: AutoencoderKL,
        unet: UNet2DConditionModel,
        condition_encoder: ConditionEncoder,
        scheduler: object,
        tokenizer: CLIPTokenizer | None = None,
        text_encoder: CLIPTextModel | None = None,
        latents_mean: list[float] = (),
        latents_std: list[float] = (),
        objective: dict | None = None,
        sampling: dict | None = None,
        conditioning: str = "attributes",
        closed_vocabulary: bool = False,
    ):
        """``closed_vocabulary``: the tokenizer has every word of the training captions whole, and no other."""
        super().__init__()
        self.register_modules(
            vae=vae,
            unet=unet,
            condition_encoder=condition_encoder,
            scheduler=scheduler,
            tokenizer=tokenizer,
            text_encoder=text_encoder,
        )
        self.register_to_config(
            latents_mean=list(latents_mean),
            latents_std=list(latents_std),
            objective=objective,
            sampling=sampling,
            conditioning=conditioning,
            closed_vocabulary=closed_vocabulary,
        )

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The attributes this model was trained with, in the order of the states' columns."""
        return tuple(self.condition_encoder.config.attribute_names)

    @property
    def conditioning(self) -> Conditioning:
        """What the model can be asked by."""
        return self.config.conditioning

    @property
    def size(self) -> int:
        """Side of a picture in pixels."""
        return self.latent_shape[-1] * downscale(self.vae)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of a picture's latents."""
        size = self.unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return (self.unet.config.in_channels, height, width)

    @property
    def text_length(self) -> int:
        """Tokens of a sentence, its start and end included; 0 where the model reads none."""
        return 0 if self.text_encoder is None else self.text_encoder.config.max_position_embeddings

    def save_pretrained(self, save_directory: str | Path, *args: object, **kwargs: object) -> None:
        """diffusers' own, and the list of files that `load_pipeline` checks."""
        super().save_pretrained(save_directory, *args, **kwargs)
        write_manifest(Path(save_directory))

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str] = "",
        attributes: str | np.ndarray | torch.Tensor = "",
        negative_prompt: str | Sequence[str] = "",
        num_images: int | None = None,
        seeds: Sequence[int] | int = 0,
        image: Photo | None = None,
        strength: float = 1.0,
        mask: Photo | None = None,
        latents: torch.Tensor | None = None,
        steps: int | None = None,
        guidance_scale: float | None = None,
        guidance_interval: tuple[float, float] | None = None,
        guidance_rescale: float | None = None,
        sampler: str | None = None,
        complete: bool | None = None,
        batch_size: int | None = None,
        output_type: _OutputType = "pil",
        callback_on_step_end: StepCallback | None = None,
        negative_attributes: str | np.ndarray | torch.Tensor = "",
    ) -> FaceOutput:
        """Draw faces.

        ``prompt`` and ``negative_prompt`` are one text for all or one a picture; ``attributes`` and
        ``negative_attributes`` are ``"Smiling,-Male"`` for all, or states [n, k] of -1, 0, 1 and what lies between.
        Guidance leads away from the negative ones. ``seeds`` is one seed a picture, or the first of ``num_images``
        consecutive ones; a picture's pixels depend on its seed and request alone. What is None comes from the model's
        own sampling defaults. With ``complete``, attributes that the request leaves open are those of a training face
        that fits it, one for each seed; without, the network fills them in, as it always does for a picture that starts
        from ``image`` or ``latents``.

        ``image`` is a photo, or one a picture, to start from, ``strength`` how far it may change, from above 0 to 1.
        With ``mask``, white (or True) where the photo is drawn anew, all its other pixels come back as they were.
        ``latents`` [n, c, h, w] take the place of the seeds' noise; without ``image`` and with a ``strength`` below 1
        they are latents of that noise level. Raises ParamsError on values out of range.
        """
        sampling = resolve_sampling(
            self.config.sampling,
            {
                "steps": steps,
                "guidance_scale": guidance_scale,
                "guidance_interval": guidance_interval,
                "guidance_rescale": guidance_rescale,
                "sampler": sampler,
                "complete": complete if image is None and latents is None else False,
                "batch_size": batch_size,
            },
        )
        if output_type not in get_args(_OutputType):
            raise ParamsError(f"output_type is {output_type!r}, expected one of {', '.join(get_args(_OutputType))}.")
        faces = None if image is None else as_faces(image, self.size)
        if num_images is None and faces is not None and isinstance(seeds, int) and len(faces) > 1:
            num_images = len(faces)
        request = build_request(
            prompt,
            attributes,
            negative_prompt,
            seeds,
            num_images,
            self.attribute_names,
            self.conditioning,
            negative_attributes,
        )
        self._warn_of_text(request)
        self._warn_of_attributes(request)
        masks = None if mask is None else as_masks(mask, self.size)
        faces, masks = (_for_each(rows, len(request)) for rows in (faces, masks))
        start = Start(request.seeds, self.latent_shape, strength, faces, masks, latents)
        drawn = []
        with self.progress_bar(total=len(request)) as progress:
            at_once = sampling.batch_size if self._execution_device.type == "cuda" else ROWS
            for at in range(0, len(request), at_once):
                rows = slice(at, at + at_once)
                drawn.append(self._draw(request.part(rows), start.part(rows, ROWS), sampling, callback_on_step_end))
                progress.update(len(drawn[-1]))
        return FaceOutput(images=_as_asked(np.concatenate(drawn), output_type))

    def _warn_of_text(self, request: Request) -> None:
        """Say what of the prompts will not be read, once each."""
        for text in dict.fromkeys(request.prompts + request.negative):
            cut = cut_off(self.tokenizer, text, self.text_length) if text else ""
            if cut:
                told = f"the prompt is longer than {self.text_length - 2} tokens; not read: {cut!r}"
                warnings.warn(told, RequestWarning, stacklevel=4)
            unread = unread_words(self.tokenizer, text) if text and self.config.closed_vocabulary else []
            if unread:
                words = ", ".join(map(repr, unread))
                warnings.warn(
                    f"the model has met no caption with {words}: it will guess at them", RequestWarning, stacklevel=4
                )

    def _warn_of_attributes(self, request: Request) -> None:
        """Say what is asked for, by attributes or by one prompt for all, that no training face kept here has."""
        examples = self.condition_encoder.examples.cpu()
        states = request.states[(request.states == request.states.round()).all(dim=1)]
        if not len(examples) or not len(states):
            return
        if len(set(request.prompts)) == 1:
            said = torch.from_numpy(self.said_by(request.prompts[0])).to(states.dtype)
            states = torch.where(states == UNKNOWN, said, states)
        unseen = never_seen(states, examples, self.attribute_names)
        if unseen:
            more = f" and {len(unseen) - 3} more" if len(unseen) > 3 else ""
            told = " or ".join(map(repr, unseen[:3])) + more
            warnings.warn(
                f"none of the {len(examples)} training faces that the model knows of has {told}: it will guess",
                RequestWarning,
                stacklevel=4,
            )

    def _draw(
        self, request: Request, start: Start, sampling: SamplingParams, callback: StepCallback | None
    ) -> np.ndarray:
        """One batch -> uint8 [n, h, w, 3]; ``start`` is padded to whole blocks of rows, ``request`` is not yet."""
        count, device = len(request), self._execution_device
        sampler = Sampler(ObjectiveParams(**self.config.objective), sampling, device, start.strength)

        def on_step(index: int, timestep: torch.Tensor, latents: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
            changed = callback(self, index, timestep, {"latents": latents, "clean": clean}) or {}
            return changed.get("latents", latents)

        with self.arithmetic(sampling):
            noise, free = start.noise(device), start.free(device)
            clean = None if start.faces is None else self.encode_faces(start.faces)
            request = request.padded(ROWS)
            if sampling.complete:
                whole = self.filled_in(request.states, request.prompts, request.seeds)
                request = dataclasses.replace(request, states=whole)
            condition, null = self.conditions(request)
            latents = sampler.run(
                self.unet,
                sampler.scaled(noise) if start.noised and start.strength < 1 else sampler.start(noise, clean),
                condition,
                null,
                known=None if free is None else Known(clean, noise, free),
                on_step=on_step if callback else None,
                generators=start.generators(),
            )
            pixels = self.decode_latents(latents)
        return start.composed(to_uint8(pixels[:count]))

    @torch.no_grad()
    def filled_in(self, states: torch.Tensor, prompts: list[str], seeds: Sequence[int]) -> torch.Tensor:
        """``states`` [n, k] of -1, 0, 1 with what they leave open taken from training faces that fit, one for each seed
        (facet.diffusion.completion); what a prompt says of attributes counts as asked for. As they are where the model
        keeps no faces' attributes, or they are mixtures."""
        examples = self.condition_encoder.examples
        states = states.to(examples.device)
        if not len(examples) or not bool((states == states.round()).all()):
            return states
        if any(prompts):
            filled_up = [*prompts, *prompts[-1:] * (-len(prompts) % ROWS)]
            with torch.autocast(examples.device.type, enabled=False):
                said = self.condition_encoder.read(self._text(filled_up))[: len(prompts)].argmax(dim=-1) - 1
            said[[not prompt for prompt in prompts]] = UNKNOWN
            states = torch.where(states == UNKNOWN, said.to(states.dtype), states)
        return completed(states, seeds, examples, self.attribute_names)

    def arithmetic(self, sampling: SamplingParams) -> torch.autocast:
        """The autocast context to draw in: of ``sampling``'s precision, or of the weights' own after ``.to(dtype)``."""
        device, weights = self._execution_device, self.unet.dtype
        if weights == torch.float32:
            return autocast(sampling.precision, device)
        return torch.autocast(device.type, weights)

    def conditions(self, request: Request) -> tuple[Condition, Condition]:
        """The condition of each row, and the one that guidance leads away from."""
        asked = self._condition(request.states, request.prompts)
        return asked, self._condition(request.negative_states, request.negative)

    def _condition(self, states: torch.Tensor, prompts: list[str]) -> Condition:
        return Condition(*self.condition_encoder(states.to(self._execution_device), self._text(prompts)))

    def _text(self, prompts: list[str]) -> TextFeatures | None:
        if self.text_encoder is None:
            return None
        ids = token_ids(self.tokenizer, prompts, self.text_length)
        return text_features(self.text_encoder, ids.to(self._execution_device))

    @torch.no_grad()
    def said_by(self, prompt: str) -> np.ndarray:
        """What a sentence says of the attributes to this model, int8 [k] of -1, 0, 1; all 0 where it reads none."""
        if not prompt or self.text_encoder is None or not self.attribute_names:
            return np.zeros(len(self.attribute_names), np.int8)
        with self.arithmetic(resolve_sampling(self.config.sampling, {})):
            read = self.condition_encoder.read(self._text([prompt] * ROWS))[0]
        return (read.argmax(dim=-1) - 1).to(torch.int8).cpu().numpy()

    def encode_faces(self, faces: np.ndarray) -> torch.Tensor:
        """Pictures uint8 [n, h, w, 3] -> standardised latents [n, c, h, w], the posterior's mean; in blocks of rows, so
        that a picture's latents don't depend on its company."""
        count, blocks = len(faces), []
        faces = np.concatenate([faces, np.repeat(faces[-1:], -count % ROWS, axis=0)])
        for at in range(0, len(faces), ROWS):
            pixels = to_pixels(torch.from_numpy(np.ascontiguousarray(faces[at : at + ROWS])).to(self._execution_device))
            blocks.append(self.vae.encode(pixels).latent_dist.mean.float())
        mean, std = self._statistics()
        return ((torch.cat(blocks) - mean) / std)[:count]

    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Standardised latents [n, c, h, w] -> pixels float [n, 3, h, w], about [-1, 1]."""
        mean, std = self._statistics()
        return self.vae.decode(latents * std + mean).sample.float()

    @torch.no_grad()
    def decode_faces(self, latents: torch.Tensor) -> np.ndarray:
        """Standardised latents [n, c, h, w] -> pictures uint8 [n, h, w, 3], in blocks of rows."""
        blocks, count = [], len(latents)
        latents = torch.cat([latents, latents[-1:].expand(-count % ROWS, -1, -1, -1)]).to(self._execution_device)
        with self.arithmetic(resolve_sampling(self.config.sampling, {})):
            for at in range(0, len(latents), ROWS):
                blocks.append(to_uint8(self.decode_latents(latents[at : at + ROWS])))
        return np.concatenate(blocks)[:count]

    def _statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        mean, std = (
            torch.tensor(values, device=self._execution_device).view(1, -1, 1, 1)
            for values in (self.config.latents_mean, self.config.latents_std)
        )
        return mean, std


def _for_each(rows: np.ndarray | None, count: int) -> np.ndarray | None:
    """One photo or mask for all is one for each."""
    return np.repeat(rows, count, axis=0) if rows is not None and len(rows) == 1 else rows


def _as_asked(faces: np.ndarray, output_type: str) -> list[Image.Image] | np.ndarray | torch.Tensor:
    if output_type == "pil":
        return [Image.fromarray(face) for face in faces]
    return faces if output_type == "np" else torch.from_numpy(faces).permute(0, 3, 1, 2).float() / 255
