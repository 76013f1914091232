"""Distances between two sets of features: Frechet (FID's formula) and kernel (KID's)."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """Mean [d] and covariance [d, d] of features, float64, with the covariance's square root for reuse."""

    mean: np.ndarray
    covariance: np.ndarray
    root: np.ndarray


def gaussian(features: np.ndarray) -> Gaussian:
    """Fit to features [n, d]; the covariance is the unbiased one, as in every FID implementation."""
    covariance = np.cov(features, rowvar=False)
    return Gaussian(features.mean(axis=0), covariance, _root(covariance))


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = torch.linalg.eigh(torch.from_numpy(covariance))
    return ((vectors * values.clamp(min=0).sqrt()) @ vectors.T).numpy()


def frechet(reference: Gaussian, mean: np.ndarray, covariance: np.ndarray) -> float:
    """Squared 2-Wasserstein distance between two Gaussians (Dowson & Landau, 1982; FID: Heusel et al., 2017).

    tr sqrt(A B) is taken as the sum of the square roots of the eigenvalues of sqrt(A) B sqrt(A), which is symmetric:
    an order of magnitude cheaper than torch-fidelity's eigenvalues of A B, and equal to it (tests/evaluation).
    """
    inner = torch.from_numpy(reference.root @ covariance @ reference.root)
    cross = torch.linalg.eigvalsh((inner + inner.T) / 2).clamp(min=0).sqrt().sum().item()
    difference = reference.mean - mean
    return float(difference @ difference + np.trace(reference.covariance) + np.trace(covariance) - 2 * cross)


def frechet_of(reference: Gaussian, features: np.ndarray) -> float:
    """``frechet`` against the Gaussian of ``features`` [n, d]."""
    return frechet(reference, features.mean(axis=0), np.cov(features, rowvar=False))


def kid(reference: np.ndarray, features: np.ndarray, seed: int) -> tuple[float, float]:
    """torch-fidelity's KID (Binkowski et al., 2018), mean and standard deviation over 100 subsets of at most 1,000."""
    size = min(1000, len(reference), len(features))
    result = kid_features_to_metric(
        torch.from_numpy(features),
        torch.from_numpy(reference),
        kid_subset_size=size,
        kid_subsets=100 if size == 1000 else 20,
        rng_seed=seed,
        verbose=False,
    )
    return float(result[KEY_METRIC_KID_MEAN]), float(result[KEY_METRIC_KID_STD])
