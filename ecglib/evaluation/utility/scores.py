r"""How good a classifier is on patients it never saw, and whether two of them differ, over patients drawn again.

The area under the ROC curve of class k, with weights w that say how often each test record was drawn,

.. math:: A = \frac{\sum_{i: y_i = 1} \sum_{j: y_j = 0} w_i w_j \bigl( \mathbb 1[s_i > s_j]
          + \tfrac12 \mathbb 1[s_i = s_j] \bigr)}{\sum_{i: y_i = 1} w_i \sum_{j: y_j = 0} w_j},

is two products of matrices for a thousand draws at once.
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, roc_auc_score

from ecglib.errors import InputError

MARGIN = 0.02  # of macro AUROC: what counts as comparable, stated before anything was measured
BOOTSTRAPS = 1000
BINS = 10  # of the calibration error
LEVEL = 0.95


def scores(y: np.ndarray, chance: np.ndarray, found: np.ndarray, names: tuple[str, ...]) -> dict[str, float]:
    """Score one classifier.

    Parameters
    ----------
    y : float (n, K), 0 or 1
    chance : float (n, K)
        Probabilities.
    found : bool (n, K)
        Verdicts, at thresholds of fold 9.
    names : tuple of K str

    Returns
    -------
    dict
        ``auroc``, ``auprc``, ``f1``, ``brier``, ``ece`` (expected calibration error), means over the classes; and each
        of a class as ``auroc NORM``. NaN for a class that all or none of the records have; means leave it out.
    """
    result: dict[str, float] = {}
    of_class = {"auroc": roc_auc_score, "auprc": average_precision_score, "brier": brier_score_loss, "ece": _ece}
    both = [k for k in range(y.shape[1]) if 0 < y[:, k].sum() < len(y)]
    for metric, function in {**of_class, "f1": f1_score}.items():
        values = {names[k]: float(function(y[:, k], (found if metric == "f1" else chance)[:, k])) for k in both}
        result[metric] = float(np.mean(list(values.values()))) if values else np.nan
        result |= {f"{metric} {name}": values.get(name, np.nan) for name in names}
    return result


def with_interval(y: np.ndarray, chance: np.ndarray, found: np.ndarray, names: tuple[str, ...], patients: np.ndarray,
                  seed: int = 0) -> dict[str, float]:  # fmt: skip
    """Return `scores`, and the 95 % interval of the macro AUROC over patients: ``auroc_low``, ``auroc_high``.

    Parameters
    ----------
    y, chance, found, names
        As in `scores`.
    patients : array (n,)
        Each record's patient.
    seed : int
    """
    draws = macro_draws(y, chance, draw_weights(patients, seed))
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if np.isfinite(draws).any() else (np.nan,) * 2
    return {**scores(y, chance, found, names), "auroc_low": float(low), "auroc_high": float(high)}


def calibration_curve(y: np.ndarray, chance: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Return mean probability, share of positives and number of records in each bin of probability: (bins, 3).

    NaN in an empty bin.
    """
    place = np.minimum((chance * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins).astype(float)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(place, weights=v, minlength=bins) / count for v in (chance, y)]
    return np.stack([*means, count], axis=1)


def draw_weights(patients: np.ndarray, seed: int = 0, draws: int = BOOTSTRAPS) -> np.ndarray:
    """Draw patients with replacement: how often each record is drawn, float64 (draws, n_records).

    Parameters
    ----------
    patients : array (n_records,)
        Each record's patient; all records of a patient are drawn together.
    seed : int
    draws : int

    Raises
    ------
    InputError
        If there are fewer than two patients.
    """
    _, patient = np.unique(patients, return_inverse=True)
    n = patient.max(initial=-1) + 1
    if n < 2:
        raise InputError(f"patients names {n} patient; expected at least two to draw from")
    return np.random.default_rng([seed, 3]).multinomial(n, np.full(n, 1 / n), draws)[:, patient].astype(np.float64)


def weighted_auroc(y: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return one class's area under the ROC curve in each draw (equation weighted-auroc).

    Parameters
    ----------
    y : float (n,), 0 or 1
    score : float (n,)
    weights : float64 (draws, n)

    Returns
    -------
    float64 (draws,)
        NaN in a draw without one of the two kinds.
    """
    up, down = score[y == 1], score[y == 0]
    above = (up[:, None] > down) + 0.5 * (up[:, None] == down)  # (n_positive, n_negative)
    w_up, w_down = weights[:, y == 1], weights[:, y == 0]
    with np.errstate(invalid="ignore"):
        return ((w_up @ above) * w_down).sum(axis=1) / (w_up.sum(axis=1) * w_down.sum(axis=1))


def macro_draws(y: np.ndarray, chance: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the macro AUROC in each draw, float64 (draws,): the mean over classes that the draw has and lacks."""
    both = [k for k in range(y.shape[1]) if 0 < y[:, k].sum() < len(y)]
    if not both:
        return np.full(len(weights), np.nan)
    return np.nanmean([weighted_auroc(y[:, k], chance[:, k], weights) for k in both], axis=0)


def paired_difference(ours: np.ndarray, theirs: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Return the mean difference of two ways over training seeds, and its 95 % interval.

    Parameters
    ----------
    ours, theirs : float64 (n_seeds, draws)
        Macro AUROC of each seed's two classifiers in the same draws of test patients.
    seed : int
        Of drawing the training seeds again, with replacement, in each draw.

    Returns
    -------
    value, low, high : float
        Test patients and training seeds vary in the interval; with one seed only patients do. Drawing a few seeds again
        understates how much seeds vary: where they vary more than patients, five cover 84 % instead of 95, three 75 %.
    """
    gap = ours - theirs
    n_seeds, draws = gap.shape
    chosen = np.random.default_rng([seed, 4]).integers(0, n_seeds, (n_seeds, draws))
    means = np.take_along_axis(gap, chosen, axis=0).mean(axis=0)
    low, high = np.nanquantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(np.nanmean(gap)), float(low), float(high)


def verdict(low: float, high: float, margin: float = MARGIN) -> str:
    """Say in a word what an interval of a difference means (equation margin).

    Returns
    -------
    str
        ``comparable`` if it lies within ± margin; else ``better`` above 0, ``worse`` below 0, or ``undecided``. It is
        no surer than the interval: that of `paired_difference` is too narrow with few seeds, and with one it is about
        this one training only.
    """
    if -margin < low and high < margin:
        return "comparable"
    return "better" if low > 0 else "worse" if high < 0 else "undecided"


def _ece(y: np.ndarray, chance: np.ndarray) -> float:
    """Expected calibration error: mean distance of probability and share in ten bins, weighted by records."""
    curve = calibration_curve(y, chance)
    full = curve[:, 2] > 0
    return float(np.abs(curve[full, 0] - curve[full, 1]) @ curve[full, 2] / curve[:, 2].sum())
