"""A linear model of the five superclasses on given features; all that is chosen is chosen on fold 9."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from ecglib.errors import InputError
from ecglib.evaluation.classifier import youden

STRENGTHS = (1e-3, 1e-2, 1e-1)  # C of the regression: the more, the freer the weights


@dataclass(frozen=True, eq=False)
class Linear:
    """Logistic regressions, one a class, with the point on fold 9 above which a class counts as found.

    Parameters
    ----------
    mean, scale : float64 (F,)
        Of the training records' features.
    weights : float64 (K, F)
    bias : float64 (K,)
    thresholds : float64 (K,)
        Probabilities at Youden's point of the validation records; 0.5 where they have one kind only.
    strength : float
        The C that was chosen.
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    thresholds: np.ndarray
    strength: float

    @staticmethod
    def fit(x: np.ndarray, y: np.ndarray, x9: np.ndarray, y9: np.ndarray, *, balanced: bool = False,
            strengths: tuple[float, ...] = STRENGTHS) -> Linear:  # fmt: skip
        """Fit to (x, y); choose C (by macro AUROC) and thresholds (by Youden's index) on (x9, y9).

        Parameters
        ----------
        x : float (n, F)
            Features of the training records, synthetic ones among them or not.
        y : float (n, K), 0 or 1
            Which classes each has. A class that all or none of them have gets its share as its probability.
        x9, y9
            The same of real records of fold 9.
        balanced : bool
            Weight the two kinds of each class alike.
        strengths : tuple of float

        Raises
        ------
        InputError
            If a set is empty or the shapes do not fit.
        """
        fits = x.shape[1:] == x9.shape[1:] and y.shape[1:] == y9.shape[1:] and len(x) == len(y)
        if not fits or len(x) == 0 or len(x9) == 0:
            raise InputError(f"x {x.shape}, y {y.shape}, x9 {x9.shape}, y9 {y9.shape}; expected (n, F), (n, K) and the "
                             "same of fold 9, none empty")  # fmt: skip
        mean, scale = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64).clip(1e-3)
        z = ((x - mean) / scale).astype(np.float64)
        z9 = (x9 - mean) / scale
        best = (-np.inf, 0.0, np.zeros((0, 0)), np.zeros(0))
        for strength in strengths:
            fitted = [_one(z, y[:, k], strength, balanced) for k in range(y.shape[1])]
            weights, bias = np.stack([w for w, _ in fitted]), np.array([b for _, b in fitted])
            score = macro_auroc(y9, z9 @ weights.T + bias)
            if score > best[0] or not len(best[3]):
                best = (score, strength, weights, bias)
        _, strength, weights, bias = best
        chance = _sigmoid(z9 @ weights.T + bias)
        points = np.array([youden(y9[:, k], chance[:, k]) for k in range(y.shape[1])])
        return Linear(mean, scale, weights, bias, points, strength)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Return each class's probability: float64 (n, K)."""
        return _sigmoid((x - self.mean) / self.scale @ self.weights.T + self.bias)

    def found(self, x: np.ndarray) -> np.ndarray:
        """Return which classes reach their threshold: bool (n, K)."""
        return self.probabilities(x) >= self.thresholds


def macro_auroc(y: np.ndarray, score: np.ndarray) -> float:
    """Return the mean area under the ROC curve over the classes that `y`, (n, K), has and lacks; NaN if none."""
    both = [k for k in range(y.shape[1]) if 0 < y[:, k].sum() < len(y)]
    return float(np.mean([roc_auc_score(y[:, k], score[:, k]) for k in both])) if both else np.nan


def _one(z: np.ndarray, y: np.ndarray, strength: float, balanced: bool) -> tuple[np.ndarray, float]:
    if y.min() == y.max():
        share = (y.sum() + 0.5) / (len(y) + 1)  # never quite 0 or 1
        return np.zeros(z.shape[1]), float(np.log(share / (1 - share)))
    model = LogisticRegression(C=strength, class_weight="balanced" if balanced else None, max_iter=200, tol=1e-3)
    model.fit(z, y)
    return model.coef_[0], float(model.intercept_[0])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -40, 40)))
