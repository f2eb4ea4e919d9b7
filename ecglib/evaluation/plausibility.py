"""What a heart can do, and what most hearts do: hard and soft limits of measures, and what a statement promises.

Real records break soft limits too, and now and then a hard one: what counts is how much more often synthetic ones do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

HARD: dict[str, tuple[float, float]] = {
    "heart_rate": (20, 250), "rr_cv": (0, 0.6), "pr_ms": (60, 400), "qrs_ms": (40, 240), "qt_ms": (200, 700),
    "qtcb_ms": (280, 620), "p_mv": (0, 0.5), "st_mv": (-1.5, 1.5), "r_mv": (0, 6), "s_mv": (-6, 0.5),
}  # fmt: skip
"""Outside of these a record is rejected whatever its statements; but with an AV block P–R may be any interval."""

SOFT: dict[str, tuple[float, float]] = {
    "heart_rate": (48, 98), "pr_ms": (113, 212), "qrs_ms": (69, 109), "qt_ms": (325, 452), "qtcb_ms": (361, 457),
    "qtcf_ms": (359, 445), "axis_deg": (-40, 91),
}  # fmt: skip
"""2nd to 98th percentile of normal adults. Source: Mason et al., J Electrocardiol 40:228, 2007 (n = 46,129)."""

WIDE_QRS = frozenset({"CLBBB", "CRBBB", "IVCD", "ILBBB", "IRBBB", "PACE", "WPW"})
EXEMPT: dict[str, frozenset[str]] = {  # a soft limit says nothing where a statement says otherwise
    "heart_rate": frozenset({"SBRAD", "STACH", "SVTAC", "PSVT", "AFIB", "AFLT", "SVARR", "SARRH", "PACE"}),
    "pr_ms": frozenset({"1AVB", "2AVB", "3AVB", "LPR", "WPW", "PACE"}),
    "qrs_ms": WIDE_QRS | {"LAFB", "LPFB", "ABQRS", "3AVB"},
    "qt_ms": WIDE_QRS | {"LNGQT", "SBRAD", "STACH", "SVTAC", "PSVT", "AFIB", "AFLT"},
    "qtcb_ms": WIDE_QRS | {"LNGQT"},
    "qtcf_ms": WIDE_QRS | {"LNGQT"},
    "axis_deg": frozenset({"LAFB", "LPFB", "IMI", "ILMI", "LVH", "RVH", "CLBBB", "CRBBB", "PACE"}),
}

PROMISES: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "SR": lambda m: m["p_ms"].notna() & (m["rr_cv"] < 0.15),
    "SBRAD": lambda m: m["heart_rate"] < 60,
    "STACH": lambda m: m["heart_rate"] > 100,
    "AFIB": lambda m: m["p_ms"].isna() & (m["rr_cv"] > 0.10),
    "1AVB": lambda m: m["pr_ms"] > 200,
    "CLBBB": lambda m: m["qrs_ms"] >= 120,
    "CRBBB": lambda m: m["qrs_ms"] >= 120,
    "PACE": lambda m: m["qrs_ms"] >= 120,
    "LAFB": lambda m: m["axis_deg"] < -30,
    "LVH": lambda m: (m["sokolow_mv"] >= 3.5) | (m["cornell_mv"] >= 2.0),
    "LNGQT": lambda m: m["qtcb_ms"] > 450,
}
"""Statement → whether the measures bear it out: textbook criteria. Not every real record of a statement does."""


def hard_violations(measures: pd.DataFrame, codes: Iterable[Iterable[str]]) -> pd.DataFrame:
    """Tell which hard limits each record breaks.

    Parameters
    ----------
    measures : DataFrame (n_records)
        From `delineate`.
    codes : iterable of n_records iterables of str
        Statements.

    Returns
    -------
    DataFrame of bool, one column a limit
        A measure that is absent breaks none.
    """
    broken = _outside(measures, HARD)
    broken["pr_ms"] &= np.array([not {"1AVB", "2AVB", "3AVB"} & set(each) for each in codes], bool)
    return broken


def soft_violations(measures: pd.DataFrame, codes: Iterable[Iterable[str]]) -> pd.DataFrame:
    """Tell which soft limits each record breaks without a statement that explains it: as `hard_violations`."""
    broken, sets = _outside(measures, SOFT), [set(each) for each in codes]
    for name, exempt in EXEMPT.items():
        broken[name] &= np.array([not exempt & each for each in sets], bool)
    return broken


def _outside(measures: pd.DataFrame, limits: dict[str, tuple[float, float]]) -> pd.DataFrame:
    broken = {name: (measures[name] < low) | (measures[name] > high) for name, (low, high) in limits.items()}
    return pd.DataFrame(broken, index=measures.index)


def wide_expected(codes: Iterable[Iterable[str]]) -> np.ndarray:
    """Tell which records have a statement that makes QRS wide: bool (n_records,)."""
    return np.array([bool(WIDE_QRS & set(each)) for each in codes], bool)
