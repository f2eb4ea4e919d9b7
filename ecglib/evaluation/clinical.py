"""Clinical coherence: is what is measured on a synthetic record what was asked for, and what hearts do?

Each value stands beside the same of real records of the same statements, age and sex: its floor.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import roc_auc_score

from ecglib.evaluation.comparison import Comparison, NotComputable
from ecglib.evaluation.measurements import MEASURES, measured
from ecglib.evaluation.plausibility import HARD, PROMISES, SOFT, hard_violations, soft_violations

LEAST_RECORDS = 8
LEAST_TO_LEARN = 100
ERRORS = ("pr_ms", "qrs_ms", "qt_ms", "qtcf_ms", "st_mv")
COMPARED = ("heart_rate", "p_ms", "p_mv", "pr_ms", "qrs_ms", "qt_ms", "qtcf_ms", "st_mv", "r_mv", "s_mv", "sokolow_mv")


def interval_errors(c: Comparison) -> dict[str, float]:
    """MIDT-ECG's interval errors: mean absolute difference of PR, QRS, QT, QTcF and ST from the real partner's.

    Returns
    -------
    dict
        Measure → mean absolute difference, in its own unit, of pairs that both have it. Two real hearts of the same
        statements, age and sex differ too: read it beside its floor, never beside 0.

    Raises
    ------
    NotComputable
        If there are no partners, or no measure is on 8 pairs.

    Notes
    -----
    Source: MIDT-ECG names these errors; delineation and pairing are this project's.
    """
    real, synthetic = c.paired_terms(measured)
    gaps = {name: np.abs(real - synthetic)[:, MEASURES.index(name)] for name in ERRORS}
    return _means(c, gaps)


def interval_shifts(c: Comparison) -> dict[str, float]:
    """Interval shifts: Wasserstein distance between the real and the synthetic distribution of each measure (0 best).

    Returns
    -------
    dict
        Measure → distance in its own unit; only measures that 8 records of each side have.

    Raises
    ------
    NotComputable
        If no measure is on 8 records of each side.
    """
    real, synthetic = c.terms("real", measured), c.terms("synthetic", measured)
    result, counts = {}, {}
    for name in COMPARED:
        a, b = (values[np.isfinite(values[:, MEASURES.index(name)]), MEASURES.index(name)]
                for values in (real, synthetic))  # fmt: skip
        if min(len(a), len(b)) >= LEAST_RECORDS:
            result[name], counts[name] = float(wasserstein_distance(a, b)), min(len(a), len(b))
    if not result:
        raise NotComputable(f"no measure is on at least {LEAST_RECORDS} records of each side")
    c.note(_unmeasurable(real, synthetic), n=counts)
    return result


def asked_rate(c: Comparison) -> dict[str, float]:
    """Asked against measured heart rate: mean absolute error in beats/min, and bias, of synthetic records.

    Raises
    ------
    NotComputable
        If fewer than 8 records have both.
    """
    asked = pd.to_numeric(c.table("synthetic").get("heart_rate", pd.Series(np.nan, range(c.n("synthetic")))))
    gap = c.terms("synthetic", measured)[:, MEASURES.index("heart_rate")] - asked.to_numpy(np.float64)
    gap = gap[np.isfinite(gap)]
    if len(gap) < LEAST_RECORDS:
        raise NotComputable(f"it needs at least {LEAST_RECORDS} records with a rate asked for and one measured, and "
                            f"there are {len(gap)}")  # fmt: skip
    c.note(n=len(gap))
    return {"mae": float(np.abs(gap).mean()), "bias": float(gap.mean())}


def kept_promises(c: Comparison) -> dict[str, float]:
    """Kept promises: share of synthetic records whose measures bear out a statement that was asked for.

    Returns
    -------
    dict
        Statement → share (1 best, but real records do not reach it: read it beside its floor). Statements with a
        criterion (`ecglib.evaluation.plausibility.PROMISES`) on at least 8 records.

    Raises
    ------
    NotComputable
        If there is none.
    """
    values, codes = c.terms("synthetic", measured), c.table("synthetic")["scp_codes"]
    measures = pd.DataFrame(values, columns=list(MEASURES))
    known = measures["heart_rate"].notna()
    result, counts = {}, {}
    for statement, kept in PROMISES.items():
        asked = known & codes.map(lambda each, statement=statement: statement in each).to_numpy(bool)
        if asked.sum() >= LEAST_RECORDS:
            result[statement], counts[statement] = float(kept(measures[asked]).mean()), int(asked.sum())
    if not result:
        raise NotComputable(f"no statement with a criterion is on at least {LEAST_RECORDS} synthetic records")
    c.note(_unmeasurable(values), n=counts)
    return result


def age_and_sex(c: Comparison) -> dict[str, float]:
    """Age and sex: how well what was asked for is read off the measures, by trees that learnt from `real`.

    Returns
    -------
    dict
        ``age_mae``, mean absolute error in years, and ``sex_auc``. At the floor (other real patients, read by the same
        trees) a generator makes age and sex as visible as they are; worse: it ignores them; better: it overdoes them.

    Raises
    ------
    NotComputable
        If fewer than 100 real records have age and sex, or one sex is missing.
    """
    read = c.once(_read_age_and_sex)["synthetic"]
    table = c.table("synthetic")
    age, sex = (pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64) for name in ("age", "sex"))
    known = np.isfinite(age) & np.isfinite(sex) & np.isfinite(read[:, 0])
    if known.sum() < LEAST_RECORDS or len(np.unique(sex[known])) < 2:
        raise NotComputable(f"it needs {LEAST_RECORDS} synthetic records of known age, and both sexes")
    c.note(n=int(known.sum()))
    return {"age_mae": float(np.abs(read[known, 0] - age[known]).mean()),
            "sex_auc": float(roc_auc_score(sex[known], read[known, 1]))}  # fmt: skip


def implausibility(c: Comparison) -> dict[str, float]:
    """Implausible records: share of synthetic less share of real ones outside of hard and of soft limits (0 best).

    Returns
    -------
    dict
        ``hard`` and ``soft``: outside of any; and each limit by its tier and name. Below 0: tamer than real ones.

    Raises
    ------
    NotComputable
        If a side has fewer than 8 records that can be measured.
    """
    shares, known = [], []
    for role, broken in c.once(_broken_limits, "real", "synthetic").items():
        rows = np.isfinite(broken[:, 0])
        known.append(int(rows.sum()))
        if known[-1] < LEAST_RECORDS:
            raise NotComputable(f"it needs at least {LEAST_RECORDS} records that can be measured and {role} has "
                                f"{known[-1]}")  # fmt: skip
        shares.append(broken[rows].mean(axis=0))
    c.note(_unmeasurable(*(c.terms(role, measured) for role in ("real", "synthetic"))), n={"": min(known)})
    names = ["hard", "soft", *(f"hard {name}" for name in HARD), *(f"soft {name}" for name in SOFT)]
    return dict(zip(names, (shares[1] - shares[0]).tolist(), strict=True))


kept_promises.shares = tuple(PROMISES)  # type: ignore[attr-defined]
METRICS = (interval_errors, interval_shifts, asked_rate, kept_promises, age_and_sex, implausibility)


def _means(c: Comparison, gaps: dict[str, np.ndarray]) -> dict[str, float]:
    known = {name: gap[np.isfinite(gap)] for name, gap in gaps.items()}
    result = {name: float(gap.mean()) for name, gap in known.items() if len(gap) >= LEAST_RECORDS}
    if not result:
        raise NotComputable(f"no measure is on at least {LEAST_RECORDS} pairs of records")
    c.note(n={name: len(known[name]) for name in result})
    return result


def _unmeasurable(*values: np.ndarray) -> str:
    lost = sum(int(np.isnan(each[:, MEASURES.index("heart_rate")]).sum()) for each in values)
    return f"{lost} records that cannot be measured left out" if lost else ""


def _broken_limits(c: Comparison) -> dict[str, np.ndarray]:
    """Return 1 where a record is outside of any hard, any soft, each hard and each soft limit; NaN if unknown."""
    found = {}
    for role in ("real", "synthetic"):
        measures = pd.DataFrame(c.terms(role, measured), columns=list(MEASURES))
        codes = c.table(role)["scp_codes"]
        hard, soft = hard_violations(measures, codes), soft_violations(measures, codes)
        broken = np.column_stack([hard.any(axis=1), soft.any(axis=1), hard, soft]).astype(np.float64)
        broken[measures["heart_rate"].isna()] = np.nan
        found[role] = broken
    return found


def _read_age_and_sex(c: Comparison) -> dict[str, np.ndarray]:
    """Return age (years) and chance of sex 1 that trees read off synthetic records: {"synthetic": (n, 2)}."""
    x, table = c.terms("real", measured), c.table("real")
    age, sex = (pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64) for name in ("age", "sex"))
    known = np.isfinite(age) & np.isfinite(sex)
    if known.sum() < LEAST_TO_LEARN or len(np.unique(sex[known])) < 2:
        raise NotComputable(f"it needs at least {LEAST_TO_LEARN} real records of known age, and both sexes, to learn "
                            f"from, and there are {known.sum()}")  # fmt: skip
    few = {"max_iter": 60, "learning_rate": 0.08, "max_leaf_nodes": 8, "random_state": 0}
    years = HistGradientBoostingRegressor(loss="absolute_error", **few).fit(x[known], age[known])
    women = HistGradientBoostingClassifier(**few).fit(x[known], sex[known])
    new = c.terms("synthetic", measured)
    return {"synthetic": np.column_stack([years.predict(new), women.predict_proba(new)[:, 1]])}
