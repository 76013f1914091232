"""Each alarm rings for the bug it is there for, in a real run of the loop, and no alarm rings in a healthy one."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from facet.diffusion.objective import build_objective
from facet.errors import TrainingError
from facet.models.denoiser import Denoiser, Prediction
from facet.stages import train_unet
from facet.training import alarms
from facet.training.checkpoint import CheckpointStore
from facet.training.ema import Ema
from facet.training.loop import Batch, rows_of_step, train
from facet.training.unet import DenoiserTask, DropoutParams
from facet.training.vae import VaeTask
from tests import tiny

CPU = torch.device("cpu")
# Long enough for every alarm to have its turn.
LOOP = {"steps": 60, "warmup_steps": 15, "learning_rate": 1e-2, "batch_size": 32, "clip_norm": 0.0}


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture
def make_unet_task(faces, latents):
    """A fresh task of the denoiser; ``changes`` replace arguments."""
    rows = faces.rows("train")

    def make(**changes) -> DenoiserTask:
        given = {
            "denoiser": tiny.denoiser(reads=False),
            "objective": build_objective(tiny.FLOW),
            "moments": latents.moments[rows],
            "states": faces.attributes[rows],
            "mean": latents.mean,
            "std": latents.std,
            "dropout": DropoutParams(0.1, 0.2, 0.0),
            "device": CPU,
        }
        return DenoiserTask(**given | changes)

    return make


def finish(task, accelerator, checkpoints=None, **changes) -> list:
    return list(
        train(task, tiny.loop_params(**LOOP | changes), seed=0, accelerator=accelerator, checkpoints=checkpoints)
    )


class Line:
    """Learn y = 3x + 1 from x; bugs are put in by overriding ``predict`` or ``target``."""

    def __init__(self):
        torch.manual_seed(0)
        self.players: dict[str, nn.Module] = {"line": nn.Linear(1, 1)}
        self.rows = 64

    def predict(self, module, x):
        return module(x)

    def loss(self, player, module, batch):
        x = batch.randn("x", (1,), CPU)
        y = 3 * x + 1
        return {"loss": (self.predict(module, x) - y).square().mean(), "trivial": (y - 1).square().mean()}


FAST = {"learning_rate": 0.2}


def test_a_healthy_run_is_silent(make_unet_task, faces, accelerator):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert finish(Line(), accelerator, **FAST)
        assert finish(VaeTask(tiny.autoencoder(), faces.pixels, tiny.RECONSTRUCTION, CPU), accelerator)
        task = make_unet_task()
        reports = finish(task, accelerator)
        batch = Batch(rows_of_step(0, 16, task.rows, 0), 60, 0, 16, slice(0, 16))
        share = task.condition_share(task.players["denoiser"], batch)
        assert alarms.warn([alarms.condition_matters(share)]) == []
    assert reports[-1].values["loss"] < 0.9 * reports[-1].values["trivial"]


def test_a_loss_no_better_than_a_constant_guess_stops_the_run(accelerator):
    class Deaf(Line):
        """Inputs and targets are of different samples: one of the two was shuffled."""

        def predict(self, module, x):
            return module(x.roll(1, dims=0))

    with pytest.raises(TrainingError, match="a constant guess scores"):
        finish(Deaf(), accelerator, **FAST)


def test_a_denoiser_that_is_shown_other_noise_than_it_must_predict_is_stopped(make_unet_task, accelerator, monkeypatch):
    """The classic: noise is drawn a second time for the target."""
    task = make_unet_task()
    noised = task._objective.noised

    def drawn_again(clean, noise, quantile):
        right = noised(clean, noise, quantile)
        other = torch.randn(clean.shape, generator=torch.Generator().manual_seed(int(quantile[0] * 1e9)))
        return right._replace(target=other)

    monkeypatch.setattr(task._objective, "noised", drawn_again)
    with pytest.raises(TrainingError, match="learns nothing"):
        finish(task, accelerator)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint(value, accelerator, tmp_path):
    class Bursting(Line):
        def loss(self, player, module, batch):
            terms = super().loss(player, module, batch)
            return {**terms, "loss": terms["loss"] * (value if batch.step == 13 else 1)}

    store = CheckpointStore("line", {}, tmp_path)
    with pytest.raises(TrainingError, match=r"step 15.*last good checkpoint is kept"):
        finish(Bursting(), accelerator, store, **FAST)
    tensors, state = store.latest()
    assert state["step"] == 12
    assert all(bool(t.isfinite().all()) for t in tensors.values())


def test_a_gradient_that_is_no_number_stops_the_run_too(accelerator):
    class Hidden(Line):
        """sqrt at zero: the loss stays finite, its gradient does not."""

        def loss(self, player, module, batch):
            terms = super().loss(player, module, batch)
            zero = (module.weight * (0.0 if batch.step >= 7 else 1.0)).square().sum()
            return {**terms, "loss": terms["loss"] + zero.sqrt() * 1e-3}

    with pytest.raises(TrainingError, match="nan at step 9"):
        finish(Hidden(), accelerator, **FAST)


def test_a_layer_that_is_not_connected_stops_the_run(accelerator):
    class Dangling(Line):
        def __init__(self):
            super().__init__()
            self.players["line"].forgotten = nn.Linear(2, 2)

    with pytest.raises(TrainingError, match=r"2 parameters had no gradient.*forgotten\.weight"):
        finish(Dangling(), accelerator, **FAST)


def test_a_condition_whose_pooled_half_is_dropped_on_the_way_is_found(make_unet_task, accelerator, monkeypatch):
    def without_pooled(self, latents, timestep, states):
        tokens, pooled, _ = self.condition_encoder(states)
        none = torch.zeros_like(pooled)
        made = self.unet(latents, timestep, encoder_hidden_states=tokens, class_labels=none)
        return Prediction(made.sample, None)

    monkeypatch.setattr(Denoiser, "forward", without_pooled)
    with pytest.raises(TrainingError, match=r"condition_encoder\.pooled\.weight"):
        finish(make_unet_task(), accelerator)


def test_a_frozen_layer_is_no_alarm(accelerator):
    task = Line()
    task.players["line"].extra = nn.Linear(2, 2).requires_grad_(False)
    assert finish(task, accelerator, **FAST)


def test_an_average_that_is_never_updated_stops_the_run(accelerator, monkeypatch):
    monkeypatch.setattr(Ema, "update", lambda self, step: None)
    with pytest.raises(TrainingError, match="EMA was never updated"):
        finish(Line(), accelerator, **FAST)


def test_a_denoiser_that_ignores_its_condition_is_warned_of(make_unet_task, accelerator):
    """All attributes dropped, always: what a wrong dropout mask does."""
    task = make_unet_task(dropout=DropoutParams(1.0, 0.0, 0.0))
    network = task.players["denoiser"]
    finish(task, accelerator)
    batch = Batch(rows_of_step(0, 16, task.rows, 0), 60, 0, 16, slice(0, 16))
    assert alarms.condition_matters(task.condition_share(network, batch)) is None, "random embeddings still stir"
    with torch.no_grad():
        for embedding in (network.condition_encoder.tokens, network.condition_encoder.pooled):
            embedding.weight.zero_()
    share = task.condition_share(network, batch)
    with pytest.warns(alarms.TrainingWarning, match="condition is ignored"):
        shown = alarms.warn([alarms.condition_matters(share)])
    assert len(shown) == 1


def test_the_step_shows_the_warning_and_keeps_it_in_its_metrics(
    faces_folder, latents_folder, text_folder, tmp_path, monkeypatch
):
    """The classic: the condition is computed and then not handed on."""
    forward = Denoiser.forward

    def deaf(self, x, t, states, ids):
        return forward(self, x, t, states * 0, torch.zeros_like(ids))

    monkeypatch.setattr(Denoiser, "forward", deaf)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts/faces").symlink_to(faces_folder)
    (tmp_path / "artifacts/latents").symlink_to(latents_folder)
    (tmp_path / "artifacts/text").symlink_to(text_folder)
    tiny.write_params(tmp_path, tiny.chain_params())
    with pytest.warns(alarms.TrainingWarning, match="condition is ignored"):
        train_unet.main()
    metrics = json.loads((tmp_path / "metrics/train_unet.json").read_text())
    assert metrics["condition_share"] == 0
    assert "condition is ignored" in metrics["warnings"][0]


@pytest.mark.parametrize("times", [2, 0])
def test_latents_standardised_twice_or_not_at_all_stop_the_first_step(times, make_unet_task, latents, accelerator):
    scale = torch.tensor(latents.std)
    std = (scale**times if times else torch.full_like(scale, 20.0)).tolist()
    wide = {"moments": latents.moments * 20, "mean": [m * 20 for m in latents.mean], "std": std}
    with pytest.raises(TrainingError, match="normalised twice, or not at all"):
        finish(make_unet_task(**wide), accelerator)


def test_pixels_divided_before_they_are_divided_stop_the_first_step(faces, accelerator):
    scaled = (faces.pixels / 255).astype("uint8")
    with pytest.raises(TrainingError, match="normalised twice"):
        finish(VaeTask(tiny.autoencoder(), scaled, tiny.RECONSTRUCTION, CPU), accelerator)


@pytest.mark.parametrize(("draw", "purpose", "says"), [("randn", "noise", "noise"), ("rand", "time", "timestep")])
def test_one_draw_for_all_stops_the_first_step(draw, purpose, says, make_unet_task, accelerator, monkeypatch):
    drawn = getattr(Batch, draw)

    def once(self, what, shape, device):
        batch = drawn(self, what, shape, device)
        return batch[:1].expand_as(batch) if what == purpose else batch

    monkeypatch.setattr(Batch, draw, once)
    with pytest.raises(TrainingError, match=f"all rows of {says} are equal"):
        finish(make_unet_task(), accelerator)
