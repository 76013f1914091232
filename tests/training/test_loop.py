"""The loop: each sample once an epoch, resumed to the bit, no other run's checkpoint, the arithmetic of its parts."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from facet.diffusion.objective import build_objective
from facet.errors import ArtifactError
from facet.models.text import load_tokenizer
from facet.params import build
from facet.precision import trained_attention
from facet.training.checkpoint import CheckpointStore
from facet.training.decoder import AdversaryParams, DecoderTask
from facet.training.ema import Ema
from facet.training.judge import JudgeParams, JudgeTask
from facet.training.loop import Batch, LoopParams, learning_rate, rows_of_step, train
from facet.training.unet import DenoiserTask, DropoutParams, Sentences, drop_attributes
from facet.training.vae import VaeTask
from tests import tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture
def make_task(faces, latents, sentences, text_folder):
    """Task name -> a fresh task, the same weights each time."""
    rows = faces.rows("train")
    pixels, moments, states = faces.pixels[rows], latents.moments[rows], faces.attributes[rows]

    def make(name: str):
        if name == "unet":
            objective = build_objective(tiny.FLOW)
            read = Sentences(sentences, rows, CPU)
            denoiser = tiny.denoiser(words=load_tokenizer(text_folder / "tokenizer"))
            return DenoiserTask(
                denoiser, objective, moments, states, latents.mean, latents.std, tiny.DROPOUT, CPU, read, 0.3
            )
        if name == "vae":
            return VaeTask(tiny.autoencoder(), pixels, tiny.RECONSTRUCTION, CPU)
        if name == "judge":
            params = JudgeParams((8, 16, 16), 16, shift=2, noise=0.02, smoothing=0.02)
            return JudgeTask(tiny.judge(), pixels, states, params, CPU)
        torch.manual_seed(3)
        adversary = build(AdversaryParams, tiny.chain_params()["tune_decoder"]["adversary"], where="", source="")
        return DecoderTask(tiny.autoencoder(), pixels, moments, tiny.RECONSTRUCTION, adversary, [0.1] * 4, CPU)

    return make


def weights(task) -> dict[str, torch.Tensor]:
    return {f"{p}.{n}": v.clone() for p, module in task.players.items() for n, v in module.state_dict().items()}


def run(task, params: LoopParams, accelerator, checkpoints=None, until: int | None = None, seed: int = 0, keep_every=0):
    """Reports up to the one of step ``until``: there the generator is closed, which is how a kill looks from inside."""
    reports = []
    generator = train(task, params, seed=seed, accelerator=accelerator, checkpoints=checkpoints, keep_every=keep_every)
    for report in generator:
        reports.append((report.step, report.values))
        if until is not None and report.step >= until:
            generator.close()
            break
    return reports


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def test_an_epoch_shows_the_rows_it_is_given(faces, latents, accelerator):
    """Two faces, one of them three times as often; each with its own latents and attributes."""
    rows = faces.rows("train")
    epoch = np.array([2, 5, 5, 5])
    task = DenoiserTask(
        tiny.denoiser(reads=False),
        build_objective(tiny.FLOW),
        latents.moments[rows],
        faces.attributes[rows],
        latents.mean,
        latents.std,
        DropoutParams(0.0, 0.0, 0.0),
        CPU,
        epoch=epoch,
    )
    assert task.rows == 4
    places = rows_of_step(0, 8, task.rows, seed=0)
    batch = task.seen(Batch(places, 0, 0, 8, slice(0, 8)))
    assert sorted(batch.rows.tolist()) == [2, 2, 5, 5, 5, 5, 5, 5]
    assert torch.equal(task.states(batch), torch.from_numpy(faces.attributes[rows][epoch[places]]).long())
    seen = {}
    denoiser = task.players["denoiser"]
    handle = denoiser.register_forward_pre_hook(lambda _, given: seen.update(states=given[2]))
    task.loss("denoiser", denoiser, Batch(places, 1, 0, 8, slice(0, 8)))
    handle.remove()
    assert torch.equal(seen["states"], task.states(batch))


@pytest.mark.parametrize(("tokens", "kernel"), [(64, "_scaled_dot_product_attention_math"), (4096, "flash")])
def test_few_tokens_are_attended_to_without_the_fused_kernel(tokens, kernel):
    """A fused kernel's gradient is the slow one there; with many tokens it spares the memory of tokens x tokens."""
    with torch.profiler.profile() as watched, trained_attention(CPU, tokens):
        x = torch.randn(1, 1, tokens, 8, requires_grad=True)
        nn.functional.scaled_dot_product_attention(x, x, x).sum().backward()
    names = [event.key for event in watched.key_averages() if "scaled_dot_product" in event.key]
    assert any(kernel in name for name in names)
    assert ("math" in kernel) != any("flash" in name for name in names)


