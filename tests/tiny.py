"""The smallest of everything: faces, networks and params that train in seconds and still go through every line."""

from __future__ import annotations

import copy
import functools
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import yaml

from facet.data.attributes import CELEBA_ATTRIBUTES
from facet.data.captions import write_caption
from facet.data.manifest import PrepareParams
from facet.data.splits import HeldOut
from facet.diffusion.objective import ObjectiveParams
from facet.diffusion.pipeline import FacePipeline
from facet.diffusion.sampling import SamplingParams
from facet.diffusion.schedulers import build_scheduler
from facet.models.autoencoder import AutoencoderParams, PatchAutoencoderKL, build_autoencoder
from facet.models.conditioning import Conditioning
from facet.models.denoiser import Denoiser, DenoiserParams, build_denoiser
from facet.models.judge import Judge
from facet.models.text import CLIPTokenizer, TextModelParams, build_text_model, train_tokenizer
from facet.training.loop import LoopParams
from facet.training.unet import DropoutParams
from facet.training.vae import ReconstructionParams

ROOT = Path(__file__).resolve().parents[1]
SIZE = 32
FLOW = ObjectiveParams("flow", logit_mean=0.0, logit_std=1.0, min_snr_gamma=0.0, beta_schedule="linear")
VAE = AutoencoderParams(
    patch_size=4, channels=(16, 32), layers_per_block=1, latent_channels=4, attention=False, norm_groups=8
)
DENOISER = DenoiserParams(
    channels=(16, 32), attention=(False, True), layers_per_block=1, token_dim=16, head_dim=8, norm_groups=8
)
DROPOUT = DropoutParams(attributes=0.1, some=0.2, text=0.5)
TEXT = TextModelParams(vocabulary=700, length=96, width=16, layers=1, heads=2)
RECONSTRUCTION = ReconstructionParams(l1=1.0, l2=1.0, gradient=1.0, kl=1e-4)
SAMPLING = SamplingParams(
    sampler="dpm++",
    steps=4,
    guidance_scale=2.0,
    guidance_interval=(0.2, 0.8),
    guidance_rescale=0.0,
    complete=True,
    precision="fp32",
    batch_size=8,
)
LOOP: dict[str, Any] = {
    "steps": 24,
    "batch_size": 8,
    "learning_rate": 2e-3,
    "warmup_steps": 10,  # three times that is beyond the last step: the alarm for learning nothing stays quiet
    "beta2": 0.95,
    "weight_decay": 0.01,
    "clip_norm": 1.0,
    "ema_decay": 0.9,
    "precision": "fp32",
    "checkpoint_every": 6,
    "report_every": 3,
}


def prepare_params(**changes: Any) -> PrepareParams:
    """Small faces of CelebA's crop; no picture may be put aside as unusable."""
    plain: dict[str, Any] = {"layout": "auto", "size": SIZE, "crop": "celeba-148", "min_side": 1}
    return PrepareParams(**plain | {"max_quarantined": 0.0, "held_out": HeldOut(valid=0.1, test=0.1)} | changes)


def loop_params(**changes: Any) -> LoopParams:
    """24 steps of 8 samples, a checkpoint every 6."""
    return LoopParams(**LOOP | changes)


def autoencoder(seed: int = 0) -> PatchAutoencoderKL:
    """32 px faces to 4 x 4 x 4 latents that are sure of themselves, as a trained one's are; else there'd be only noise
    to learn."""
    torch.manual_seed(seed)
    vae = build_autoencoder(VAE, SIZE).eval()
    with torch.no_grad():
        vae.linear_encoder.bias[VAE.latent_channels :] -= 6
    return vae


@functools.cache
def tokenizer() -> CLIPTokenizer:
    """One that has read captions of two hundred faces of any attributes."""
    states = np.random.default_rng(0).choice([-1, 1], size=(200, len(CELEBA_ATTRIBUTES)))
    return train_tokenizer([write_caption(row, CELEBA_ATTRIBUTES, 0, i).text for i, row in enumerate(states)], TEXT)


