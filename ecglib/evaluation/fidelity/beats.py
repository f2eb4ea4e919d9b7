r"""Template SNR: how far the beats of one record are alike. The signal-to-noise ratio that no other heart enters.

.. math:: 10 \lg \operatorname{var}(\bar x) / \operatorname{var}(x_k - \bar x)

with the record's median beat and its beats k, lined up. Noise, and hearts whose beats change shape, lower it; a beat
copied over and over raises it beyond what is real.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import wasserstein_distance

from ecglib.evaluation.comparison import Comparison, NotComputable
from ecglib.evaluation.measurements import LEAST_BEATS, MEASURES, measured
from ecglib.evaluation.records import LEAST_RECORDS
from ecglib.signals.cohort import Cohort


def template_snr_db(cohort: Cohort) -> np.ndarray:
    """Return each record's template SNR in dB, float64 (n_records,); NaN below four beats (equation template-snr)."""
    return measured(cohort)[:, MEASURES.index("template_snr_db")]


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
    real, synthetic = (c.terms(role, measured)[:, MEASURES.index("template_snr_db")] for role in ("real", "synthetic"))
    lost = int(np.isnan(real).sum() + np.isnan(synthetic).sum())
    real, synthetic = real[np.isfinite(real)], synthetic[np.isfinite(synthetic)]
    if min(len(real), len(synthetic)) < LEAST_RECORDS:
        raise NotComputable(f"it needs at least {LEAST_RECORDS} records of {LEAST_BEATS} whole beats on each side, and "
                            f"there are {len(real)} real and {len(synthetic)} synthetic")  # fmt: skip
    c.note(f"{lost} records with fewer than {LEAST_BEATS} whole beats left out" if lost else "",
           n=min(len(real), len(synthetic)))  # fmt: skip
    return {"difference": float(np.median(synthetic) - np.median(real)),
            "distance": float(wasserstein_distance(real, synthetic))}  # fmt: skip
