r"""When the heart beats: RR intervals of sinus rhythm and of atrial fibrillation, and the f waves.

In sinus rhythm the RR interval swings with respiration and at about 0.1 Hz around its mean,

.. math:: RR_b = \overline{RR}\,\bigl(1 + a_r \sin(2\pi f_r t_b + \phi_r) + a_l \sin(2\pi f_l t_b + \phi_l)
          + a_w w_b\bigr),

with w_b a slow random walk back to zero. In atrial fibrillation RR intervals are independent and log-normal.
"""

from __future__ import annotations

import numpy as np

from ecglib.signals.virtual.coefficients import VALUE, truncated
from ecglib.signals.virtual.patients import Intervals

SPLIT = (0.65, 0.55, 0.52)  # respiration, low frequency, slow: shares of the standard deviation; squares sum to 1
SHORTEST_RR = 0.33  # s; assumption
BEFORE, AFTER = 2, 4  # intervals drawn before and after those that fill the record
SHOWN = slice(BEFORE, -AFTER)
CV_FACTOR = {"SR": 1.0, "SBRAD": 1.2, "STACH": 0.4}  # assumption: fast hearts vary less


def beat_times(rng: np.random.Generator, rhythm: str, intervals: Intervals, age: float, seconds: float) -> np.ndarray:
    """Draw R times from before the record's start to after its end.

    Parameters
    ----------
    rng : Generator
    rhythm : str
        ``SR``, ``SBRAD``, ``STACH`` or ``AFIB``.
    intervals : Intervals
        For the mean rate.
    age : float
        In years; older hearts vary less.
    seconds : float
        The record's length in s.

    Returns
    -------
    float64 (n_beats,)
        R times in s from the record's start: at least one below 0 and one above `seconds`.
    """
    mean = 60 / intervals.rate
    count = int(np.ceil(seconds / mean)) + BEFORE + AFTER
    relative = _fibrillating(rng, count) if rhythm == "AFIB" else _sinus(rng, count, mean, rhythm, age)
    rr = np.maximum(mean * relative, SHORTEST_RR)
    return np.cumsum(rr) - mean * (BEFORE + 0.2 + rng.random())


def _sinus(rng: np.random.Generator, count: int, mean: float, rhythm: str, age: float) -> np.ndarray:
    cv = VALUE["rr_cv_at_25"] * np.exp(-(age - 25) / VALUE["rr_cv_years"] + 0.3 * rng.standard_normal())
    cv = min(max(cv * CV_FACTOR[rhythm], 0.006), 0.065)
    t = mean * np.arange(count)
    bands = ((VALUE["respiration"], 0.04), (VALUE["low_frequency"], 0.012))
    swing = np.zeros(count)
    for (centre, sd), share in zip(bands, SPLIT, strict=False):
        frequency, phase = truncated(rng, centre, sd, centre / 2, centre * 1.5), 2 * np.pi * rng.random()
        swing += share * np.sqrt(2) * np.sin(2 * np.pi * frequency * t + phase)
    swing += SPLIT[2] * _slow(rng, count)
    return 1 + cv * (swing - swing[SHOWN].mean())


def _slow(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return an AR(1) process of variance about 1."""
    steps, walk = 0.6 * rng.standard_normal(count), np.empty(count)
    walk[0] = rng.standard_normal()
    for b in range(1, count):
        walk[b] = 0.8 * walk[b - 1] + steps[b]
    return walk


def _fibrillating(rng: np.random.Generator, count: int) -> np.ndarray:
    cv = truncated(rng, VALUE["rr_cv_afib"], 0.04, 0.19, 0.34)
    z = rng.standard_normal(count)
    z = (z - z[SHOWN].mean()) / z[SHOWN].std()  # ten beats are few: keep this record's spread what was asked
    relative = np.exp(cv * z)
    return relative / relative[SHOWN].mean()


def f_waves(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    """Draw two time courses of fibrillatory waves, of amplitude about 1.

    Parameters
    ----------
    rng : Generator
    t : float64 (n_times,)
        Times in s.

    Returns
    -------
    float64 (2, n_times)
        Two atrial sources of one wandering rate (4–9 Hz), out of step, saw-toothed by their second harmonic.
    """
    knots = np.arange(t[0], t[-1] + 1.0, 0.4)
    rate = rng.uniform(VALUE["f_wave_low"], VALUE["f_wave_high"])
    wander = np.interp(t, knots, rng.normal(0, 0.12, len(knots)))
    phase = 2 * np.pi * np.cumsum(rate * (1 + wander)) * (t[1] - t[0]) + 2 * np.pi * rng.random()
    rows = []
    for lag in (0.0, rng.uniform(0.5, 2.5)):
        size = np.interp(t, knots, np.exp(rng.normal(0, 0.4, len(knots))))
        shift = phase + lag + np.interp(t, knots, rng.normal(0, 0.5, len(knots)))
        rows.append(size * (np.sin(shift) + 0.35 * np.sin(2 * shift + 0.6)))
    return np.stack(rows)
