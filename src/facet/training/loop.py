"""The training loop: one generator of step reports for every model of the chain.

The loop knows no model and no logger. A ``Task`` supplies networks and losses; the caller iterates, prints, logs or
stops. Everything random descends from (seed, purpose, step), so a killed run that starts again from a checkpoint meets
the numbers that the uninterrupted run met, and ends with the same bytes.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from typing import Annotated, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from facet.params import Between, Fraction, Natural, Positive
from facet.precision import Precision, resolve
from facet.seeding import numpy_stream, torch_stream
from facet.training import alarms
from facet.training.checkpoint import CheckpointStore, load_optimizer_tensors, optimizer_tensors
from facet.training.ema import Ema


@dataclasses.dataclass(frozen=True)
class LoopParams:
    """Length, optimiser and book-keeping of a training run."""

    # Optimiser steps.
    steps: Positive
    # Samples a step, over all processes.
    batch_size: Positive
    # Peak learning rate of AdamW (Loshchilov & Hutter, 2019).
    learning_rate: Annotated[float, Between(0, 1)]
    # Steps of linear warm-up; a linear decay to zero follows.
    warmup_steps: Natural
    # AdamW's decay of the second moment.
    beta2: Fraction
    # Decoupled weight decay.
    weight_decay: Fraction
    # Gradient norm above which the gradient is scaled down; 0 never clips.
    clip_norm: Annotated[float, Between(0)]
    # EMA decay; 0 ships the last weights.
    ema_decay: Fraction
    # auto | fp32 | bf16
    precision: Precision
    # Steps between checkpoints, and between rows of the curve.
    checkpoint_every: Positive
    report_every: Positive

    def __post_init__(self) -> None:
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps ({self.warmup_steps}) must be below steps ({self.steps})")
        if self.checkpoint_every % self.report_every:
            raise ValueError(
                f"checkpoint_every ({self.checkpoint_every}) is no multiple of report_every ({self.report_every})"
            )


@dataclasses.dataclass(frozen=True)
class Batch:
    """What a task is given: global row numbers of this process's share [b], and where it stands in the run.

    Random tensors are drawn for the whole batch and then cut to this process's share, so that the number of processes
    changes no number.
    """

    rows: torch.Tensor
    step: int
    seed: int
    total: int
    share: slice

    def randn(self, purpose: str, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
        """Standard normal [b, *shape], a fresh stream for each purpose and step."""
        stream = torch_stream(self.seed, purpose, self.step, device=device)
        return torch.randn((self.total, *shape), generator=stream, device=device)[self.share]

    def rand(self, purpose: str, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
        """Uniform on [0, 1), [b, *shape], a fresh stream for each purpose and step."""
        stream = torch_stream(self.seed, purpose, self.step, device=device)
        return torch.rand((self.total, *shape), generator=stream, device=device)[self.share]


class Task(Protocol):
    """A model to train: its players (networks with a loss each; a GAN has two) and how their losses are computed."""

    players: dict[str, nn.Module]
    rows: int

    def loss(self, player: str, module: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """Loss terms of ``player`` on ``batch``, weighted, as scalars with gradient; their sum is reported as "loss".
        "trivial" (no gradient) is the score of a constant guess, where the task has one."""
        ...


@dataclasses.dataclass(frozen=True)
class StepReport:
    """Means since the last report; ``values`` is free of wall-clock figures, so it may enter an artifact."""

    step: int
    values: dict[str, float]
    seconds: float
    samples: int


def learning_rate(params: LoopParams, step: int) -> float:
    """Linear warm-up to the peak, then linear decay to zero; ``step`` counts from 0."""
    if step < params.warmup_steps:
        return params.learning_rate * (step + 1) / params.warmup_steps
    return params.learning_rate * (params.steps - step) / max(1, params.steps - params.warmup_steps)


def rows_of_step(step: int, batch_size: int, count: int, seed: int) -> torch.Tensor:
    """Row numbers of global batch ``step``, int64 [batch_size]: epochs of fresh permutations, joined end to end."""
    first = step * batch_size
    epochs = range(first // count, (first + batch_size - 1) // count + 1)
    orders = [numpy_stream(seed, "shuffle", epoch).permutation(count) for epoch in epochs]
    start = first - epochs[0] * count
    return torch.from_numpy(np.concatenate(orders)[start : start + batch_size])


class _Player:
    """One network with its optimiser, EMA and watch on gradients."""

    def __init__(self, module: nn.Module, params: LoopParams, accelerator: Accelerator):
        self.bare = module.to(accelerator.device)
        trained = [p for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            trained, lr=params.learning_rate, betas=(0.9, params.beta2), weight_decay=params.weight_decay, fused=True
        )
        self.ema = Ema(module, params.ema_decay)
        self.start = {name: value.cpu().clone() for name, value in self.ema.average.items()}
        self.watch = alarms.GradientWatch(module)
        self.module = accelerator.prepare_model(module) if accelerator.num_processes > 1 else module

    def tensors(self, prefix: str) -> dict[str, torch.Tensor]:
        parts = {
            "model": self.bare.state_dict(),
            "ema": self.ema.average,
            "optimizer": optimizer_tensors(self.optimizer),
        }
        return {f"{prefix}/{part}/{name}": value for part, named in parts.items() for name, value in named.items()}

    def load(self, tensors: dict[str, torch.Tensor], prefix: str) -> None:
        def part(name: str) -> dict[str, torch.Tensor]:
            start = f"{prefix}/{name}/"
            return {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}

        self.bare.load_state_dict(part("model"))
        self.ema.load(part("ema"))
        load_optimizer_tensors(self.optimizer, part("optimizer"))


def train(
    task: Task,
    params: LoopParams,
    *,
    seed: int,
    accelerator: Accelerator,
    checkpoints: CheckpointStore | None = None,
    keep_every: int = 0,
) -> Iterator[StepReport]:
    """Train ``task`` and yield a report every ``report_every`` steps; afterwards its modules hold the EMA weights.

    With ``checkpoints``, goes on from the newest one, replaying its reports first. With ``keep_every`` as well, the EMA
    weights of every such step and of the last are kept there as snapshots. Raises TrainingError from an alarm.
    """
    players = {name: _Player(module, params, accelerator) for name, module in task.players.items()}
    bf16 = resolve(params.precision, accelerator.device) == "bf16"
    share = _share(params.batch_size, accelerator)
    first, history = _resume(players, checkpoints)
    for row in history:
        yield StepReport(row["step"], row["values"], 0.0, 0)
    sums, since, started = _Sums(), 0, time.perf_counter()
    for step in range(first, params.steps):
        rows = rows_of_step(step, params.batch_size, task.rows, seed)[share]
        batch = Batch(rows, step, seed, params.batch_size, share)
        for name, player in players.items():
            with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=bf16):
                terms = task.loss(name, player.module, batch)
            total = sum(value for term, value in terms.items() if term != "trivial")
            accelerator.backward(total)
            if step < params.warmup_steps or step < first + 20:
                player.watch.look()
            norm = accelerator.clip_grad_norm_(player.bare.parameters(), params.clip_norm or math.inf)
            for group in player.optimizer.param_groups:
                group["lr"] = learning_rate(params, step)
            player.optimizer.step()
            player.optimizer.zero_grad(set_to_none=True)
            player.ema.update(step + 1)
            prefix = "" if len(players) == 1 else f"{name}_"
            shown = {"loss": total} | terms | {"gradient_norm": norm}
            sums.add({f"{prefix}{term}": value for term, value in shown.items()})
        since += 1
        # Before the checkpoint of the same step: a run that goes on from there doesn't come by here again.
        if checkpoints and keep_every and ((step + 1) % keep_every == 0 or step + 1 == params.steps):
            _keep(players, checkpoints, step + 1, accelerator)
        if (step + 1) % params.report_every == 0 or step + 1 == params.steps:
            values = sums.means(since, accelerator) | {"learning_rate": learning_rate(params, step)}
            _sound_alarms(players, values, step + 1, params)
            history.append({"step": step + 1, "values": values})
            yield StepReport(step + 1, values, time.perf_counter() - started, since * params.batch_size)
            sums, since, started = _Sums(), 0, time.perf_counter()
            if checkpoints and ((step + 1) % params.checkpoint_every == 0 or step + 1 == params.steps):
                _save(players, checkpoints, step + 1, history, accelerator)
    for player in players.values():
        alarms.ema_moved(player.ema.average, player.start)
        if params.ema_decay:
            player.ema.copy_to(player.bare)


class _Sums:
    """Running sums that stay on the device until a report needs them."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}

    def add(self, values: dict[str, torch.Tensor]) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach().float()

    def means(self, count: int, accelerator: Accelerator) -> dict[str, float]:
        stacked = torch.stack([value.double() for value in self._sums.values()]) / count
        return dict(zip(self._sums, accelerator.reduce(stacked, "mean").tolist(), strict=True))


