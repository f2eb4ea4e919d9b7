"""What can be wrong with the signals of a record that was read without error: flat, clipped, swapped, inconsistent."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ecglib.signals.beats import find_beats
from ecglib.signals.leads import LEADS_12, einthoven_residual

FLAT_S, FLAT_MV = 2.0, 0.005
CLIPPED_S, CLIPPED_TIMES, CLIPPED_MV = 0.02, 3, 0.5
EINTHOVEN_SHARE, EINTHOVEN_MV = 0.1, 0.03
LEAST_BEATS, AGAINST, ALIKE = 3, -0.5, 0.3
WAVES_S = {"P": (-0.25, -0.08), "QRS": (-0.06, 0.08), "T": (0.12, 0.48)}  # from R; assumption: broad, for any rate


def flat_leads(x: np.ndarray, fs: float) -> list[str]:
    """Return the leads of x, float (12, L) in mV at fs Hz, that stay at one value for 2 s, or within 5 µV throughout.

    Both limits are assumptions: a loose electrode, or a gain wrong by a thousand.
    """
    stays = np.cumsum(np.diff(x, axis=1, prepend=np.nan) == 0, axis=1)  # (12, L): still samples up to each
    steps = round(FLAT_S * fs) - 1
    return _named((np.ptp(x, axis=1) < FLAT_MV) | (stays[:, steps:] - stays[:, :-steps] == steps).any(axis=1))


def clipped_leads(x: np.ndarray, fs: float) -> list[str]:
    """Return the leads whose peaks are cut off at one level.

    Parameters
    ----------
    x : float (12, L)
        Signals in mV, as stored (resampling rounds the cuts off).
    fs : float
        Sampling rate in Hz.

    Returns
    -------
    list of str
        Leads that stay exactly at their highest or lowest value for 20 ms (two samples at least) three times or more,
        0.5 mV or more from their median. Assumptions: a heart's peaks differ by more than a count, and rounding makes
        short plateaus only near zero.
    """
    held = max(2, round(CLIPPED_S * fs))
    return _named([_is_cut(lead, held) or _is_cut(-lead, held) for lead in x])


def _is_cut(lead: np.ndarray, held: int) -> bool:
    top = lead.max()
    at_top = np.concatenate([[False], lead == top, [False]])
    if np.count_nonzero(at_top) < CLIPPED_TIMES * held or top - np.median(lead) < CLIPPED_MV:
        return False
    starts, stops = np.flatnonzero(np.diff(at_top)).reshape(-1, 2).T
    return bool(np.count_nonzero(stops - starts >= held) >= CLIPPED_TIMES)


def breaks_einthoven(x: np.ndarray) -> bool:
    """Tell whether the limb leads of x, float (12, L) in mV, cannot come from the same three electrodes.

    True if the root mean square of the largest of the four residuals (equation limb-laws) exceeds 0.03 mV and a tenth
    of that of the limb leads; both limits are assumptions, far above rounding and far below a wrong gain.
    """
    residual = einthoven_residual(np.asarray(x, np.float64))
    rms = np.sqrt((residual - residual.mean(axis=1, keepdims=True)).var(axis=1).max())
    return bool(rms > max(EINTHOVEN_MV, EINTHOVEN_SHARE * np.sqrt(np.var(x[:6], axis=1).mean())))


def arms_swapped(x: np.ndarray, fs: int) -> bool:
    """Tell whether the electrodes of the two arms look exchanged.

    Parameters
    ----------
    x : float (12, L)
        Signals in mV, at least 2 s.
    fs : int
        Sampling rate in Hz, at least 50.

    Returns
    -------
    bool
        Exchanged arms turn lead I upside down and leave the chest leads alone. I and V6 both look to the left, so
        where two of P, QRS and T of the median beat run against each other in I and V6 (correlation below −0.5), the
        arms are suspected. In dextrocardia I is upside down too, but so is V6, and nothing is flagged. Einthoven's law
        sees none of it. False with fewer than three whole beats.

    Notes
    -----
    Differs: rule and limit are ours. On LUDB's 200 records: 2 flagged as they are (paced ones), 191 with I turned,
    none with the heart mirrored (`tests/test_quality.py`).
    """
    pair = x[[LEADS_12.index("I"), LEADS_12.index("V6")]]
    if min(_correlation(*pair), _correlation(*np.diff(pair))) > ALIKE:
        return False  # nearly all records; the rest deserve a longer look
    beat = _median_beat(pair, find_beats(x, fs), fs)
    if beat is None:
        return False
    before = -WAVES_S["P"][0]
    waves = [beat[:, round((before + on) * fs) : round((before + off) * fs)] for on, off in WAVES_S.values()]
    return bool(np.median([_correlation(*wave) for wave in waves]) < AGAINST)


def _median_beat(x: np.ndarray, r: np.ndarray, fs: int) -> np.ndarray | None:
    """Return (n_leads, T): the median over beats, from P to T; None if too few beats lie whole in the record."""
    before, after = round(-WAVES_S["P"][0] * fs), round(WAVES_S["T"][1] * fs)
    at = np.rint(r * fs).astype(int)
    at = at[(at >= before) & (at <= x.shape[1] - after)]
    if len(at) < LEAST_BEATS:
        return None
    beats = np.stack([x[:, k - before : k + after] for k in at])
    return np.median(beats - np.median(beats, axis=2, keepdims=True), axis=0)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else 0.0


def _named(where: Iterable[bool]) -> list[str]:
    return [lead for lead, found in zip(LEADS_12, where, strict=True) if found]
