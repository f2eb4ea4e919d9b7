"""The second paper's selection: which fibrillating and which healthy records are kept, and how many are lost."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ecglib.evaluation.lead_two import FEATURES, lead_two_features
from ecglib.signals.cohort import Cohort

LEAST_SDNN_MS, LEAST_RMSSD_MS = 50.0, 50.0  # of atrial fibrillation
MOST_ENTROPY, LEAST_TEMPLATE_CORRELATION = 0.5, 0.12  # of healthy records


def select_second_paper(cohort: Cohort) -> tuple[Cohort, pd.DataFrame]:
    """Keep records as the second paper does, from lead II alone.

    Parameters
    ----------
    cohort : Cohort
        Records with the statement AFIB are fibrillation; with NORM and SR and without AFIB, healthy. Others are left.

    Returns
    -------
    Cohort
        Fibrillation with SDNN > 50 ms and RMSSD > 50 ms; healthy records with sample entropy < 0.5 and template
        correlation > 0.12.
    DataFrame, one row a class and reason
        ``class``, ``reason`` ("kept", "no four beats in lead II", or the rule that failed first), ``n``.

    Notes
    -----
    Such a selection makes the two classes easier to tell apart than they are in a hospital: regular fibrillation and
    noisy sinus rhythm are gone. A classifier's score on selected records says nothing about those that were left out.

    Source: rules and thresholds of the second paper. Differs: beats are found by this project's detector, and the
    parameters of sample entropy and template correlation are not known (see `lead_two_features`).
    """
    fibrillating = cohort.has("AFIB")
    healthy = cohort.has("NORM") & cohort.has("SR") & ~fibrillating
    values = np.full((len(cohort), len(FEATURES)), np.nan)
    looked_at = fibrillating | healthy
    if looked_at.any():
        values[looked_at] = lead_two_features(cohort.select(looked_at))
    of = pd.DataFrame(values, columns=list(FEATURES))
    known, likeness = of["sdnn_ms"].notna(), of["template_correlation"] > LEAST_TEMPLATE_CORRELATION
    rules = {"AFIB": {"no four beats in lead II": known,
                      f"SDNN not above {LEAST_SDNN_MS:g} ms": of["sdnn_ms"] > LEAST_SDNN_MS,
                      f"RMSSD not above {LEAST_RMSSD_MS:g} ms": of["rmssd_ms"] > LEAST_RMSSD_MS},
             "healthy": {"no four beats in lead II": known,
                         f"sample entropy not below {MOST_ENTROPY:g}": of["sample_entropy"] < MOST_ENTROPY,
                         f"template correlation not above {LEAST_TEMPLATE_CORRELATION:g}": likeness}}  # fmt: skip
    rows, kept = [], np.zeros(len(cohort), bool)
    for name, members in (("AFIB", fibrillating), ("healthy", healthy)):
        left = members.copy()
        for reason, passed in rules[name].items():
            rows.append({"class": name, "reason": reason, "n": int((left & ~passed.to_numpy()).sum())})
            left &= passed.to_numpy()
        rows.append({"class": name, "reason": "kept", "n": int(left.sum())})
        kept |= left
    return cohort.select(kept), pd.DataFrame(rows)
