"""artifacts/faces, vae, latents -> artifacts/decoder: the same encoder with a sharper decoder, or the VAE as it is."""

from __future__ import annotations

import dataclasses

import torch

from facet.artifacts import DECODER, FACES, LATENTS, METRICS, VAE, whole_folder, write_curve, write_json
from facet.data.datasets import load_faces
from facet.data.latents import load_latents
from facet.models.autoencoder import load_autoencoder, save_model
from facet.params import NonNegative, read_section, read_seed
from facet.seeding import derive
from facet.stages import run
from facet.training.decoder import AdversaryParams, DecoderTask
from facet.training.loop import LoopParams
from facet.training.session import Session
from facet.training.vae import ReconstructionParams


@dataclasses.dataclass(frozen=True)
class TuneDecoderParams:
    """Section ``tune_decoder``."""

    # false hands the VAE on as it is.
    enabled: bool
    # Most noise added to the standardised latents, as a standard deviation; each sample's strength is uniform up to it.
    # The decoder learns to take the small errors of drawn latents, as in RAE (Zheng et al., 2025).
    latent_noise: NonNegative
    loss: ReconstructionParams
    adversary: AdversaryParams
    loop: LoopParams


SECTION = TuneDecoderParams


def main() -> None:
    params, seed = read_section("tune_decoder", SECTION), read_seed()
    session = Session("tune_decoder", seed)
    vae = load_autoencoder(VAE)
    last: dict[str, float] = {}
    if params.enabled:
        faces, latents = load_faces(FACES), load_latents(LATENTS)
        rows = faces.rows("train")
        torch.manual_seed(derive(seed, "tune_decoder weights"))
        noise = [params.latent_noise * std for std in latents.std]
        task = DecoderTask(
            vae, faces.pixels[rows], latents.moments[rows], params.loss, params.adversary, noise, session.device
        )
        last = session.train(
            task, params.loop, {"params": repr(params), "faces": faces.about, "latents": latents.about}
        )
    elif session.writes:
        write_curve(session.curve, [{"step": 0}])
    if session.writes:
        with whole_folder(DECODER) as folder:
            save_model(vae.cpu().eval(), folder)
        write_json(METRICS / "tune_decoder.json", {"enabled": params.enabled, "final": last})


if __name__ == "__main__":
    run(main)