# --- resuming ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["unet", "vae", "judge", "decoder"])
def test_a_killed_run_ends_with_the_bits_of_an_uninterrupted_one(name, make_task, accelerator, tmp_path):
    params = tiny.loop_params()
    whole = make_task(name)
    expected = run(whole, params, accelerator)
    store = CheckpointStore(name, {"run": 1}, tmp_path)
    for until in (9, 15):  # after the checkpoint of step 6, then after that of step 12
        run(make_task(name), params, accelerator, store, until)
    last = make_task(name)
    assert run(last, params, accelerator, store) == expected
    assert_equal(weights(last), weights(whole))


def test_a_finished_run_is_replayed_without_a_step(make_task, accelerator, tmp_path, monkeypatch):
    params = tiny.loop_params()
    store = CheckpointStore("unet", {}, tmp_path)
    first, second = make_task("unet"), make_task("unet")
    expected = run(first, params, accelerator, store)
    monkeypatch.setattr(second, "loss", None)
    assert run(second, params, accelerator, store) == expected
    assert_equal(weights(first), weights(second))


def test_the_run_really_resumes(make_task, accelerator, tmp_path, monkeypatch):
    """Ending alike proves nothing if each start began from step 0."""
    params, store = tiny.loop_params(), CheckpointStore("unet", {}, tmp_path)
    run(make_task("unet"), params, accelerator, store, until=15)
    task, steps = make_task("unet"), []
    loss = task.loss
    monkeypatch.setattr(
        task, "loss", lambda player, module, batch: steps.append(batch.step) or loss(player, module, batch)
    )
    run(task, params, accelerator, store)
    assert steps == list(range(12, 24))


def test_only_whole_checkpoints_of_this_run_are_seen(make_task, accelerator, tmp_path):
    params, store = tiny.loop_params(), CheckpointStore("unet", {}, tmp_path)
    run(make_task("unet"), params, accelerator, store, until=9)
    torn = store.folder / ".step-00000012.partial"  # what a kill while saving leaves
    torn.mkdir()
    (torn / "tensors.safetensors").write_bytes(b"half")
    last, whole = make_task("unet"), make_task("unet")
    run(last, params, accelerator, store)
    run(whole, params, accelerator)
    assert_equal(weights(last), weights(whole))
    assert [p.name for p in store.folder.iterdir()] == ["step-00000024"]


def test_snapshots_are_kept_whatever_kill_fell_between(make_task, accelerator, tmp_path):
    """Steps 5, 10, 15, 20 and the last, beside checkpoints at 6, 12, 18 and 24; each holds the EMA of its step."""
    params = tiny.loop_params()
    whole, killed = (CheckpointStore("unet", {"run": run}, tmp_path) for run in (1, 2))
    run(make_task("unet"), params, accelerator, whole, keep_every=5)
    for until in (9, 15, 21):
        run(make_task("unet"), params, accelerator, killed, until, keep_every=5)
    last = make_task("unet")
    run(last, params, accelerator, killed, keep_every=5)
    expected = dict(whole.kept())
    assert list(expected) == [5, 10, 15, 20, 24]
    for step, tensors in killed.kept():
        assert_equal(tensors, expected.pop(step))
    assert not expected
    assert_equal(tensors, {f"denoiser/{name}": p for name, p in last.players["denoiser"].named_parameters()})


def test_the_snapshot_of_a_step_is_kept_before_its_checkpoint(make_task, accelerator, tmp_path, monkeypatch):
    """A kill between the two must not lose it."""
    params, store = tiny.loop_params(), CheckpointStore("unet", {}, tmp_path)
    monkeypatch.setattr(store, "save", lambda step, *_: pytest.fail(f"killed at {step}"))
    with pytest.raises(pytest.fail.Exception, match="killed at 6"):
        run(make_task("unet"), params, accelerator, store, keep_every=6)
    assert [step for step, _ in store.kept()] == [6]


