"""The matrix step of FID at Inception's 2,048 features, beside torch-fidelity's own function in the same run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.timing import side_by_side
from facet.evaluation.fidelity import frechet, frechet_of, gaussian

WIDTH, SAMPLES = 2048, 4096
# As many as the chain draws: fewer than features.
FEW = 1024
# Relative; the two take the same eigenvalues in different ways.
TOLERANCE = 1e-5


def measure() -> dict[str, object]:
    """Distances/s from one reference, whose factor is cached as in ``artifacts/reference``: "statistics" from mean and
    covariance, "few_samples" from the features of FEW samples. Exits where results differ by more than TOLERANCE."""
    # Importable only where facet.evaluation has been, which declares what torchvision lacks beside a CPU torch.
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    reference, drawn = gaussian(_features(0)), _features(1)
    mean, covariance = drawn.mean(axis=0), np.cov(drawn, rowvar=False)
    theirs, few = {"mu": reference.mean, "sigma": reference.covariance}, drawn[:FEW]

    def plain(statistics: dict[str, np.ndarray]) -> float:
        return fid_statistics_to_metric(theirs, statistics, verbose=False)["frechet_inception_distance"]

    return {
        "width": WIDTH,
        "statistics": _beside(
            lambda: frechet(reference, mean, covariance), lambda: plain({"mu": mean, "sigma": covariance})
        ),
        "few_samples": _beside(
            lambda: frechet_of(reference, few), lambda: plain(fid_features_to_statistics(torch.from_numpy(few)))
        ),
    }


def _beside(ours: Callable[[], float], plain: Callable[[], float]) -> dict[str, float]:
    results = {}

    def kept(name: str, work: Callable[[], float]) -> int:
        results[name] = work()
        return 1

    rates = side_by_side(lambda: kept("ours", ours), lambda: kept("plain", plain))
    apart = abs(results["ours"] / results["plain"] - 1)
    if apart > TOLERANCE:
        raise SystemExit(f"error: {results['ours']} is not torch-fidelity's {results['plain']}.")
    return {"relative_difference": float(f"{apart:.1e}")} | rates


def _features(seed: int) -> np.ndarray:
    """[SAMPLES, WIDTH] with a spectrum that falls as that of a network's features does."""
    stream = torch.Generator().manual_seed(seed)
    mix = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(9), dtype=torch.float64) / WIDTH**0.5
    spread = torch.linspace(0, -3, WIDTH, dtype=torch.float64).exp()
    return ((torch.randn(SAMPLES, WIDTH, generator=stream, dtype=torch.float64) * spread) @ mix + 0.05 * seed).numpy()
