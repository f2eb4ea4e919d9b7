r"""Where the waves of a beat begin and end, from all leads at once.

.. math:: v(\tau) = \Big( \sum_{leads} \dot{\bar x}_{lead}(\tau)^2 \Big)^{1/2}

is the speed of the heart vector in mV/s, of the typical beat. QRS is where it exceeds rest by 3 mV/s, whatever the lead
that moves first or last; P and T are where it exceeds a share of the wave's own highest speed.

Source: speed thresholds and a median beat of all leads are common in clinical electrocardiographs; these thresholds
are this project's, chosen on every second record of LUDB; what counts as a P wave, and how long the vector rests, on
all of them (`tools/validate_delineation.py`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ecglib.evaluation.typical_beat import AFTER_S, BEFORE_S, FS, TypicalBeat

QRS_SMOOTH_S, QRS_SPEED, QRS_SHARE = 0.004, 3.0, 0.04  # mV/s above rest, at most this share of the highest speed
QRS_REACH_S, QRS_STILL_S = 0.20, 0.008  # boundaries lie this near R; there the vector rests that long
T_SMOOTH_S, T_SHARE, T_AFTER_QRS_S, T_FALL_S = 0.014, 0.14, 0.06, 0.16
T_PEAK, T_LAST = 0.40, 0.70  # latest peak and end of T after R, times √(RR/s)
T_BEFORE_NEXT_S = 0.12
P_SMOOTH_S, P_SHARE_ON, P_SHARE_OFF = 0.010, 0.30, 0.20
P_REACH_S, P_BEFORE_QRS_S, P_HALF_S = 0.34, 0.012, 0.08
P_LEAST_MV, P_ALIKE = 0.025, 0.68  # height in some lead; correlation of most beats' P waves with the typical one


class Marks(NamedTuple):
    """Boundaries and peaks in s from R; NaN where a wave is absent."""

    p_on: float = np.nan
    p_peak: float = np.nan
    p_off: float = np.nan
    qrs_on: float = np.nan
    qrs_off: float = np.nan
    t_peak: float = np.nan
    t_off: float = np.nan


def mark(beat: TypicalBeat) -> Marks:
    """Find the waves of a typical beat (equation heart-vector-speed)."""
    qrs = _qrs(beat)
    if qrs is None:
        return Marks()
    t_peak, t_off = _t_wave(beat, *qrs)
    p = _p_wave(beat, qrs[0], t_off)
    marks = Marks(qrs_on=_seconds(qrs[0]), qrs_off=_seconds(qrs[1]), t_peak=_seconds(t_peak), t_off=_seconds(t_off))
    if p is None or not _is_p_wave(beat, *p):
        return marks
    return marks._replace(p_on=_seconds(p[0]), p_peak=_seconds(p[1]), p_off=_seconds(p[2]))


def _qrs(beat: TypicalBeat) -> tuple[int, int] | None:
    v = speed(beat.x, QRS_SMOOTH_S)
    top = _at(-0.06) + int(v[_at(-0.06) : _at(0.06)].argmax())
    before = _first_rest(v[top : _at(-QRS_REACH_S) : -1], v[_at(-QRS_REACH_S) : _at(-0.03)])
    after = _first_rest(v[top : _at(QRS_REACH_S)], v[_at(0.05) : _at(QRS_REACH_S)])
    return None if before is None or after is None else (top - before, top + after)


def _first_rest(v: np.ndarray, around: np.ndarray) -> int | None:
    """Return after how many samples v comes to rest; what rest is, is read off `around`."""
    rest = np.percentile(around, 10)
    below = v < rest + min(QRS_SPEED, QRS_SHARE * (v[0] - rest))
    still = round(QRS_STILL_S * FS)
    found = np.flatnonzero(np.convolve(below, np.ones(still), "valid") == still)
    return int(found[0]) if len(found) else None


def _t_wave(beat: TypicalBeat, qrs_on: int, qrs_off: int) -> tuple[float, float]:
    first = qrs_off + round(T_AFTER_QRS_S * FS)
    root = np.sqrt(np.median(beat.rr))
    short = np.percentile(beat.rr, 20)  # the next beat must not be taken for a T wave
    last = _at(min(AFTER_S, T_LAST * root, short - T_BEFORE_NEXT_S))
    if last - first < P_HALF_S * FS:
        return np.nan, np.nan
    x = gaussian_filter1d(beat.x, T_SMOOTH_S * FS, axis=-1)[:, first:last]
    size = (_less_line(x) ** 2).sum(axis=0)
    peak = first + int(size[: max(1, _at(T_PEAK * root) - first)].argmax())
    v = speed(beat.x, T_SMOOTH_S)
    fall = peak + int(v[peak : min(last, peak + round(T_FALL_S * FS))].argmax())
    rest = np.percentile(v[first:last], 5)
    slow = v[fall:last] < rest + T_SHARE * (v[fall] - rest)
    return peak, fall + int(slow.argmax() if slow.any() else v[fall:last].argmin())


def _p_wave(beat: TypicalBeat, qrs_on: int, t_off: float) -> tuple[int, int, int] | None:
    t_end = 0.3 if np.isnan(t_off) else _seconds(t_off)
    first = _at(max(-P_REACH_S, t_end - float(np.median(beat.rr))))
    last = qrs_on - round(P_BEFORE_QRS_S * FS)
    if last - first < P_HALF_S * FS:
        return None
    x = gaussian_filter1d(beat.x, P_SMOOTH_S * FS, axis=-1)[:, first:last]
    peak = first + int((_less_line(x) ** 2).sum(axis=0).argmax())
    v = speed(beat.x, P_SMOOTH_S)
    rest = np.percentile(v[first:last], 10)
    half = round(P_HALF_S * FS)
    start = max(first, peak - half)
    rise = start + int(v[start : peak + 1].argmax())
    fall = peak + int(v[peak : max(peak + 1, min(last, peak + half))].argmax())
    slow_on = v[rise : max(0, first - round(0.02 * FS)) : -1] < rest + P_SHARE_ON * (v[rise] - rest)
    slow_off = v[fall:qrs_on] < rest + P_SHARE_OFF * (v[fall] - rest)
    on = rise - int(slow_on.argmax() if slow_on.any() else len(slow_on) - 1)
    off = fall + int(slow_off.argmax() if slow_off.any() else len(slow_off) - 1)
    return on, peak, off


def _is_p_wave(beat: TypicalBeat, on: int, peak: int, off: int) -> bool:
    """Tell whether a bump before QRS is high enough and comes with most beats: fibrillation's waves do neither."""
    return bool(p_height(beat.x, on, off) >= P_LEAST_MV and np.median(p_likeness(beat.beats, on, off)) >= P_ALIKE)


