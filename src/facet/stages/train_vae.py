"""artifacts/faces -> artifacts/vae: an autoencoder trained from scratch, or a pretrained one taken as it is."""

from __future__ import annotations

import dataclasses

import torch

from facet.artifacts import FACES, METRICS, VAE, whole_folder, write_curve, write_json
from facet.data.datasets import FaceSet, load_faces
from facet.models.autoencoder import (
    AutoencoderParams,
    build_autoencoder,
    fetch_pretrained,
    latent_shape,
    save_model,
)
from facet.params import read_section, read_seed
from facet.seeding import derive
from facet.stages import run
from facet.training.loop import LoopParams
from facet.training.session import Session
from facet.training.vae import ReconstructionParams, VaeTask


@dataclasses.dataclass(frozen=True)
class TrainVaeParams:
    """Section ``train_vae``."""

    # Folder or hub name of a diffusers AutoencoderKL to take as it is; null trains one from scratch.
    pretrained: str | None
    model: AutoencoderParams
    loss: ReconstructionParams
    loop: LoopParams


SECTION = TrainVaeParams


def main() -> None:
    params, seed = read_section("train_vae", SECTION), read_seed()
    faces = load_faces(FACES)
    session = Session("train_vae", seed)
    if params.pretrained:
        vae, last = fetch_pretrained(params.pretrained), {}
        write_curve(session.curve, [{"step": 0}])
    else:
        vae, last = _train(params, faces, session)
    if session.writes:
        with whole_folder(VAE) as folder:
            save_model(vae, folder)
        count = sum(p.numel() for p in vae.parameters())
        shape = "x".join(map(str, latent_shape(vae, faces.about["size"])))
        write_json(METRICS / "train_vae.json", {"parameters": count, "latent": shape, "final": last})


def _train(params: TrainVaeParams, faces: FaceSet, session: Session) -> tuple[torch.nn.Module, dict[str, float]]:
    torch.manual_seed(derive(session.seed, "train_vae weights"))
    vae = build_autoencoder(params.model, faces.about["size"])
    task = VaeTask(vae, faces.pixels[faces.rows("train")], params.loss, session.device)
    last = session.train(task, params.loop, {"params": repr(params), "faces": faces.about})
    return vae.cpu().eval(), last


if __name__ == "__main__":
    run(main)
