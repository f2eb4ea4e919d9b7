r"""A clock that ticks in heart beats: what turns "regular" from a distant relation into a local one.

A small network learns the shape of a beat in minutes, but not that the next one is due 800 ms later, and that all
twelve are to be evenly spaced. The clock shows it the time in beats since the record's start, :math:`r\tau + \phi`, as

.. math:: \sin 2\pi k(r\tau + \phi),\ \cos 2\pi k(r\tau + \phi), \quad k = 1, …, 4,

with r the heart rate asked for and φ a phase that puts beats at whole numbers. In training φ is measured; it means
nothing medically, so sampling draws it at random. Source: this project; neither paper has it (equation clock).
"""

import math

import numpy as np
import torch
from torch import Tensor

from ecglib.signals import Cohort
from ecglib.signals.beats import find_beats

HARMONICS = 4


def clock(rate: Tensor, phase: Tensor, n_times: int, fs: int) -> Tensor:
    """Return the clock of each record.

    Parameters
    ----------
    rate : float32 (B,)
        Beats per second; 0 where it is unknown: the clock then shows zeros throughout.
    phase : float32 (B,)
        φ, in beats.
    n_times, fs : int
        Samples, and sampling rate in Hz.

    Returns
    -------
    float32 (B, 8, n_times)
    """
    beats = rate[:, None] * torch.arange(n_times, device=rate.device) / fs + phase.to(rate)[:, None]  # (B, L)
    k = torch.arange(1, HARMONICS + 1, device=rate.device)[:, None]
    angle = 2 * math.pi * k * beats[:, None]  # (B, 4, L)
    return torch.cat([angle.sin(), angle.cos()], dim=1) * (rate > 0)[:, None, None]


def beat_phase(cohort: Cohort) -> Tensor:
    r"""Measure φ: the circular mean of :math:`-r\tau` over a record's beats, in beats.

    Parameters
    ----------
    cohort : Cohort
        With ``heart_rate`` in its table; beats from ``waves`` where it has them, else found in the signals.

    Returns
    -------
    float32 tensor (n_records,)
        In [−0.5, 0.5]; 0 where the rate is unknown or no beat is found.
    """
    known = {} if cohort.waves is None else {i: r.dropna().to_numpy() for i, r in cohort.waves.groupby("ecg_id")["r"]}
    phases = np.zeros(len(cohort), dtype=np.float32)
    for k, (ecg_id, rate) in enumerate(zip(cohort.table["ecg_id"], cohort.table["heart_rate"], strict=True)):
        if np.isnan(rate):
            continue
        beats = known[ecg_id] if ecg_id in known else find_beats(cohort.x[k], cohort.fs)
        if len(beats):
            phases[k] = np.angle(np.exp(-2j * np.pi * rate / 60 * beats).mean()) / (2 * np.pi)
    return torch.from_numpy(phases)
