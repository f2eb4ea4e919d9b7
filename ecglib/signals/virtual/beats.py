"""When each wave of each beat begins and ends, and the course of every component over a record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecglib.signals.virtual.coefficients import VALUE
from ecglib.signals.virtual.heart import COMPONENTS, Heart
from ecglib.signals.virtual.patients import Intervals


@dataclass(frozen=True)
class Beats:
    """When each beat's waves begin and end, in s from the record's start; float64 (n_beats,), P's NaN if absent."""

    p_on: np.ndarray
    p_off: np.ndarray
    qrs_on: np.ndarray
    qrs_off: np.ndarray
    t_off: np.ndarray
    r: np.ndarray


def place_beats(heart: Heart, intervals: Intervals, r: np.ndarray) -> Beats:
    """Set every wave around the R times `r` (s).

    QT follows the rate by Fridericia's cube root, QT = QTc · RR^(1/3), with RR mostly the record's mean and a little
    the last interval. Source: Fridericia 1920.
    """
    qrs = intervals.qrs / 1000
    qrs_on = r - heart.r * qrs
    mean = 60 / intervals.rate
    last = np.diff(r, prepend=r[0] - mean)
    rr = (1 - VALUE["qt_memory"]) * mean + VALUE["qt_memory"] * last
    t_off = qrs_on + intervals.qtc / 1000 * np.cbrt(rr)
    p_on = qrs_on - intervals.pr / 1000
    return Beats(p_on, p_on + intervals.p / 1000, qrs_on, qrs_on + qrs, t_off, r)


def time_courses(heart: Heart, beats: Beats, gain: np.ndarray, n_times: int, fs: int) -> np.ndarray:
    r"""Return G, each component's course over the record.

    Parameters
    ----------
    heart : Heart
    beats : Beats
    gain : float64 (n_beats, K)
        Each beat's own small variation around 1.
    n_times, fs : int
        Samples, and samples per s.

    Returns
    -------
    float64 (K, n_times)
        Dimensionless. Each Gaussian is seen through the recorder's low-pass filter, itself taken as a Gaussian of
        width 0.3/fs: widths add in squares, areas are kept.
    """
    starts = np.stack([beats.p_on] * 2 + [beats.qrs_on] * 5 + [beats.qrs_off] * 3, axis=1)  # (n_beats, K)
    ends = np.stack([beats.p_off] * 2 + [beats.qrs_off] * 5 + [beats.t_off] * 3, axis=1)
    centre = starts + heart.centre * (ends - starts)
    true_width = heart.width * (ends - starts)
    width = np.hypot(true_width, 0.3 / fs)
    height = gain * true_width / width
    absent = np.isnan(centre)
    centre, width, height = np.where(absent, 0, centre), np.where(absent, 1, width), np.where(absent, 0, height)
    first = np.floor((beats.qrs_on - 0.45) * fs).astype(int).clip(0, n_times)
    last = np.ceil((beats.t_off + 0.15) * fs).astype(int).clip(0, n_times)
    t, g = np.arange(n_times) / fs, np.zeros((len(COMPONENTS), n_times))
    for b in range(len(beats.r)):
        part = slice(first[b], last[b])
        g[:, part] += height[b, :, None] * np.exp(-0.5 * ((t[part] - centre[b, :, None]) / width[b, :, None]) ** 2)
    return g
