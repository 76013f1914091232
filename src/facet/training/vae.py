"""Training the autoencoder from scratch."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import nn

from facet.data.pixels import to_pixels
from facet.models.autoencoder import PatchAutoencoderKL, latent_shape
from facet.params import NonNegative
from facet.training import alarms
from facet.training.feed import resident, take
from facet.training.loop import Batch


@dataclasses.dataclass(frozen=True)
class ReconstructionParams:
    """Weights of the autoencoder's loss terms; pixels are in [-1, 1], each term is a mean over elements."""

    # Absolute error.
    l1: NonNegative
    # Squared error.
    l2: NonNegative
    # Absolute error of horizontal and vertical differences: edges stay where they are.
    gradient: NonNegative
    # Kullback-Leibler divergence of the posterior from N(0, I), in nats per latent element.
    kl: NonNegative


def reconstruction_terms(
    output: torch.Tensor, target: torch.Tensor, weights: ReconstructionParams
) -> dict[str, torch.Tensor]:
    """Weighted pixel terms for ``output`` and ``target`` [n, 3, h, w]; a term of weight zero is left out."""
    difference = output - target
    terms = {}
    if weights.l1:
        terms["l1_loss"] = weights.l1 * difference.abs().mean()
    if weights.l2:
        terms["l2_loss"] = weights.l2 * difference.square().mean()
    if weights.gradient:
        edges = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
        terms["gradient_loss"] = weights.gradient * edges
    return terms


class _Reconstruct(nn.Module):
    """pixels, noise -> reconstruction and KL, as one forward, so that one wrapper trains encoder and decoder."""

    def __init__(self, vae: PatchAutoencoderKL):
        super().__init__()
        self.vae = vae

    def forward(self, pixels: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        posterior = self.vae.encode(pixels).latent_dist
        latents = posterior.mean.float() + posterior.std.float() * noise
        divergence = (
            0.5 * (posterior.mean.float().square() + posterior.var.float() - 1 - posterior.logvar.float()).mean()
        )
        return self.vae.decode(latents).sample.float(), divergence


class VaeTask:
    """Reconstruct faces through a Gaussian bottleneck (Kingma & Welling, 2014)."""

    def __init__(self, vae: PatchAutoencoderKL, faces: np.ndarray, weights: ReconstructionParams, device: torch.device):
        """``faces`` uint8 [n, h, w, 3]: the training split."""
        self.players: dict[str, nn.Module] = {"vae": _Reconstruct(vae).to(memory_format=torch.channels_last)}
        self.rows = len(faces)
        self._faces, self._device, self._weights = resident(faces, device), device, weights
        self._latent = latent_shape(vae, faces.shape[1])

    def loss(self, player: str, module: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        flip = batch.rand("flip", (), self._device) < 0.5
        pixels = to_pixels(take(self._faces, batch.rows, self._device), flip)
        if batch.step == 0:
            alarms.batch_in_range("faces", pixels, mean=0.9, std=(0.05, 1.0))
        output, divergence = module(pixels, batch.randn("posterior", self._latent, self._device))
        return reconstruction_terms(output, pixels, self._weights) | {"kl_loss": self._weights.kl * divergence}
