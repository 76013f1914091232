"""Scores whose answer is known: closed forms, identical sets, ladders of damage, torch-fidelity on the same files."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter

from facet.data.pixels import to_pixels
from facet.evaluation.features import JUDGE_EXTRACTOR, extract, judge_extractor
from facet.evaluation.fidelity import frechet_of, gaussian, kid, precision_recall
from facet.evaluation.measures import gathered, reference_fidelity
from facet.evaluation.record import evaluate
from facet.evaluation.reference import ReferenceParams, load_reference, write_reference
from facet.evaluation.samples import SampleSet
from facet.models.autoencoder import save_model
from tests import tiny

torch_fidelity = pytest.importorskip("torch_fidelity")
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric  # noqa: E402


def shaped(seed: int, mean: np.ndarray, covariance: np.ndarray, count: int = 50) -> np.ndarray:
    """Features [count, d] whose own mean and unbiased covariance are the given ones, not nearly so."""
    raw = np.random.default_rng(seed).standard_normal((count, len(mean)))
    raw -= raw.mean(axis=0)
    white = raw @ np.linalg.inv(np.linalg.cholesky(np.cov(raw, rowvar=False))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def test_gaussian_features_are_at_their_closed_form_distance():
    """Of two 2 x 2 matrices that don't commute, tr sqrt(A B) = sqrt(tr A B + 2 sqrt(det A B))."""
    a, b = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.3], [-0.3, 3.0]])
    means = np.array([0.0, 1.0]), np.array([2.0, -1.0])
    root = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a @ b)))
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * root
    assert frechet_of(gaussian(shaped(0, means[0], a)), shaped(1, means[1], b)) == pytest.approx(expected, abs=1e-6)


def test_identical_sets_are_one():
    features = np.random.default_rng(0).standard_normal((80, 6))
    assert frechet_of(gaussian(features), features) == pytest.approx(0, abs=1e-8)
    assert precision_recall(features, features) == (1.0, 1.0)


def test_precision_and_recall_tell_lost_variety_from_lost_quality():
    """Samples of one mode of two are precise and recall half; samples of which half are nonsense, the reverse."""
    rng = np.random.default_rng(0)
    modes = np.concatenate([rng.standard_normal((100, 3)), rng.standard_normal((100, 3)) + 50])
    precision, recall = precision_recall(modes, rng.standard_normal((200, 3)))
    assert (precision > 0.8, 0.35 < recall <= 0.5) == (True, True)
    nonsense = np.concatenate([rng.standard_normal((100, 3)), rng.standard_normal((100, 3)) - 500])
    assert precision_recall(modes, nonsense)[0] < 0.52


# --- ladders ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained_judge(faces, tmp_path_factory):
    """A tiny judge that has learnt something of the drawn faces; one with random weights sees no order in damage."""
    judge = tiny.judge().train()
    pixels = to_pixels(torch.from_numpy(np.array(faces.pixels)))
    target = torch.from_numpy((np.asarray(faces.attributes) > 0).astype(np.float32))
    descent = torch.optim.AdamW(judge.parameters(), lr=3e-3)
    for _ in range(60):
        descent.zero_grad()
        F.binary_cross_entropy_with_logits(judge(pixels)[1], target).backward()
        descent.step()
    folder = tmp_path_factory.mktemp("trained") / "judge"
    save_model(judge.eval(), folder)
    return folder


def blurred(face: np.ndarray, level: float) -> np.ndarray:
    return np.asarray(Image.fromarray(face).filter(ImageFilter.GaussianBlur(level)))


def compressed(face: np.ndarray, level: float) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(face).save(stream, "JPEG", quality=int(level))
    return np.asarray(Image.open(stream))


def noisy(face: np.ndarray, level: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(face.shape) * level
    return np.clip(face + noise, 0, 255).astype(np.uint8)


def tinted(face: np.ndarray, level: float) -> np.ndarray:
    return np.clip(face + np.array([level, 0, -level]), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("damage", "levels"),
    [
        (blurred, (0.4, 0.8, 1.6, 3.2)),
        (compressed, (90, 50, 20, 5)),
        (noisy, (5, 15, 40, 80)),
        (tinted, (8, 20, 40, 80)),
    ],
)
def test_more_damage_is_farther(damage, levels, trained_judge, faces):
    extractor, real = judge_extractor(trained_judge), np.array(faces.pixels)
    features = extract(extractor, real, "real")
    fitted, steps = gaussian(features), [0.0]
    for level in levels:
        damaged = extract(extractor, np.stack([damage(face, level) for face in real]), "damaged")
        steps.append(frechet_of(fitted, damaged))
    assert steps == sorted(steps), steps
    assert kid(features, damaged, seed=0)[0] > kid(features, features, seed=0)[0]


# --- the same, however it is measured ---------------------------------------------------------------------------------


def test_torch_fidelity_agrees_on_the_same_png_files(trained_judge, faces, tmp_path):
    halves = np.array(faces.pixels[:32]), np.array(faces.pixels[32:])
    for name, half in zip(("real", "drawn"), halves, strict=True):
        (tmp_path / name).mkdir()
        for i, face in enumerate(half):
            Image.fromarray(face).save(tmp_path / name / f"{i:03}.png")
    theirs = torch_fidelity.calculate_metrics(
        input1=str(tmp_path / "drawn"),
        input2=str(tmp_path / "real"),
        feature_extractor=JUDGE_EXTRACTOR,
        feature_extractor_weights_path=str(trained_judge),
        cuda=False,
        fid=True,
        kid=True,
        prc=True,
        kid_subsets=20,
        kid_subset_size=32,
        rng_seed=3,
        samples_find_deep=False,
        cache=False,
        verbose=False,
        save_cpu_ram=True,
    )
    extractor = judge_extractor(trained_judge)
    real, drawn = (extract(extractor, half, "test") for half in halves)
    assert frechet_of(gaussian(real), drawn) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-5)
    assert kid(real, drawn, seed=3)[0] == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-5)
    assert precision_recall(real, drawn) == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-6)