def _share(batch_size: int, accelerator: Accelerator) -> slice:
    each, rest = divmod(batch_size, accelerator.num_processes)
    if rest:
        raise ValueError(f"batch_size {batch_size} is no multiple of the {accelerator.num_processes} processes")
    return slice(accelerator.process_index * each, (accelerator.process_index + 1) * each)


def _resume(players: dict[str, _Player], checkpoints: CheckpointStore | None) -> tuple[int, list[dict]]:
    found = checkpoints.latest() if checkpoints else None
    if found is None:
        return 0, []
    tensors, state = found
    for name, player in players.items():
        player.load(tensors, name)
    return state["step"], state["history"]


def _save(
    players: dict[str, _Player], checkpoints: CheckpointStore, step: int, history: list[dict], accelerator: Accelerator
) -> None:
    if accelerator.is_main_process:
        tensors: dict[str, torch.Tensor] = {}
        for name, player in players.items():
            tensors |= player.tensors(name)
        checkpoints.save(step, tensors, {"history": history})
    accelerator.wait_for_everyone()


def _keep(players: dict[str, _Player], checkpoints: CheckpointStore, step: int, accelerator: Accelerator) -> None:
    if accelerator.is_main_process:
        averages = {f"{name}/{key}": v for name, player in players.items() for key, v in player.ema.average.items()}
        checkpoints.keep(step, averages)
    accelerator.wait_for_everyone()


def _sound_alarms(players: dict[str, _Player], values: dict[str, float], step: int, params: LoopParams) -> None:
    for value in values.values():
        if not math.isfinite(value):
            alarms.loss_is_finite(value, step)
    if step >= max(params.warmup_steps, 20):
        for player in players.values():
            player.watch.check(step)
    if "trivial" in values and step >= max(3 * params.warmup_steps, params.steps // 4):
        alarms.loss_beats_trivial(values["loss"], values["trivial"], step)