def test_a_kill_between_saving_and_dropping_the_older_one_is_no_loss(make_task, accelerator, tmp_path):
    store = CheckpointStore("unet", {}, tmp_path)
    store.save(6, {"a": torch.zeros(1)}, {"history": []})
    older = tiny.contents(store.folder)
    store.save(12, {"a": torch.ones(1)}, {"history": [1]})
    for name, content in older.items():
        (store.folder / name).parent.mkdir(exist_ok=True)
        (store.folder / name).write_bytes(content)
    tensors, state = store.latest()
    assert (state["step"], float(tensors["a"])) == (12, 1.0)


def test_a_damaged_checkpoint_is_a_sentence(tmp_path):
    store = CheckpointStore("unet", {}, tmp_path)
    store.save(6, {"a": torch.zeros(100)}, {"history": []})
    file = store.folder / "step-00000006/tensors.safetensors"
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(ArtifactError, match="delete it and run again"):
        store.latest()


def test_runs_of_another_key_never_meet(tmp_path):
    key = {"params": "a", "seed": 0, "inputs": {"sha256": "x"}, "code": "c"}
    CheckpointStore("unet", key, tmp_path).save(6, {"a": torch.zeros(1)}, {"history": []})
    assert CheckpointStore("unet", dict(reversed(key.items())), tmp_path).latest() is not None
    assert CheckpointStore("vae", key, tmp_path).latest() is None
    for name, other in {"params": "b", "seed": 1, "inputs": {"sha256": "y"}, "code": "d"}.items():
        assert CheckpointStore("unet", key | {name: other}, tmp_path / name).latest() is None
        assert CheckpointStore("unet", key | {name: other}, tmp_path).latest() is None


def test_stale_runs_are_cleared_but_the_previous_one_stays(tmp_path):
    for number in range(5):
        CheckpointStore("unet", {"run": number}, tmp_path).save(1, {"a": torch.zeros(1)}, {"history": []})
    assert CheckpointStore("unet", {"run": 3}, tmp_path).latest() is not None
    assert len(list((tmp_path / "unet").iterdir())) <= 2


def test_checkpoints_hold_no_pickle(make_task, accelerator, tmp_path):
    run(make_task("decoder"), tiny.loop_params(), accelerator, CheckpointStore("d", {}, tmp_path))
    assert {p.suffix for p in tmp_path.rglob("*") if p.is_file()} == {".safetensors", ".json"}


