"""Toy cohorts for privacy tests: records that stand for points, so that every distance is known."""

import numpy as np
import pandas as pd

from ecglib.evaluation.privacy import Space
from ecglib.signals import LEADS_8, LEADS_12, Cohort, to_twelve_leads

V1 = LEADS_8.index("V1")


def at(points: np.ndarray, *, first_id: int = 1, per_patient: int = 1, **columns: object) -> Cohort:
    """A cohort whose k-th record holds the k-th point, (n, d), as the first d samples of V1."""
    points = np.asarray(points, np.float64)
    n, d = points.shape
    x = 0.3 * np.random.default_rng(first_id).standard_normal((n, 8, max(d, 200)))
    x[:, V1, :d] = points
    ids = first_id + np.arange(n)
    table = {"ecg_id": ids, "patient_id": first_id + np.arange(n) // per_patient, "sex": np.arange(n) % 2,
             "age": 20.0 + np.arange(n) % 60, "scp_codes": [{"NORM": 100.0}] * n, **columns}  # fmt: skip
    return Cohort(to_twelve_leads(x).astype(np.float32), 100, LEADS_12, pd.DataFrame(table), source="toy")


def plane(cohort: Cohort) -> np.ndarray:
    """The points, in two dimensions."""
    return np.asarray(cohort.x[:])[:, LEADS_12.index("V1"), :2].astype(np.float64)


def ten(cohort: Cohort) -> np.ndarray:
    """The points, in ten dimensions, where a copy stands out: nobody else is that near."""
    return np.asarray(cohort.x[:])[:, LEADS_12.index("V1"), :10].astype(np.float64)


PLANE, TEN = Space("beats", plane), Space("beats", ten)
