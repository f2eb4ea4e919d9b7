r"""The plausibility guard: flag a synthetic record, reject it, and sample another.

MIDT-ECG names implausible combinations as its limit: QRS complexes too long for the young. The guard knows how long QRS
is at an age, from training records,

.. math:: \mathrm{QRS}_{99}(\mathrm{age}) = a + b \cdot \mathrm{age},

the 99th percentile for each sex, for records with and without a statement that widens QRS; and the hard limits. What it
rejects is reported: a guard that rejects much hides a bad generator, and one that rejects the rare makes it rarer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import QuantileRegressor

from ecglib.errors import InputError, whole
from ecglib.evaluation.measurements import MEASURES, measured
from ecglib.evaluation.plausibility import hard_violations, wide_expected
from ecglib.signals.cohort import Cohort

LEAST_RECORDS = 50  # for a bound of their own
SEXES = (0, 1)


@dataclass(frozen=True)
class Guard:
    """Hard limits, and a bound of QRS for an age, sex and class.

    Parameters
    ----------
    bounds : dict of (wide, sex) to (a, b)
        QRS at most a + b · age ms; `wide` tells whether a statement widens QRS. A sex of −1 is both.
    level : float
        The percentile that the bounds are, 0 to 1.
    """

    bounds: dict[tuple[bool, int], tuple[float, float]]
    level: float

    @staticmethod
    def fit(cohort: Cohort, level: float = 0.99) -> Guard:
        """Fit the bounds of QRS to training records (equation qrs-bound).

        Raises
        ------
        InputError
            If `level` is not within 0.5–1, or fewer than 50 records without widening statements have age and QRS.
        """
        if not 0.5 <= level < 1:
            raise InputError(f"level={level}; expected a share from 0.5 to below 1, such as 0.99")
        qrs = measured(cohort)[:, MEASURES.index("qrs_ms")]
        age, sex, wide = _age_sex_wide(cohort)
        known = np.isfinite(qrs) & np.isfinite(age)
        bounds = {}
        for is_wide in (False, True):
            for who in (-1, *SEXES):
                rows = known & (wide == is_wide) & ((sex == who) | (who == -1))
                if rows.sum() >= LEAST_RECORDS:
                    line = QuantileRegressor(quantile=level, alpha=0).fit(age[rows, None], qrs[rows])
                    bounds[is_wide, who] = float(line.intercept_), float(line.coef_[0])
        if (False, -1) not in bounds:
            raise InputError(f"cohort has {int((known & ~wide).sum())} records with age and QRS and no statement "
                             f"that widens it; expected at least {LEAST_RECORDS} to fit a bound to")  # fmt: skip
        return Guard(bounds, level)

    def bound_ms(self, age: np.ndarray, sex: np.ndarray, wide: np.ndarray) -> np.ndarray:
        """Return the longest plausible QRS in ms, float64 (n,); NaN where age is unknown or too few were seen."""
        result = np.full(len(age), np.nan)
        for (is_wide, who), (a, b) in sorted(self.bounds.items(), key=lambda item: item[0][1]):  # of both sexes first
            rows = (wide == is_wide) & ((sex == who) | (who == -1))
            result[rows] = a + b * age[rows]
        return result

    def reasons(self, cohort: Cohort) -> pd.Series:
        """Return why each record is implausible, '' where it is not: "no measure", hard limits, "QRS for age"."""
        measures = pd.DataFrame(measured(cohort), columns=list(MEASURES))
        hard = hard_violations(measures, cohort.table["scp_codes"])
        age, sex, wide = _age_sex_wide(cohort)
        says = [[f"hard limit: {name}" for name in hard.columns[row]] for row in hard.to_numpy()]
        for k in np.flatnonzero(measures["heart_rate"].isna()):
            says[k].append("no measure")
        with np.errstate(invalid="ignore"):
            too_long = measures["qrs_ms"].to_numpy() > self.bound_ms(age, sex, wide)
        for k in np.flatnonzero(too_long):
            says[k].append("QRS for age")
        return pd.Series(["; ".join(each) for each in says], index=cohort.table.index)


def guarded_sample(generator, table: pd.DataFrame, guard: Guard, *, tries: int = 5, seed: int = 0,
                   **options) -> tuple[Cohort, pd.DataFrame]:  # fmt: skip
    """Sample until the guard passes each record, at most `tries` times.

    Parameters
    ----------
    generator : Generator
    table : DataFrame
        Patients to imitate, as in ``Generator.sample``; ``ecg_id`` names them.
    guard : Guard
    tries : int
        Try k draws with seed + k.
    seed : int
    **options
        Of ``Generator.sample``, but `copies`.

    Returns
    -------
    Cohort
        One record for each row that passed, in the order of `table`. Rows that never passed are left out.
    DataFrame, one row a try
        ``asked``, ``accepted``, ``rate``, and a column for each reason with how often it was given.

    Raises
    ------
    InputError
        If `tries` is no whole number from 1, an ``ecg_id`` is there twice, or no record passed.
    """
    whole("tries", tries, 1, 1000)
    if table["ecg_id"].duplicated().any():
        raise InputError(f"ecg_id {table['ecg_id'][table['ecg_id'].duplicated()].iloc[0]} is in table twice; expected "
                         "each once: what passes is told by it")  # fmt: skip
    left, kept, log = table, [], []
    for attempt in range(tries):
        if len(left) == 0:
            break
        drawn = generator.sample(left, seed=seed + attempt, **options)
        reasons = guard.reasons(drawn)
        passed = (reasons == "").to_numpy()
        counts = reasons[~passed].str.split("; ").explode().value_counts()
        log.append({"asked": len(left), "accepted": int(passed.sum()), "rate": float(passed.mean()), **counts})
        kept.append(drawn.select(passed))
        left = left[~passed]
    if not sum(map(len, kept)):
        raise InputError(f"none of {len(table)} records passed the guard in {tries} tries; look at what is sampled")
    return _joined(kept, table), pd.DataFrame(log).fillna(0)


def _joined(parts: list[Cohort], table: pd.DataFrame) -> Cohort:
    """Join cohorts in the order of `table`'s rows; ids are new."""
    rows = pd.concat([part.table for part in parts], ignore_index=True)
    place = pd.Series(np.arange(len(table)), index=table["ecg_id"])
    order = np.argsort(place[rows["source_ecg_id"]].to_numpy(), kind="stable")
    x = np.concatenate([np.asarray(part.x[:]) for part in parts])[order]
    rows = rows.iloc[order].reset_index(drop=True).assign(ecg_id=np.arange(1, len(rows) + 1))
    first = parts[0]
    return Cohort(x, first.fs, first.leads, rows, None, first.source, notes=first.notes)


def _age_sex_wide(cohort: Cohort) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = cohort.table
    age, sex = (pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64) for name in ("age", "sex"))
    return age, sex, wide_expected(table["scp_codes"])
