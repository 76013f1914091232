"""The autoencoder: diffusers' AutoencoderKL, from scratch behind a space-to-depth stem, or pretrained as it is."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import FrozenDict, register_to_config
from torch import nn

from facet import collector
from facet.artifacts import read_json
from facet.errors import ArtifactError, ParamsError
from facet.params import Between, Natural, Positive

with collector.paused():
    from diffusers import AutoencoderKL, ModelMixin  # noqa: F401 - diffusers looks ModelMixin up in a component's module
    from diffusers.models.autoencoders.vae import DecoderOutput


@dataclasses.dataclass(frozen=True)
class AutoencoderParams:
    """Architecture of the autoencoder that is trained from scratch."""

    # Space-to-depth factor before the first convolution: patch 4 turns 64x64x3 into 16x16x48, where convolutions are
    # sixteen times cheaper. 1 gives diffusers' plain AutoencoderKL.
    patch_size: Annotated[int, Between(1, 8)]
    # Width of each resolution level, finest first; each level after the first halves the resolution.
    channels: tuple[Positive, ...]
    # Residual blocks a level (the decoder has one more).
    layers_per_block: Annotated[int, Between(1, 4)]
    # Channels of the latent.
    latent_channels: Annotated[int, Between(1, 64)]
    # Single-head attention at the coarsest level.
    attention: bool
    # Groups of the group normalisation; divides every width.
    norm_groups: Natural

    def __post_init__(self) -> None:
        if not self.channels:
            raise ValueError("channels is empty, expected a width for each level")
        odd = [c for c in self.channels if self.norm_groups < 1 or c % self.norm_groups]
        if odd:
            raise ValueError(f"channels {odd} are no multiples of norm_groups ({self.norm_groups})")

    @property
    def downscale(self) -> int:
        """Pixels a latent position covers along one side."""
        return self.patch_size * 2 ** (len(self.channels) - 1)


class PatchAutoencoderKL(AutoencoderKL):
    """AutoencoderKL over non-overlapping pixel patches, beside a linear autoencoder.

    Space-to-depth before the encoder and its inverse behind the decoder make convolutions cheap. A linear map of each
    f x f pixel block to its latent, and back, runs in parallel, so the networks learn what a linear code leaves over
    (the residual autoencoding of DC-AE, Chen et al., 2025): +3 dB PSNR after 300 steps (docs/experiments.md).

    Pixels are float [n, 3, h, w] in [-1, 1]; latents are [n, latent_channels, h/f, w/f] with
    f = patch_size * 2^(levels - 1).
    """

    @register_to_config
    def __init__(
        self,
        patch_size: int = 4,
        channels: tuple[int, ...] = (48, 96),
        layers_per_block: int = 1,
        latent_channels: int = 8,
        attention: bool = False,
        norm_num_groups: int = 8,
        sample_size: int = 64,
    ):
        super().__init__(
            in_channels=3 * patch_size**2,
            out_channels=3 * patch_size**2,
            down_block_types=("DownEncoderBlock2D",) * len(channels),
            up_block_types=("UpDecoderBlock2D",) * len(channels),
            block_out_channels=tuple(channels),
            layers_per_block=layers_per_block,
            latent_channels=latent_channels,
            norm_num_groups=norm_num_groups,
            sample_size=sample_size,
            mid_block_add_attention=attention,
            scaling_factor=1.0,
            force_upcast=False,
        )
        block = patch_size * 2 ** (len(channels) - 1)
        self.linear_encoder = nn.Conv2d(3, 2 * latent_channels, block, stride=block)
        self.linear_decoder = nn.ConvTranspose2d(latent_channels, 3, block, stride=block)

    def _encode(self, x: torch.Tensor) -> torch.Tensor:
        return super()._encode(F.pixel_unshuffle(x, self.config.patch_size)) + self.linear_encoder(x)

    def _decode(self, z: torch.Tensor, return_dict: bool = True) -> DecoderOutput | tuple[torch.Tensor]:
        pixels = F.pixel_shuffle(super()._decode(z, return_dict=False)[0], self.config.patch_size)
        pixels = pixels + self.linear_decoder(z)
        return DecoderOutput(sample=pixels) if return_dict else (pixels,)


def build_autoencoder(params: AutoencoderParams, size: int) -> PatchAutoencoderKL:
    """A fresh autoencoder for faces of ``size`` pixels. Raises ParamsError where the levels don't divide the size."""
    if size % params.downscale:
        raise ParamsError(f"faces of {size} px are no multiple of the autoencoder's downscale {params.downscale}.")
    return PatchAutoencoderKL(
        patch_size=params.patch_size,
        channels=params.channels,
        layers_per_block=params.layers_per_block,
        latent_channels=params.latent_channels,
        attention=params.attention,
        norm_num_groups=params.norm_groups,
        sample_size=size,
    )


def load_autoencoder(folder: Path) -> AutoencoderKL:
    """The autoencoder in ``folder``, of whichever of the two classes wrote it, in eval mode."""
    name = read_json(folder / "config.json").get("_class_name")
    classes = {"PatchAutoencoderKL": PatchAutoencoderKL, "AutoencoderKL": AutoencoderKL}
    if name not in classes:
        raise ArtifactError(
            f"{folder} holds a {name}, expected one of {', '.join(classes)}: choose a diffusers KL VAE."
        )
    return classes[name].from_pretrained(folder, use_safetensors=True, local_files_only=True).eval()


def latent_shape(vae: AutoencoderKL, size: int) -> tuple[int, int, int]:
    """(channels, height, width) of the latents of square pictures of ``size`` pixels."""
    side = size // downscale(vae)
    return (vae.config.latent_channels, side, side)


def downscale(vae: AutoencoderKL) -> int:
    """Pixels that a latent covers along one side."""
    return getattr(vae.config, "patch_size", 1) * 2 ** (len(vae.config.block_out_channels) - 1)


def save_model(model: torch.nn.Module, folder: Path) -> None:
    """``save_pretrained`` with a config of what the class's constructor takes and nothing else.

    diffusers also records where a model was loaded from, which makes equal models differ on disk, and the keys of base
    classes, which it then warns of on loading.
    """
    whole, known = model.config, inspect.signature(type(model).__init__).parameters
    model._internal_dict = FrozenDict({k: v for k, v in whole.items() if k in known})
    try:
        model.save_pretrained(folder, safe_serialization=True)
    finally:
        model._internal_dict = whole


def fetch_pretrained(name: str) -> AutoencoderKL:
    """A pretrained diffusers AutoencoderKL by folder or hub name (``stabilityai/sd-vae-ft-mse``), safetensors only.

    Raises ArtifactError naming both readings of ``name`` where neither works.
    """
    if Path(name).is_dir():
        return load_autoencoder(Path(name))
    try:
        return AutoencoderKL.from_pretrained(name, use_safetensors=True).eval()
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"pretrained autoencoder {name!r} is neither a folder here nor a model that the hub gives "
            f"({str(error).splitlines()[0]}): check the name, or the network."
        ) from None
