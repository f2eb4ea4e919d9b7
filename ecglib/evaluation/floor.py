"""The real-against-real floor: what a metric says when the "synthetic" records are real ones of other patients.

A perfect generator reaches the floor, not zero. Its n equals the comparison's, since most metrics depend on n.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from ecglib.evaluation.comparison import Comparison
from ecglib.signals.statements import superclasses

STAND_INS = 5  # sets of training records that the floor is averaged over: one alone may be half of it, or twice
SPLITS = 10  # random halvings of `real`, where no train records are given


def floor_comparisons(comparison: Comparison, seed: int) -> tuple[list[Comparison], str]:
    """Return comparisons of real with real records, and how they differ from the comparison itself.

    With `train`: for each synthetic record one training record of a patient outside `real`, of the same statements,
    sex and age where possible; and again from those left, `STAND_INS` times or as often as they suffice: each is used
    once. Without: two halves of `real` that share no patient, `SPLITS` times.

    Parameters
    ----------
    comparison : Comparison
        The comparison that needs a floor.
    seed : int
        Seed of ties and halvings.

    Returns
    -------
    comparisons : list of Comparison
        Empty if there are too few patients. A floor is the mean over them.
    note : str
        What to say beside the floor; empty if it stands at equal n.
    """
    rng = np.random.default_rng([seed, 1])
    if comparison.train is not None:
        stand_ins, note = _from_train(comparison, rng)
        if stand_ins:
            return stand_ins, note
    halves = [half for _ in range(SPLITS) if (half := _two_halves(comparison, rng)) is not None]
    if not halves:
        return [], "no floor: real holds a single patient"
    why = "no train records were given" if comparison.train is None else "every train patient is also in real"
    return halves, f"floor at n/2 = {len(comparison.real) // 2}, two halves of real: {why}"


def match(wanted: pd.DataFrame, offered: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Find for each wanted record the offered record most like it, each used once.

    The same statements come first, else the same superclasses; then the same sex; then the nearest age.

    Parameters
    ----------
    wanted, offered : DataFrame
        Tables with ``scp_codes``, ``sex``, ``age``.
    rng : Generator
        Orders the offered records, so that ties are broken without favour.

    Returns
    -------
    int64 (n_wanted,)
        Positions in `offered`; −1 where none was left.
    """
    order = rng.permutation(len(offered))
    offered = offered.iloc[order]
    found = np.full(len(wanted), -1)
    sets, their_sets = _sets(wanted), _sets(offered)
    sex, age = offered["sex"].to_numpy(), offered["age"].to_numpy()
    used = np.zeros(len(offered))
    for k in range(min(len(wanted), len(offered))):
        distance = 4e6 * (their_sets[0] != sets[0][k]) + 4e6 * (their_sets[1] != sets[1][k])
        distance += 1e3 * (sex != wanted["sex"].iloc[k])
        distance += np.nan_to_num(np.abs(age - wanted["age"].iloc[k]), nan=500)
        best = int(np.argmin(distance + used))
        used[best] = np.inf
        found[k] = order[best]
    return found


def _sets(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    statements = table["scp_codes"].map(lambda codes: " ".join(sorted(codes)))
    above = {text: " ".join(sorted(superclasses(text.split()))) for text in statements.unique()}
    return statements.to_numpy(str), statements.map(above).to_numpy(str)


def _from_train(comparison: Comparison, rng: np.random.Generator) -> tuple[list[Comparison], str]:
    assert comparison.train is not None
    train, asked = comparison.train, comparison.synthetic.table
    stand_ins: list[Comparison] = []
    source = pd.Series(-1, index=asked.index) if "source_ecg_id" not in asked else asked["source_ecg_id"]
    free = np.flatnonzero(~train.table["patient_id"].isin(comparison.real.table["patient_id"]))
    while len(free) and len(stand_ins) < STAND_INS and (not stand_ins or len(free) >= len(asked)):
        found = match(asked, train.table.iloc[free], rng)
        kept = found >= 0
        chosen = train.select(free[found[kept]])
        table = chosen.table.assign(source_ecg_id=source.to_numpy()[kept])
        stand_ins.append(comparison.against(replace(chosen, table=table)))
        free = np.delete(free, found[kept])
    whole = not stand_ins or kept.all()
    return stand_ins, "" if whole else f"floor at n = {kept.sum()}: train has no more records of other patients"


def first_half(patients: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Say which records are in the first of two (nearly) equal halves that share no patient: bool (n,).

    Parameters
    ----------
    patients : array (n,)
        Whose each record is; two patients at least.
    rng : Generator
        Orders the patients.
    """
    names, sizes = np.unique(patients, return_counts=True)
    order = rng.permutation(len(names))
    cut = int(np.searchsorted(np.cumsum(sizes[order]), len(patients) / 2)) + 1
    return np.isin(patients, names[order[: min(cut, len(names) - 1)]])


def _two_halves(comparison: Comparison, rng: np.random.Generator) -> Comparison | None:
    real = comparison.real
    patients = comparison.patients()["real"]
    if len(set(patients)) < 2:
        return None
    first = first_half(patients, rng)
    a, b = np.flatnonzero(first), np.flatnonzero(~first)
    found = match(real.table.iloc[b], real.table.iloc[a], rng)
    partners = np.full(len(real), -1)
    partners[b] = np.where(found >= 0, a[found], -1)
    return comparison.against(real, partners).selected({"real": a, "synthetic": b})
