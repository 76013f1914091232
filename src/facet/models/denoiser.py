"""The conditional denoiser: diffusers' UNet2DConditionModel with the condition encoder in front."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from facet.artifacts import DENOISER_SCHEMA, read_json, write_json
from facet.errors import ArtifactError
from facet.models.autoencoder import save_model
from facet.models.conditioning import ConditionEncoder
from facet.models.text import CLIPTextModel, load_text_model, save_text_model, text_features
from facet.params import Between, Positive


@dataclasses.dataclass(frozen=True)
class DenoiserParams:
    """Architecture of the denoiser."""

    # Width of each level, finest first; each level after the first halves the latent's resolution.
    channels: tuple[Positive, ...]
    # Whether the level cross-attends to the condition. At the finest level this costs half the steps and buys nothing
    # on 8x8 latents (docs/experiments.md).
    attention: tuple[bool, ...]
    # Residual blocks a level (the way up has one more).
    layers_per_block: Annotated[int, Between(1, 4)]
    # Width of a condition token.
    token_dim: Positive
    # Width of one attention head; divides every level's width.
    head_dim: Positive
    # Groups of the group normalisation; divides every width.
    norm_groups: Positive

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.attention) or not self.channels:
            raise ValueError(
                f"channels has {len(self.channels)} levels, attention {len(self.attention)}; give one each"
            )
        for name in ("norm_groups", "head_dim"):
            odd = [c for c in self.channels if c % getattr(self, name)]
            if odd:
                raise ValueError(f"channels {odd} are no multiples of {name} ({getattr(self, name)})")


class Prediction(NamedTuple):
    """``target`` [n, c, h, w] as the objective asks for it; ``reading`` [n, k, 3], logits of what the sentence says of
    each attribute, None without a sentence."""

    target: torch.Tensor
    reading: torch.Tensor | None


class Denoiser(nn.Module):
    """(noisy latents, timestep, states, text) -> prediction, as one module, so that one wrapper trains all parts."""

    def __init__(
        self, unet: UNet2DConditionModel, condition_encoder: ConditionEncoder, text_encoder: CLIPTextModel | None = None
    ):
        """``text_encoder`` is one that is trained too; a frozen one is no part of the denoiser."""
        super().__init__()
        self.unet = unet
        self.condition_encoder = condition_encoder
        if text_encoder is not None:
            self.text_encoder = text_encoder

    def forward(
        self, latents: torch.Tensor, timestep: torch.Tensor, states: torch.Tensor, *text: torch.Tensor
    ) -> Prediction:
        """latents [n, c, h, w], timestep [n] in 0..1000, states [n, k] of -1, 0, 1; ``text`` is nothing, token ids
        [n, l] where the text encoder is trained, or a frozen one's features."""
        features = text_features(self.text_encoder, *text) if len(text) == 1 else text or None
        tokens, pooled, kept = self.condition_encoder(states, features)
        made = self.unet(
            latents, timestep, encoder_hidden_states=tokens, encoder_attention_mask=kept, class_labels=pooled
        )
        return Prediction(made.sample, None if features is None else self.condition_encoder.read(features))


def build_denoiser(
    params: DenoiserParams,
    latent_shape: tuple[int, int, int],
    names: tuple[str, ...],
    text_encoder: CLIPTextModel | None = None,
    text_dim: int = 0,
    examples: torch.Tensor | None = None,
) -> Denoiser:
    """A fresh denoiser for latents of shape (channels, height, width), these attributes, and sentences as
    ``text_encoder``, which it will train, or a frozen one of width ``text_dim`` gives them. ``examples`` int8 [m, k]
    are attributes of training faces, which it keeps."""
    channels, height, width = latent_shape
    down = ["CrossAttnDownBlock2D" if attend else "DownBlock2D" for attend in params.attention]
    up = ["CrossAttnUpBlock2D" if attend else "UpBlock2D" for attend in reversed(params.attention)]
    unet = UNet2DConditionModel(
        sample_size=(height, width),
        in_channels=channels,
        out_channels=channels,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        block_out_channels=params.channels,
        layers_per_block=params.layers_per_block,
        norm_num_groups=params.norm_groups,
        cross_attention_dim=params.token_dim,
        # diffusers reads this as the number of heads (its issue 2011), whatever the name says.
        attention_head_dim=tuple(c // params.head_dim for c in params.channels),
        # Scale and shift by the time and condition embedding (FiLM; ADM's adaptive group norm) rather than add it.
        resnet_time_scale_shift="scale_shift",
        class_embed_type="projection",
        projection_class_embeddings_input_dim=params.token_dim,
        use_linear_projection=True,
    )
    width = text_dim if text_encoder is None else text_encoder.config.hidden_size
    kept = 0 if examples is None else len(examples)
    encoder = ConditionEncoder(names, width, params.token_dim, params.token_dim, kept)
    if examples is not None:
        encoder.examples.copy_(examples)
    return Denoiser(unet, encoder, text_encoder)


def snapshot(folder: Path, step: int) -> Path:
    """Where below ``artifacts/unet`` the denoiser of training step ``step`` lies."""
    return folder / f"step-{step:08d}"


def snapshots(folder: Path) -> dict[int, Path]:
    """Training step -> folder of each snapshot in ``artifacts/unet``, in the order of steps. Raises ArtifactError."""
    found = {int(path.name.removeprefix("step-")): path for path in sorted(folder.glob("step-*"))}
    if not found:
        raise ArtifactError(f"{folder} holds no snapshot of a denoiser: run `dvc repro train_unet`.")
    return found


def save_denoiser(denoiser: Denoiser, about: dict, folder: Path) -> None:
    """Write all networks and ``about`` (latent statistics, objective) below ``folder``."""
    save_model(denoiser.unet, folder / "unet")
    save_model(denoiser.condition_encoder, folder / "condition_encoder")
    if hasattr(denoiser, "text_encoder"):
        save_text_model(denoiser.text_encoder, folder / "text_encoder")
    write_json(folder / "denoiser.json", {"schema": DENOISER_SCHEMA, **about})


def load_denoiser(folder: Path) -> tuple[Denoiser, dict]:
    """The denoiser and ``about``. Raises ArtifactError where the folder is not a denoiser."""
    about = read_json(folder / "denoiser.json", DENOISER_SCHEMA)
    options = {"use_safetensors": True, "local_files_only": True}
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", **options)
    encoder = ConditionEncoder.from_pretrained(folder / "condition_encoder", **options)
    text = folder / "text_encoder"
    return Denoiser(unet, encoder, load_text_model(text) if text.is_dir() else None).eval(), about
