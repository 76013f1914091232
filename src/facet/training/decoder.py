"""Sharpening the decoder on cached latents, the encoder frozen, so that the latents stay valid."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import nn

from facet.data.pixels import to_pixels
from facet.models.discriminator import PatchDiscriminator
from facet.params import NonNegative, Positive
from facet.training.feed import resident, take
from facet.training.loop import Batch
from facet.training.vae import ReconstructionParams, reconstruction_terms


@dataclasses.dataclass(frozen=True)
class AdversaryParams:
    """The discriminator and how much the decoder heeds it."""

    # Width of the discriminator's first level.
    width: Positive
    # Weight of the decoder's hinge loss (Lim & Ye, 2017).
    adversarial: NonNegative
    # Weight of feature matching: L1 between the discriminator's activations of real and decoded face, a perceptual loss
    # that needs no pretrained network (Larsen et al., 2016).
    matching: NonNegative


class _Decode(nn.Module):
    """Latents -> pixels: the decoder's half of the autoencoder as a module of its own."""

    def __init__(self, vae: AutoencoderKL):
        super().__init__()
        self.vae = vae
        trained = ("decoder.", "post_quant_conv.", "linear_decoder.")
        for name, parameter in vae.named_parameters():
            parameter.requires_grad_(name.startswith(trained))

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.vae.decode(latents).sample.float()


class DecoderTask:
    """Two players: the decoder, and a discriminator that tells its faces from real ones."""

    def __init__(
        self,
        vae: AutoencoderKL,
        faces: np.ndarray,
        moments: np.ndarray,
        reconstruction: ReconstructionParams,
        adversary: AdversaryParams,
        noise: list[float],
        device: torch.device,
    ):
        """``faces`` uint8 [n, h, w, 3] and ``moments`` fp16 [n, 2, 2c, h', w'] of the same rows: the training split.

        ``noise`` is one figure a latent channel: the most noise that is added to it, as a standard deviation.
        """
        self.players: dict[str, nn.Module] = {
            "decoder": _Decode(vae).to(memory_format=torch.channels_last),
            "discriminator": PatchDiscriminator(adversary.width).to(memory_format=torch.channels_last),
        }
        self.rows = len(faces)
        self._faces, self._moments = resident(faces, device), resident(moments, device)
        self._reconstruction, self._adversary, self._device = reconstruction, adversary, device
        self._noise = torch.tensor(noise, device=device).view(1, -1, 1, 1)
        self._decoded = torch.empty(0)

    def loss(self, player: str, module: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        flip = batch.rand("flip", (), self._device) < 0.5
        pixels = to_pixels(take(self._faces, batch.rows, self._device), flip)
        discriminator = self.players["discriminator"].requires_grad_(player == "discriminator")
        if player == "discriminator":
            real, fake = module(pixels)[0], module(self._decoded)[0]
            return {"loss": F.relu(1 - real).mean() + F.relu(1 + fake).mean()}
        output = module(self._latents(batch, flip))
        self._decoded = output.detach()
        verdict, seen = discriminator(output)
        with torch.no_grad():
            _, real = discriminator(pixels)
        matching = sum(F.l1_loss(a.float(), b.float()) for a, b in zip(seen, real, strict=True)) / len(real)
        return reconstruction_terms(output, pixels, self._reconstruction) | {
            "adversarial_loss": -self._adversary.adversarial * verdict.float().mean(),
            "matching_loss": self._adversary.matching * matching,
        }

    def _latents(self, batch: Batch, flip: torch.Tensor) -> torch.Tensor:
        moments = take(self._moments, batch.rows, self._device)
        moments = moments[torch.arange(len(moments), device=self._device), flip.long()].float()
        mean, log_variance = moments.chunk(2, dim=1)
        shape = tuple(mean.shape[1:])
        latents = mean + (0.5 * log_variance).exp() * batch.randn("posterior", shape, self._device)
        strength = batch.rand("noise strength", (1, 1, 1), self._device)
        return latents + strength * self._noise * batch.randn("noise", shape, self._device)
