"""Distances between populations in the features of a classifier that was trained on real ECGs.

`feature_metrics` binds them to a `Classifier`. All are unbiased, or biased alike for equal n; a population needs ten
records a feature. Copies of one record look like a denser population to all of them: intervals are from half samples
without replacement.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist, pdist, squareform

from ecglib.evaluation.comparison import Comparison

if TYPE_CHECKING:
    from ecglib.evaluation.classifier import Classifier

PER_FEATURE = 10  # records
NEIGHBOURS = 5
BANDWIDTHS = (0.5, 1.0, 2.0)  # of the median distance
PERMUTATIONS = 200


def kid(c: Comparison, *, classifier: Classifier) -> dict[str, float]:
    r"""Kernel inception distance: unbiased squared MMD of the kernel (x·y/d + 1)³ (0 best; may be negative).

    Raises
    ------
    NotComputable
        If a side has fewer than ten records a feature.

    Notes
    -----
    Source: Bińkowski et al., Demystifying MMD GANs, 2018. Equation: mmd.
    """
    x, y = _features(c, classifier)
    d = x.shape[1]
    return {"kid": _mmd2((x @ x.T / d + 1) ** 3, (y @ y.T / d + 1) ** 3, (x @ y.T / d + 1) ** 3)}


def mmd(c: Comparison, *, classifier: Classifier) -> dict[str, float]:
    r"""Maximum mean discrepancy: unbiased, of Gaussian kernels around the median distance, with a permutation test.

    Returns
    -------
    dict
        ``mmd2`` (0 best; may be negative), and ``p``: how often 200 random divisions of both sides together, one record
        a patient, are at least as far apart. A small p says that the populations differ, not by how much; no interval
        goes with it.

    Raises
    ------
    NotComputable
        If a side has fewer than ten records a feature.

    Notes
    -----
    .. math:: \mathrm{MMD}^2 = \operatorname{mean}_{i \ne j} k(x_i, x_j) + \operatorname{mean}_{i \ne j} k(y_i, y_j)
              - 2 \operatorname{mean}_{i, j} k(x_i, y_j)

    Source: Gretton et al., A kernel two-sample test, 2012. Equation: mmd.
    """
    x, y = _features(c, classifier)
    kernel, first = _gaussian_kernel(np.concatenate([x, y])), np.arange(len(x) + len(y)) < len(x)
    value = float(mmd2_of_divisions(kernel, first[:, None])[0])
    if not c.whole:
        return {"mmd2": value, "p": np.nan}
    patients = c.patients()
    each = [np.unique(patients[role], return_index=True)[1] for role in ("real", "synthetic")]
    rows = np.concatenate([each[0], len(x) + each[1]])  # one record a patient: two are no two draws
    rng, first = np.random.default_rng(0), first[rows]
    divisions = [first, *(rng.permutation(first) for _ in range(PERMUTATIONS))]
    values = mmd2_of_divisions(kernel[np.ix_(rows, rows)], np.stack(divisions, axis=1))
    return {"mmd2": value, "p": float((1 + np.sum(values[1:] >= values[0])) / len(values))}


def mmd2_of_divisions(kernel: np.ndarray, first: np.ndarray) -> np.ndarray:
    r"""Return the unbiased squared MMD of many divisions of the same records into two sides.

    Parameters
    ----------
    kernel : float64 (N, N)
        Of all records, with ones on its diagonal.
    first : bool (N, n_divisions)
        Which records lie on the first side.

    Notes
    -----
    With :math:`z` the indicator of the first side, its sum of kernels is :math:`z^T K z`, so all divisions cost one
    matrix product instead of cutting the kernel up for each. Equation: mmd.
    """
    z = first.astype(np.float64)
    n, m = z.sum(axis=0), (1 - z).sum(axis=0)
    within = (z * (kernel @ z)).sum(axis=0)
    across = kernel.sum(axis=1) @ z - within
    beyond = kernel.sum() - within - 2 * across  # within the second side
    return (within - n) / (n * (n - 1)) + (beyond - m) / (m * (m - 1)) - 2 * across / (n * m)


def _gaussian_kernel(x: np.ndarray) -> np.ndarray:
    """Mean of Gaussian kernels whose bandwidths surround the median distance, float64 (N, N)."""
    squared = pdist(x, "sqeuclidean")  # each pair once: (N (N − 1) / 2,)
    median = np.median(squared)
    similarity = sum(np.exp(squared / (-2 * median * h**2)) for h in BANDWIDTHS) / len(BANDWIDTHS)
    return squareform(similarity) + np.eye(len(x))


def frechet_distance(c: Comparison, *, classifier: Classifier) -> dict[str, float]:
    r"""Fréchet distance of two Gaussians fitted to the features (0 best; biased upwards, alike for equal n).

    Raises
    ------
    NotComputable
        If a side has fewer than ten records a feature.

    Notes
    -----
    .. math:: |\mu_x - \mu_y|^2 + \operatorname{tr}\bigl(\Sigma_x + \Sigma_y - 2 (\Sigma_x \Sigma_y)^{1/2}\bigr)

    Source: Heusel et al., GANs trained by a two time-scale update rule, 2017. Equation: frechet.
    """
    x, y = _features(c, classifier)
    a, b = np.cov(x.T), np.cov(y.T)
    root = sqrtm(a @ b)  # of a product of two covariances: its eigenvalues are real, up to rounding
    gap = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    return {"fd": float(max(gap + np.trace(a + b) - 2 * np.trace(np.real(root)), 0.0))}


def prdc(c: Comparison, *, classifier: Classifier) -> dict[str, float]:
    """Precision, recall, density and coverage in balls that reach to the fifth neighbour.

    Returns
    -------
    dict
        ``precision``, share of synthetic records within a real one's ball; ``recall``, the reverse; ``density``, real
        balls around a synthetic record, over 5 (may exceed 1); ``coverage``, share of real balls that hold a synthetic
        record. None is 1 between real records: read them beside their floor.

    Raises
    ------
    NotComputable
        If a side has fewer than ten records a feature.

    Notes
    -----
    Source: Kynkäänniemi et al. 2019 (precision, recall); Naeem et al., Reliable fidelity and diversity metrics for
    generative models, 2020 (density, coverage). Equation: prdc.
    """
    x, y = _features(c, classifier)
    radius_x, radius_y = (np.sort(cdist(z, z), axis=1)[:, NEIGHBOURS] for z in (x, y))  # place 0 is the record itself
    apart = cdist(x, y)  # (n_real, n_synthetic)
    in_real = apart <= radius_x[:, None]
    return {"precision": float(in_real.any(axis=0).mean()), "recall": float((apart <= radius_y).any(axis=1).mean()),
            "density": float(in_real.sum() / (NEIGHBOURS * len(y))),
            "coverage": float(in_real.any(axis=1).mean())}  # fmt: skip


def feature_metrics(classifier: Classifier) -> tuple[Callable[[Comparison], dict[str, float]], ...]:
    """Return `kid`, `mmd`, `frechet_distance` and `prdc` of a classifier's features, for `evaluate`."""
    return tuple(_bound(metric, classifier) for metric in (kid, mmd, frechet_distance, prdc))


def _bound(metric: Any, classifier: Classifier) -> Callable[[Comparison], dict[str, float]]:
    bound: Any = partial(metric, classifier=classifier)
    bound.__name__, bound.__doc__, bound.interval = metric.__name__, metric.__doc__, "subsample"
    bound.shares = ("precision", "recall", "coverage")
    return bound


def _features(c: Comparison, classifier: Classifier) -> tuple[np.ndarray, np.ndarray]:
    x, y = c.terms("real", classifier.features), c.terms("synthetic", classifier.features)
    if c.whole:
        c.at_least(PER_FEATURE * x.shape[1])
        c.note(f"features of the classifier of superclasses with weights sha256 {classifier.digest[:12]}")
    return x, y


def _mmd2(xx: np.ndarray, yy: np.ndarray, xy: np.ndarray) -> float:
    n, m = len(xx), len(yy)
    same = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(same - 2 * xy.mean())
