"""Run the frozen encoder over all faces once, and measure the latents' statistics."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.numpy import save_file

from facet.artifacts import LATENTS_SCHEMA, digest_file, whole_folder, write_json
from facet.data.datasets import FaceSet
from facet.data.pixels import to_pixels
from facet.params import Positive
from facet.precision import Precision, autocast
from facet.progress import bar

_SHARD_BYTES = 128 * 2**20


@dataclasses.dataclass(frozen=True)
class LatentParams:
    """How the encoder is run; none of it but precision changes a latent by more than rounding."""

    # Faces a forward pass.
    batch_size: Positive
    # auto | fp32 | bf16
    precision: Precision


@torch.no_grad()
def moments(vae: AutoencoderKL, faces: np.ndarray, precision: Precision) -> np.ndarray:
    """uint8 [n, h, w, 3] -> float16 [n, 2, 2c, h', w']: upright and mirrored, mean and log-variance."""
    device = next(vae.parameters()).device
    upright = to_pixels(torch.from_numpy(np.array(faces)).to(device))
    with autocast(precision, device):
        both = [vae.encode(pixels).latent_dist.parameters.float() for pixels in (upright, upright.flip(-1))]
    return torch.stack(both, dim=1).to(torch.float16).cpu().numpy()


def encode_faces(vae: AutoencoderKL, faces: FaceSet, params: LatentParams, out: Path) -> dict:
    """Write ``out`` and return the content of its latents.json; statistics are over the train split alone."""
    count = len(faces.pixels)
    first = moments(vae, faces.pixels[:1], params.precision)
    per_shard = max(1, _SHARD_BYTES // first.nbytes)
    train = np.zeros(count, dtype=bool)
    train[faces.rows("train")] = True
    statistics = _ChannelStatistics()
    shards = []
    with whole_folder(out) as folder, bar(count, "encode", "face") as progress:
        for number, start in enumerate(range(0, count, per_shard)):
            stop = min(start + per_shard, count)
            shard = np.empty((stop - start, *first.shape[1:]), dtype=np.float16)
            for at in range(start, stop, params.batch_size):
                rows = slice(at, min(at + params.batch_size, stop))
                batch = moments(vae, faces.pixels[rows], params.precision)
                shard[at - start : rows.stop - start] = batch
                statistics.add(batch[train[rows]])
                progress.update(len(batch))
            file = folder / f"latents-{number:05d}.safetensors"
            save_file({"moments": shard}, file)
            shards.append({"file": file.name, "count": len(shard), "sha256": digest_file(file)})
        mean, std = statistics.result()
        about = {"schema": LATENTS_SCHEMA, "count": count, "mean": mean, "std": std, "shards": shards}
        about["shape"] = [first.shape[2] // 2, *first.shape[3:]]
        write_json(folder / "latents.json", about)
    return about


class _ChannelStatistics:
    """Running mean and variance of posterior samples by channel, in float64."""

    def __init__(self) -> None:
        self._count, self._sum, self._square = 0, 0.0, 0.0

    def add(self, batch: np.ndarray) -> None:
        """``batch`` float16 [n, 2, 2c, h, w]. A posterior sample's square has mean^2 + variance on average."""
        mean, log_variance = np.split(batch.astype(np.float64), 2, axis=2)
        self._count += mean.shape[0] * mean.shape[1] * mean.shape[3] * mean.shape[4]
        self._sum = self._sum + mean.sum(axis=(0, 1, 3, 4))
        self._square = self._square + (mean**2 + np.exp(log_variance)).sum(axis=(0, 1, 3, 4))

    def result(self) -> tuple[list[float], list[float]]:
        mean = self._sum / self._count
        std = np.sqrt(self._square / self._count - mean**2)
        return [round(float(v), 6) for v in mean], [round(float(v), 6) for v in std]