def test_disjoint_halves_of_the_real_faces_are_the_floor_apart(trained_judge, faces, tmp_path):
    halved = dataclasses.replace(faces, split=np.array(["train", "valid"]).repeat(32))
    floor = write_reference(halved, trained_judge, ReferenceParams("train", floor_faces=32), 0, tmp_path / "r")["floor"]
    first, second = (extract(judge_extractor(trained_judge), faces.pixels[at], "") for at in (slice(32), slice(32, 64)))
    statistics = [fid_features_to_statistics(torch.from_numpy(half)) for half in (first, second)]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert (floor["faces"], floor["frechet"]) == (32, pytest.approx(theirs, rel=1e-4))


def test_however_the_real_faces_are_halved_the_halves_are_the_floor_apart(trained_judge, faces, tmp_path):
    """A perfect model's samples are real faces that nobody has seen: they score, within a third, the floor that was
    measured at their N on other faces. Moved by half a standard deviation, they no longer do."""
    rng, floors = np.random.default_rng(0), []
    for division in range(7):
        halved = dataclasses.replace(faces, split=rng.permutation(np.array(["train", "valid"]).repeat(32)))
        asked = ReferenceParams("train", floor_faces=32)
        floors.append(write_reference(halved, trained_judge, asked, 0, tmp_path / str(division))["floor"]["frechet"])
    features = extract(judge_extractor(trained_judge), faces.pixels, "")
    halves = [np.split(features[rng.permutation(64)], 2) for _ in range(50)]
    distances, moved = (
        np.median([frechet_of(gaussian(a), b + far * features.std(axis=0)) for a, b in halves]) for far in (0, 0.5)
    )
    assert 3 / 4 < distances / np.median(floors) < 4 / 3
    assert moved / np.median(floors) > 1.5


@pytest.fixture(scope="module")
def measured(trained_judge, faces, tmp_path_factory):
    """A reference, and half of the faces as if they had been drawn."""
    folder = tmp_path_factory.mktemp("measured") / "reference"
    write_reference(faces, trained_judge, ReferenceParams("train", floor_faces=8), 0, folder)
    count = 40
    about = {
        "count": count,
        "asked": "whole",
        "conditions": "theirs",
        "first_seed": 0,
        "sampling": {"steps": 2},
        "model": "0" * 64,
    }
    drawn = SampleSet(
        np.array(faces.pixels[:count]), np.sign(faces.attributes[:count]), np.arange(count, dtype=np.int64), about
    )
    return load_reference(folder), drawn


def test_another_batch_size_gives_the_same_score(trained_judge, faces, measured):
    reference, drawn = measured
    extractor = judge_extractor(trained_judge)
    found = [
        reference_fidelity(extract(extractor, drawn.faces, "test", batch_size=size), reference, 0)
        for size in (128, 7, 1)
    ]
    for other in found[1:]:
        assert other.values == pytest.approx(found[0].values, rel=1e-4, abs=1e-4)
        assert gathered({"a": other}).keys() == gathered({"a": found[0]}).keys()


def test_twice_gives_the_same_bytes_and_few_samples_warn(trained_judge, faces, measured, capsys):
    reference, drawn = measured
    records = [evaluate((), drawn, faces, reference, trained_judge, tiny.autoencoder(), 0).record for _ in range(2)]
    first, second = (json.dumps(record, sort_keys=True, allow_nan=False) for record in records)
    assert first == second
    (warning,) = records[0]["warnings"]
    assert capsys.readouterr().err == f"warning: {warning}\n" * 2
    assert "only 40 samples were scored" in warning


def test_every_headline_score_lies_in_its_interval(trained_judge, faces, measured):
    reference, drawn = measured
    record = evaluate((), drawn, faces, reference, trained_judge, tiny.autoencoder(), 0).record
    named = {name: interval for name, interval in record["intervals"].items() if "attributes" not in name}
    expected = {
        *(f"fidelity.judge.{name}" for name in ("frechet", "frechet_at_floor_n", "frechet_over_floor", "kid_mean")),
        *("fidelity.judge.precision", "fidelity.judge.recall", "adherence.mean", "adherence.balanced"),
        *(f"autoencoder.{name}" for name in ("psnr_db", "ssim", "msssim", "rfd", "rfd_over_floor")),
    }
    assert expected <= named.keys()
    for path, (low, high) in record["intervals"].items():
        value = record
        for name in path.split("."):
            value = value[name]
        assert low - 1e-3 <= value <= high + 1e-3, path
