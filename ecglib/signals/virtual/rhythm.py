r"""When a heart's pacemaker fires: intervals of sinus rhythm and of fibrillation; the waves of quivering atria.

In sinus rhythm the RR interval swings with respiration and at about 0.1 Hz around its mean,

.. math:: RR_b = \overline{RR}\,\bigl(1 + a_r \sin(2\pi f_r t_b + \phi_r) + a_l \sin(2\pi f_l t_b + \phi_l)
          + a_w w_b\bigr),

with w_b a slow random walk back to zero. In atrial fibrillation RR intervals are independent and log-normal.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from ecglib.signals.virtual.changes import demands, limits
from ecglib.signals.virtual.coefficients import VALUE, folded, truncated

SPLIT = (0.65, 0.55, 0.52)  # respiration, low frequency, slow: shares of the standard deviation; squares sum to 1
SHORTEST_RR = 0.30  # s; assumption
BEFORE, AFTER = 2, 4  # intervals drawn before and after those that fill the record
SHOWN = slice(BEFORE, -AFTER)


def beat_count(mean: float, seconds: float) -> int:
    """Return how many intervals of `mean` s fill a record, with some before and after."""
    return int(np.ceil(seconds / mean)) + BEFORE + AFTER


def start(rng: np.random.Generator, rr: np.ndarray) -> np.ndarray:
    """Return float64 (n_beats,): times in s of beats `rr` apart, the first well before the record, the last after."""
    return np.cumsum(rr) - rr.mean() * (BEFORE + 0.2 + rng.random())


def sinus_rr(rng: np.random.Generator, rate: float, codes: Collection[str], age: float, seconds: float) -> np.ndarray:
    """Draw RR intervals of the sinus node.

    Parameters
    ----------
    rng : Generator
    rate : float
        Mean rate in 1/min.
    codes : collection of str
        The record's statements: SARRH varies more.
    age : float
        In years; older hearts vary less, and fast ones.
    seconds : float
        The record's length in s.

    Returns
    -------
    float64 (n_beats,)
        In s; those that fill the record have the mean 60/rate.
    """
    mean = 60 / rate
    count = beat_count(mean, seconds)
    usual = VALUE["rr_cv_at_25"] * np.exp(-(age - 25) / VALUE["rr_cv_years"]) * min(1.0, (mean / 0.8) ** 2)
    typical, least, most = limits(codes, "rr_cv")
    spread = np.exp(VALUE["rr_cv_sd"] * rng.standard_normal())
    cv = folded((usual if np.isnan(typical) else typical) * spread, least, most)
    t = mean * np.arange(count)
    shares = (0.9, 0.3, 0.3) if demands(codes, "rr_cv") else SPLIT  # sinus arrhythmia breathes
    swing = shares[2] * _slow(rng, count)
    for (centre, sd), share in zip(((VALUE["respiration"], 0.04), (VALUE["low_frequency"], 0.012)), shares,
                                   strict=False):  # fmt: skip
        frequency, phase = truncated(rng, centre, sd, centre / 2, centre * 1.5), 2 * np.pi * rng.random()
        swing += share * np.sqrt(2) * np.sin(2 * np.pi * frequency * t + phase)
    return np.maximum(mean * (1 + cv * (swing - swing[SHOWN].mean())), SHORTEST_RR)


def _slow(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return an AR(1) process of variance about 1."""
    steps, walk = (0.6 * rng.standard_normal(count)).tolist(), [float(rng.standard_normal())]
    for step in steps[1:]:
        walk.append(0.8 * walk[-1] + step)
    return np.array(walk)


def fibrillating_rr(rng: np.random.Generator, rate: float, seconds: float) -> np.ndarray:
    """Draw RR intervals of atrial fibrillation, float64 (n_beats,), s: independent and log-normal."""
    typical, least, most = limits(("AFIB",), "rr_cv")
    cv = truncated(rng, typical, (most - least) / 4, least, most)
    z = rng.standard_normal(beat_count(60 / rate, seconds))
    z = (z - z[SHOWN].mean()) / z[SHOWN].std()  # ten beats are few: keep this record's spread what was asked
    relative = np.exp(cv * z)
    return np.maximum(60 / rate * relative / relative[SHOWN].mean(), SHORTEST_RR)


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
    _, low, high = limits(("AFIB",), "f_rate")
    wander = np.interp(t, knots, rng.normal(0, 0.12, len(knots)))
    phase = 2 * np.pi * np.cumsum(rng.uniform(low, high) * (1 + wander)) * (t[1] - t[0]) + 2 * np.pi * rng.random()
    rows = []
    for lag in (0.0, rng.uniform(0.5, 2.5)):
        size = np.interp(t, knots, np.exp(rng.normal(0, 0.4, len(knots))))
        shift = phase + lag + np.interp(t, knots, rng.normal(0, 0.5, len(knots)))
        rows.append(size * (np.sin(shift) + 0.35 * np.sin(2 * shift + 0.6)))
    return np.stack(rows)


def flutter_waves(t: np.ndarray, cycle: float, onset: float) -> np.ndarray:
    """Return two time courses (2, n_times) of flutter: a saw tooth of `cycle` s that starts at `onset` s, and its lag.

    The tooth falls slowly and rises fast; four harmonics leave it as smooth as a recorder does.
    """
    phase = 2 * np.pi * (t - onset) / cycle
    n = np.arange(1, 5)[:, None]
    return np.stack([(np.sin(n * (phase - lag)) / n**1.2).sum(axis=0) / 1.4 for lag in (0.0, 1.2)])
