"""Power spectra of populations: how many decibels apart they are. Blind to phase, to time, and to which leads belong
together."""

from __future__ import annotations

import numpy as np
from scipy.signal import welch

from ecglib.evaluation.comparison import Comparison, NotComputable
from ecglib.evaluation.records import LEAST_RECORDS, blocks
from ecglib.signals.cohort import Cohort

NPERSEG = 256
BAND_HZ = (0.5, 40.0)


def power_spectra(cohort: Cohort) -> np.ndarray:
    """Estimate each record's power spectral density, lead by lead, in the band of `BAND_HZ`.

    Parameters
    ----------
    cohort : Cohort
        Records of at least 256 samples, sampled at 80 Hz or faster.

    Returns
    -------
    float64 (n_records, n_leads, n_frequencies)
        mV²/Hz: Welch's estimate, Hann windows of 256 samples, half overlapping, each less its mean.

    Raises
    ------
    NotComputable
        If the records are too short or sampled too slowly.
    """
    n_times = cohort.x.shape[2]
    if n_times < NPERSEG or cohort.fs < 2 * BAND_HZ[1]:
        raise NotComputable(f"it needs {NPERSEG} samples at {2 * BAND_HZ[1]:g} Hz or faster, and a record has "
                            f"{n_times} at {cohort.fs} Hz")  # fmt: skip
    parts = []
    for rows in blocks(len(cohort)):
        hz, power = welch(np.asarray(cohort.x[rows], dtype=np.float64), cohort.fs, nperseg=NPERSEG, axis=-1)
        parts.append(power[..., (hz >= BAND_HZ[0]) & (hz <= BAND_HZ[1])])
    return np.concatenate(parts)


def log_spectral_distance(c: Comparison) -> dict[str, float]:
    r"""Log-spectral distance of populations: how many decibels apart the leads' mean power spectra are.

    Parameters
    ----------
    c : Comparison
        At least 8 records each.

    Returns
    -------
    dict
        Decibels (0 best): ``mean`` over the leads, and each lead by its name.

    Raises
    ------
    NotComputable
        If there are fewer records, they are too short or sampled too slowly, or every lead is flat throughout.

    Notes
    -----
    With :math:`P(f)` the mean over records of Welch's estimate (256 samples) of one lead,

    .. math:: \mathrm{LSD} = \sqrt{\operatorname{mean}_{0.5 \le f \le 40\,\mathrm{Hz}}
              \bigl(10 \lg P_x(f) - 10 \lg P_y(f)\bigr)^2}

    The spectra are averaged over records before the logarithm. A gain of 2 gives 6.02 dB; time reversal and leads
    mixed across records give (nearly) nothing. A lead that is flat in all records of one side is left out, and said.

    Source: the definition is this project's; the log-spectral distance itself is common in speech processing.
    Equation: log-spectral-distance.
    """
    c.at_least(LEAST_RECORDS)
    real = c.terms("real", power_spectra).mean(axis=0)  # (n_leads, n_frequencies)
    synthetic = c.terms("synthetic", power_spectra).mean(axis=0)
    live = (np.minimum(real, synthetic) > 0).all(axis=-1)
    leads = [lead for lead, on in zip(c.real.leads, live, strict=True) if on]
    if not leads:
        raise NotComputable("every lead is flat in all records of one side")
    if not live.all():
        c.note(f"{np.sum(~live)} of {len(live)} leads left out: flat in all records of one side")
    gap = 10 * np.log10(real[live] / synthetic[live])  # dB
    distance = np.sqrt((gap**2).mean(axis=-1))
    return {"mean": float(distance.mean()), **dict(zip(leads, distance.tolist(), strict=True))}
