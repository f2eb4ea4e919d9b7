r"""What the device adds: baseline wander, muscle noise and mains, at nine electrodes; now and then a burst or a step.

Noise arises at electrodes, not in leads, so it is drawn there and the leads follow from it: Einthoven's law holds
for noise too, and the noise of the limb electrodes reaches every chest lead through Wilson's terminal.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import fft

from ecglib.signals.leads import LEADS_8
from ecglib.signals.virtual.coefficients import VALUE

ELECTRODES = ("RA", "LA", "LL", "C1", "C2", "C3", "C4", "C5", "C6")


@lru_cache(maxsize=1)
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
    wander = f**2 / (f**2 + 0.05**2) / (1 + (f / VALUE["wander_corner_hz"]) ** 3)
    mains = np.exp(-0.5 * ((f - 50) / 0.1) ** 2)
    whole = np.sum(_muscle(wide)) * (wide[1] - wide[0])  # of 0–150 Hz, whatever part fs can carry
    df = fs / n_times
    quiet = mains.sum() * df if fs > 120 else np.inf  # at 100 Hz, 50 Hz lies on the edge and is filtered out
    return np.stack([wander / (wander.sum() * df), _muscle(f) / whole, mains / quiet])


def _muscle(f: np.ndarray) -> np.ndarray:
    return (f / 20) ** 2 / (1 + (f / 20) ** 2) / (1 + (f / 100) ** 4)


def draw_noise(rng: np.random.Generator, n_times: int, fs: int) -> np.ndarray:
    """Draw one record's noise, with levels of its own: float64 (8, n_times), mV, leads I, aVF, V1–V6."""
    return electrode_matrix() @ _at_electrodes(rng, _draw_levels(rng), n_times, fs)


def draw_device(rng: np.random.Generator, n_times: int, fs: int) -> tuple[np.ndarray, dict[str, str]]:
    """Draw what a device adds to one record, and what a technician would write about it.

    Parameters
    ----------
    rng : Generator
    n_times : int
    fs : int
        In Hz.

    Returns
    -------
    float64 (8, n_times)
        In mV, leads I, aVF, V1–V6.
    dict
        PTB-XL's columns ``baseline_drift``, ``static_noise``, ``burst_noise``, ``electrodes_problems``: the leads
        concerned, '' for none.
    """
    levels = _draw_levels(rng)
    noise = _at_electrodes(rng, levels, n_times, fs)
    in_leads = 1e3 * np.sqrt(electrode_matrix() ** 2 @ levels**2)  # (8, 3), µV
    remarks = {"baseline_drift": _names(in_leads[:, 0] > VALUE["drift_remark_uv"]),
               "static_noise": _names(in_leads[:, 1] > VALUE["static_remark_uv"])}  # fmt: skip
    t = np.arange(n_times) / fs
    chance, where, when, size = rng.random(2), rng.integers(9, size=2), rng.uniform(0, t[-1], 2), rng.standard_normal(2)
    for k, (name, wave) in enumerate((("burst", _burst), ("step", _step))):
        happens = chance[k] < VALUE[f"{name}_share"]
        if happens:
            noise[where[k]] += 1e-3 * VALUE[f"{name}_uv"] * np.exp(0.4 * size[k]) * wave(rng, t, when[k])
        column = {"burst": "burst_noise", "step": "electrodes_problems"}[name]
        remarks[column] = _names(happens & (np.abs(electrode_matrix()[:, where[k]]) > 0.4))
    return electrode_matrix() @ noise, remarks


def _draw_levels(rng: np.random.Generator) -> np.ndarray:
    """Draw root mean squares (9, 3), mV, of wander, muscle and mains at each electrode."""
    median = np.array([VALUE["wander_uv"], VALUE["muscle_uv"], VALUE["mains_uv"]])
    spread = np.array([VALUE["wander_sd"], VALUE["level_sd"], VALUE["level_sd"]])
    z = rng.standard_normal(3).clip(-2.5, [VALUE["wander_most_sd"], 2, 2])
    level = median * 1e-3 / np.sqrt(1.5) * np.exp(spread * z)  # two electrodes a lead
    level = level * np.exp(VALUE["contact_sd"] * rng.standard_normal((9, 1)))
    level[:, 0] *= [VALUE["wander_limb"]] * 3 + [VALUE["wander_chest"]] * 6  # the chest moves with each breath
    return level


def _at_electrodes(rng: np.random.Generator, levels: np.ndarray, n_times: int, fs: int) -> np.ndarray:
    """Draw noise (9, n_times), mV, in the frequency domain, on a stretch a third longer than the record, so that the
    record's end does not run back into its start."""
    length = fft.next_fast_len(n_times + n_times // 3, real=True)
    density = levels**2 @ _densities(length, fs)  # (9, n_freqs), mV²/Hz
    white = rng.standard_normal((2, *density.shape))
    spectrum = np.sqrt(density * fs * length / 4) * (white[0] + 1j * white[1])
    spectrum[:, 0] = 0
    return fft.irfft(spectrum, length)[:, :n_times]


def _burst(rng: np.random.Generator, t: np.ndarray, when: float) -> np.ndarray:
    """A muscle tenses for about a second."""
    rough = np.diff(rng.standard_normal(len(t) + 1)) / np.sqrt(2)
    return rough * np.exp(-0.5 * ((t - when) / rng.uniform(0.2, 0.8)) ** 2)


def _step(rng: np.random.Generator, t: np.ndarray, when: float) -> np.ndarray:
    """An electrode is moved, and the recorder's high-pass filter brings the trace back."""
    return rng.choice([-1, 1]) * np.where(t >= when, np.exp((when - t) / rng.uniform(0.4, 1.6)), 0)


def _names(leads: np.ndarray) -> str:
    return ",".join(name for name, is_meant in zip(LEADS_8, leads, strict=True) if is_meant)
