"""Multi-scale similarity against another implementation and by hand; latents with known moments, axes and paths."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from facet.data.latents import LatentSet
from facet.errors import ArtifactError
from facet.evaluation.latents import colours, means, moments_by_channel, slerp, walk
from facet.evaluation.reconstruction import ms_ssim, reconstruct, scales, ssim
from tests import tiny

# Wang, Simoncelli & Bovik (2003), section 3.2.
WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def by_scipy(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """MS-SSIM of two planes in float64: another filter, another halving."""

    def blur(plane: np.ndarray) -> np.ndarray:
        return gaussian_filter(plane, 1.5, radius=5)[5:-5, 5:-5]

    value = 1.0
    for m, weight in enumerate(weights):
        mx, my = blur(x), blur(y)
        sx, sy, sxy = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
        term = (2 * sxy + C2) / (sx + sy + C2)
        if m == len(weights) - 1:
            term = term * (2 * mx * my + C1) / (mx**2 + my**2 + C1)
        value *= max(term.mean(), 0.0) ** weight
        x, y = ((p[::2, ::2] + p[1::2, ::2] + p[::2, 1::2] + p[1::2, 1::2]) / 4 for p in (x, y))
    return value


@pytest.mark.parametrize(("size", "count"), [(11, 1), (32, 2), (64, 3), (128, 4), (176, 5), (512, 5)])
def test_as_many_scales_as_the_window_fits_into(size, count):
    assert scales(size, size) == count


def test_pictures_smaller_than_the_window_are_an_error():
    tiny = np.zeros((1, 8, 8, 3), dtype=np.uint8)
    with pytest.raises(ArtifactError, match=r"8 x 8 px, .* windows of 11"):
        ms_ssim(tiny, tiny)


@pytest.mark.parametrize("noise", [4, 30, 120])
def test_ms_ssim_is_that_of_an_independent_implementation(noise):
    draw = np.random.default_rng(0)
    first = gaussian_filter(draw.uniform(0, 255, (3, 64, 64, 3)), (0, 2, 2, 0)) * 3 - 255
    first = np.clip(first, 0, 255).astype(np.uint8)
    second = np.clip(first + draw.integers(-noise, noise + 1, first.shape), 0, 255).astype(np.uint8)
    weights = WEIGHTS[:3] / WEIGHTS[:3].sum()
    expected = [
        np.mean([by_scipy(a[..., c].astype(float), b[..., c].astype(float), weights) for c in range(3)])
        for a, b in zip(first, second, strict=True)
    ]
    assert ms_ssim(first, second) == pytest.approx(expected, abs=2e-4)
    assert ms_ssim(first, first) == pytest.approx(np.ones(3))
    assert ms_ssim(first, second, batch_size=2) == pytest.approx(ms_ssim(first, second), abs=1e-6)


def test_flat_pictures_differ_in_luminance_at_the_coarsest_scale_alone():
    first, second = (np.full((1, 64, 64, 3), value, dtype=np.uint8) for value in (100, 150))
    luminance = (2 * 100 * 150 + C1) / (100**2 + 150**2 + C1)
    assert ssim(first, second) == pytest.approx([luminance], abs=1e-4)
    assert ms_ssim(first, second) == pytest.approx([luminance ** (0.3001 / 0.6305)], abs=1e-4)


def test_opposite_pictures_are_not_nan():
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    first = np.repeat(board[None, :, :, None], 3, axis=3).astype(np.uint8)
    assert ms_ssim(first, 255 - first) == pytest.approx([0.0])


def test_moments_of_latents_are_those_they_were_drawn_with():
    """Channels: Gaussian (kurtosis 3), uniform (1.8), two values (1), constant (none)."""
    draw, shape = np.random.default_rng(1), (3000, 8, 8)
    channels = [
        draw.normal(2, 0.5, shape),
        draw.uniform(-1, 1, shape),
        np.where(draw.random(shape) < 0.5, -1.0, 1.0),
        np.full(shape, 0.25),
    ]
    upright = np.concatenate([np.stack(channels, axis=1), np.zeros((3000, 4, 8, 8))], axis=1)
    moments = np.stack([upright, np.full_like(upright, 99.0)], axis=1).astype(np.float16)
    found = moments_by_channel(LatentSet(moments, [], [], {}), np.arange(500, 3000))
    assert found["mean"] == pytest.approx([2, 0, 0, 0.25], abs=0.01)
    assert found["std"] == pytest.approx([0.5, 3**-0.5, 1, 0], abs=0.01)
    assert found["kurtosis"] == pytest.approx([3, 1.8, 1, 3], abs=0.05)


def test_rows_that_are_not_asked_for_change_nothing(latents):
    rows = np.arange(0, len(latents.moments), 2)
    spoilt = np.array(latents.moments)
    spoilt[1::2] = 7
    changed = LatentSet(spoilt, latents.mean, latents.std, latents.about)
    assert moments_by_channel(latents, rows) == moments_by_channel(changed, rows)


# --- pictures ---------------------------------------------------------------------------------------------------------


def as_set(upright: np.ndarray) -> LatentSet:
    """Posterior means [n, c, h, w], with log-variances and mirrored twins that nothing should look at."""
    whole = np.concatenate([upright, np.full_like(upright, 50.0)], axis=1)
    return LatentSet(np.stack([whole, -whole], axis=1).astype(np.float16), [], [], {})


def test_colours_are_the_principal_axes_of_the_channels():
    draw = np.random.default_rng(2)
    strengths = np.array([0.1, 3.0, 0.2, 2.0, 1.0])
    upright = draw.normal(size=(400, 5, 4, 4)) * strengths[:, None, None]
    paint = colours(as_set(upright), np.arange(400))
    assert np.abs(paint.axes).argmax(axis=1).tolist() == [1, 3, 4]
    assert paint.axes[np.arange(3), [1, 3, 4]] == pytest.approx(1, abs=0.01)
    assert paint.share == pytest.approx(14 / 14.05, abs=0.005)
    grey = paint(np.zeros((5, 4, 4)))
    assert grey.shape == (4, 4, 3)
    assert np.abs(grey.astype(int) - 127).max() < 12
    assert paint(np.full((5, 4, 4), 100.0)).min() == 255


def test_two_channels_leave_the_third_colour_dark():
    paint = colours(as_set(np.random.default_rng(3).normal(size=(50, 2, 4, 4))), np.arange(50))
    assert paint.share == pytest.approx(1)
    assert (paint(np.ones((2, 4, 4)))[..., 2] == 0).all()


def test_latents_without_variance_are_no_error():
    paint = colours(as_set(np.ones((5, 3, 2, 2))), np.arange(5))
    assert np.isfinite(paint(np.ones((3, 2, 2)))).all()


def test_slerp_keeps_to_the_circle():
    first, last = np.array([2.0, 0.0, 0.0]), np.array([0.0, 4.0, 0.0])
    assert slerp(first, last, 0.0) == pytest.approx(first)
    assert slerp(first, last, 1.0) == pytest.approx(last)
    assert slerp(first, last, 0.5) == pytest.approx(3 * np.array([0.5**0.5, 0.5**0.5, 0]))
    steps = [slerp(first, last, t) for t in (0.25, 0.5)]
    angle = np.arccos(np.dot(*steps) / np.prod([np.linalg.norm(step) for step in steps]))
    assert angle == pytest.approx(np.pi / 8)


@pytest.mark.parametrize("last", [[2.0, 0, 0], [-1.0, 0, 0], [0, 0, 0]])
def test_slerp_between_parallel_opposite_and_no_latents_is_a_straight_line(last):
    assert slerp(np.array([1.0, 0, 0]), np.array(last), 0.25) == pytest.approx(np.array([0.75 + last[0] / 4, 0, 0]))


def test_a_walk_starts_and_ends_at_the_reconstructions(faces, latents):
    vae = tiny.autoencoder()
    steps = walk(vae, latents, start=3, end=9, steps=5)
    assert steps.shape == (5, 32, 32, 3)
    ends = reconstruct(vae, faces.pixels[[3, 9]], "fp32")
    assert np.abs(steps[[0, -1]].astype(int) - ends).max() <= 2  # latents are kept in half precision
    assert means(latents, np.array([3])).shape == (1, 4, 4, 4)
