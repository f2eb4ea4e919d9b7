r"""Neighbours: do synthetic records crowd around those that were trained on?

Averages over all records; a few copies hardly move them. They are smoke alarms: silence is no all-clear.
"""

from __future__ import annotations

import numpy as np

from ecglib.evaluation.comparison import Comparison, NotComputable
from ecglib.evaluation.privacy.scores import LEAST_PATIENTS, clopper_pearson
from ecglib.evaluation.privacy.spaces import BEATS, Space, bound, evenly, nearest, note_lost


def adversarial_accuracy(d_ts: np.ndarray, d_tt: np.ndarray, d_st: np.ndarray, d_ss: np.ndarray) -> float:
    r"""Return how well nearest neighbours tell two sets apart, 0.5 if not at all (equation nnaa).

    .. math:: \mathrm{AA} = \tfrac12 \bigl[P(d_{TS} > d_{TT}) + P(d_{ST} > d_{SS})\bigr]

    Parameters
    ----------
    d_ts, d_tt : float (n,)
        Distance of each record of T to the nearest of S, and to the nearest other one of T.
    d_st, d_ss : float (m,)
        The same of S.
    """
    return float(0.5 * ((d_ts > d_tt).mean() + (d_st > d_ss).mean()))


def nnaa(c: Comparison, *, space: Space = BEATS) -> dict[str, float]:
    """Nearest-neighbour adversarial accuracy against members and against others, and their difference.

    Parameters
    ----------
    c : Comparison
        ``train`` are members, ``real`` patients that the generator never saw. One record a patient, and equally many of
        each: distances to the nearest depend on how many there are.
    space : Space

    Returns
    -------
    dict
        ``aa train`` and ``aa test``: 0.5, synthetic records lie among the real ones; towards 1, apart; towards 0, on
        top of them. ``privacy loss`` is test less train: 0 if the generator is no nearer to members, 0.5 for copies.

    Raises
    ------
    NotComputable
        If a role has fewer than eight patients with a typical beat.

    Notes
    -----
    Source: Yale et al., Generation and evaluation of privacy preserving synthetic health data, 2020. MIDT-ECG reports
    it; its distance is not known. Equation: nnaa.
    """
    note_lost(c, space)
    terms = {role: x[~np.isnan(x).any(axis=1)] for role, x in c.once(bound(_distances, space)).items()}
    to_train, to_real, own = terms["synthetic"].T
    values = {}
    for key, role, away in (("aa train", "train", to_train), ("aa test", "real", to_real)):
        _enough(c, len(terms[role]), len(away))
        values[f"{key} {space.name}"] = adversarial_accuracy(terms[role][:, 0], terms[role][:, 1], away, own)
        c.note(n=min(len(terms[role]), len(away)))
    train, test = values.values()
    return values | {f"privacy loss {space.name}": test - train}


def dcr(c: Comparison, *, space: Space = BEATS) -> dict[str, float]:
    r"""Distance to the closest record: how many synthetic records are nearer to members than to as many others?

    Parameters
    ----------
    c : Comparison
        ``train`` are members, ``real`` patients that the generator never saw; one record a patient, equally many.
    space : Space

    Returns
    -------
    dict
        ``nearer``, the share (0.5 best; ties count half); ``distinct``, the share of members among those real records
        that are the nearest of some synthetic one, each counted once; ``nndr``, the median ratio of the distances to
        the nearest and the second nearest member, and ``nndr real``, that of the others' records.

    Raises
    ------
    NotComputable
        If a role has fewer than eight records with a typical beat.

    Notes
    -----
    Source: both ratios are in wide use for tables; the share against a held-out set is that of Platzer & Reutterer,
    Holdout-based empirical assessment of mixed-type synthetic data, 2021. Equation: dcr.
    """
    # Why distinct: a poor generator's records may all be nearest to one odd record, which is a member by a coin's toss.
    # Whose record it is that is nearest to many is one toss, not many: so the exact interval is that of distinct ones.
    note_lost(c, space)
    terms = c.once(bound(_ratios, space))
    synthetic, real = terms["synthetic"], terms["real"]
    synthetic, real = synthetic[np.isfinite(synthetic).all(axis=1)], real[np.isfinite(real)]
    _enough(c, len(synthetic), len(real))
    tied = synthetic[:, 0] == 0.5
    chosen = np.unique(synthetic[~tied, 2])  # members from 0, others from −1 down
    k, key = int((chosen >= 0).sum()), f"distinct {space.name}"
    if c.whole:
        c.note(n=len(synthetic))
        c.note(n={key: len(chosen)}, exact={key: clopper_pearson(k, max(len(chosen), 1))})
    return {f"nearer {space.name}": float(synthetic[:, 0].mean()), key: k / len(chosen) if len(chosen) else 0.5,
            f"nndr {space.name}": float(np.median(synthetic[:, 1])),
            f"nndr real {space.name}": float(np.median(real))}  # fmt: skip


