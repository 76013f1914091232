"""Pipelines of diffusers, tiny and with random weights, as diffusers itself saves them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer


def unet(size: int = 32, channels: int = 3) -> UNet2DModel:
    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        layers_per_block=1,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
    )


def save_ddpm(folder: Path, **options: int) -> Path:
    """A DDPMPipeline of ``size`` pixels and ``channels``, 32 and 3 where not told; its folder."""
    DDPMPipeline(unet(**options), DDPMScheduler()).save_pretrained(folder)
    return folder


def save_stable_diffusion(root: Path) -> Path:
    """Text to 32 px by a StableDiffusionPipeline; its folder below ``root``."""
    torch.manual_seed(0)
    words = ["<|startoftext|>", "<|endoftext|>", "a</w>", "face</w>", *"afce"]
    (root / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (root / "merges.txt").write_text("#version: 0.2\n")
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8, 8),
            norm_num_groups=4,
            down_block_types=["DownEncoderBlock2D"] * 2,
            up_block_types=["UpDecoderBlock2D"] * 2,
            sample_size=32,
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=CLIPTokenizer(str(root / "vocab.json"), str(root / "merges.txt"), model_max_length=8),
        unet=UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(8, 8),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=4,
        ),
        scheduler=DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(root / "saved")
    return root / "saved"
