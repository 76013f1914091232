"""The objectives are what the papers write, checked against diffusers' own schedulers."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr

from facet.diffusion.objective import ObjectiveParams, build_objective
from facet.diffusion.schedulers import build_scheduler
from facet.errors import ParamsError


def params(prediction: str = "flow", gamma: float = 5.0, schedule: str = "linear", **changes) -> ObjectiveParams:
    given = {"logit_mean": 0.0, "logit_std": 1.0, "min_snr_gamma": gamma, "beta_schedule": schedule}
    return ObjectiveParams(prediction, **given | changes)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(64, 4, 4, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    return clean, noise, torch.rand(64, generator=generator, dtype=torch.float64)


def test_flow_gives_back_picture_and_noise(batch):
    clean, noise, quantile = batch
    made = build_objective(params()).noised(clean, noise, quantile)
    t = (made.timestep / 1000).view(-1, 1, 1, 1)
    torch.testing.assert_close(made.latents - t * made.target, clean, rtol=0, atol=1e-12)
    torch.testing.assert_close(made.latents + (1 - t) * made.target, noise, rtol=0, atol=1e-12)
    assert (made.weight == 1).all()


def test_flow_times_are_logit_normal():
    quantile = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    zero = torch.zeros(100_000, 1, 1, 1, dtype=torch.float64)
    times = build_objective(params(logit_mean=-0.5, logit_std=1.5)).noised(zero, zero, quantile).timestep / 1000
    logits = torch.logit(times)
    assert float(logits.mean()) == pytest.approx(-0.5, abs=1e-3)
    assert float(logits.std()) == pytest.approx(1.5, abs=1e-3)


@pytest.mark.parametrize("quantile", [0.0, 1.0])
def test_the_ends_of_the_quantiles_are_finite(quantile):
    one = torch.ones(1, 1, 1, 1)
    for kind in ("flow", "epsilon", "v"):
        made = build_objective(params(kind)).noised(one, one, torch.tensor([quantile]))
        assert all(bool(part.isfinite().all()) for part in made)
        assert 0 <= float(made.timestep) <= 1000


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("kind", ["epsilon", "v"])
def test_the_noised_latents_and_targets_are_those_of_diffusers(kind, schedule, batch):
    clean, noise, quantile = (part.float() for part in batch)
    made = build_objective(params(kind, schedule=schedule)).noised(clean, noise, quantile)
    scheduler = DDPMScheduler(1000, beta_schedule=schedule)
    timestep = made.timestep.long()
    torch.testing.assert_close(made.latents, scheduler.add_noise(clean, noise, timestep))
    expected = scheduler.get_velocity(clean, noise, timestep) if kind == "v" else noise
    torch.testing.assert_close(made.target, expected)
    assert torch.equal(timestep, (quantile * 1000).long())


@pytest.mark.parametrize("gamma", [1.0, 5.0])
@pytest.mark.parametrize("kind", ["epsilon", "v"])
def test_the_weights_are_min_snr(kind, gamma, batch):
    clean, noise, quantile = (part.float() for part in batch)
    made = build_objective(params(kind, gamma)).noised(clean, noise, quantile)
    snr = compute_snr(DDPMScheduler(1000, beta_schedule="linear"), made.timestep.long())
    # As in diffusers' examples/text_to_image: min(SNR, gamma) / SNR, and / (SNR + 1) for v.
    expected = snr.clamp(max=gamma) / (snr + 1 if kind == "v" else snr)
    torch.testing.assert_close(made.weight, expected, rtol=1e-4, atol=1e-6)
    assert (build_objective(params(kind, 0.0)).noised(clean, noise, quantile).weight == 1).all()


def integrate(name: str, objective: ObjectiveParams, steps: int, predict) -> torch.Tensor:
    scheduler = build_scheduler(name, objective)
    scheduler.set_timesteps(steps)
    x = torch.randn(4, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    for timestep in scheduler.timesteps:
        x = scheduler.step(predict(x, timestep), timestep, x, return_dict=False)[0]
    return x


@pytest.mark.parametrize("steps", [4, 8, 25])
@pytest.mark.parametrize("name", ["dpm++", "unipc", "euler", "heun"])
def test_a_flow_towards_one_point_ends_there(name, steps):
    """All data at c: the velocity is (x - c) / t, linear in x, and the paths are straight."""
    point = torch.full((4, 4, 4, 4), 0.7)
    end = integrate(name, params(), steps, lambda x, t: (x - point) / (t / 1000).clamp(min=1e-3))
    torch.testing.assert_close(end, point, rtol=0, atol=5e-3)


@pytest.mark.parametrize("kind", ["epsilon", "v"])
@pytest.mark.parametrize("name", ["dpm++", "unipc", "ddim"])
def test_a_diffusion_of_one_point_ends_there(name, kind):
    point = torch.full((4, 4, 4, 4), 0.7)
    alphas = DDPMScheduler(1000, beta_schedule="linear").alphas_cumprod

    def predict(x, t):
        a = alphas[int(t)]
        noise = (x - a.sqrt() * point) / (1 - a).sqrt()
        return a.sqrt() * noise - (1 - a).sqrt() * point if kind == "v" else noise

    torch.testing.assert_close(integrate(name, params(kind), 20, predict), point, rtol=0, atol=2e-2)


def test_more_steps_come_closer_on_a_curved_path():
    """Data N(0, s^2): the exact velocity and the exact end are known, and a sampler must converge to it."""
    s = 0.5

    def velocity(x, t):
        u = t / 1000
        return x * (u - (1 - u) * s**2) / (u**2 + (1 - u) ** 2 * s**2)

    start = torch.randn(4, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    errors = {
        name: [float((integrate(name, params(), n, velocity) - s * start).abs().max()) for n in (8, 32)]
        for name in ("dpm++", "unipc", "euler", "heun")
    }
    for name, (coarse, fine) in errors.items():
        assert fine < coarse / 2, (name, coarse, fine)
        assert fine < 0.1, (name, fine)


@pytest.mark.parametrize(
    ("name", "kind", "hint"),
    [("ddim", "flow", "it takes dpm"), ("flow", "v", "it takes dpm"), ("dpm", "flow", r"did you mean dpm\+\+")],
)
def test_a_sampler_that_does_not_fit_is_refused(name, kind, hint):
    with pytest.raises(ParamsError, match=hint):
        build_scheduler(name, params(kind))
