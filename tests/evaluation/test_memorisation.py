"""A model that copies is found out, mirrored or not; one that draws new faces is not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from facet.data.datasets import FaceSet, load_faces
from facet.data.drawn import write_drawn_set
from facet.data.layouts import read_celeba
from facet.data.manifest import write_faces
from facet.errors import ArtifactError
from facet.evaluation.features import extract, judge_extractor
from facet.evaluation.memorisation import FEATURES, PIXELS, closest_pairs, compare, memorisation, nearest
from facet.evaluation.reference import Reference, ReferenceParams, load_reference, write_reference
from facet.models.autoencoder import save_model
from facet.models.judge import Judge
from facet.training.judge import JudgeParams, JudgeTask
from facet.training.loop import train
from tests import tiny


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> FaceSet:
    """The drawn faces that ship with the repository, at 32 px: enough held-out ones for a percentile."""
    folder = tmp_path_factory.mktemp("shipped") / "faces"
    write_faces(read_celeba(tiny.ROOT / "sample"), tiny.prepare_params(), folder)
    return load_faces(folder)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> np.ndarray:
    """Faces of the same kind that nobody was trained on: what a perfect model would draw."""
    folder = tmp_path_factory.mktemp("fresh")
    write_drawn_set(folder / "raw", 160, seed=77)
    write_faces(read_celeba(folder / "raw"), tiny.prepare_params(), folder / "faces")
    return np.array(load_faces(folder / "faces").pixels)


def measured(faces: FaceSet, judge: Path, folder: Path, split: str = "train") -> Reference:
    write_reference(faces, judge, ReferenceParams(split, 100), 0, folder)
    return load_reference(folder)


@pytest.fixture(scope="module")
def reference(shipped, judge_folder, tmp_path_factory) -> Reference:
    return measured(shipped, judge_folder, tmp_path_factory.mktemp("reference") / "reference")


def copies(faces: FaceSet, count: int = 160) -> np.ndarray:
    """What a model would draw that knows its training faces by heart, but for a little noise."""
    known = np.array(faces.pixels[faces.rows("train")[:count]])
    noise = np.random.default_rng(0).normal(0, 6, known.shape)
    return np.clip(known + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("turned", [False, True])
def test_copies_light_it_up_mirrored_ones_too(turned, shipped, reference, judge_folder):
    drawn = copies(shipped)
    found = memorisation(judge_extractor(judge_folder), drawn[:, :, ::-1] if turned else drawn, shipped, reference)
    assert found[PIXELS]["share"] > 0.9
    assert found[PIXELS]["nearer"] > 0.99
    assert found[PIXELS]["median_ratio"] < 0.5
    pairs = closest_pairs({"memorisation": found}, PIXELS)
    assert len(pairs) == 16
    assert all(pair.row == shipped.rows("train")[pair.sample] for pair in pairs)
    assert all(pair.mirrored == turned and pair.percentile == 0 for pair in pairs)
    assert [pair.distance for pair in pairs] == sorted(pair.distance for pair in pairs)


def test_new_faces_do_not(fresh, shipped, reference, judge_folder):
    found = memorisation(judge_extractor(judge_folder), fresh, shipped, reference)
    for space in (FEATURES, PIXELS):
        assert found[space]["share"] < 0.05
        assert 0.4 < found[space]["nearer"] < 0.6
        assert 0.85 < found[space]["median_ratio"] < 1.15
    assert found["faces"] == {"training": 3164, "held_out": 836, "samples": 160}


def test_a_few_copies_among_new_faces_are_counted_and_come_first(fresh, shipped, reference, judge_folder):
    drawn = np.concatenate([fresh[:100], copies(shipped, 20)])
    found = memorisation(judge_extractor(judge_folder), drawn, shipped, reference)
    assert 20 / 120 <= found[PIXELS]["share"] < 25 / 120
    assert all(pair.sample >= 100 for pair in closest_pairs({"memorisation": found}, PIXELS))


@pytest.mark.slow
def test_a_trained_judge_knows_a_copy(fresh, shipped, tmp_path):
    """Features that were taught what a face shows put a copy beside its original."""
    torch.manual_seed(0)
    judge = Judge(shipped.names, tiny.SIZE, (16, 32, 32), 64)
    rows = shipped.rows("train")
    params = JudgeParams((16, 32, 32), 64, shift=1, noise=0.02, smoothing=0.02)
    task = JudgeTask(judge, shipped.pixels[rows], shipped.attributes[rows], params, torch.device("cpu"))
    steps = tiny.loop_params(steps=150, batch_size=64, checkpoint_every=150, report_every=50)
    for _ in train(task, steps, seed=0, accelerator=Accelerator(cpu=True)):
        pass
    save_model(judge.eval(), tmp_path / "judge")
    extractor, reference = judge_extractor(tmp_path / "judge"), measured(shipped, tmp_path / "judge", tmp_path / "r")
    drawn = copies(shipped)
    for pictures in (drawn, drawn[:, :, ::-1]):
        assert memorisation(extractor, pictures, shipped, reference)[FEATURES]["share"] > 0.5
    assert memorisation(extractor, fresh, shipped, reference)[FEATURES]["share"] < 0.05


@pytest.mark.parametrize("cells", [1, 100_000, 1 << 22])
def test_the_search_is_exact_in_parts_of_any_size(cells, monkeypatch):
    monkeypatch.setattr("facet.evaluation.memorisation._CELLS", cells)
    draw = np.random.default_rng(1)
    base, pictures, mirrored = (draw.normal(1000, 1, (n, 5)) for n in (5000, 40, 40))
    pictures[0], mirrored[1] = base[4999], base[2048]  # distances of nothing, far from the origin
    found = nearest(pictures, mirrored, lambda at: base[at], len(base))
    both = np.stack([np.linalg.norm(q[:, None] - base, axis=2) for q in (pictures, mirrored)])
    assert found.distance == pytest.approx(both.min(axis=(0, 2)), abs=1e-12)
    assert (found.row == np.where(found.mirrored, both[1].argmin(axis=1), both[0].argmin(axis=1))).all()
    assert (found.row[0], found.row[1], found.mirrored[1]) == (4999, 2048, True)


def test_the_scores_of_known_distances():
    real = np.arange(1.0, 202.0)  # its 1st percentile is 3, its median 101
    scores = compare(np.array([2.0, 3.0, 101.0, 500.0]), real)
    assert scores["share"] == 0.25
    assert (scores["threshold"], scores["median_ratio"]) == (3.0, round(52 / 101, 4))
    # Held-out faces that lie farther: 199, 198, 100 and 0, and the ties count half.
    assert scores["nearer"] == round((199.5 + 198.5 + 100.5 + 0) / 4 / 201, 4)


def test_a_reference_of_another_split_or_known_features_change_nothing(faces, judge_folder, tmp_path):
    extractor = judge_extractor(judge_folder)
    drawn = np.array(faces.pixels[:8])
    first = memorisation(extractor, drawn, faces, measured(faces, judge_folder, tmp_path / "a"))
    assert first == memorisation(extractor, drawn, faces, measured(faces, judge_folder, tmp_path / "b", "valid"))
    real = np.array(faces.pixels[faces.rows("valid", "test")])
    known = tuple(extract(extractor, some, "") for some in (drawn, real))
    assert first == memorisation(extractor, drawn, faces, measured(faces, judge_folder, tmp_path / "c"), known)


def test_a_reference_of_other_faces_is_refused(faces, judge_folder, tmp_path):
    whole = measured(faces, judge_folder, tmp_path / "reference")
    other = dataclasses.replace(whole, features=whole.features[:-1])
    with pytest.raises(ArtifactError, match="dvc repro reference"):
        memorisation(judge_extractor(judge_folder), np.array(faces.pixels[:4]), faces, other)


def test_a_record_without_it_has_no_pairs():
    assert closest_pairs({}) == []
