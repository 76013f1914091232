"""artifacts/latents, text, faces -> artifacts/unet: the conditional denoiser, snapshots of its EMA weights."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np
import torch

from facet.artifacts import FACES, LATENTS, METRICS, TEXT, UNET, whole_folder, write_json
from facet.data.attributes import UNKNOWN
from facet.data.datasets import load_faces
from facet.data.latents import load_latents
from facet.data.sentences import SentenceSet, load_sentences
from facet.diffusion.objective import ObjectiveParams, build_objective
from facet.models.conditioning import Conditioning
from facet.models.denoiser import Denoiser, DenoiserParams, build_denoiser, save_denoiser, snapshot
from facet.models.text import TextModelParams, build_text_model, load_tokenizer
from facet.params import Between, Natural, Positive, read_section, read_seed
from facet.seeding import derive, numpy_stream
from facet.stages import run
from facet.training.alarms import condition_matters, warn
from facet.training.loop import LoopParams
from facet.training.repeats import RepeatParams, repeated
from facet.training.session import Session
from facet.training.unet import DenoiserTask, DropoutParams, Sentences


@dataclasses.dataclass(frozen=True)
class TrainUnetParams:
    """Section ``train_unet``."""

    model: DenoiserParams
    objective: ObjectiveParams
    # What the denoiser can be asked by: attributes, text, both, or none.
    conditioning: Conditioning
    dropout: DropoutParams
    # Weight of the loss of reading written captions' attributes off the text encoder, beside the denoising loss.
    reading: Annotated[float, Between(0)]
    # Training faces whose attributes the model keeps, at most, to fill in what a request leaves open; 0 keeps none
    # (docs/adr/0003).
    examples: Natural
    repeats: RepeatParams
    loop: LoopParams
    # Steps between the snapshots that `select` chooses from; the last step is always one.
    snapshot_every: Positive


SECTION = TrainUnetParams


def main() -> None:
    params, seed = read_section("train_unet", SECTION), read_seed()
    faces, latents = load_faces(FACES), load_latents(LATENTS)
    faces.check_labelled()
    rows = faces.rows("train")
    sentences = load_sentences(TEXT) if params.conditioning in ("text", "both") else None
    session = Session("train_unet", seed)
    torch.manual_seed(derive(seed, "train_unet weights"))
    examples = _examples(params, faces.attributes[rows], seed)
    denoiser = _build(params, latents.shape, faces.names, sentences, examples)
    task = DenoiserTask(
        denoiser,
        build_objective(params.objective),
        latents.moments[rows],
        _states(params.conditioning, faces.attributes[rows]),
        latents.mean,
        latents.std,
        params.dropout,
        session.device,
        None if sentences is None else Sentences(sentences, rows, session.device),
        params.reading,
        _epoch(params, faces.attributes[rows], seed),
    )
    key = {"params": repr(params), "faces": faces.about, "latents": latents.about}
    key |= {} if sentences is None else {"text": sentences.about}
    last = session.train(task, params.loop, key, keep_every=params.snapshot_every)
    share = task.condition_share(denoiser, session.probe(task, params.loop))
    warned = [] if params.conditioning == "none" else warn([condition_matters(share)])
    if session.writes:
        about = {
            "latents_mean": latents.mean,
            "latents_std": latents.std,
            "objective": dataclasses.asdict(params.objective),
            "conditioning": params.conditioning,
        }
        with whole_folder(UNET) as folder:
            for step in session.snapshots("denoiser", denoiser.cpu().eval()):
                save_denoiser(denoiser, about, snapshot(folder, step))
        count = sum(p.numel() for p in denoiser.parameters())
        metrics = {"parameters": count, "condition_share": round(share, 4), "warnings": warned, "final": last}
        write_json(METRICS / "train_unet.json", metrics)


def _build(
    params: TrainUnetParams,
    shape: tuple[int, int, int],
    names: tuple[str, ...],
    sentences: SentenceSet | None,
    examples: torch.Tensor | None,
) -> Denoiser:
    """With a text encoder of its own, with the features of a frozen one, or with neither."""
    if sentences is None:
        return build_denoiser(params.model, shape, names, examples=examples)
    if sentences.features is not None:
        return build_denoiser(params.model, shape, names, text_dim=sentences.features[0].shape[-1], examples=examples)
    model = TextModelParams(**sentences.about["model"])
    text_encoder = build_text_model(model, load_tokenizer(TEXT / "tokenizer"))
    return build_denoiser(params.model, shape, names, text_encoder, examples=examples)


def _examples(params: TrainUnetParams, attributes: np.ndarray, seed: int) -> torch.Tensor | None:
    """Attributes of training faces for requests that leave some open, int8 [m, k]; none where none can be asked for."""
    if params.conditioning not in ("attributes", "both"):
        return None
    order = numpy_stream(seed, "examples").permutation(len(attributes))
    return torch.from_numpy(attributes[np.sort(order[: params.examples])])


def _epoch(params: TrainUnetParams, attributes: np.ndarray, seed: int) -> np.ndarray | None:
    """Rows of an epoch. A model that is never asked for anything must draw the faces as often as they are."""
    return None if params.conditioning == "none" else repeated(attributes, params.repeats, seed)


def _states(conditioning: Conditioning, attributes: np.ndarray) -> np.ndarray:
    """A model that is not asked by attributes never sees one."""
    return attributes if conditioning in ("attributes", "both") else np.full_like(attributes, UNKNOWN)


if __name__ == "__main__":
    run(main)
