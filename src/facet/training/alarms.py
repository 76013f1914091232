"""Alarms: the cheap checks that would have caught the silent training bugs that published systems shipped.

Each alarm either stops the run with a TrainingError or warns; its sentence says what to do. A warning is shown once
and kept in the step's metrics.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable

import torch
from torch import nn

from facet.errors import TrainingError


class TrainingWarning(UserWarning):
    """Something looks wrong, but the run may still be worth finishing."""


def loss_is_finite(value: float, step: int) -> None:
    """Stop on NaN or infinity; the last checkpoint is from before it."""
    if not math.isfinite(value):
        raise TrainingError(
            f"the loss became {value} at step {step}: the last good checkpoint is kept; lower learning_rate or "
            "clip_norm, or set precision to fp32."
        )


def loss_beats_trivial(loss: float, trivial: float, step: int) -> None:
    """Stop a model that predicts no better than the mean of its target: it is learning nothing."""
    if loss >= 0.98 * trivial:
        raise TrainingError(
            f"after {step} steps the loss is {loss:.4f}, a constant guess scores {trivial:.4f}: the model learns "
            "nothing; check the inputs' scale, raise learning_rate, or look for a layer that is not connected."
        )


def batch_in_range(name: str, batch: torch.Tensor, *, mean: float, std: tuple[float, float]) -> None:
    """Stop on inputs of the wrong scale: |mean| at most ``mean``, standard deviation inside ``std``."""
    seen_mean, seen_std = float(batch.float().mean()), float(batch.float().std())
    if not (abs(seen_mean) <= mean and std[0] <= seen_std <= std[1]):
        raise TrainingError(
            f"the first batch of {name} has mean {seen_mean:.3f} and standard deviation {seen_std:.3f}, expected "
            f"|mean| <= {mean} and {std[0]} to {std[1]}: is it normalised twice, or not at all?"
        )


def rows_differ(name: str, batch: torch.Tensor) -> None:
    """Stop where the rows of a batch are copies: one noise tensor or one time for all was drawn."""
    if batch.shape[0] > 1 and bool((batch[1:] == batch[:1]).all()):
        raise TrainingError(f"all rows of {name} are equal: draw {name} for each sample of the batch, not once.")


class GradientWatch:
    """Remembers which parameters have ever had a non-zero gradient."""

    def __init__(self, module: nn.Module):
        self._silent = {name: p for name, p in module.named_parameters() if p.requires_grad}

    def look(self) -> None:
        """Call after backward, before the gradients are cleared."""
        self._silent = {
            name: p for name, p in self._silent.items() if p.grad is None or not bool(p.grad.count_nonzero())
        }

    def check(self, step: int) -> None:
        """Stop where a parameter never had a gradient: it can't learn."""
        if self._silent:
            names = ", ".join(list(self._silent)[:3])
            raise TrainingError(
                f"{len(self._silent)} parameters had no gradient in {step} steps ({names}): they are not connected "
                "to the loss; connect them, or freeze them with requires_grad_(False)."
            )


def ema_moved(average: dict[str, torch.Tensor], start: dict[str, torch.Tensor]) -> None:
    """Stop where the EMA still equals the initial weights: it was never updated."""
    if all(torch.equal(average[name].cpu(), start[name]) for name in start):
        raise TrainingError(
            "the EMA weights equal the initial ones: the EMA was never updated; call it after each step."
        )


def condition_matters(share: float, least: float = 0.01) -> str | None:
    """``share`` is how far the output moves when the condition is swapped, relative to the output's own size."""
    if share < least:
        return (
            f"swapping the condition moves the output by {share:.2%}: the condition is ignored; check that the "
            "attributes vary, that they reach the network, and that dropout is not near 1."
        )
    return None


def warn(messages: Iterable[str | None]) -> list[str]:
    """Show each message as a TrainingWarning and return those that are not None."""
    shown = [message for message in messages if message]
    for message in shown:
        warnings.warn(message, TrainingWarning, stacklevel=2)
    return shown
