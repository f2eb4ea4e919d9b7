"""Paired differences: is one generator better than another, judged on the same real records?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ecglib.errors import InputError
from ecglib.evaluation.comparison import ROLES, Comparison, NotComputable
from ecglib.evaluation.measure import Metric, _draws, _values, interval, name_of

COLUMNS = ["metric", "key", "difference", "low", "high"]


def differences(first: Comparison, second: Comparison, metrics: list[Metric], *, seed: int = 0,
                resamples: int = 200) -> pd.DataFrame:  # fmt: skip
    r"""Return metrics of `first` less those of `second`, with intervals over the patients that both share.

    Parameters
    ----------
    first, second : Comparison
        The same roles with the same patients: the same real records; as many synthetic ones each, made from the same
        real ones in the same order.
    metrics : list of functions Comparison → dict
    seed : int
        Of the draws.
    resamples : int
        Draws of patients.

    Returns
    -------
    DataFrame
        ``metric``, ``key``, ``difference``, ``low``, ``high`` (95 %). NaN where a side has no such value.

    Raises
    ------
    InputError
        If the two do not share their real records, the sources of their synthetic ones and the other roles' patients.

    Notes
    -----
    .. math:: \Delta_r = m(\mathrm{first}_r) - m(\mathrm{second}_r)

    over the same draws r of patients, so that what both owe to the patients drawn cancels: the interval of a difference
    is narrower than two intervals suggest. Equation: paired-difference.
    """
    for role, column in (("real", "ecg_id"), ("synthetic", "source_ecg_id")):
        ids = [side.table(role).get(column) for side in (first, second)]
        if any(one is None for one in ids) or not np.array_equal(*ids):
            raise InputError(f"{role}.table[{column!r}] of first and second differ; expected the same real records, "
                             "and synthetic ones made from the same ones in the same order")  # fmt: skip
    roles = [[role for role in ROLES if getattr(side, role) is not None] for side in (first, second)]
    if roles[0] != roles[1] or not all(_same_patients(first, second, role) for role in roles[0]):
        raise InputError(f"first has the roles {', '.join(roles[0])}, second {', '.join(roles[1])}; expected the same "
                         "ones, of the same patients: else they would not be drawn alike")  # fmt: skip
    rows = [row for metric in metrics for row in _of_metric(metric, first, second, seed, resamples)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _same_patients(first: Comparison, second: Comparison, role: str) -> bool:
    column = "source_ecg_id" if role == "synthetic" else "patient_id"
    return np.array_equal(*(side.table(role)[column] for side in (first, second)))


def _of_metric(metric: Metric, first: Comparison, second: Comparison, seed: int, resamples: int) -> list[dict]:
    sides, found = (first, second), []
    views = [side.resampled({}) for side in sides]
    for view in views:
        try:
            found.append(_values(metric, view))
        except NotComputable:
            found.append({})
    a, b = found
    keys = list(a | b) or [""]
    by_terms = bool(views[0]._used)
    of_a, of_b = (_draws(metric, side, by_terms, seed, resamples if a and b else 0, keys)[0] for side in sides)
    rows = []
    for k, key in enumerate(keys):
        value, low, high = a.get(key, np.nan) - b.get(key, np.nan), np.nan, np.nan
        if len(of_a) and len(of_b) and np.isfinite(value):
            low, high = interval(value, of_a[:, k] - of_b[:, k], signed=True)
        rows.append({"metric": name_of(metric), "key": key, "difference": value, "low": low, "high": high})
    return rows
