"""The matrix step of FID at Inception's 2,048 features, beside torch-fidelity's own function in the same run."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.timing import side_by_side
from facet.evaluation.fidelity import frechet, gaussian

WIDTH, SAMPLES = 2048, 4096
# Relative; the two take the same eigenvalues in different ways.
TOLERANCE = 1e-5


def measure() -> dict[str, object]:
    """Distances/s from one reference, whose root is cached as in ``artifacts/reference``, and by how much
    the two results differ. Exits where that is more than TOLERANCE."""
    # Importable only where facet.evaluation has been, which declares what torchvision lacks beside a CPU torch.
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    reference, drawn = gaussian(_features(0)), _features(1)
    mean, covariance = drawn.mean(axis=0), np.cov(drawn, rowvar=False)
    statistics = [{"mu": m, "sigma": s} for m, s in ((reference.mean, reference.covariance), (mean, covariance))]
    results = {}

    def ours() -> int:
        results["ours"] = frechet(reference, mean, covariance)
        return 1

    def plain() -> int:
        results["plain"] = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
        return 1

    rates = side_by_side(ours, plain, rounds=3)
    apart = abs(results["ours"] / results["plain"] - 1)
    if apart > TOLERANCE:
        raise SystemExit(f"error: {results['ours']} is not torch-fidelity's {results['plain']}.")
    return {"width": WIDTH, "relative_difference": float(f"{apart:.1e}")} | rates


def _features(seed: int) -> np.ndarray:
    """[SAMPLES, WIDTH] with a spectrum that falls as that of a network's features does."""
    stream = torch.Generator().manual_seed(seed)
    mix = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(9), dtype=torch.float64) / WIDTH**0.5
    spread = torch.linspace(0, -3, WIDTH, dtype=torch.float64).exp()
    return ((torch.randn(SAMPLES, WIDTH, generator=stream, dtype=torch.float64) * spread) @ mix + 0.05 * seed).numpy()
