r"""A clock that ticks in heart beats: it shows the network when a beat is due, so that only its shape is to be drawn.

A small network learns the shape of a beat in minutes, but not that the next one is due 800 ms later, and that all
twelve are to be evenly spaced. So time is also told in beats, by a phase φ(τ) that is a whole number at each beat and
straight in between, as

.. math:: \sin 2\pi k\varphi(\tau),\ \cos 2\pi k\varphi(\tau) \quad (k = 1, …, 4), \qquad
          \ln \big(1\,\mathrm{s} \cdot \dot\varphi(\tau)\big)

In training the beats are the record's own; in sampling they are drawn first, by `ecglib.diffusion.rhythm`.

Who knows the beats can also average over them: noise is another at each beat, and their shape is the same.

Source: this project; neither paper has it (equations clock and average-beat).
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ecglib.signals import Cohort
from ecglib.signals.beats import find_beats

HARMONICS = 4
CHANNELS = 2 * HARMONICS + 2  # the last is no hand: it says how many samples after its nearest beat a sample lies


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
    float32 (B, 10, n_times)
        Sines, cosines, the logarithm; and, in samples, how long after its nearest beat (before it: negative) each
        sample lies, for `average_beat`.
    """
    return torch.stack([_one_clock(np.asarray(times, np.float64), n_times, fs) for times in beats])


def still(n_times: int) -> Tensor:
    """Return the clock of a record of unknown beats, float32 (10, n_times): zeros, and one beat, at its start."""
    return torch.cat([torch.zeros(CHANNELS - 1, n_times), torch.arange(n_times)[None]])


def _one_clock(times: np.ndarray, n_times: int, fs: int) -> Tensor:
    if len(times) < 2:
        return still(n_times)
    now = np.arange(n_times) / fs
    rr = np.diff(times)
    k = np.clip(np.searchsorted(times, now, side="right") - 1, 0, len(rr) - 1)  # (L,), the interval we are in
    phase = (now - times[k]) / rr[k]
    angle = 2 * math.pi * np.arange(1, HARMONICS + 1)[:, None] * phase  # (4, L)
    nearest = np.searchsorted((times[1:] + times[:-1]) / 2, now)
    away = np.arange(n_times) - np.rint(times * fs)[nearest]
    return torch.from_numpy(np.vstack([np.sin(angle), np.cos(angle), -np.log(rr[k]), away]).astype(np.float32))


def average_beat(x: Tensor, ticks: Tensor) -> Tensor:
    r"""Replace each sample by the mean of all that lie as long after their beats (equation average-beat).

    .. math:: \bar x(\tau) = \operatorname{mean}_{k} x(\tau_k + \delta(\tau)), \quad
              \delta(\tau) = \tau - \text{the nearest beat}

    For a signal that is the same at each of n beats, this divides the noise's variance by n.

    Parameters
    ----------
    x : float (B, C, L)
    ticks : float (B, 10, L)
        From `clock`.

    Returns
    -------
    float (B, C, L)
        x itself where no other sample lies as long after its beat; everywhere, where beats are unknown.
    """
    length = x.shape[-1]
    place = ticks[:, -1:].to(torch.int64).clamp(-length, length - 1) + length  # (B, 1, L)
    total, count = x.new_zeros(*x.shape[:2], 2 * length), x.new_zeros(len(x), 1, 2 * length)
    total.scatter_add_(2, place.expand_as(x), x)
    count.scatter_add_(2, place, torch.ones_like(x[:, :1]))
    return (total / count.clamp(min=1)).gather(2, place.expand_as(x))


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
