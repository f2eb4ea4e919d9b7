"""Paired differences: is one generator better than another, judged on the same real records?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ecglib.errors import InputError
from ecglib.evaluation.comparison import Comparison, NotComputable
from ecglib.evaluation.measure import Metric, _draws, _values, interval, name_of

COLUMNS = ["metric", "key", "difference", "low", "high"]


def differences(first: Comparison, second: Comparison, metrics: list[Metric], *, seed: int = 0,
                resamples: int = 200) -> pd.DataFrame:  # fmt: skip
    r"""Return metrics of `first` less those of `second`, with intervals over the patients that both share.

    Parameters
    ----------
    first, second : Comparison
        The same real records; as many synthetic ones each, made from the same real ones in the same order.
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
        If the two do not share their real records and the sources of their synthetic ones.

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
    rows = []
    for metric in metrics:
        try:
            a, b = (_values(metric, side.resampled({})) for side in (first, second))
        except NotComputable:
            continue
        keys = [key for key in a if key in b]
        of_a, of_b = (_draws(metric, side, True, seed, resamples, keys)[0] for side in (first, second))
        for k, key in enumerate(keys):
            value = a[key] - b[key]
            drawn = len(of_a) and len(of_b)
            low, high = interval(value, of_a[:, k] - of_b[:, k], signed=True) if drawn else (np.nan, np.nan)
            rows.append({"metric": name_of(metric), "key": key, "difference": value, "low": low, "high": high})
    return pd.DataFrame(rows, columns=COLUMNS)
