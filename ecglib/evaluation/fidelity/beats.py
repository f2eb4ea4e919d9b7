r"""Template SNR: how far the beats of one record are alike. The signal-to-noise ratio that no other heart enters.

.. math:: 10 \lg \operatorname{var}(\bar x) / \operatorname{var}(x_k - \bar x)

with the record's median beat and its beats k. Noise, and hearts whose beats change shape, lower it; a beat copied over
and over raises it beyond what is real.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import wasserstein_distance

from ecglib.evaluation.comparison import Comparison, NotComputable
from ecglib.evaluation.records import LEAST_RECORDS, twelve_leads
from ecglib.signals.beats import find_beats
from ecglib.signals.cohort import Cohort

BEFORE_S, AFTER_S = 0.25, 0.40
LEAST_BEATS = 4


def template_snr_db(cohort: Cohort) -> np.ndarray:
    """Return each record's template SNR in dB, float64 (n_records,); NaN below four beats (equation template-snr)."""
    before, after = round(BEFORE_S * cohort.fs), round(AFTER_S * cohort.fs)
    result = np.full(len(cohort), np.nan)
    for block, x in twelve_leads(cohort):
        result[block] = [_of_one(record, find_beats(record, cohort.fs) * cohort.fs, before, after) for record in x]
    return result


def _of_one(x: np.ndarray, beats: np.ndarray, before: int, after: int) -> float:
    places = np.rint(beats).astype(int)
    places = places[(places >= before) & (places <= x.shape[1] - after)]
    if len(places) < LEAST_BEATS:
        return np.nan
    windows = x[:, places[:, None] + np.arange(-before, after)].swapaxes(0, 1)  # (n_beats, 12, W)
    windows = windows - windows.mean(axis=-1, keepdims=True)
    typical = np.median(windows, axis=0)
    return float(10 * np.log10(max(typical.var(), 1e-12) / max((windows - typical).var(), 1e-12)))


def template_snr(c: Comparison) -> dict[str, float]:
    """Template SNR: do the beats of synthetic records resemble each other as much as those of real ones?

    Parameters
    ----------
    c : Comparison
        At least 8 records on each side with four whole beats.

    Returns
    -------
    dict
        Decibels: ``difference``, median of synthetic less median of real records (0 best; below: noisier or less alike;
        above: too clean), and ``distance``, the Wasserstein distance of the two distributions (0 best).

    Raises
    ------
    NotComputable
        If fewer records have that many beats.

    Notes
    -----
    Differs: MIDT-ECG's SNR compares a record with another heart's, and rewards a flat line. Equation: template-snr.
    """
    real, synthetic = c.terms("real", template_snr_db), c.terms("synthetic", template_snr_db)
    lost = int(np.isnan(real).sum() + np.isnan(synthetic).sum())
    real, synthetic = real[np.isfinite(real)], synthetic[np.isfinite(synthetic)]
    if min(len(real), len(synthetic)) < LEAST_RECORDS:
        raise NotComputable(f"it needs at least {LEAST_RECORDS} records of {LEAST_BEATS} whole beats on each side, and "
                            f"there are {len(real)} real and {len(synthetic)} synthetic")  # fmt: skip
    c.note(f"{lost} records with fewer than {LEAST_BEATS} whole beats left out" if lost else "",
           n=min(len(real), len(synthetic)))  # fmt: skip
    return {"difference": float(np.median(synthetic) - np.median(real)),
            "distance": float(wasserstein_distance(real, synthetic))}  # fmt: skip