# --- what a step is given ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "count"), [(8, 64), (8, 50), (7, 5), (64, 10), (3, 1)])
def test_each_epoch_holds_each_row_once(batch, count):
    epochs = 6
    rows = torch.cat([rows_of_step(step, batch, count, seed=0) for step in range(-(-epochs * count // batch))])
    for epoch in rows[: epochs * count].view(epochs, count):
        assert sorted(epoch.tolist()) == list(range(count))
    if count > 3:
        assert rows[:count].tolist() != rows[count : 2 * count].tolist()


def test_rows_follow_from_seed_and_step_alone():
    assert torch.equal(rows_of_step(5, 8, 50, 0), rows_of_step(5, 8, 50, 0))
    assert not torch.equal(rows_of_step(5, 8, 50, 0), rows_of_step(5, 8, 50, 1))


def test_another_seed_ends_elsewhere(make_task, accelerator):
    first, second = make_task("unet"), make_task("unet")
    run(first, tiny.loop_params(), accelerator, seed=0)
    run(second, tiny.loop_params(), accelerator, seed=1)
    assert any(not torch.equal(a, b) for a, b in zip(weights(first).values(), weights(second).values(), strict=True))


def test_conditions_are_dropped_at_the_rates_asked_for():
    generator = torch.Generator().manual_seed(0)
    which, each = torch.rand(20_000, 2, generator=generator), torch.rand(20_000, 40, generator=generator)
    rates = DropoutParams(attributes=0.1, some=0.3, text=0.0)
    kept = (drop_attributes(torch.ones(20_000, 40), which, each, rates) != 0).sum(dim=1)
    assert (kept == 0).float().mean() == pytest.approx(0.1 + 0.3 / 41, abs=0.01)
    assert (kept == 40).float().mean() == pytest.approx(0.6 + 0.3 / 41, abs=0.01)
    part = kept[(kept > 0) & (kept < 40)].float()
    # The kept part's size is uniform: mean half, quarters equally full.
    assert part.mean() == pytest.approx(20, abs=0.5)
    assert torch.histc(part, 3, min=1, max=39).div(len(part)).tolist() == pytest.approx([1 / 3] * 3, abs=0.03)


@pytest.mark.parametrize(("whole", "some", "kept"), [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0)])
def test_the_ends_of_dropout_are_exact(whole, some, kept):
    states = torch.tensor([[-1, 1, -1]] * 50)
    out = drop_attributes(states, torch.rand(50, 2), torch.rand(50, 3), DropoutParams(whole, some, 0.0))
    assert (out != 0).float().mean() == kept
    assert set(out.unique().tolist()) <= {-1, 0, 1}


# --- optimiser, schedule, EMA -----------------------------------------------------------------------------------------


class Quadratic:
    """loss = scale * |w|^2 / 2, so that the gradient is scale * w."""

    def __init__(self, scale: float = 1.0):
        torch.manual_seed(0)
        self.players = {"net": nn.Linear(4, 1, bias=False)}
        self.rows, self.scale = 16, scale

    def loss(self, player, module, batch):
        return {"loss": self.scale * module.weight.square().sum() / 2}


def test_the_average_is_the_closed_form():
    module = nn.Linear(3, 2)
    ema, decay = Ema(module, 0.9), 0.9
    expected = {name: p.detach().double().clone() for name, p in module.named_parameters()}
    for step in range(1, 60):
        with torch.no_grad():
            for p in module.parameters():
                p.add_(torch.randn_like(p))
        ema.update(step)
        d = min(decay, (1 + step) / (10 + step))
        expected = {name: d * expected[name] + (1 - d) * p.double() for name, p in module.named_parameters()}
    for name, value in ema.average.items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-5)


def test_the_average_is_what_is_shipped_unless_it_is_off(accelerator):
    def last(decay: float) -> torch.Tensor:
        task = Quadratic()
        run(task, tiny.loop_params(ema_decay=decay, learning_rate=0.1), accelerator)
        return task.players["net"].weight.detach().clone()

    # The weights shrink towards zero, so an average of them lags behind.
    assert last(0.99).abs().sum() > last(0.0).abs().sum() * 1.01


def test_the_learning_rate_rises_then_falls_to_zero(accelerator):
    params = tiny.loop_params(warmup_steps=4, steps=24)
    rates = [learning_rate(params, step) / params.learning_rate for step in range(24)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:] == pytest.approx([(24 - step) / 20 for step in range(4, 24)])
    used = {step: values["learning_rate"] for step, values in run(Quadratic(), params, accelerator)}
    assert used == {step: learning_rate(params, step - 1) for step in range(3, 25, 3)}
    assert learning_rate(dataclasses.replace(params, warmup_steps=0), 0) == params.learning_rate


def test_a_gradient_above_the_norm_is_clipped(accelerator, monkeypatch):
    norms = []
    step = torch.optim.AdamW.step

    def watched(self, *given):
        grads = [p.grad for group in self.param_groups for p in group["params"]]
        norms.append(math.sqrt(sum(float(g.square().sum()) for g in grads)))
        return step(self, *given)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    reports = run(Quadratic(scale=1e3), tiny.loop_params(clip_norm=0.5), accelerator)
    assert max(norms) == pytest.approx(0.5, rel=1e-3)
    assert reports[0][1]["gradient_norm"] > 100, "the curve shows the norm before clipping"
    norms.clear()
    run(Quadratic(scale=1e3), tiny.loop_params(clip_norm=0.0), accelerator)
    assert max(norms) > 100, "0 never clips"


def test_reports_are_means_since_the_last_one(accelerator):
    by_step = [values["loss"] for _, values in run(Quadratic(), tiny.loop_params(report_every=1), accelerator)]
    by_three = [values["loss"] for _, values in run(Quadratic(), tiny.loop_params(report_every=3), accelerator)]
    assert by_three == pytest.approx(np.array(by_step).reshape(-1, 3).mean(axis=1).tolist(), rel=1e-6)


@pytest.mark.parametrize(
    "changes", [{"warmup_steps": 24}, {"checkpoint_every": 7}, {"warmup_steps": 30}, {"report_every": 4}]
)
def test_a_loop_that_can_not_be_is_refused(changes):
    with pytest.raises(ValueError, match=r"warmup_steps|checkpoint_every"):
        tiny.loop_params(**changes)
