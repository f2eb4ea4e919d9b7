"""The table beside the signals: PTB-XL's columns, checked; folds that keep patients together."""

import numpy as np
import pandas as pd

from ecglib.errors import LARGEST_SEED, InputError, whole
from ecglib.signals.statements import STATEMENTS, superclasses

COLUMNS = ("ecg_id", "patient_id", "age", "sex", "height", "weight", "heart_rate", "scp_codes", "strat_fold")

LIMITS = {"age": (0, 120), "height": (20, 250), "weight": (1, 400), "heart_rate": (5, 400)}  # years, cm, kg, /min


def check_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with every column of `COLUMNS`, in standard types; unknown values are NaN.

    Raises
    ------
    InputError
        If ``ecg_id`` is absent or not unique, or a value is impossible; the message names column and records.
    """
    table = table.reset_index(drop=True).copy()
    absent = [name for name in ("ecg_id", "scp_codes") if name not in table]
    if absent:
        raise InputError(f"table has no column {', '.join(absent)}; it has {', '.join(map(str, table.columns))}")
    table["ecg_id"] = _numbers(table, "ecg_id").astype(np.int64)
    _refuse(table, table["ecg_id"].duplicated(), "ecg_id", "each id once")
    if "patient_id" not in table:
        table["patient_id"] = table["ecg_id"]
    _refuse(table, table["patient_id"].isna(), "patient_id", "an id for each record")
    for name, (low, high) in LIMITS.items():
        table[name] = _numbers(table, name)
        _refuse(table, ~(table[name].isna() | table[name].between(low, high)), name, f"{low} to {high}, or NaN")
    table["sex"] = _numbers(table, "sex")
    _refuse(table, ~(table["sex"].isna() | table["sex"].isin((0, 1))), "sex", "0 (male), 1 (female) or NaN")
    table["strat_fold"] = _numbers(table, "strat_fold", missing=1).astype(np.int64)
    _refuse(table, ~table["strat_fold"].between(1, 10), "strat_fold", "1 to 10")
    _refuse(table, ~table["scp_codes"].map(_is_codes).astype(bool), "scp_codes",
            "a dict of SCP statements of PTB-XL to likelihoods 0 to 100")  # fmt: skip
    table["scp_codes"] = [{name: float(value) for name, value in codes.items()} for codes in table["scp_codes"]]
    order = [*COLUMNS, *(name for name in table.columns if name not in COLUMNS)]
    return table[order]


def _is_codes(codes: object) -> bool:
    if not isinstance(codes, dict) or not all(isinstance(name, str) and name in STATEMENTS.index for name in codes):
        return False
    return all(isinstance(value, int | float | np.number) and 0 <= value <= 100 for value in codes.values())


def _numbers(table: pd.DataFrame, name: str, missing: float = np.nan) -> pd.Series:
    if name not in table:
        return pd.Series(missing, index=table.index, dtype=np.float64)
    numbers = pd.to_numeric(table[name], errors="coerce").astype(np.float64)
    _refuse(table, numbers.isna() & table[name].notna(), name, "numbers")
    if name in ("ecg_id", "strat_fold"):
        _refuse(table, ~(numbers % 1 == 0), name, "whole numbers")
    return numbers


def _refuse(table: pd.DataFrame, wrong: pd.Series, name: str, expected: str) -> None:
    if wrong.any():
        first = table[wrong].iloc[0]
        raise InputError(f"column {name} is wrong in {int(wrong.sum())} of {len(table)} rows, first {first[name]} "
                         f"at ecg_id {first.get('ecg_id')}; expected {expected}")  # fmt: skip


def assign_folds(table: pd.DataFrame, seed: int) -> np.ndarray:
    """Return folds 1–10: patients kept together, superclasses spread evenly.

    Parameters
    ----------
    table : DataFrame
        With ``patient_id`` and ``scp_codes``; at least ten patients.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    int64 (n_records,)

    Raises
    ------
    InputError
        If there are fewer than ten patients, or the seed is no whole number from 0.
    """
    seed = whole("seed", seed, 0, LARGEST_SEED)
    from sklearn.model_selection import StratifiedGroupKFold

    if table["patient_id"].nunique() < 10:
        raise InputError(f"table has {table['patient_id'].nunique()} patients; ten folds need at least ten")
    stratum = table["scp_codes"].map(lambda codes: "+".join(sorted(superclasses(codes))) or "none")
    common = stratum.map(stratum.value_counts()) >= 10
    stratum = stratum.where(common, "rare")
    if stratum.value_counts().min() < 10:
        stratum[:] = "all"
    splits = StratifiedGroupKFold(10, shuffle=True, random_state=seed).split(table, stratum, table["patient_id"])
    folds = np.zeros(len(table), dtype=np.int64)
    for number, (_, rows) in enumerate(splits, start=1):
        folds[rows] = number
    return folds
