"""Who is shown on which sheet: half real, half synthetic, matched, in random order, a tenth twice, ids without meaning.

Everything random comes from one secret, which stays in the key until all forms are in. A seed that readers could guess
would let them draw the plan themselves.
"""

from __future__ import annotations

import secrets

import numpy as np
import pandas as pd

from ecglib.errors import InputError
from ecglib.evaluation.floor import match
from ecglib.signals.cohort import Cohort

ARMS = ("real", "synthetic")
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels, so that no id is a word; no letter that looks like a digit
ID_LENGTH = 4
REPEATED = 0.1  # share of the ECGs that are shown a second time
LEAST = 4


def new_secret() -> str:
    """Return 128 random bits of the operating system, in hexadecimal."""
    return secrets.token_hex(16)


def draw_plan(real: Cohort, synthetic: Cohort, n: int, secret: str) -> pd.DataFrame:
    """Choose records, and the order and names of their sheets.

    Parameters
    ----------
    real, synthetic : Cohort
        What both arms are drawn from. Where ``synthetic.table`` has a column ``source_ecg_id``, no patient is shown in
        both arms.
    n : int
        Different ECGs, an even number from 4: half of them real.
    secret : str
        Hexadecimal, of `new_secret`: the only source of randomness.

    Returns
    -------
    DataFrame, one row a sheet, in the order of showing
        ``sheet`` (its id), ``arm``, ``row`` (position in its cohort), ``ecg_id``, ``repeat_of`` (the sheet that showed
        the same ECG before, else ''). A tenth of the ECGs, as many real as synthetic and at least one of each, are
        shown in the first third of the order and again in the last.

    Raises
    ------
    InputError
        If `n` is odd or too small, the secret is not hexadecimal, or there are too few patients.

    Notes
    -----
    Synthetic records are chosen at random, one a patient; of those whose source patient is among the real ones no more
    than leave as many real patients as are needed. Each is matched with the real record of another patient whose
    statements, sex and age are nearest, so that neither arm has more of any diagnosis to be known by.
    """
    if n < LEAST or n % 2:
        raise InputError(f"n={n}; expected an even number from {LEAST}: half of the ECGs are real, half synthetic")
    try:
        rng = np.random.default_rng(int(secret, 16))
    except (ValueError, TypeError):  # never shown: it is a secret
        raise InputError(f"secret, a {type(secret).__name__}, is not a hexadecimal number as text, from 0; leave it to "
                         "`new_secret`") from None  # fmt: skip
    rows = dict(zip(ARMS, _matched(real, synthetic, n // 2, rng), strict=True))
    shown = [(arm, row) for arm in ARMS for row in rows[arm]]
    order = _order(n, rng)
    ids = _ids(len(order), rng)
    table = pd.DataFrame([shown[k] for k in order], columns=["arm", "row"])
    cohorts = dict(zip(ARMS, (real, synthetic), strict=True))
    ecg_id = [int(cohorts[arm].table["ecg_id"].iloc[row]) for arm, row in zip(table["arm"], table["row"], strict=True)]
    first = {k: ids[place] for place, k in reversed(list(enumerate(order)))}
    repeat_of = [first[k] if first[k] != ids[place] else "" for place, k in enumerate(order)]
    return table.assign(sheet=ids, ecg_id=ecg_id, repeat_of=repeat_of)[["sheet", "arm", "row", "ecg_id", "repeat_of"]]


def _matched(real: Cohort, synthetic: Cohort, half: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of real and of synthetic records, `half` each."""
    source = synthetic.table.get("source_ecg_id", pd.Series(-1, index=synthetic.table.index))
    patient_of = real.table.set_index("ecg_id")["patient_id"]
    nobody = pd.Series([f"nobody {k}" for k in range(len(source))], index=source.index, dtype=object)
    patients = source.map(patient_of).astype(object).where(source.isin(patient_of.index), nobody)
    ours, others = _one_each(patients, rng), _one_each(real.table["patient_id"], rng)
    everybody = len({*patients, *real.table["patient_id"]})
    possible = min(len(ours), len(others), everybody // 2)
    shared = patients.iloc[ours].isin(real.table["patient_id"]).to_numpy()
    ours = ours[~shared | (np.cumsum(shared) <= len(others) - half)][:half]  # who is shown here is not shown there
    others = others[~real.table["patient_id"].iloc[others].isin(patients.iloc[ours]).to_numpy()]
    if len(ours) < half or len(others) < half:
        raise InputError(f"n={2 * half} ECGs of different patients are wanted, and there are records for at most "
                         f"{2 * possible}: give a smaller N, or a larger cohort")  # fmt: skip
    theirs = others[match(synthetic.table.iloc[ours], real.table.iloc[others], rng)]
    return theirs, ours


def _one_each(patients: pd.Series, rng: np.random.Generator) -> np.ndarray:
    """Return positions in random order, one of each patient."""
    order = rng.permutation(len(patients))
    return order[~patients.iloc[order].duplicated().to_numpy()]


def _order(n: int, rng: np.random.Generator) -> list[int]:
    """Return ECGs 0 to n − 1 (the first half real) in the order of showing, those shown twice in the outer thirds."""
    each = max(1, round(REPEATED * n / 2))  # of either arm
    twice = np.concatenate([half[rng.permutation(len(half))[:each]] for half in np.split(np.arange(n), 2)])
    once = rng.permutation(np.setdiff1d(np.arange(n), twice))
    third = max(n // 3 - len(twice), 0)
    parts = np.concatenate([twice, once[:third]]), once[third : 2 * third + len(twice)], once[2 * third + len(twice) :]
    shuffled = [rng.permutation(part) for part in (parts[0], parts[1], np.concatenate([parts[2], twice]))]
    return [int(k) for k in np.concatenate(shuffled)]


def _ids(count: int, rng: np.random.Generator) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found.setdefault("".join(rng.choice(list(LETTERS), ID_LENGTH)))
    return list(found)
