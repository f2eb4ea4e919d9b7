"""Do two ways to measure the same hearts agree? Waves found or missed; intervals' bias and limits of agreement.

A table of waves has one row a beat, ``ecg_id``, and times in s: ``p_on``, ``p_peak``, ``p_off``, ``qrs_on``, ``r``,
``qrs_off``, ``t_peak``, ``t_off`` (as ``Cohort.waves`` and `beat_marks`), NaN where a wave is absent.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

WAVES = {"P": "p_peak", "QRS": "r", "T": "t_peak"}
INTERVALS = {"p_ms": ("p_on", "p_off"), "pr_ms": ("p_on", "qrs_on"), "qrs_ms": ("qrs_on", "qrs_off"),
             "qt_ms": ("qrs_on", "t_off")}  # fmt: skip
TIMES = ("p_on", "p_peak", "p_off", "qrs_on", "r", "qrs_off", "t_peak", "t_off")
WINDOW_S = 0.15  # a wave this near a true one is that wave (ANSI/AAMI EC57's window)


def detection(found: pd.DataFrame, true: pd.DataFrame) -> pd.DataFrame:
    """Count waves found, missed and invented.

    Parameters
    ----------
    found, true : DataFrame
        Tables of waves. What was found outside of a record's marked span counts neither way: LUDB's marks leave out
        the first and last second.

    Returns
    -------
    DataFrame, index ``P``, ``QRS``, ``T``
        ``sensitivity``, ``ppv`` (positive predictive value; NaN without any), ``n_true``, ``n_found``.
    """
    by_record = dict(list(found.groupby("ecg_id")))
    counts = {wave: np.zeros(4) for wave in WAVES}  # true, of them found; found, of them true
    for ecg_id, marks in true.groupby("ecg_id"):
        times = marks[list(TIMES)].to_numpy(np.float64)
        first, last = np.nanmin(times), np.nanmax(times)
        for wave, column in WAVES.items():
            at = marks[column].dropna().to_numpy(np.float64)
            ours = by_record[ecg_id][column].dropna().to_numpy(np.float64) if ecg_id in by_record else np.zeros(0)
            near = np.abs(ours[:, None] - at[None]) <= WINDOW_S  # (n_found, n_true)
            inside = (ours > first) & (ours < last)
            counts[wave] += [len(at), near.any(axis=0).sum(), inside.sum(), near.any(axis=1)[inside].sum()]
    rows = {wave: {"sensitivity": hit / n if n else np.nan, "ppv": right / m if m else np.nan, "n_true": int(n),
                   "n_found": int(m)} for wave, (n, hit, m, right) in counts.items()}  # fmt: skip
    return pd.DataFrame(rows).T


def intervals(waves: pd.DataFrame) -> pd.DataFrame:
    """Return each record's intervals in ms, the median over its beats: index ``ecg_id``, columns of `INTERVALS`."""
    lengths = {name: 1e3 * (waves[off] - waves[on]) for name, (on, off) in INTERVALS.items()}
    return pd.DataFrame(lengths).groupby(waves["ecg_id"]).median()


def limits_of_agreement(measured: pd.Series, true: pd.Series) -> dict[str, float]:
    r"""Return bias, standard deviation and limits of agreement of a measurement (equation limits-of-agreement).

    Parameters
    ----------
    measured, true : Series with one index
        The same quantity of the same records; where either is missing the record is left out.

    Returns
    -------
    dict
        ``n``, ``bias`` (mean of measured − true), ``sd``, ``low`` and ``high`` (bias ∓ 1.96 sd). NaN below 2 records.

    Notes
    -----
    Source: Bland & Altman, Statistical methods for assessing agreement, Lancet 1986.
    """
    gap = (measured - true).dropna()
    bias, sd = (float(gap.mean()), float(gap.std())) if len(gap) > 1 else (np.nan, np.nan)
    return {"n": len(gap), "bias": bias, "sd": sd, "low": bias - 1.96 * sd, "high": bias + 1.96 * sd}
