r"""A clock that ticks in heart beats: it shows the network when a beat is due, so that only its shape is to be drawn.

A small network learns the shape of a beat in minutes, but not that the next one is due 800 ms later, and that all
twelve are to be evenly spaced. So time is also told in beats, by a phase φ(τ) that is a whole number at each beat and
straight in between, as

.. math:: \sin 2\pi k\varphi(\tau),\ \cos 2\pi k\varphi(\tau) \quad (k = 1, …, 4), \qquad
          \ln \big(1\,\mathrm{s} \cdot \dot\varphi(\tau)\big)

In training the beats are the record's own; in sampling they are drawn first, by `ecglib.diffusion.rhythm`.

Source: this project; neither paper has it (equation clock).
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ecglib.signals import Cohort
from ecglib.signals.beats import find_beats

HARMONICS = 4
CHANNELS = 2 * HARMONICS + 1


def clock(beats: Sequence[np.ndarray], n_times: int, fs: int) -> Tensor:
    """Return the clock of each record.

    Parameters
    ----------
    beats : sequence of float arrays
        When each record's beats are, rising, in seconds from its start. The first and the last interval go on to both
        ends. With fewer than two beats no interval is known, and the clock is `still`.
    n_times, fs : int
        Samples, and sampling rate in Hz.

    Returns
    -------
    float32 (B, 9, n_times)
        Sines, cosines, the logarithm.
    """
    return torch.stack([_one_clock(np.asarray(times, np.float64), n_times, fs) for times in beats])


def still(n_times: int) -> Tensor:
    """Return the clock of a record of unknown beats, float32 (9, n_times): zeros."""
    return torch.zeros(CHANNELS, n_times)


def _one_clock(times: np.ndarray, n_times: int, fs: int) -> Tensor:
    if len(times) < 2:
        return still(n_times)
    now = np.arange(n_times) / fs
    rr = np.diff(times)
    k = np.clip(np.searchsorted(times, now, side="right") - 1, 0, len(rr) - 1)  # (L,), the interval we are in
    phase = (now - times[k]) / rr[k]
    angle = 2 * math.pi * np.arange(1, HARMONICS + 1)[:, None] * phase  # (4, L)
    return torch.from_numpy(np.vstack([np.sin(angle), np.cos(angle), -np.log(rr[k])]).astype(np.float32))


def beat_times(cohort: Cohort) -> list[np.ndarray]:
    """Return when each record's beats are: from ``waves`` where the cohort has them, else found in the signals.

    Parameters
    ----------
    cohort : Cohort

    Returns
    -------
    list of float64 arrays
        Seconds from each record's start.
    """
    known = {} if cohort.waves is None else {i: r.dropna().to_numpy() for i, r in cohort.waves.groupby("ecg_id")["r"]}
    return [known[ecg_id] if ecg_id in known else find_beats(cohort.x[k], cohort.fs)
            for k, ecg_id in enumerate(cohort.table["ecg_id"])]  # fmt: skip
