r"""How well an attack tells members from others: the area under its curve, and, more telling, the curve's beginning.

An attack gives every patient a score, the higher the surer that the generator was trained on them. The area (AUC) is an
average over all patients; an attacker who names only the few patients he is sure of lives at a low false positive rate.

.. math:: \mathrm{TPR}(\alpha) = P(\text{score of a member} > c_\alpha), \quad
          P(\text{score of another} > c_\alpha) \le \alpha
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import binomtest, rankdata

from ecglib.evaluation.comparison import Comparison, NotComputable

RATES = {"tpr 1%": 0.01, "tpr 0.1%": 0.001}
PER_RATE = 10  # non-members above the threshold that a rate must leave: 1,000 of them for 1 %, 10,000 for 0.1 %
LEAST_PATIENTS = 8


def by_patient(scores: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Give each patient's highest score to one of the patient's records, and NaN to the others.

    So a patient counts once, and drawing patients again draws their scores.

    Parameters
    ----------
    scores : float (n_records,)
        NaN where a record has none.
    patients : array (n_records,)

    Returns
    -------
    float64 (n_records,)
    """
    result = np.full(len(scores), np.nan)
    if len(scores) == 0:
        return result
    order = np.lexsort((np.nan_to_num(scores, nan=-np.inf), patients))  # a patient's highest score comes last
    last = order[np.append(patients[order][1:] != patients[order][:-1], True)]
    result[last] = scores[last]
    return result


def fewest(*sides: pd.DataFrame) -> int:
    """Return how many records the patient with the fewest has, whatever the side; 1 where there is no record at all.

    The highest of two scores is by chance alone above one score, so where members have more records than others, an
    attack would seem to know members. As many of each patient's records count as each patient has: see `counted`.

    Parameters
    ----------
    *sides : DataFrame
        One row a record that has a score: ``patient_id``.
    """
    return min((int(side["patient_id"].value_counts().min()) for side in sides if len(side)), default=1)


def counted(side: pd.DataFrame, most: int) -> np.ndarray:
    """Return which records are among the first of their patient, by ecg_id: bool (n_records,).

    Parameters
    ----------
    side : DataFrame
        One row a record that has a score: ``patient_id`` and ``ecg_id``.
    most : int
        Records of a patient, of `fewest`.
    """
    place = side.sort_values("ecg_id", kind="stable").groupby("patient_id").cumcount()
    return (place.reindex(side.index) < most).to_numpy()


def roc(members: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return false and true positive rates as the threshold falls, float64 (n_points,) each, from 0 to 1."""
    thresholds = np.unique(np.concatenate([members, others]))
    false, true = (1 - np.searchsorted(np.sort(values), thresholds, side="left") / len(values)
                   for values in (others, members))  # fmt: skip
    return np.append(0.0, false[::-1]), np.append(0.0, true[::-1])


def auc(members: np.ndarray, others: np.ndarray) -> float:
    """Return the probability that a member scores higher than another, ties by half (equation attack-auc)."""
    ranks = rankdata(np.concatenate([members, others]))[: len(members)]
    return float((ranks.sum() / len(members) - (len(members) + 1) / 2) / len(others))


def true_positives(members: np.ndarray, others: np.ndarray, rate: float) -> int:
    """Return how many members score above the threshold that at most `rate` of the others exceed (equation tpr-at-fpr).

    Parameters
    ----------
    members, others : float (n,)
        Scores, one a patient.
    rate : float
        The false positive rate, 0 to 1.
    """
    allowed = int(np.floor(rate * len(others) + 1e-9))
    threshold = np.sort(others)[::-1][allowed] if allowed < len(others) else -np.inf
    return int((members > threshold).sum())


def clopper_pearson(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a share of which k in n were seen (equation clopper-pearson).

    Source: Clopper & Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial, 1934.
    """
    exact = binomtest(k, n).proportion_ci(level, method="exact")
    return float(exact.low), float(exact.high)


def attack(c: Comparison, name: str, scores: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return ``auc``, ``tpr 1%`` and ``tpr 0.1%`` of an attack, each key followed by its name.

    A rate's exact interval is of the members, for the threshold that these others give. That one is an estimate, too:
    with as many members as others the interval holds a rate of 1 % in 88 % of sets, with a quarter as many in 96 %. An
    audit therefore compares with fresh records, which are judged by the same threshold.

    Parameters
    ----------
    c : Comparison
        Gets the exact intervals, n, and why a rate is refused.
    name : str
    scores : mapping of ``train`` (members) and ``real`` (others) to float (n_records,)
        As `by_patient` returns them.

    Raises
    ------
    NotComputable
        If there are fewer than eight patients on a side.
    """
    members, others = (scores[role][np.isfinite(scores[role])] for role in ("train", "real"))
    if c.whole and min(len(members), len(others)) < LEAST_PATIENTS:
        raise NotComputable(f"it needs at least {LEAST_PATIENTS} patients on each side, and there are {len(members)} "
                            f"members and {len(others)} others")  # fmt: skip
    values = {f"auc {name}": auc(members, others)}
    if not c.whole:
        return values  # rates have exact intervals of their own
    c.note(n={f"{key} {name}": min(len(members), len(others)) for key in ("auc", *RATES)})
    for key, rate in RATES.items():
        least = round(PER_RATE / rate)
        if len(others) < least:
            c.note(refused={f"{key} {name}": f"a false positive rate of {rate:.1%} needs at least {least:,} patients "
                            f"that the generator never saw, and there are {len(others):,}"})  # fmt: skip
            values[f"{key} {name}"] = np.nan
            continue
        k = true_positives(members, others, rate)
        values[f"{key} {name}"] = k / len(members)
        c.note(exact={f"{key} {name}": clopper_pearson(k, len(members))})
    return values
