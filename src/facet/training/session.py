"""One training run of one step: device, checkpoints, progress bar, event log and curve around ``loop.train``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from facet.artifacts import CURVES, digest_code, write_curve
from facet.precision import be_deterministic, default_device
from facet.progress import bar
from facet.tracking.runlog import RunLog
from facet.training.checkpoint import CheckpointStore
from facet.training.loop import Batch, LoopParams, StepReport, Task, rows_of_step, train


class Session:
    """What a training step needs around the loop. Works unchanged in each process of ``accelerate launch``."""

    def __init__(self, stage: str, seed: int):
        be_deterministic()
        self.stage, self.seed = stage, seed
        self.accelerator = Accelerator(cpu=default_device().type == "cpu")
        self.device: torch.device = self.accelerator.device
        # Processes of one machine share its cores.
        local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        torch.set_num_threads(max(1, torch.get_num_threads() // local))

    @property
    def curve(self) -> Path:
        """Where this step's curve is written."""
        return CURVES / f"{self.stage}.csv"

    def probe(self, task: Task, params: LoopParams) -> Batch:
        """A fixed batch beyond the last step, for questions asked of the trained model."""
        count = min(params.batch_size, task.rows)
        rows = rows_of_step(0, count, task.rows, self.seed)
        return Batch(rows, params.steps, self.seed, count, slice(0, count))

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes artifacts."""
        return self.accelerator.is_main_process

    def train(self, task: Task, params: LoopParams, key: dict[str, Any], keep_every: int = 0) -> dict[str, float]:
        """Train ``task``, write ``metrics/curves/<stage>.csv``, and return the last report's values.

        ``key`` holds what the result depends on beyond the loop's params, the seed and the code. With ``keep_every``,
        ``snapshots`` gives the weights of every such step afterwards.
        """
        whole_key = {
            "key": key,
            "loop": repr(params),
            "seed": self.seed,
            "code": digest_code(),
            "torch": torch.__version__,
        }
        checkpoints = self._checkpoints = CheckpointStore(self.stage, whole_key)
        rows: list[dict[str, float]] = []
        # Kept as long as the step lives: its lock says that the step does.
        self._log = RunLog(self.stage, run=checkpoints.folder.name)
        reports = train(
            task,
            params,
            seed=self.seed,
            accelerator=self.accelerator,
            checkpoints=checkpoints,
            keep_every=keep_every,
        )
        try:
            self._follow(reports, rows, task, params)
        except Exception as error:
            if self.writes:
                said = (str(error).strip().splitlines() or [type(error).__name__])[0]
                self._log.log(rows[-1]["step"] if rows else 0, {"error": said[:500]})
            raise
        if self.writes:
            self._log.log(rows[-1]["step"], {"ended": True})  # before the curve: what is newer than it is a newer run
            write_curve(self.curve, rows)
        return {name: float(f"{value:.6g}") for name, value in rows[-1].items()}

    def snapshots(self, player: str, module: nn.Module) -> Iterator[int]:
        """After ``train``: each step whose EMA weights were kept, while ``module`` holds those of ``player``."""
        for step, tensors in self._checkpoints.kept():
            start = f"{player}/"
            own = {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}
            with torch.no_grad():
                for name, parameter in module.named_parameters():
                    parameter.copy_(own[name])
            yield step

    def _follow(self, reports: Iterator[StepReport], rows: list, task: Task, params: LoopParams) -> None:
        """Run the loop to its end: its reports into ``rows``, the progress bar and the event log."""
        losses = ["loss"] if len(task.players) == 1 else [f"{player}_loss" for player in task.players]
        with bar(params.steps, self.stage, "step") as progress:
            for report in reports:
                rows.append({"step": report.step} | report.values)
                progress.update(report.step - progress.n)
                progress.set_postfix({name: f"{report.values[name]:.4f}" for name in losses})
                if self.writes and report.samples:
                    self._log.log(report.step, report.values | {"samples_per_second": report.samples / report.seconds})
