"""Distances agree with torch-fidelity, with closed forms, and with torch-fidelity run on our registered judge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from facet.evaluation.features import JUDGE_EXTRACTOR, extract, judge_extractor
from facet.evaluation.fidelity import frechet, frechet_of, gaussian, kid

torch_fidelity = pytest.importorskip("torch_fidelity")
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric  # noqa: E402


def features(seed: int, count: int = 400, width: int = 24, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).standard_normal((width, width))
    return rng.standard_normal((count, width)) @ mix + shift


@pytest.mark.parametrize(("count", "width", "shift"), [(400, 24, 0.0), (400, 24, 1.0), (60, 40, 0.2), (30, 64, 0.1)])
def test_the_distance_is_torch_fidelitys(count, width, shift):
    """The last two have fewer faces than features or nearly so: singular covariances."""
    a, b = features(0, count, width), features(1, count, width, shift)
    theirs = fid_statistics_to_metric(
        *(fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)), verbose=False
    )["frechet_inception_distance"]
    assert frechet_of(gaussian(a), b) == pytest.approx(theirs, rel=1e-6 if count > width else 1e-4)


def test_gaussians_of_one_covariance_are_as_far_apart_as_their_means():
    a = features(0)
    fitted = gaussian(a)
    step = np.linspace(-1, 1, a.shape[1])
    assert frechet(fitted, fitted.mean + step, fitted.covariance) == pytest.approx(step @ step, rel=1e-9)
    # Commuting covariances, C and 4 C: trace of (2 - 1)^2 C.
    expected = np.trace(fitted.covariance)
    assert frechet(fitted, fitted.mean, 4 * fitted.covariance) == pytest.approx(expected, rel=1e-9)


def test_a_set_is_at_no_distance_from_itself():
    a = features(0)
    assert frechet_of(gaussian(a), a) == pytest.approx(0, abs=1e-8)


def test_the_kernel_distance_tells_near_from_far_and_follows_its_seed():
    a = features(0)
    near, far = kid(a, features(1), seed=0)[0], kid(a, features(1, shift=2.0), seed=0)[0]
    assert abs(near) < far / 10
    assert kid(a, features(1), seed=0) == kid(a, features(1), seed=0)


def test_torch_fidelity_gives_our_figures_on_our_judge(judge_folder, faces):
    """The judge under its registered name, fed by torch-fidelity's own loader, ends in the same FID and KID."""
    first, second = np.array(faces.pixels[:32]), np.array(faces.pixels[32:])

    class Pictures(TensorDataset):
        def __getitem__(self, at):
            return self.tensors[0][at]

    def pictures(batch):
        return Pictures(torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous())

    theirs = torch_fidelity.calculate_metrics(
        input1=pictures(second),
        input2=pictures(first),
        feature_extractor=JUDGE_EXTRACTOR,
        feature_layer_fid="penultimate",
        feature_layer_kid="penultimate",
        feature_extractor_weights_path=str(judge_folder),
        cuda=False,
        fid=True,
        kid=True,
        kid_subsets=20,
        kid_subset_size=32,
        rng_seed=3,
        cache=False,
        verbose=False,
        save_cpu_ram=True,
    )
    extractor = judge_extractor(judge_folder)
    ours = [extract(extractor, batch, "test") for batch in (first, second)]
    assert frechet_of(gaussian(ours[0]), ours[1]) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-5)
    assert kid(ours[0], ours[1], seed=3)[0] == pytest.approx(theirs["kernel_inception_distance_mean"], abs=1e-6)


def test_features_do_not_depend_on_the_batch(judge_folder, faces):
    extractor = judge_extractor(judge_folder)
    whole, parts = (extract(extractor, faces.pixels, "test", batch_size=n) for n in (64, 5))
    np.testing.assert_allclose(whole, parts, atol=1e-5)
