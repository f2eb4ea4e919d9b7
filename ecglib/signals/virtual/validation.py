"""Virtual patients beside real records: how far apart the distributions of each measure are, and what gives them away.

Whoever tunes a coefficient after looking at these tables has used up the real cohort as a judge of it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.fft import irfft, rfft
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from ecglib.errors import InputError
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_12
from ecglib.signals.statements import SUPERCLASSES, superclasses
from ecglib.signals.virtual.measures import measure

GROUPS = ("all", "NORM", "AFIB")
LEAST_PATIENTS = {"beside": 10, "giveaways": 30}
MOST_TWINS, HALVINGS, DRAWS = 2, 40, 200
TREES, KERNELS, TAPS = 100, 100, 9
NORMAL_RANGE = 2.563  # standard deviations from the 10 % to the 90 % point of a normal distribution


def beside(virtual: Cohort, real: Cohort, *, seed: int = 0) -> pd.DataFrame:
    """Compare the distributions of virtual and real records, measure by measure, like with like (`twins`).

    Parameters
    ----------
    virtual, real : Cohort
        Twelve leads, one sampling rate, at least 10 patients each. Intervals are compared if both have ``waves``.
    seed : int
        Seed of the halves that make the floor.

    Returns
    -------
    DataFrame, one row a measure, group of records (``all``, ``NORM``, ``AFIB``) and lead
        ``unit``; ``n_real``, ``n_virtual``: records with the measure; ``p10_``, ``median_``, ``p90_`` of each;
        ``shift``, the difference of medians, and ``gap``, the 1-Wasserstein distance, in spreads of the real records
        ((p90 − p10) / 2.563: the standard deviation if they are normal); ``floor``, the gap that 19 of 20 pairs of
        random halves of the real *patients* stay below, scaled to n_real and n_virtual by sqrt(1/n + 1/m).
        The three are NaN where fewer than 10 patients or virtual records have the measure.

    Raises
    ------
    InputError
        If the cohorts have other leads, different sampling rates, or too few patients.
    """
    _check(virtual, real, LEAST_PATIENTS["beside"])
    virtual = virtual.select(twins(virtual, real))
    ours, theirs, rng, table = measure(virtual), measure(real), np.random.default_rng(seed), []
    for group in GROUPS:
        v, r = (x if group == "all" else x[c.has(group)] for x, c in ((ours, virtual), (theirs, real)))
        for column in r.columns.intersection(v.columns, sort=False):
            row = {"measure": column[0], "group": group, "lead": column[1], "unit": column[2]}
            table.append(row | _gap(v[column].to_numpy(), r[column].to_numpy(), r.index.to_numpy(), rng))
    return pd.DataFrame(table)


def _gap(
    virtual: np.ndarray, real: np.ndarray, patients: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    names, of = np.unique(patients[~np.isnan(real)], return_inverse=True)
    virtual, real = virtual[~np.isnan(virtual)], real[~np.isnan(real)]
    row: dict[str, float] = {"n_real": len(real), "n_virtual": len(virtual)}
    for side, x in (("real", real), ("virtual", virtual)):
        points = np.quantile(x, [0.1, 0.5, 0.9]) if len(x) else np.full(3, np.nan)
        row |= dict(zip((f"p10_{side}", f"median_{side}", f"p90_{side}"), points, strict=True))
    if min(len(names), len(virtual)) < LEAST_PATIENTS["beside"]:
        return row | dict.fromkeys(("shift", "gap", "floor"), np.nan)
    halves = rng.random((HALVINGS, len(names))).argsort(axis=1) < len(names) // 2  # of the patients
    floor = np.quantile(_distances(real, halves[:, of]), 0.95)
    floor *= np.sqrt((1 / len(real) + 1 / len(virtual)) * len(real) / 4)  # from n/2 against n/2 to n against m
    both = np.concatenate([real, virtual])
    (gap,) = _distances(both, np.arange(len(both))[None] < len(real))
    spread = (row["p90_real"] - row["p10_real"]) / NORMAL_RANGE
    shift = row["median_virtual"] - row["median_real"]
    return row | {"shift": shift / spread, "gap": gap / spread, "floor": floor / spread}


def _distances(x: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """Return float64 (k,): the 1-Wasserstein distances of the two parts of x (n,) in each split, bool (k, n).

    It is the area between the two cumulative distributions (Vallender).
    """
    order = np.argsort(x)
    one = splits[:, order]
    between = np.cumsum(one, axis=1) / one.sum(axis=1, keepdims=True)
    between -= np.cumsum(~one, axis=1) / (~one).sum(axis=1, keepdims=True)
    return np.abs(between[:, :-1]) @ np.diff(x[order])


def twins(virtual: Cohort, real: Cohort) -> np.ndarray:
    """Choose for each real record the virtual ones most like it in who the patient is, each at most once.

    Returns
    -------
    int64 (n,)
        Rows of `virtual`: for each real record two, if there are so many, else one.

    Notes
    -----
    One difference is: one superclass (NORM, MI, STTC, CD, HYP), 20 years of age, half a rhythm (atrial fibrillation
    or flutter, paced, any other), or two sexes; unknown age counts as 50, unknown sex as neither. Each round is the
    assignment of the least sum of differences, in a table of n_real × n_virtual.
    """
    cost, free, chosen = cdist(_who(real), _who(virtual), "cityblock"), np.arange(len(virtual)), []
    for _ in range(int(np.clip(len(virtual) // max(len(real), 1), 1, MOST_TWINS))):
        chosen.append(free[linear_sum_assignment(cost[:, free])[1]])
        free = np.setdiff1d(free, chosen[-1])
    return np.sort(np.concatenate(chosen))


def _who(cohort: Cohort) -> np.ndarray:
    """Return float64 (n_records, 9), in units of one difference."""
    person = cohort.table[["age", "sex"]].fillna({"age": 50, "sex": 0.5}).to_numpy() / [20, 2]
    flags = [[2.0 * bool(c & {"AFIB", "AFLT"}), 2.0 * ("PACE" in c), *(k in superclasses(c) for k in SUPERCLASSES)]
             for c in map(set, cohort.table["scp_codes"])]  # fmt: skip
    return np.hstack([person, np.reshape(flags, (-1, 2 + len(SUPERCLASSES)))])


def giveaways(virtual: Cohort, real: Cohort, *, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Let a classifier tell virtual from real records, like with like (`twins`), and ask it how.

    Parameters
    ----------
    virtual, real : Cohort
        Twelve leads, one sampling rate, at least 30 patients each.
    seed : int
        Seed of folds, forests, shuffles and kernels.

    Returns
    -------
    DataFrame, one row a set of features
        ``features``: ``measures`` (those of `measure` but for age and intervals), or ``random convolutions``, to which
        nobody can tune a generator; ``auc`` of patients that the model has not seen, ``ci_low``, ``ci_high`` (95 %,
        bootstrap over patients), ``n_real``, ``n_virtual``.
    DataFrame, one row a measure
        ``auc_lost`` when all leads of the measure are shuffled between records (little for all, if several give the
        same away); ``lead`` (or pair) that tells best alone, its ``auc_alone``: below 0.5, virtual values are lower.

    Raises
    ------
    InputError
        If the cohorts have other leads, different sampling rates, or too few patients.

    Notes
    -----
    A random forest with balanced classes, five folds that keep patients together. Source: the two-sample test by
    classifier is Lopez-Paz and Oquab's; forest and shuffled measures are Breiman's; random convolutions and their
    share of positive values are those of Dempster et al. (ROCKET).
    """
    _check(virtual, real, LEAST_PATIENTS["giveaways"])
    both = (real, virtual.select(twins(virtual, real)))
    y = np.repeat([0, 1], [len(cohort) for cohort in both])
    ids = (pd.factorize(cohort.table["patient_id"])[0] for cohort in both)  # names or numbers
    patients = np.concatenate([sign * (1 + k) for sign, k in zip((1, -1), ids, strict=True)])  # none is in both
    x = pd.concat([measure(cohort) for cohort in both])
    x = x.loc[:, [name != "age" and not name.endswith("interval") for name, _, _ in x.columns]]
    names = x.columns.get_level_values("measure")
    sets = {name: np.flatnonzero(names == name) for name in names.unique()}
    tuned, *shuffled = _held_out(x.to_numpy(), y, patients, list(sets.values()), seed)
    plain = np.concatenate([_random_convolutions(cohort, seed) for cohort in both])
    (untuned,) = _held_out(plain, y, patients, [], seed)
    summary = pd.DataFrame({"features": ["measures", "random convolutions"],
                            "auc": [_auc(y, scores) for scores in (tuned, untuned)]})  # fmt: skip
    summary[["ci_low", "ci_high"]] = [_interval(y, scores, patients, seed) for scores in (tuned, untuned)]
    rows = []
    for (name, columns), scores in zip(sets.items(), shuffled, strict=True):
        alone = {lead: _auc(y, v.to_numpy()) for (_, lead, _), v in x.iloc[:, columns].items()}
        lead = max(alone, key=lambda lead: abs(alone[lead] - 0.5))
        rows.append((name, _auc(y, tuned) - _auc(y, scores), lead, alone[lead]))
    table = pd.DataFrame(rows, columns=["measure", "auc_lost", "lead", "auc_alone"])
    return (summary.assign(n_real=len(real), n_virtual=len(both[1])),
            table.sort_values("auc_lost", ascending=False, ignore_index=True))  # fmt: skip


