r"""Heart beats from all leads at once: where the heart vector moves fastest.

.. math:: e(t) = \Big( \sum_{leads} \dot x_{5-25\,\mathrm{Hz}}(t)^2 \Big)^{1/2}

smoothed over 80 ms, peaks where the QRS complex is in every lead, whatever its shape in any one of them. A first
detector, for rates and R–R intervals; waves and their boundaries are another matter.
"""

from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, find_peaks, sosfiltfilt

from ecglib.errors import InputError

SMOOTH_S, REFRACTORY_S, THRESHOLD = 0.08, 0.28, 0.4
LEAST_S = 2.0


def beat_energy(x: np.ndarray, fs: int) -> np.ndarray:
    """Return e(t), float64 (L,), in mV/s, of one record x, float (n_leads, L) in mV (equation beat-energy)."""
    slope = np.gradient(sosfiltfilt(_band(fs), np.asarray(x, np.float64), axis=-1), 1 / fs, axis=-1)
    return uniform_filter1d(np.sqrt((slope**2).sum(axis=0)), max(1, round(SMOOTH_S * fs)))


@lru_cache(maxsize=8)
def _band(fs: int) -> np.ndarray:
    return butter(2, (5, min(25, 0.45 * fs)), "bandpass", fs=fs, output="sos")


def find_beats(x: np.ndarray, fs: int) -> np.ndarray:
    """Return the times of the beats of one record.

    Parameters
    ----------
    x : float (n_leads, L)
        Signals in mV, at least 2 s.
    fs : int
        Sampling rate in Hz, at least 50.

    Returns
    -------
    float64 (n_beats,)
        Seconds from the start, at the steepest part of each QRS complex; empty for a flat record.

    Raises
    ------
    InputError
        If x is not finite, not (n_leads, L), or too short.
    """
    x = np.asarray(x)
    if x.ndim != 2 or x.shape[1] < LEAST_S * fs or not np.isfinite(x).all():
        raise InputError(f"x has shape {x.shape} at fs={fs} Hz; expected finite (n_leads, L) of at least {LEAST_S:g} s")
    energy = beat_energy(x, fs)
    if energy.max() < 0.1:  # mV/s: no lead moves
        return np.zeros(0)
    # the typical beat: median of the highest points in stretches of 1.5 s, so that one artefact does not set the scale
    stretch = round(1.5 * fs)
    typical = np.median([energy[k : k + stretch].max() for k in range(0, len(energy) - stretch // 2, stretch)])
    places, _ = find_peaks(energy, height=THRESHOLD * typical, distance=round(REFRACTORY_S * fs))
    return places / fs


def rhythm_table(x: np.ndarray, fs: int) -> pd.DataFrame:
    """Measure rate and regularity of records.

    Parameters
    ----------
    x : float (n_records, n_leads, L)
        Signals in mV.
    fs : int
        Sampling rate in Hz.

    Returns
    -------
    DataFrame, one row a record
        ``n_beats``; ``heart_rate`` in beats/min, from the median R–R interval; ``rr_cv``, standard deviation over mean
        of the R–R intervals. NaN where there are fewer than three beats.
    """
    rows = []
    for record in x:
        beats = find_beats(record, fs)
        rr = np.diff(beats)
        known = len(rr) >= 2
        rows.append({"n_beats": len(beats), "heart_rate": 60 / np.median(rr) if known else np.nan,
                     "rr_cv": rr.std() / rr.mean() if known else np.nan})  # fmt: skip
    return pd.DataFrame(rows, columns=["n_beats", "heart_rate", "rr_cv"])
