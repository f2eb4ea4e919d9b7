r"""Five features that ask what fibrillation is: irregular beats, no P wave, and small fast waves instead of it.

.. math:: P_f = \frac{\int_{4}^{9} S(f)\,df}{\int_{0.5}^{40} S(f)\,df}, \quad
          S \text{ the power spectrum of } x(t) - \text{the typical beat at each beat}

None needs the boundary of a wave, which no delineator finds where there is no wave.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from scipy.signal import welch

from ecglib.evaluation.measurements import WORTH_PROCESSES
from ecglib.evaluation.sr_af.entropy import entropy_coefficient
from ecglib.evaluation.typical_beat import BAND_HZ, BEFORE_S, FS, TypicalBeat, Unmeasurable, at_500_hz, typical_beat
from ecglib.parallel import chunked, in_order
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_8, LEADS_12, lead_order, to_twelve_leads

FEATURES = ("rr_cv", "rmssd_over_rr", "entropy", "p_alike", "f_power")
P_S = (-0.26, -0.06)  # around R: where a P wave lies
F_HZ = (4.0, 9.0)
F_LEADS = ("II", "V1")  # where fibrillation waves are largest
BLOCK = 32


def better_features(cohort: Cohort) -> pd.DataFrame:
    """Measure irregularity, P waves and fibrillation waves.

    Parameters
    ----------
    cohort : Cohort
        Of the twelve leads or the eight independent ones.

    Returns
    -------
    DataFrame, one row a record
        ``rr_cv``; ``rmssd_over_rr``; ``entropy``, the coefficient of sample entropy of R–R; ``p_alike``, the mean
        correlation of each beat's stretch before QRS with the typical one, all leads together, near 1 where each beat
        has its P wave; ``f_power``, the share of 4–9 Hz in leads II and V1 once the typical beat is taken off. NaN
        where a record cannot be measured.

    Notes
    -----
    Source: the features are among those that evaluations of fibrillation detectors use; the forms are this project's.
    Equation: f-power.
    """
    workers = None if len(cohort) >= WORTH_PROCESSES else 1
    measure = partial(_measure_rows, cohort)
    done = in_order(measure, chunked(range(len(cohort)), BLOCK), workers=workers)
    return pd.DataFrame([row for rows in done for row in rows], columns=list(FEATURES))


def _measure_rows(cohort: Cohort, rows: Sequence[int]) -> list[dict[str, float]]:
    eight = set(cohort.leads) == set(LEADS_8)
    x = np.asarray(cohort.x[list(rows)], np.float64)[:, lead_order(cohort.leads, LEADS_8 if eight else LEADS_12)]
    x = at_500_hz(to_twelve_leads(x) if eight else x, cohort.fs)
    return [_measure(record) for record in x]


def _measure(x: np.ndarray) -> dict[str, float]:
    try:
        beat = typical_beat(x)
    except Unmeasurable:
        return dict.fromkeys(FEATURES, np.nan)
    rr = beat.rr
    rmssd = np.sqrt(np.mean(np.diff(rr) ** 2)) if len(rr) > 1 else np.nan
    return {"rr_cv": rr.std() / rr.mean(), "rmssd_over_rr": rmssd / rr.mean(), "entropy": entropy_coefficient(rr),
            "p_alike": p_alike(beat), "f_power": f_power(x, beat)}  # fmt: skip


def p_alike(beat: TypicalBeat) -> float:
    """Return the mean correlation of beats with the typical beat where P waves lie; NaN below three beats."""
    first, last = (round((BEFORE_S + at) * FS) for at in P_S)
    each = beat.beats[:, beat.live, first:last]
    if len(each) < 3:
        return np.nan
    each = each - each.mean(axis=-1, keepdims=True)
    others = (each.sum(axis=0) - each) / (len(each) - 1)  # of each beat, the mean of the others: (n, C, W)
    size = np.linalg.norm(each, axis=(1, 2)) * np.linalg.norm(others, axis=(1, 2))
    return float(((each * others).sum(axis=(1, 2)) / size.clip(1e-12)).mean())


def f_power(x: np.ndarray, beat: TypicalBeat) -> float:
    """Return the share of 4–9 Hz among 0.5–40 Hz that the typical beat leaves in leads II and V1 (equation f-power).

    Parameters
    ----------
    x : float64 (12, L)
        The record at 500 Hz in mV.
    beat : TypicalBeat
        Of the same record.
    """
    leads = [LEADS_12.index(name) for name in F_LEADS]
    rest, starts = x[leads].copy(), np.rint((beat.r - BEFORE_S) * FS).astype(int)
    ends = np.append(starts[1:], x.shape[1])
    for start, end in zip(starts, ends, strict=True):  # each beat up to where the next begins
        at, stop = max(start, 0), max(min(end, start + beat.x.shape[1], x.shape[1]), 0)
        rest[:, at:stop] -= beat.x[leads, at - start : stop - start]
    f, power = welch(rest, fs=FS, nperseg=2 * FS, axis=-1)
    total = power[:, (f >= BAND_HZ[0]) & (f <= BAND_HZ[1])].sum()
    return float(power[:, (f >= F_HZ[0]) & (f <= F_HZ[1])].sum() / total) if total > 0 else np.nan
