"""Several cohorts as one."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ecglib.errors import InputError
from ecglib.signals.cohort import Cohort
from ecglib.signals.export import marked_synthetic


def join(*cohorts: Cohort) -> Cohort:
    """Return the records of several cohorts, one after the other, in memory.

    Parameters
    ----------
    *cohorts : Cohort
        Of one sampling rate, length and order of leads; no ``ecg_id`` twice.

    Returns
    -------
    Cohort
        Notes are those of the first, and so is the source, if it is the same for all. If not, ``source`` is
        "joined: …" with all of them, and the column ``synthetic`` says of each record whether it is known to be.
        Waves are kept where every cohort has them.

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
    sources = list(dict.fromkeys(cohort.source for cohort in cohorts))
    tables = [cohort.table for cohort in cohorts]
    if len(sources) > 1:
        tables = [cohort.table.assign(synthetic=marked_synthetic(cohort)) for cohort in cohorts]
    source = first.source if len(sources) == 1 else "joined: " + ", ".join(sources)
    table = pd.concat(tables, ignore_index=True)
    every = [cohort.waves for cohort in cohorts if cohort.waves is not None]
    waves = pd.concat(every, ignore_index=True) if len(every) == len(cohorts) else None
    return Cohort(x, first.fs, first.leads, table, waves, source, dict(first.notes))