def p_height(x: np.ndarray, on: int, off: int) -> float:
    """Return the largest deflection in any lead from the line between onset and offset, in mV."""
    return float(np.abs(_less_line(x[:, on : off + 1])).max())


def p_likeness(beats: np.ndarray, on: int, off: int) -> np.ndarray:
    """Correlate each beat's P wave, all leads at once, with the median one: float64 (n_beats,)."""
    waves = beats[:, :, on : off + 1]
    waves = waves - waves.mean(axis=-1, keepdims=True)
    typical = np.median(waves, axis=0)
    size = np.sqrt((waves**2).sum(axis=(1, 2)) * (typical**2).sum())
    return np.einsum("ncw,cw->n", waves, typical) / size.clip(1e-12)


def _less_line(x: np.ndarray) -> np.ndarray:
    """Subtract from each lead of x, (C, W), the line between its first and last value."""
    return x - np.linspace(x[:, 0], x[:, -1], x.shape[1], axis=1)


def speed(x: np.ndarray, smooth_s: float) -> np.ndarray:
    """Return the speed of the heart vector, float64 (W,) in mV/s, of x, float (C, W), smoothed by a Gaussian."""
    return np.sqrt((gaussian_filter1d(x, smooth_s * FS, order=1, axis=-1) ** 2).sum(axis=0)) * FS


def _at(seconds: float) -> int:
    return round((BEFORE_S + seconds) * FS)


def _seconds(sample: float) -> float:
    return sample / FS - BEFORE_S
