"""Interleaved timing: on a noisy machine only a ratio of neighbours can be trusted."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def side_by_side(ours: Callable[[], int], plain: Callable[[], int], rounds: int = 5) -> dict[str, float]:
    """Run both in turn, ``rounds`` times after a warm-up. Each call returns how many items it handled.

    Returns median items/s of both and the median over rounds of their ratio.
    """
    ours(), plain()
    rates = [(_rate(ours), _rate(plain)) for _ in range(rounds)]
    return {
        "ours_per_s": round(statistics.median(a for a, _ in rates), 2),
        "plain_per_s": round(statistics.median(b for _, b in rates), 2),
        "ratio": round(statistics.median(a / b for a, b in rates), 2),
    }


def _rate(work: Callable[[], int]) -> float:
    started = time.perf_counter()
    count = work()
    return count / (time.perf_counter() - started)
