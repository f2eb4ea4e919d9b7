r"""The typical beat of a record: beats of one shape, lined up on their QRS complexes, and the median over them.

.. math:: \bar x_{lead}(\tau) = \operatorname{median}_{k \in K} x_{lead}(r_k + \tau)

A median over ten beats holds a third of the noise of one, and nothing of an extrasystole. Everything here is at 500 Hz.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import butter, sosfiltfilt

from ecglib.errors import InputError
from ecglib.signals.beats import find_beats
from ecglib.signals.resample import resample

FS = 500  # Hz
BAND_HZ = (0.5, 40.0)
BEFORE_S, AFTER_S = 0.44, 0.80  # the window around R: a long P–R interval, a long Q–T
QRS_S, SHIFT_S = 0.06, 0.03  # half of what is lined up, and how far it may move
ALIKE, COMMON = 0.8, 0.7  # correlation with the typical QRS: of a beat that belongs; of most beats, else it is noise
LEAST_S, LEAST_BEATS = 2.0, 3
FLAT_MV = 1e-3


class Unmeasurable(Exception):
    """A record that has no typical beat; the message is the reason."""


@dataclass(frozen=True, eq=False)
class TypicalBeat:
    """What `typical_beat` finds.

    Parameters
    ----------
    x : float64 (C, W)
        The median beat in mV, from 0.44 s before R to 0.80 s after.
    r : float64 (n_beats,)
        Times of all beats in s, lined up.
    alike : bool (n_beats,)
        Which of them have the typical QRS complex.
    beats : float64 (n_kept, C, W)
        The beats that the median is taken over.
    live : bool (C,)
        Leads that are not flat.
    """

    x: np.ndarray
    r: np.ndarray
    alike: np.ndarray
    beats: np.ndarray
    live: np.ndarray

    @cached_property
    def rr(self) -> np.ndarray:
        """R–R intervals in s, float64 (n_beats − 1,)."""
        return np.diff(self.r)


def at_500_hz(x: np.ndarray, fs: int) -> np.ndarray:
    """Resample records, float (..., L) in mV, and leave 0.5–40 Hz of them, without a shift in time: float64."""
    y = resample(x, fs, FS)
    return sosfiltfilt(_band(), y, axis=-1)


@lru_cache(maxsize=1)
def _band() -> np.ndarray:
    return butter(2, BAND_HZ, "bandpass", fs=FS, output="sos")


def typical_beat(x: np.ndarray) -> TypicalBeat:
    """Find the beats of one record and their median.

    Parameters
    ----------
    x : float (C, L)
        One record in mV, as `at_500_hz` returns it.

    Returns
    -------
    TypicalBeat

    Raises
    ------
    Unmeasurable
        If the record is not finite, too short, or flat, holds fewer than three beats, or its beats share no shape.
    """
    if x.ndim != 2:
        raise InputError(f"x has shape {x.shape}; expected (n_leads, n_times)")
    if not np.isfinite(x).all():
        raise Unmeasurable("not finite")
    if x.shape[1] < LEAST_S * FS:
        raise Unmeasurable(f"shorter than {LEAST_S:g} s")
    live = np.ptp(x, axis=1) > FLAT_MV
    if live.sum() < 2:
        raise Unmeasurable("flat")
    places = np.rint(find_beats(x[live, ::2], FS // 2) * FS).astype(int)  # half of the rate: nothing is above 40 Hz
    if len(places) < LEAST_BEATS:
        raise Unmeasurable(f"fewer than {LEAST_BEATS} beats")
    places, likeness = _line_up(x[live], places)
    if np.median(likeness) < COMMON:
        raise Unmeasurable("noise: its beats share no shape")
    alike = likeness >= ALIKE
    before, after = round(BEFORE_S * FS), round(AFTER_S * FS)
    whole = (places >= before) & (places <= x.shape[1] - after)
    chosen = whole & alike if (whole & alike).any() else whole
    if not chosen.any():
        raise Unmeasurable("no whole beat")
    beats = x[:, places[chosen, None] + np.arange(-before, after)].swapaxes(0, 1)  # (n_kept, C, W)
    return TypicalBeat(np.median(beats, axis=0), places / FS, alike, beats, live)


def _line_up(x: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shift beats to where their QRS complexes, all leads at once, correlate best with the median one.

    Beyond the record's ends its first and last samples are repeated.

    Returns
    -------
    int64 (n_beats,), float64 (n_beats,)
        New places, and correlations.
    """
    half, shift = round(QRS_S * FS), round(SHIFT_S * FS)
    around = (places[:, None] + np.arange(-half - shift, half + shift + 1)).clip(0, x.shape[1] - 1)
    around = x[:, around].swapaxes(0, 1)  # (n_beats, C, 2 (half + shift) + 1)
    shifted = sliding_window_view(around, 2 * half + 1, axis=-1)[..., ::2]  # (n_beats, C, shifts, half + 1): 250 Hz
    norm = np.sqrt(shifted.var(axis=-1).sum(axis=1) * shifted.shape[-1]).clip(1e-6)  # (n_beats, shifts)
    best = np.full(len(places), shift)
    for _ in range(2):
        qrs = np.median(shifted[np.arange(len(places)), :, best], axis=0)  # (C, half + 1)
        qrs = qrs - qrs.mean(axis=-1, keepdims=True)
        likeness = np.einsum("ncsw,cw->ns", shifted, qrs) / (norm * np.linalg.norm(qrs).clip(1e-12))
        best = likeness.argmax(axis=1)
    return places + best - shift, likeness.max(axis=1)
