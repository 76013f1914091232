"""How far two sets of features lie apart, Frechet (FID's formula) and kernel (KID's), and how far they overlap.

Each distance comes with its influence function, from which ``facet.evaluation.bootstrap`` makes an interval.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from scipy import linalg
from scipy.linalg import lapack

from facet import collector
from facet.torchvision_ops import declare_missing

with collector.paused():
    declare_missing()
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

# k of precision and recall, as in the paper.
NEIGHBOURS = 3


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """Mean [d] and covariance [d, d] of features, float64, with a factor of the covariance for reuse: ``factor`` [d, d]
    is upper triangular, and factor.T @ factor is the covariance."""

    mean: np.ndarray
    covariance: np.ndarray
    factor: np.ndarray


def gaussian(features: np.ndarray) -> Gaussian:
    """Fit to features [n, d]; the covariance is the unbiased one, as in every FID implementation."""
    covariance = np.cov(features, rowvar=False)
    return Gaussian(features.mean(axis=0), covariance, _factor(covariance))


def _factor(covariance: np.ndarray) -> np.ndarray:
    """What Cholesky's decomposition would give, also where the covariance is singular: its root U sqrt(L), made
    triangular by a rotation."""
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(values.clip(min=0))
    return np.linalg.qr(root.T, mode="r")


def frechet(reference: Gaussian, mean: np.ndarray, covariance: np.ndarray) -> float:
    """Squared 2-Wasserstein distance between two Gaussians (Dowson & Landau, 1982; FID: Heusel et al., 2017).

    tr sqrt(A B) is the sum of the square roots of the eigenvalues of F B F^T for any F with F^T F = A. With a
    triangular F that product takes 2 d^3 operations (LAPACK's dsygst) and, being symmetric, 4/3 d^3 more, where
    torch-fidelity's eigenvalues of A B take more than 10 d^3: docs/experiments.md has the figures of each way.
    """
    # LAPACK wants Fortran's order, which the transposes of C-ordered arrays have: nothing is copied but the result.
    inner, _ = lapack.dsygst(covariance.T, reference.factor.T, itype=2, lower=1)
    return _distance(reference, mean, np.trace(covariance), inner)


def frechet_of(reference: Gaussian, features: np.ndarray) -> float:
    """``frechet`` against the Gaussian of ``features`` [n, d]; of fewer rows than features in n x n."""
    mean, count = features.mean(axis=0), len(features)
    if count > features.shape[1]:
        return frechet(reference, mean, np.cov(features, rowvar=False))
    centred = features - mean
    return _distance(reference, mean, (centred**2).sum() / (count - 1), _gram(centred @ reference.factor.T))


def _gram(carried: np.ndarray) -> np.ndarray:
    """[n, n], with the eigenvalues other than 0 of the covariance of centred rows ``carried`` [n, d]."""
    return carried @ carried.T / (len(carried) - 1)


def _distance(reference: Gaussian, mean: np.ndarray, trace: float, inner: np.ndarray) -> float:
    """``inner``: a symmetric matrix, of which the lower triangle is read, with the eigenvalues of A B."""
    # Driver "ev" for values alone: reduction to tridiagonal form and its square-root-free QR, nothing else.
    values = linalg.eigh(inner, lower=True, eigvals_only=True, driver="ev", overwrite_a=True)
    difference = reference.mean - mean
    cross = np.sqrt(values.clip(min=0)).sum()
    return float(difference @ difference + np.trace(reference.covariance) + trace - 2 * cross)


def frechet_influence(reference: Gaussian, features: np.ndarray) -> np.ndarray:
    """How much each of ``features`` [n, d] moves ``frechet_of``: its influence function at each row, [n].

    The derivative of the distance by the covariance B is I - T, where T = F^T (F B F^T)^-1/2 F is the optimal transport
    map between the two Gaussians (Takatsu, 2011) for any F with F^T F = A; fewer rows than features take the
    pseudo-inverse, and for them x T x is a diagonal of the n x n matrix's square root.
    """
    centred = features - features.mean(axis=0)
    carried, few = centred @ reference.factor.T, len(features) <= features.shape[1]
    values, vectors = np.linalg.eigh(_gram(carried) if few else carried.T @ carried / (len(carried) - 1))
    if few:
        moved = (len(features) - 1) * (vectors**2) @ np.sqrt(values.clip(min=0))
    else:
        kept = values > values[-1] * 1e-10
        moved = ((carried @ vectors[:, kept]) ** 2 / np.sqrt(values[kept])).sum(axis=1)
    return (centred**2).sum(axis=1) - moved - 2 * centred @ (reference.mean - features.mean(axis=0))


# --- kernel distance --------------------------------------------------------------------------------------------------


def kid_subset_size(reference: int, samples: int) -> int:
    """Rows in each of KID's subsets: 1,000, or all there are on the smaller side."""
    return min(1000, reference, samples)


def kid(reference: np.ndarray, features: np.ndarray, seed: int) -> tuple[float, float]:
    """torch-fidelity's KID (Binkowski et al., 2018), mean and standard deviation over 100 subsets of at most 1,000."""
    size = kid_subset_size(len(reference), len(features))
    result = kid_features_to_metric(
        torch.from_numpy(features),
        torch.from_numpy(reference),
        kid_subset_size=size,
        kid_subsets=100 if size == 1000 else 20,
        rng_seed=seed,
        verbose=False,
    )
    return float(result[KEY_METRIC_KID_MEAN]), float(result[KEY_METRIC_KID_STD])


def kid_influence(reference: np.ndarray, features: np.ndarray, block: int = 1024) -> np.ndarray:
    """How much each of ``features`` [n, d] moves KID: the projection of its U-statistic (Hoeffding, 1948), [n]."""
    count, width = features.shape
    shares = []
    for start in range(0, count, block):
        rows = features[start : start + block]
        alike = ((rows @ features.T / width + 1) ** 3).sum(axis=1) - ((rows**2).sum(axis=1) / width + 1) ** 3
        across = ((rows @ reference.T / width + 1) ** 3).mean(axis=1)
        shares.append(2 * (alike / (count - 1) - across))
    return np.concatenate(shares)


# --- precision, recall, inception score -------------------------------------------------------------------------------


def precision_recall(reference: np.ndarray, features: np.ndarray) -> tuple[float, float]:
    """torch-fidelity's improved precision and recall (Kynkaanniemi et al., 2019), k = 3.

    Precision: share of ``features`` [n, d] within the k-nearest-neighbour balls of ``reference`` [m, d]; recall the
    other way round. Balls shrink as sets grow, so only sets of like sizes have comparable values.
    """
    result = prc_features_to_metric(
        torch.from_numpy(features),
        torch.from_numpy(reference),
        prc_neighborhood=min(NEIGHBOURS, len(features) - 1, len(reference) - 1),
        save_cpu_ram=True,
        verbose=False,
    )
    return float(result[KEY_METRIC_PRECISION]), float(result[KEY_METRIC_RECALL])


def some_rows(features: np.ndarray, count: int) -> np.ndarray:
    """``count`` rows of ``features`` [n, d], evenly spaced: the same at every call."""
    return features[np.linspace(0, len(features) - 1, count).round().astype(np.int64)]


def inception_score(logits: np.ndarray, seed: int) -> tuple[float, float]:
    """torch-fidelity's inception score (Salimans et al., 2016) of ``logits`` [n, classes]: mean, std of ten parts."""
    splits = min(10, len(logits))
    result = isc_features_to_metric(torch.from_numpy(logits), splits=splits, shuffle=True, rng_seed=seed)
    return float(result[KEY_METRIC_ISC_MEAN]), float(result[KEY_METRIC_ISC_STD])


def inception_score_influence(logits: np.ndarray) -> np.ndarray:
    """How much each sample's ``logits`` [n, classes] move the score exp(mean KL(p, q)), [n].

    That q is itself the mean of p adds nothing: the derivative of mean KL by q vanishes at that mean.
    """
    log_p = torch.from_numpy(logits).double().log_softmax(dim=1)
    divergence = (log_p.exp() * (log_p - log_p.exp().mean(dim=0).log())).sum(dim=1)
    return (divergence.mean().exp() * divergence).numpy()
