"""Reconstruction and adherence scores against other implementations and hand-made cases; no weights that run code."""

from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from facet.artifacts import digest_file
from facet.errors import ArtifactError, ParamsError
from facet.evaluation.adherence import agreement, judge_faces
from facet.evaluation.features import inception_extractor, load_judge
from facet.evaluation.reconstruction import psnr, reconstruct, ssim
from tests import tiny


def pairs(faces, noise: int) -> tuple[np.ndarray, np.ndarray]:
    first = np.array(faces.pixels[:8])
    change = np.random.default_rng(0).integers(-noise, noise + 1, first.shape)
    return first, np.clip(first + change, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("noise", [3, 20, 80])
def test_psnr_and_ssim_are_those_of_scikit_image(noise, faces):
    first, second = pairs(faces, noise)
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        assert psnr(first, second)[i] == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), abs=1e-6)
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
        _, field = structural_similarity(a, b, channel_axis=-1, full=True, **options)
        inner = field[5:-5, 5:-5].mean()  # where the 11-tap window fits; at the border each library makes up pixels
        assert ssim(first, second)[i] == pytest.approx(inner, abs=1e-3)


def test_equal_pictures_score_highest(faces):
    first, _ = pairs(faces, 1)
    assert ssim(first, first) == pytest.approx(np.ones(8))
    assert (psnr(first, first) > 90).all()


def test_reconstruction_does_not_depend_on_the_batch(faces):
    vae = tiny.autoencoder()
    whole, parts = (reconstruct(vae, faces.pixels[:10], "fp32", batch_size=n) for n in (10, 3))
    assert np.abs(whole.astype(int) - parts).max() <= 1


def test_agreement_is_counted_as_it_says():
    names = ("a", "b", "c", "d")
    asked = np.array([[1, 1, 0, -1], [1, -1, 0, -1], [-1, 0, 0, 1], [-1, 0, 0, -1]], dtype=np.int8)
    seen = np.array([[1, -1, 1, -1], [-1, -1, 1, -1], [-1, 1, 1, -1], [-1, 1, 1, -1]], dtype=np.int8)
    score = agreement(asked, seen, names, np.array([0, 1, 2, 3]))
    assert score["attributes"] == {
        "a": {"overall": 0.75, "present": 0.5, "absent": 1.0},
        "b": {"overall": 0.5, "present": 0.0, "absent": 1.0},
        "c": {"overall": None, "present": None, "absent": None},
        "d": {"overall": 0.75, "present": 0.0, "absent": 1.0},
    }
    assert score["mean"] == round((0.75 + 0.5 + 0.75) / 3, 4)
    assert score["balanced"] == round((0.75 + 0.5 + 0.5) / 3, 4)
    assert set(agreement(asked, seen, names, np.array([1]))["attributes"]) == {"b"}


def test_the_judge_says_present_or_absent_and_nothing_else(faces):
    features, verdicts = judge_faces(tiny.judge(), faces.pixels[:10], batch_size=4)
    assert (features.shape, verdicts.shape) == ((10, 16), (10, 40))
    assert set(np.unique(verdicts)) <= {-1, 1}


def test_a_folder_without_a_judge_says_what_to_run(tmp_path):
    with pytest.raises(ArtifactError, match="dvc repro train_judge"):
        load_judge(tmp_path)


class Malice:
    """Unpickled, it leaves a file behind."""

    def __init__(self, mark: str):
        self.mark = mark

    def __reduce__(self):
        return (open, (self.mark, "w"))


def test_inception_weights_of_another_hash_are_refused_unopened(tmp_path, monkeypatch):
    weights = tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(1)}, weights)
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(ParamsError, match=r"have sha256 .*, expected 0{64}: fetch the right file"):
        inception_extractor(weights, "0" * 64)
    with pytest.raises(ParamsError, match="do not exist"):
        inception_extractor(tmp_path / "none.pth", "0" * 64)


@pytest.mark.parametrize("how", ["pickle", "torch", "hidden in a tensor file"])
def test_inception_weights_that_would_run_code_are_refused_and_do_not_run(how, tmp_path):
    weights, mark = tmp_path / "weights.pth", tmp_path / "owned"
    if how == "pickle":
        weights.write_bytes(pickle.dumps(Malice(str(mark))))
    elif how == "torch":
        torch.save({"a": torch.zeros(1), "b": Malice(str(mark))}, weights)
    else:
        torch.save({"a": torch.zeros(1)}, tmp_path / "good.pth")
        with zipfile.ZipFile(tmp_path / "good.pth") as good, zipfile.ZipFile(weights, "w") as bad:
            for name in good.namelist():
                content = good.read(name)
                bad.writestr(name, pickle.dumps(Malice(str(mark)), 2) if name.endswith("data.pkl") else content)
    with pytest.raises(ParamsError, match="hold more than tensors"):
        inception_extractor(weights, digest_file(weights))
    assert not mark.exists()


def test_the_malice_would_work_elsewhere(tmp_path):
    """Else the test above would prove nothing."""
    pickle.loads(pickle.dumps(Malice(str(tmp_path / "owned")))).close()
    assert (tmp_path / "owned").exists()
