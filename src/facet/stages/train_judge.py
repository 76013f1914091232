"""artifacts/faces -> artifacts/judge: says whether an asked attribute is in a picture."""

from __future__ import annotations

import dataclasses

import torch

from facet.artifacts import FACES, JUDGE, METRICS, whole_folder, write_json
from facet.data.datasets import load_faces
from facet.evaluation.adherence import judge_accuracy
from facet.models.autoencoder import save_model
from facet.models.judge import Judge
from facet.params import read_section, read_seed
from facet.seeding import derive
from facet.stages import run
from facet.training.judge import JudgeParams, JudgeTask
from facet.training.loop import LoopParams
from facet.training.session import Session


@dataclasses.dataclass(frozen=True)
class TrainJudgeParams:
    """Section ``train_judge``."""

    model: JudgeParams
    loop: LoopParams


SECTION = TrainJudgeParams


def main() -> None:
    params, seed = read_section("train_judge", SECTION), read_seed()
    faces = load_faces(FACES)
    faces.check_labelled()
    session = Session("train_judge", seed)
    torch.manual_seed(derive(seed, "train_judge weights"))
    judge = Judge(faces.names, faces.about["size"], params.model.widths, params.model.feature_dim)
    rows = faces.rows("train")
    task = JudgeTask(judge, faces.pixels[rows], faces.attributes[rows], params.model, session.device)
    last = session.train(task, params.loop, {"params": repr(params), "faces": faces.about})
    judge.eval()
    if session.writes:
        accuracy = judge_accuracy(judge, faces, faces.rows("valid", "test"))
        with whole_folder(JUDGE) as folder:
            save_model(judge.cpu(), folder)
        scores = {"accuracy": accuracy["mean"], "accuracy_balanced": accuracy["balanced"]}
        write_json(METRICS / "train_judge.json", scores | {"final": last})


if __name__ == "__main__":
    run(main)
