"""artifacts/latents, artifacts/faces -> artifacts/unet: the conditional denoiser, snapshots of its EMA weights."""

from __future__ import annotations

import dataclasses

import torch

from facet.artifacts import FACES, LATENTS, METRICS, UNET, whole_folder, write_json
from facet.data.datasets import load_faces
from facet.data.latents import load_latents
from facet.diffusion.objective import ObjectiveParams, build_objective
from facet.models.denoiser import DenoiserParams, build_denoiser, save_denoiser, snapshot
from facet.params import Positive, read_section, read_seed
from facet.seeding import derive
from facet.stages import run
from facet.training.alarms import condition_matters, warn
from facet.training.loop import LoopParams
from facet.training.session import Session
from facet.training.unet import DenoiserTask, DropoutParams


@dataclasses.dataclass(frozen=True)
class TrainUnetParams:
    """Section ``train_unet``."""

    model: DenoiserParams
    objective: ObjectiveParams
    dropout: DropoutParams
    loop: LoopParams
    # Steps between the snapshots that `select` chooses from; the last step is always one.
    snapshot_every: Positive


SECTION = TrainUnetParams


def main() -> None:
    params, seed = read_section("train_unet", SECTION), read_seed()
    faces, latents = load_faces(FACES), load_latents(LATENTS)
    rows = faces.rows("train")
    session = Session("train_unet", seed)
    torch.manual_seed(derive(seed, "train_unet weights"))
    denoiser = build_denoiser(params.model, latents.shape, faces.names)
    task = DenoiserTask(
        denoiser,
        build_objective(params.objective),
        latents.moments[rows],
        faces.attributes[rows],
        latents.mean,
        latents.std,
        params.dropout,
        session.device,
    )
    key = {"params": repr(params), "faces": faces.about, "latents": latents.about}
    last = session.train(task, params.loop, key, keep_every=params.snapshot_every)
    share = task.condition_share(denoiser, session.probe(task, params.loop))
    warned = warn([condition_matters(share)])
    if session.writes:
        about = {
            "latents_mean": latents.mean,
            "latents_std": latents.std,
            "objective": dataclasses.asdict(params.objective),
        }
        with whole_folder(UNET) as folder:
            for step in session.snapshots("denoiser", denoiser.cpu().eval()):
                save_denoiser(denoiser, about, snapshot(folder, step))
        count = sum(p.numel() for p in denoiser.parameters())
        metrics = {"parameters": count, "condition_share": round(share, 4), "warnings": warned, "final": last}
        write_json(METRICS / "train_unet.json", metrics)


if __name__ == "__main__":
    run(main)
