"""Which snapshot is shipped."""

from __future__ import annotations

import numpy as np
import pytest

from facet.errors import ArtifactError
from facet.evaluation.features import judge_extractor
from facet.evaluation.reference import ReferenceParams, load_reference, write_reference
from facet.evaluation.selection import SelectParams, _conditions, best, score_snapshots
from facet.models.autoencoder import save_model
from facet.models.denoiser import save_denoiser, snapshot, snapshots
from tests import tiny

SCORES = {
    100: {"frechet": 9.0, "adherence": 0.7},
    200: {"frechet": 5.0, "adherence": 0.9},
    300: {"frechet": 5.0, "adherence": 0.8},
}


@pytest.mark.parametrize(("by", "step"), [("frechet", 300), ("adherence", 200), ("last", 300)])
def test_the_best_is_chosen_and_of_equals_the_later(by, step):
    assert best(SCORES, by) == step


def test_conditions_are_the_validation_splits(faces):
    rows = {bytes(row) for row in faces.attributes[faces.rows("valid")]}
    asked = _conditions(faces, 3 * len(faces.rows("valid")) + 1, seed=0)
    assert {bytes(row) for row in asked} == rows
    assert np.array_equal(asked, _conditions(faces, len(asked), seed=0))
    assert not np.array_equal(asked, _conditions(faces, len(asked), seed=1))


def test_a_broken_snapshot_is_not_chosen(faces, tmp_path, monkeypatch):
    """Not the last step, but the best one: here the last one's weights have blown up."""
    monkeypatch.chdir(tmp_path)
    save_model(tiny.autoencoder(), tmp_path / "artifacts/decoder")
    save_model(tiny.judge(), tmp_path / "artifacts/judge")
    write_reference(faces, tmp_path / "artifacts/judge", ReferenceParams("train", 16), 0, tmp_path / "reference")
    about = {"latents_mean": [0.0] * 4, "latents_std": [1.0] * 4, "objective": vars(tiny.FLOW)}
    about["conditioning"] = "attributes"
    for step, scale in ((10, 1.0), (20, 30.0)):
        network = tiny.denoiser(reads=False).eval()
        network.unet.conv_out.weight.data *= scale
        save_denoiser(network, about, snapshot(tmp_path / "unet", step))
    reference = load_reference(tmp_path / "reference")
    judge = judge_extractor(tmp_path / "artifacts/judge").judge
    found = snapshots(tmp_path / "unet")
    params = SelectParams(by="frechet", faces=16)
    scores = score_snapshots(found, params, tiny.SAMPLING, faces, reference, judge, seed=0)
    assert list(scores) == [10, 20]
    assert best(scores, params.by) == 10
    assert scores == score_snapshots(found, params, tiny.SAMPLING, faces, reference, judge, seed=0)


def test_a_folder_without_snapshots_is_named(tmp_path):
    with pytest.raises(ArtifactError, match="holds no snapshot of a denoiser: run `dvc repro train_unet`"):
        snapshots(tmp_path)