def denoiser(
    seed: int = 1,
    params: DenoiserParams = DENOISER,
    names: tuple[str, ...] = CELEBA_ATTRIBUTES,
    reads: bool = True,
    words: CLIPTokenizer | None = None,
) -> Denoiser:
    """A denoiser of 4 x 4 x 4 latents under these attributes and, where it reads, captions of these ``words``."""
    torch.manual_seed(seed)
    text = build_text_model(TEXT, words or tokenizer()) if reads else None
    return build_denoiser(params, (4, 4, 4), names, text)


def judge(seed: int = 2) -> Judge:
    """A judge of 32 px faces with 16 features."""
    torch.manual_seed(seed)
    return Judge(CELEBA_ATTRIBUTES, SIZE, (8, 16, 16), 16).eval()


def pipeline(
    sampling: SamplingParams = SAMPLING,
    objective: ObjectiveParams = FLOW,
    seed: int = 1,
    conditioning: Conditioning = "both",
) -> FacePipeline:
    """A pipeline with random weights, in eval mode, without a progress bar."""
    reads = conditioning in ("text", "both")
    network = denoiser(seed, reads=reads).eval()
    drawn = FacePipeline(
        vae=autoencoder(),
        unet=network.unet,
        condition_encoder=network.condition_encoder,
        scheduler=build_scheduler(sampling.sampler, objective),
        latents_mean=[0.1, -0.2, 0.0, 0.3],
        latents_std=[1.0, 0.9, 1.1, 1.2],
        objective=vars(objective),
        sampling=vars(sampling),
        conditioning=conditioning,
        tokenizer=tokenizer() if reads else None,
        text_encoder=network.text_encoder if reads else None,
    )
    drawn.set_progress_bar_config(disable=True)
    return drawn


def chain_params() -> dict[str, Any]:
    """The shipped params.yaml, scaled down to 32 px and a few steps a model."""
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    loop = LOOP | {"precision": "auto"}
    small = {
        "prepare": {"size": SIZE},
        "train_vae": {"model": vars(VAE) | {"channels": list(VAE.channels)}, "loop": loop},
        "tune_decoder": {"adversary": {"width": 8}, "loop": loop},
        "encode": {"text": {"captions": 2, "model": vars(TEXT)}},
        "train_unet": {
            "model": vars(DENOISER) | {"channels": [16, 32], "attention": [False, True]},
            "loop": loop,
            "snapshot_every": 9,
        },
        "select": {"faces": 16},
        "train_judge": {"model": {"widths": [8, 16, 16], "feature_dim": 16}, "loop": loop},
        "reference": {"floor_faces": 16},
        "sample": {
            "count": 16,
            "unconditional": 16,
            "partial": 16,
            "text": 16,
            "both": 16,
            "altered": 8,
            "sampling": {"steps": 2, "batch_size": 16},
        },
        "validate": {"split_share": {"train": 0.3, "valid": 0.01, "test": 0.01}, "attribute_share": 0.0},
    }
    return merged(shipped, small)


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` laid over it, nested mappings key by key."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def write_params(folder: Path, content: dict[str, Any]) -> None:
    """``content`` as ``folder``/params.yaml."""
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def child_environment(**changes: str) -> dict[str, str]:
    """The environment of a real facet process: this checkout's code, quiet, one thread."""
    quiet = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**os.environ, **quiet, **changes}


def on_one_core() -> None:
    """``preexec_fn`` of a child: facet takes a thread for each core it may use, and tiny networks lose by a second."""
    os.sched_setaffinity(0, {random.choice(sorted(os.sched_getaffinity(0)))})


def contents(folder: Path) -> dict[str, bytes]:
    """Relative path -> bytes of every file below ``folder``."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def table(path: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet file."""
    return pq.read_table(path).to_pylist()
