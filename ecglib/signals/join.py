"""Several cohorts as one."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ecglib.errors import InputError
from ecglib.signals.cohort import Cohort


def join(*cohorts: Cohort) -> Cohort:
    """Return the records of several cohorts, one after the other, in memory.

    Parameters
    ----------
    *cohorts : Cohort
        Of one sampling rate, length and order of leads; no ``ecg_id`` twice.

    Returns
    -------
    Cohort
        Source and notes are those of the first. Waves are kept where every cohort has them.

    Raises
    ------
    InputError
        If nothing is given, the cohorts differ, or an ``ecg_id`` occurs twice.
    """
    if not cohorts:
        raise InputError("join() was given no cohort; expected at least one")
    first = cohorts[0]
    for other in cohorts[1:]:
        for name, a, b in (("fs", first.fs, other.fs), ("leads", first.leads, other.leads),
                           ("samples a record", first.x.shape[2], other.x.shape[2])):  # fmt: skip
            if a != b:
                raise InputError(f"cohorts differ in {name}: {a} and {b}; bring them to one before joining")
    x = np.concatenate([np.asarray(cohort.x[:]) for cohort in cohorts])
    table = pd.concat([cohort.table for cohort in cohorts], ignore_index=True)
    every = [cohort.waves for cohort in cohorts if cohort.waves is not None]
    waves = pd.concat(every, ignore_index=True) if len(every) == len(cohorts) else None
    return Cohort(x, first.fs, first.leads, table, waves, first.source, dict(first.notes))
