"""Encoding, feeding and training steps: as the chain does them, beside fp32 eager code and a folder of .npy files."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.timing import side_by_side
from facet.data.attributes import CELEBA_ATTRIBUTES
from facet.data.pixels import to_pixels
from facet.diffusion.objective import build_objective
from facet.models.autoencoder import build_autoencoder, latent_shape
from facet.models.denoiser import build_denoiser
from facet.params import read_section
from facet.precision import autocast, trained_attention
from facet.stages.train_unet import TrainUnetParams
from facet.stages.train_vae import TrainVaeParams
from facet.training.encoding import moments
from facet.training.feed import resident, take

SIZE = 64
CPU = torch.device("cpu")


def _faces(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def measure_encode() -> dict[str, object]:
    """Faces/s through the encoder: batches of 128 in bf16 where the hardware has it, beside batch 1 in fp32."""
    vae = build_autoencoder(read_section("train_vae", TrainVaeParams).model, SIZE).eval()
    faces = _faces(256)

    def ours() -> int:
        # Each face is encoded upright and mirrored, as the chain does: count both.
        return 2 * sum(len(moments(vae, faces[i : i + 128], "auto")) for i in range(0, len(faces), 128))

    @torch.no_grad()
    def plain() -> int:
        for face in faces[:64]:
            vae.encode(to_pixels(torch.from_numpy(face[None]))).latent_dist.sample()
        return 64

    return {"plain": "one face at a time, fp32"} | side_by_side(ours, plain)


class _NpyFolder(Dataset):
    """One .npy file a latent, as published latent-diffusion trainers store them."""

    def __init__(self, folder: Path, count: int):
        self._folder, self._count = folder, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, i: int) -> torch.Tensor:
        return torch.from_numpy(np.load(self._folder / f"{i}.npy"))


def measure_feed() -> dict[str, object]:
    """Latents/s handed to the training loop: resident shards beside a DataLoader over one .npy file a latent."""
    count, shape, batch = 4096, (2, 16, 8, 8), 64
    latents = np.random.default_rng(0).standard_normal((count, *shape)).astype(np.float16)
    tensor = resident(latents, CPU)
    with tempfile.TemporaryDirectory() as scratch:
        for i, latent in enumerate(latents):
            np.save(Path(scratch) / f"{i}.npy", latent)
        loader = DataLoader(_NpyFolder(Path(scratch), count), batch_size=batch, shuffle=True)

        def ours() -> int:
            order = torch.randperm(count)
            for i in range(0, count, batch):
                take(tensor, order[i : i + batch], CPU)
            return count

        return {"plain": "DataLoader over per-file .npy"} | side_by_side(ours, lambda: sum(len(b) for b in loader))


def measure_vae_step() -> dict[str, object]:
    """Faces/s of a full training step of the autoencoder, the chain's precision and layout beside fp32 eager NCHW."""
    params = read_section("train_vae", TrainVaeParams)
    batch = params.loop.batch_size
    pixels = to_pixels(torch.from_numpy(_faces(batch)))

    def step(channels_last: bool, precision: str):
        vae = build_autoencoder(params.model, SIZE)
        if channels_last:
            vae = vae.to(memory_format=torch.channels_last)
        images = pixels if channels_last else pixels.contiguous()
        optimizer = torch.optim.AdamW(vae.parameters(), lr=1e-4, fused=channels_last)

        def run() -> int:
            for _ in range(4):
                with autocast(precision, "cpu"):
                    output = vae(images).sample
                (output.float() - images).square().mean().backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            return 4 * batch

        return run

    return {"plain": "fp32, eager, NCHW"} | side_by_side(step(True, "auto"), step(False, "fp32"))


def measure_unet_step() -> dict[str, object]:
    """Latents/s of a full training step of the denoiser: the chain's precision, layout and attention beside fp32 eager
    NCHW with torch's choice of attention."""
    params = read_section("train_unet", TrainUnetParams)
    vae = build_autoencoder(read_section("train_vae", TrainVaeParams).model, SIZE)
    shape, batch = latent_shape(vae, SIZE), params.loop.batch_size
    objective = build_objective(params.objective)
    clean, noise, time = torch.randn(batch, *shape), torch.randn(batch, *shape), torch.rand(batch)
    states = torch.randint(-1, 2, (batch, len(CELEBA_ATTRIBUTES)))

    def step(channels_last: bool, precision: str):
        denoiser = build_denoiser(params.model, shape, CELEBA_ATTRIBUTES)
        if channels_last:
            denoiser = denoiser.to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(denoiser.parameters(), lr=1e-4, fused=channels_last)
        noised = objective.noised(clean, noise, time)
        latents = noised.latents.contiguous(memory_format=torch.channels_last) if channels_last else noised.latents

        def run() -> int:
            for _ in range(2):
                attention = trained_attention(CPU, shape[1] * shape[2]) if channels_last else nullcontext()
                with attention, autocast(precision, "cpu"):
                    prediction = denoiser(latents, noised.timestep, states)
                (prediction.target.float() - noised.target).square().mean().backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            return 2 * batch

        return run

    return {"plain": "fp32, eager, NCHW"} | side_by_side(step(True, "auto"), step(False, "fp32"))
