r"""Membership by distance: is a patient who was trained on nearer to the released records than one who was not?

These attacks need nothing but the released set, and the victim's own ECG.
"""

from __future__ import annotations

import numpy as np

from ecglib.evaluation.comparison import Comparison, NotComputable
from ecglib.evaluation.privacy.scores import LEAST_PATIENTS, attack, by_patient, counted, fewest
from ecglib.evaluation.privacy.spaces import BEATS, Space, bound, evenly, nearest, note_lost


def mir(c: Comparison, *, space: Space = BEATS) -> dict[str, float]:
    r"""MIDT-ECG's membership risk: F1 of "who is within θ of a synthetic record was trained on" (lower is better).

    .. math:: F_1 = \frac{2\,t}{2\,t + f + (1 - t)}

    with t and f the shares of members and of others within θ, as if there were as many of both. Calling everybody a
    member gives 2/3, so an F1 of 0.6 may be worse than no attack at all.

    Parameters
    ----------
    c : Comparison
        ``train`` are members, ``real`` patients that the generator never saw.
    space : Space

    Returns
    -------
    dict
        ``f1`` with θ where half of all patients are within (chance: 0.5), ``f1 best`` at the best θ of all, and
        ``f1 naive``, 2/3. A patient is as near as the nearest of the patient's records, as many of each as `fewest`.

    Raises
    ------
    NotComputable
        If a side has fewer than eight patients with a typical beat.

    Notes
    -----
    Source: MIDT-ECG names the metric; its definition is read from public code (synthetic-ehr-benchmarking). Its θ and
    distance are not known, hence θ here. Equation: mir.
    """
    note_lost(c, space)
    terms = c.once(bound(_gaps, space))
    members, others = (-terms[role][np.isfinite(terms[role][:, 0]), 0] for role in ("train", "real"))
    if c.whole and min(len(members), len(others)) < LEAST_PATIENTS:
        raise NotComputable(f"it needs at least {LEAST_PATIENTS} patients on each side, and there are {len(members)} "
                            f"members and {len(others)} others")  # fmt: skip
    t, f = within(members, others)
    score = 2 * t / (2 * t + f + (1 - t))
    c.note(n=min(len(members), len(others)))
    return {f"f1 {space.name}": float(score[np.argmax(t + f >= 1)]), f"f1 best {space.name}": float(score.max()),
            "f1 naive": float(score[-1])}  # fmt: skip


def within(members: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of members and of others within θ, for every θ that is one of their distances, rising."""
    theta = np.unique(np.concatenate([members, others]))
    t, f = (np.searchsorted(np.sort(values), theta, side="right") / len(values) for values in (members, others))
    return t, f


def distance_attack(c: Comparison, *, space: Space = BEATS) -> dict[str, float]:
    r"""Calibrated distance attack: nearer to the released records than to as many of strangers? (AUC 0.5 best)

    .. math:: s(x) = \min_{r \in R} d(x, r) - \min_{s \in S} d(x, s)

    A common ECG is near everything; the reference set R, real records of yet other patients, takes that away.

    Parameters
    ----------
    c : Comparison
        ``train`` are members, ``real`` patients that the generator never saw, ``held_out`` the reference, cut to the
        number of synthetic records.
    space : Space

    Returns
    -------
    dict
        ``auc``, ``tpr 1%``, ``tpr 0.1%``, each with the space's name; and ``auc uncalibrated``. A patient's score is
        the highest of the patient's records, as many of each as `fewest`.

    Raises
    ------
    NotComputable
        If a role is missing, or a side has fewer than eight patients with a typical beat.

    Notes
    -----
    Source: after Carlini et al., Membership inference attacks from first principles, 2022 (calibration, and the rate at
    few false positives), and Chen et al., GAN-Leaks, 2020 (distance to the nearest sample). Equation: distance-attack.
    """
    c.n("held_out")
    note_lost(c, space)
    terms = c.once(bound(_gaps, space))
    values = attack(c, space.name, {role: terms[role][:, 1] for role in ("train", "real")})
    plain = attack(c, f"uncalibrated {space.name}", {role: terms[role][:, 0] for role in ("train", "real")})
    return values | {key: value for key, value in plain.items() if key.startswith("auc")}


mir.interval = distance_attack.interval = "subsample"  # type: ignore[attr-defined]


def _gaps(c: Comparison, space: Space) -> dict[str, np.ndarray]:
    """Return each patient's −d(x, S), and d(x, R) − d(x, S) (NaN without a reference), as `by_patient` does."""
    synthetic = c.terms("synthetic", space.of)
    reference = None if c.held_out is None else c.terms("held_out", space.of)[evenly(c.n("held_out"), len(synthetic))]
    places = {role: c.terms(role, space.of) for role in ("train", "real")}
    placed = {role: c.table(role)[np.isfinite(x).all(axis=1)] for role, x in places.items()}
    most, result = fewest(*placed.values()), {}
    for role, x in places.items():
        gaps = np.full((len(x), 2), np.nan)
        rows = placed[role].index[counted(placed[role], most)].to_numpy()
        gaps[rows, 0] = -nearest(x[rows], synthetic)[0][:, 0]
        if reference is not None:
            gaps[rows, 1] = gaps[rows, 0] + nearest(x[rows], reference)[0][:, 0]
        patients = c.table(role)["patient_id"].to_numpy()
        result[role] = np.stack([by_patient(column, patients) for column in gaps.T], axis=1)
    return result
