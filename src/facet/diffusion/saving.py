"""A pipeline put together from the chain's artifacts, saved to a folder and loaded from one."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import get_args

from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from facet.artifacts import TEXT_SCHEMA, read_json, write_json
from facet.diffusion.objective import ObjectiveParams
from facet.diffusion.pipeline import FacePipeline
from facet.diffusion.sampling import SamplingParams, resolve_sampling
from facet.diffusion.saved_files import check_files, check_weights, loading, write_manifest
from facet.diffusion.schedulers import build_scheduler
from facet.models.autoencoder import load_autoencoder, save_model
from facet.models.conditioning import Conditioning
from facet.models.denoiser import load_denoiser
from facet.models.text import load_text_model, load_tokenizer, save_tokenizer


def assemble(unet: Path, text: Path, decoder: Path, sampling: SamplingParams) -> FacePipeline:
    """The pipeline of the trained parts in three artifact folders, with ``sampling`` as its defaults."""
    denoiser, about = load_denoiser(unet)
    reads = about["conditioning"] in ("text", "both")
    trained = getattr(denoiser, "text_encoder", None)
    pipeline = FacePipeline(
        vae=load_autoencoder(decoder),
        unet=denoiser.unet,
        condition_encoder=denoiser.condition_encoder,
        scheduler=build_scheduler(sampling.sampler, ObjectiveParams(**about["objective"])),
        tokenizer=load_tokenizer(text / "tokenizer") if reads else None,
        text_encoder=load_text_model(text / "model") if reads and trained is None else trained,
        latents_mean=about["latents_mean"],
        latents_std=about["latents_std"],
        objective=about["objective"],
        sampling=dataclasses.asdict(sampling),
        conditioning=about["conditioning"],
        closed_vocabulary=reads and read_json(text / "text.json", TEXT_SCHEMA)["closed_vocabulary"],
    )
    return _with_progress(pipeline)


def load_pipeline(folder: Path) -> FacePipeline:
    """The pipeline saved in ``folder``: safetensors only, no network. Raises ArtifactError where there is none, or a
    file is missing, damaged or not as it was saved."""
    check_files(folder)
    _quiet_when_unseen()
    with loading(folder):
        pipeline = FacePipeline.from_pretrained(folder, use_safetensors=True, local_files_only=True)
        _check_config(pipeline)
    check_weights(pipeline.components, folder)
    return _with_progress(pipeline)


def _check_config(pipeline: FacePipeline) -> None:
    """Raises ValueError, TypeError or FacetError where the parts don't fit together."""
    config, reads = pipeline.config, pipeline.conditioning in ("text", "both")
    build_scheduler(resolve_sampling(config.sampling, {}).sampler, ObjectiveParams(**config.objective))
    if pipeline.conditioning not in get_args(Conditioning):
        raise ValueError(f"conditioning is {pipeline.conditioning!r}")
    if reads == (pipeline.text_encoder is None) or reads == (pipeline.tokenizer is None):
        raise ValueError(f"conditioning is {pipeline.conditioning!r}, which does not fit its text model")
    if {len(config.latents_mean), len(config.latents_std)} != {pipeline.latent_shape[0]}:
        raise ValueError("latents_mean and latents_std do not fit the latents' channels")


def save_pipeline(pipeline: FacePipeline, folder: Path) -> None:
    """``save_pretrained`` without the places that parts were loaded from, which would give one model many digests."""
    _quiet_when_unseen()
    pipeline.save_pretrained(folder, safe_serialization=True)
    if pipeline.tokenizer is not None:
        save_tokenizer(pipeline.tokenizer, folder / "tokenizer")
    for name in ("vae", "unet", "condition_encoder"):
        save_model(getattr(pipeline, name), folder / name)
    for path in folder.rglob("*.json"):
        write_json(path, {key: value for key, value in read_json(path).items() if key != "_name_or_path"})
    write_manifest(folder)


def _quiet_when_unseen() -> None:
    if not sys.stderr.isatty():
        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()


def _with_progress(pipeline: FacePipeline) -> FacePipeline:
    pipeline.set_progress_bar_config(disable=None, desc="draw", unit="face", leave=False)
    return pipeline
