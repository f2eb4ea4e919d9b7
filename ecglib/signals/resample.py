"""Changing the sampling rate without aliasing."""

from __future__ import annotations

from math import gcd

import numpy as np


def resample(x: np.ndarray, fs: int, fs_new: int) -> np.ndarray:
    """Return the signal at another sampling rate.

    Parameters
    ----------
    x : float32 (..., L)
        Signal in mV, time last.
    fs, fs_new : int
        Sampling rates in Hz, from and to.

    Returns
    -------
    float32 (..., ceil(L · fs_new / fs))
        What lies above half the lower rate is filtered out first. Linear in `x`, so the limb-lead identities stay.

    Notes
    -----
    Source: polyphase filtering with a linear-phase Kaiser window, ``scipy.signal.resample_poly``; a straight line from
    first to last sample is taken off before and added after, so that an offset makes no edges.
    """
    if fs == fs_new:
        return x
    from scipy.signal import resample_poly  # takes a second to import: only where it is needed

    common = gcd(fs, fs_new)
    y = resample_poly(np.asarray(x, np.float64), fs_new // common, fs // common, axis=-1, padtype="line")
    return y.astype(np.float32)