nnaa.interval = dcr.interval = "subsample"  # type: ignore[attr-defined]


def one_each(c: Comparison, role: str, placed: np.ndarray) -> np.ndarray:
    """Return the first record, by ecg_id, of each of the role's patients that has a place: rows, int64, by patient."""
    table = c.table(role)[["patient_id", "ecg_id"]].assign(row=np.arange(c.n(role)))[placed]
    return table.sort_values(["patient_id", "ecg_id"]).drop_duplicates("patient_id")["row"].to_numpy(np.int64)


def _sets(c: Comparison, space: Space, most: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return role → (rows, places) of equally many patients of train and real, at most `most`."""
    places = {role: c.terms(role, space.of) for role in ("train", "real")}
    rows = {role: one_each(c, role, np.isfinite(x).all(axis=1)) for role, x in places.items()}
    n = min(most, *map(len, rows.values()))
    chosen = {role: found[evenly(len(found), n)] for role, found in rows.items()}
    return {role: (found, places[role][found]) for role, found in chosen.items()}


def _placed(c: Comparison, space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and places of the synthetic records that have one, by ecg_id."""
    x = c.terms("synthetic", space.of)
    order = np.argsort(c.table("synthetic")["ecg_id"].to_numpy(), kind="stable")
    rows = order[np.isfinite(x[order]).all(axis=1)]
    return rows, x[rows]


def _distances(c: Comparison, space: Space) -> dict[str, np.ndarray]:
    """Return distances to the nearest: of train and real to synthetic and to their own set, of synthetic to train, real
    and its own; NaN for records that are left out."""
    rows, s = _placed(c, space)
    sets = _sets(c, space, len(s))
    few = evenly(len(s), len(sets["train"][0]))
    rows, s = rows[few], s[few]
    result = {"synthetic": np.full((c.n("synthetic"), 3), np.nan)}
    result["synthetic"][rows, 2] = nearest(s, s, itself=True)[0][:, 0]
    for column, (role, (there, t)) in enumerate(sets.items()):
        result[role] = np.full((c.n(role), 2), np.nan)
        result[role][there, 0] = nearest(t, s)[0][:, 0]
        result[role][there, 1] = nearest(t, t, itself=True)[0][:, 0]
        result["synthetic"][rows, column] = nearest(s, t)[0][:, 0]
    return result


def _ratios(c: Comparison, space: Space) -> dict[str, np.ndarray]:
    """Return of synthetic records: nearer to train than to real?, d1/d2 to train, and which record is nearest of all
    (its place among train's, or −1 less its place among real's); of real ones: d1/d2 to train."""
    rows, s = _placed(c, space)
    sets = _sets(c, space, max(c.n("train"), c.n("real")))
    (_, train), (there, real) = sets["train"], sets["real"]
    (to_train, member), (to_real, other) = nearest(s, train, 2), nearest(s, real)
    to_real = to_real[:, 0]
    result = {"synthetic": np.full((c.n("synthetic"), 3), np.nan), "real": np.full(c.n("real"), np.nan)}
    result["synthetic"][rows, 0] = (to_train[:, 0] < to_real) + 0.5 * (to_train[:, 0] == to_real)
    result["synthetic"][rows, 1] = _ratio(to_train)
    result["synthetic"][rows, 2] = np.where(to_train[:, 0] < to_real, member[:, 0], -1 - other[:, 0])
    result["real"][there] = _ratio(nearest(real, train, 2)[0])
    return result


def _ratio(distances: np.ndarray) -> np.ndarray:
    """d1/d2; 1 where both are 0, NaN where there is no second."""
    first, second = distances.T
    ratio = np.divide(first, second, out=np.ones_like(first), where=second > 0)
    return np.where(np.isfinite(second), ratio, np.nan)


def _enough(c: Comparison, *counts: int) -> None:
    if (c.whole and min(counts) < LEAST_PATIENTS) or min(counts) == 0:
        raise NotComputable(f"it needs at least {LEAST_PATIENTS} records on each side, and there are {min(counts)}")
