"""Two groups of one cohort: sinus rhythm and atrial fibrillation, and nothing in between."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ecglib.errors import InputError
from ecglib.signals.cohort import Cohort

GROUPS = ("SR", "AF")


def sr_or_af(cohort: Cohort, *, normal: bool = False) -> Cohort:
    """Choose the records of sinus rhythm and of atrial fibrillation.

    Parameters
    ----------
    cohort : Cohort
        Any; statements say what a record is: SR, AFIB.
    normal : bool
        Demand the statement NORM of a record in sinus rhythm, as the second paper does of its healthy ones.

    Returns
    -------
    Cohort
        Its records with SR or AFIB, but not both. Column ``af``: 1 atrial fibrillation, 0 sinus rhythm.
        ``notes["groups"]`` counts what was chosen and what was not.

    Raises
    ------
    InputError
        If a group is empty.

    Notes
    -----
    Source: Hegde et al. 2025: normal with sinus rhythm against atrial fibrillation. Differs: `normal` is off unless
    asked for, since LUDB has no statement NORM.
    """
    sinus, fibrillation = cohort.has("SR"), cohort.has("AFIB")
    sr = sinus & ~fibrillation & (cohort.has("NORM") if normal else True)
    af = fibrillation & ~sinus
    counts = {"SR": int(sr.sum()), "AF": int(af.sum()), "both": int((sinus & fibrillation).sum()),
              "neither": int((~sinus & ~fibrillation).sum())}  # fmt: skip
    if not (sr.any() and af.any()):
        raise InputError(f"cohort {cohort.source} has {counts['SR']} records of sinus rhythm and {counts['AF']} of "
                         "atrial fibrillation; expected some of each: choose another cohort, or more of its records")
    chosen = cohort.select(sr | af)
    return replace(chosen, table=chosen.table.assign(af=af[sr | af].astype(np.int64)),
                   notes={**chosen.notes, "groups": counts})  # fmt: skip


def balanced(cohort: Cohort, seed: int = 0, per_group: int | None = None) -> Cohort:
    """Drop records at random until both groups are equally large.

    Parameters
    ----------
    cohort : Cohort
        With the column ``af``.
    seed : int
        Of the choice.
    per_group : int, optional
        At most so many records of each group; None: as many as the smaller group has.

    Raises
    ------
    InputError
        If the cohort has no column ``af``, or `per_group` is below 1.
    """
    if per_group is not None and per_group < 1:
        raise InputError(f"per_group={per_group}; expected 1 or more, or None")
    af = af_of(cohort)
    fewest = min(af.sum(), (1 - af).sum(), len(af) if per_group is None else per_group)
    rng = np.random.default_rng([seed, 4])
    kept = np.concatenate([rng.permutation(np.flatnonzero(af == group))[:fewest] for group in (0, 1)])
    return cohort.select(np.sort(kept))


def af_of(cohort: Cohort) -> np.ndarray:
    """Return which records are of atrial fibrillation: int64 (n_records,), 1 or 0.

    Raises
    ------
    InputError
        If the cohort has no column ``af``: it did not come through `sr_or_af`.
    """
    if "af" not in cohort.table:
        raise InputError("cohort has no column af; choose its records with ecglib.evaluation.sr_af.sr_or_af")
    return cohort.table["af"].to_numpy(np.int64)