def _held_out(x: np.ndarray, y: np.ndarray, patients: np.ndarray, shuffled: list[np.ndarray], seed: int) -> np.ndarray:
    """Return (1 + len(shuffled), n) scores of held-out records: as they are, and with each set of columns shuffled."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedGroupKFold

    rng, scores = np.random.default_rng(seed), np.zeros((1 + len(shuffled), len(y)))
    for train, test in StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(x, y, patients):
        forest = RandomForestClassifier(TREES, class_weight="balanced", random_state=seed).fit(x[train], y[train])
        for k, columns in enumerate([np.zeros(0, int), *shuffled]):
            mixed = x[test]
            mixed[:, columns] = rng.permutation(mixed[:, columns])
            scores[k, test] = forest.predict_proba(mixed)[:, 1]
    return scores


def _auc(y: np.ndarray, scores: np.ndarray) -> float:
    """Return how often a virtual record (y = 1) has the higher score; records without a score are left out."""
    y, ranks = y[~np.isnan(scores)], rankdata(scores[~np.isnan(scores)])
    return float((ranks[y == 1].mean() - (y.sum() + 1) / 2) / (len(y) - y.sum()))


def _interval(y: np.ndarray, scores: np.ndarray, patients: np.ndarray, seed: int) -> np.ndarray:
    rng, rows = np.random.default_rng(seed), list(pd.Series(y).groupby(patients).indices.values())
    draws = [np.concatenate([rows[k] for k in rng.integers(len(rows), size=len(rows))]) for _ in range(DRAWS)]
    return np.quantile([_auc(y[drawn], scores[drawn]) for drawn in draws], [0.025, 0.975])


def _random_convolutions(cohort: Cohort, seed: int) -> np.ndarray:
    """Return (n_records, KERNELS): how often a random mixture of leads, filtered at random, is positive."""
    rng, x = np.random.default_rng(seed), np.rint(1000 * np.asarray(cohort.x)[..., :: max(1, cohort.fs // 100)])  # µV
    mixtures, kernels = rng.standard_normal((KERNELS, len(LEADS_12))), np.zeros((KERNELS, x.shape[2]))
    for kernel in kernels:
        gap, taps = int(2 ** rng.uniform(0, np.log2(len(kernel) / (2 * TAPS)))), rng.standard_normal(TAPS)
        kernel[: TAPS * gap : gap] = taps - taps.mean()
    filters = rfft(kernels)
    return np.stack([(irfft(mixtures @ rfft(record) * filters, x.shape[2]) > 0).mean(axis=-1) for record in x])


def _check(virtual: Cohort, real: Cohort, least: int) -> None:
    for name, cohort in (("virtual", virtual), ("real", real)):
        if cohort.leads != LEADS_12:
            raise InputError(f"{name} has the leads {', '.join(cohort.leads)}; expected {', '.join(LEADS_12)}")
        if (n := cohort.table["patient_id"].nunique()) < least:
            raise InputError(f"{name} has {n} patients; expected at least {least}: fewer have no distribution")
    if virtual.fs != real.fs:
        raise InputError(f"virtual has fs={virtual.fs} Hz, real fs={real.fs} Hz; make or read both at one rate")
