"""The two-sample test by a classifier: can real and synthetic records be told apart by what a cardiograph measures?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from ecglib.evaluation.comparison import Comparison, NotComputable
from ecglib.evaluation.fidelity.interlead import correlations
from ecglib.evaluation.measurements import MEASURES, measured
from ecglib.evaluation.records import twelve_leads
from ecglib.signals.cohort import Cohort

LEAST_RECORDS = 30
FOLDS = 5
BANDS_HZ = ((0.1, 0.8), (0.8, 5.0), (5.0, 15.0), (15.0, 25.0), (25.0, 45.0))
FEATURES = (*MEASURES, "mean_correlation", "lowest_correlation",
            *(f"power_db_{low:g}_{high:g}_hz" for low, high in BANDS_HZ))  # fmt: skip


def record_features(cohort: Cohort) -> np.ndarray:
    """Return `FEATURES` of every record, float64 (n_records, 25): measures, likeness of beats and leads, powers."""
    return np.concatenate([measured(cohort), _leads_and_powers(cohort)], axis=1)


def _features(c: Comparison, role: str) -> np.ndarray:
    """`record_features`, of which the measures are those that other metrics have asked for already."""
    return np.concatenate([c.terms(role, measured), c.terms(role, _leads_and_powers)], axis=1)


def _leads_and_powers(cohort: Cohort) -> np.ndarray:
    lead = correlations(cohort)
    empty = ~np.isfinite(lead).any(axis=1)
    lead[empty] = 0.0  # every lead flat: as uncorrelated as can be; its measures are NaN and say so
    likeness = np.column_stack([np.nanmean(np.abs(lead), axis=1), np.nanmin(lead, axis=1)])
    return np.concatenate([likeness, _band_powers_db(cohort)], axis=1)


def two_sample(c: Comparison) -> dict[str, float]:
    """Two-sample classifier: area under the curve of telling synthetic records from real ones (0.5 best, 1 worst).

    Gradient-boosted trees on `FEATURES`; every record is judged by trees that saw no record of its patient.

    Parameters
    ----------
    c : Comparison
        At least 30 records each.

    Returns
    -------
    dict
        ``auc``. `giveaways` names what tells them apart.

    Raises
    ------
    NotComputable
        If a side has fewer records, or fewer than five patients.

    Notes
    -----
    Source: Lopez-Paz & Oquab, Revisiting classifier two-sample tests, 2017. Equation: two-sample.
    """
    if c.whole:
        c.at_least(LEAST_RECORDS)
    scores = c.once(_scores)
    truth = np.repeat([0, 1], [len(scores["real"]), len(scores["synthetic"])])
    return {"auc": float(roc_auc_score(truth, np.concatenate([scores["real"], scores["synthetic"]])))}


def giveaways(c: Comparison) -> pd.DataFrame:
    """Return what betrays synthetic records, feature by feature, the most telling first.

    Returns
    -------
    DataFrame
        ``feature``; ``auc`` of this feature alone, 0.5–1, among records that have it; ``real`` and ``synthetic``
        medians; ``missing_real`` and ``missing_synthetic``, shares of records that do not have it.
    """
    real, synthetic = _features(c, "real"), _features(c, "synthetic")
    rows = []
    for k, name in enumerate(FEATURES):
        a, b = (values[np.isfinite(values[:, k]), k] for values in (real, synthetic))
        known = len(a) > 0 and len(b) > 0
        auc = roc_auc_score(np.repeat([0, 1], [len(a), len(b)]), np.concatenate([a, b])) if known else np.nan
        rows.append({"feature": name, "auc": max(auc, 1 - auc), "real": np.median(a) if len(a) else np.nan,
                     "synthetic": np.median(b) if len(b) else np.nan, "missing_real": 1 - len(a) / len(real),
                     "missing_synthetic": 1 - len(b) / len(synthetic)})  # fmt: skip
    return pd.DataFrame(rows).sort_values("auc", ascending=False, ignore_index=True)


def _scores(c: Comparison) -> dict[str, np.ndarray]:
    """Return how synthetic each record looks to trees that saw none of its patient's."""
    real, synthetic = _features(c, "real"), _features(c, "synthetic")
    x = np.concatenate([real, synthetic])
    y = np.repeat([0, 1], [len(real), len(synthetic)])
    patients = c.patients()
    groups = np.concatenate([patients["real"], patients["synthetic"]])
    if min(len(np.unique(groups[y == side])) for side in (0, 1)) < FOLDS:
        raise NotComputable(f"it needs at least {FOLDS} patients on each side")
    scores = np.full(len(x), np.nan)
    for rows, held_out in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0).split(x, y, groups):
        trees = HistGradientBoostingClassifier(max_iter=100, learning_rate=0.1, max_leaf_nodes=15, random_state=0)
        scores[held_out] = trees.fit(x[rows], y[rows]).predict_proba(x[held_out])[:, 1]
    return {"real": scores[: len(real)], "synthetic": scores[len(real) :]}


def _band_powers_db(cohort: Cohort) -> np.ndarray:
    """Return the mean power of all leads in `BANDS_HZ`, float64 (n_records, 5), in dB of a mV²."""
    result = np.empty((len(cohort), len(BANDS_HZ)))
    for block, x in twelve_leads(cohort):
        hz = np.fft.rfftfreq(x.shape[-1], 1 / cohort.fs)
        power = (np.abs(np.fft.rfft(x - x.mean(axis=-1, keepdims=True), axis=-1)) ** 2).mean(axis=1)  # (B, F)
        bands = [power[:, (hz >= low) & (hz < high)].sum(axis=1) for low, high in BANDS_HZ]
        result[block] = 10 * np.log10(np.stack(bands, axis=1) * 2 / x.shape[-1] ** 2 + 1e-10)
    return result
