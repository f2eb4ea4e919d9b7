r"""Dropped beats: P waves that no QRS complex follows, by which second-degree atrioventricular block is known.

The typical beat's QRS and T are taken out of the record; what is left is filtered for bumps as wide as a P wave and
projected on the direction in which this record's P waves point,

.. math:: p(t) = \sum_{leads} d_{lead}\, (g_{25\,\mathrm{ms}} - g_{60\,\mathrm{ms}} * g_{25\,\mathrm{ms}}) * x_{lead}(t)

A peak of p that no QRS follows counts as blocked only if it keeps the atria's time, one P–P interval from both of its
neighbours, and if the R–R interval around it is a pause: a sinus node goes on through a dropped beat; noise does not.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from ecglib.evaluation.delineation import Marks, mark
from ecglib.evaluation.typical_beat import BEFORE_S, FS, TypicalBeat, Unmeasurable, at_500_hz, typical_beat
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_8, LEADS_12, lead_order, to_twelve_leads

NARROW_S, WIDE_S = 0.025, 0.060  # of the Gaussians
PR_S = 0.04, 0.40  # a P wave's peak lies this long before the QRS complex that it leads to
REFRACTORY_S, HEIGHT = 0.30, 0.5  # between P waves; of a P wave, times those before QRS
STEADY = 1.25  # P–P intervals around a blocked P wave differ from the median one by no larger factor
AFTER_T_S = 0.02
ONE_WAY = 0.80  # cosine between the highest bumps before QRS and their common direction; less: no P waves
PAUSE, PAUSE_S = 1.3, 1.2  # R–R around a blocked P: times the record's short ones, or (two P waves a QRS) in s
BLOCK = 32  # records at once

COLUMNS = ("n_qrs", "n_p", "n_blocked", "p_per_qrs", "longest_rr", "reason")


def av_conduction(cohort: Cohort) -> pd.DataFrame:
    """Count P waves and QRS complexes, and the P waves that lead to none (equation p-projection).

    Parameters
    ----------
    cohort : Cohort
        Twelve leads, or the eight independent ones, in mV.

    Returns
    -------
    DataFrame, one row a record
        ``n_qrs``; ``n_p``, P waves that lead to a QRS complex or keep the others' time; ``n_blocked``, those that lead
        to none; ``p_per_qrs``, (n_qrs + n_blocked) / n_qrs, the P:QRS ratio if every QRS complex has its P wave;
        ``longest_rr``, the longest R–R interval over the median one. NaN, and a ``reason``, where the record has no
        typical beat.

    Notes
    -----
    Source: this project; validated on virtual patients, whose blocked P waves are known. Blind where a P wave hides in
    a T wave, and in fibrillation, which has none.
    """
    eight = set(cohort.leads) == set(LEADS_8)
    order = lead_order(cohort.leads, LEADS_8 if eight else LEADS_12)
    rows = []
    for start in range(0, len(cohort), BLOCK):
        x = np.asarray(cohort.x[start : start + BLOCK], np.float64)[:, order]
        for record in at_500_hz(to_twelve_leads(x) if eight else x, cohort.fs):
            try:
                rows.append(_of_record(record, typical_beat(record)))
            except Unmeasurable as reason:
                rows.append(dict.fromkeys(COLUMNS, np.nan) | {"reason": str(reason)})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def drops_beats(cohort: Cohort) -> np.ndarray:
    """Tell which records show what second-degree block promises, a conducted and a blocked P wave: bool (n_records,).

    What cannot be measured does not show it.
    """
    found = av_conduction(cohort)
    return ((found["n_blocked"] >= 1) & (found["n_p"] > found["n_blocked"])).to_numpy(bool)


def p_waves(x: np.ndarray, beat: TypicalBeat) -> tuple[np.ndarray, np.ndarray]:
    """Return where P waves peak, in s, and whether a QRS complex follows: float64 (n,), bool (n,).

    Parameters
    ----------
    x : float64 (12, L)
        One record as `at_500_hz` returns it.
    beat : TypicalBeat
        Its typical beat.
    """
    marks = mark(beat)
    if np.isnan(marks.qrs_on):
        raise Unmeasurable("no QRS boundaries")
    bumps = gaussian_filter1d(_without_qrst(x, beat, marks), NARROW_S * FS, axis=-1)
    bumps = bumps - gaussian_filter1d(bumps, WIDE_S * FS, axis=-1)
    on = beat.r + marks.qrs_on
    windows = [slice(max(0, round((t - PR_S[1]) * FS)), round((t - PR_S[0]) * FS)) for t in on if t > PR_S[1]]
    tops = np.stack([part[:, (part**2).sum(axis=0).argmax()] for part in (bumps[:, w] for w in windows)])
    direction = np.linalg.svd(tops, full_matrices=False)[2][0]  # of most of the highest bumps before QRS
    direction *= np.sign(np.median(tops @ direction)) or 1.0
    if np.median(tops @ direction / np.linalg.norm(tops, axis=1).clip(1e-9)) < ONE_WAY:
        return np.zeros(0), np.zeros(0, bool)
    p = direction @ bumps
    usual = np.median([p[w].max() for w in windows])
    places, _ = find_peaks(p, height=HEIGHT * usual, distance=round(REFRACTORY_S * FS))
    at = places / FS
    gap = on[None, :] - at[:, None]  # (n_p, n_qrs)
    conducted = ((gap >= PR_S[0]) & (gap <= PR_S[1])).any(axis=1)
    end = (marks.t_off if np.isfinite(marks.t_off) else marks.qrs_off + 0.2) - marks.qrs_on + AFTER_T_S
    left = ((gap <= 0.02) & (gap >= -end)).any(axis=1)  # of QRS and T
    alone = ~conducted & ~left & _in_pause(at, beat)
    alone[alone] = _in_time(at[conducted | alone])[alone[conducted | alone]]
    return at[conducted | alone], conducted[conducted | alone]


def _of_record(x: np.ndarray, beat: TypicalBeat) -> dict[str, float | str]:
    at, conducted = p_waves(x, beat)
    n_qrs, n_blocked = len(beat.r), int((~conducted).sum())
    return {"n_qrs": n_qrs, "n_p": len(at), "n_blocked": n_blocked, "p_per_qrs": 1 + n_blocked / n_qrs,
            "longest_rr": float(beat.rr.max() / np.median(beat.rr)), "reason": ""}  # fmt: skip


def _in_time(at: np.ndarray) -> np.ndarray:
    """Tell which P waves are one P–P interval, nearly the record's median one, from both neighbours: bool (n,)."""
    steady = np.zeros(len(at), bool)
    if len(at) >= 3:
        usual = np.abs(np.log(np.diff(at) / np.median(np.diff(at)))) < np.log(STEADY)
        steady[1:-1] = usual[1:] & usual[:-1]
    return steady


def _in_pause(at: np.ndarray, beat: TypicalBeat) -> np.ndarray:
    """Tell which P waves lie in a long R–R interval: bool (n,)."""
    rr = np.concatenate([[np.inf], beat.rr, [np.inf]])[np.searchsorted(beat.r, at)]
    return (rr >= PAUSE * np.percentile(beat.rr, 20)) | (rr >= PAUSE_S)


def _without_qrst(x: np.ndarray, beat: TypicalBeat, marks: Marks) -> np.ndarray:
    """Return the record less its typical QRS complex and T wave at every beat."""
    off = marks.t_off if np.isfinite(marks.t_off) else marks.qrs_off + 0.25
    first, last = round((BEFORE_S + marks.qrs_on - 0.01) * FS), round((BEFORE_S + off + 0.02) * FS)
    part = beat.x[:, first : min(last, beat.x.shape[1])]
    part = part - np.linspace(part[:, 0], part[:, -1], part.shape[1], axis=1)
    rest = x.copy()
    for r in beat.r:
        start = round((r - BEFORE_S) * FS) + first
        a, b = max(start, 0), min(start + part.shape[1], x.shape[1])
        rest[:, a:b] -= part[:, a - start : b - start]
    return rest
