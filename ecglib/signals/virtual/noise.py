r"""What the device adds: baseline wander, muscle noise and mains, at nine electrodes.

Noise arises at electrodes, not in leads, so it is drawn there and the leads follow from it: Einthoven's law holds
for noise too, and the noise of the limb electrodes reaches every chest lead through Wilson's terminal.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import fft

from ecglib.signals.virtual.coefficients import VALUE

ELECTRODES = ("RA", "LA", "LL", "C1", "C2", "C3", "C4", "C5", "C6")


def electrode_matrix() -> np.ndarray:
    """Return the (8, 9) matrix that makes the leads I, aVF, V1–V6 of the potentials at `ELECTRODES`.

    Source: the definitions of Einthoven (I), Goldberger (aVF) and Wilson (V1–V6).
    """
    ra, la, ll, *chest = np.eye(9)
    return np.stack([la - ra, ll - (ra + la) / 2, *(c - (ra + la + ll) / 3 for c in chest)])


@lru_cache(maxsize=8)
def _densities(n_times: int, fs: int) -> np.ndarray:
    """Return the one-sided power densities (3, n_freqs) in 1/Hz of wander, muscle and mains; each of power 1."""
    f = fft.rfftfreq(n_times, 1 / fs)
    wide = np.linspace(0, 150, 3001)
    wander = f**2 / (f**2 + 0.05**2) / (1 + (f / 0.25) ** 4)
    mains = np.exp(-0.5 * ((f - 50) / 0.1) ** 2)
    whole = np.sum(_muscle(wide)) * (wide[1] - wide[0])  # of 0–150 Hz, whatever part fs can carry
    df = fs / n_times
    quiet = mains.sum() * df if fs > 120 else np.inf  # at 100 Hz, 50 Hz lies on the edge and is filtered out
    return np.stack([wander / (wander.sum() * df), _muscle(f) / whole, mains / quiet])


def _muscle(f: np.ndarray) -> np.ndarray:
    return (f / 20) ** 2 / (1 + (f / 20) ** 2) / (1 + (f / 100) ** 4)


def draw_noise(rng: np.random.Generator, n_times: int, fs: int) -> np.ndarray:
    """Draw one record's noise, with levels of its own.

    Parameters
    ----------
    rng : Generator
    n_times : int
    fs : int
        In Hz.

    Returns
    -------
    float64 (8, n_times)
        In mV, leads I, aVF, V1–V6. Made in the frequency domain on a stretch a third longer than the record, so
        that the record's end does not run back into its start.
    """
    length = fft.next_fast_len(n_times + n_times // 3, real=True)
    median = np.array([VALUE["wander_uv"], VALUE["muscle_uv"], VALUE["mains_uv"]])
    level = median * 1e-3 / np.sqrt(1.5) * np.exp(VALUE["level_sd"] * rng.standard_normal(3))  # two electrodes a lead
    level = level * np.exp(0.25 * rng.standard_normal((9, 1)))  # (9, 3): contacts differ
    density = level**2 @ _densities(length, fs)  # (9, n_freqs), mV²/Hz
    white = rng.standard_normal((2, *density.shape))
    spectrum = np.sqrt(density * fs * length / 4) * (white[0] + 1j * white[1])
    spectrum[:, 0] = 0
    return electrode_matrix() @ fft.irfft(spectrum, length)[:, :n_times]
