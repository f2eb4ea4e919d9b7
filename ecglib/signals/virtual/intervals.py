"""What one record's beats measure: rate, P, PR, QRS and QTc, by age, sex and statement."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from ecglib.signals.virtual.changes import drawn
from ecglib.signals.virtual.coefficients import VALUE
from ecglib.signals.virtual.patients import Patient


@dataclass(frozen=True)
class Intervals:
    """What one record's beats measure: rate in 1/min, the others in ms; QTc after Fridericia.

    `rate` is the atria's where they do not lead every beat (second- and third-degree block), the attack's in PSVT.
    """

    rate: float
    p: float
    pr: float
    qrs: float
    qtc: float


def draw_intervals(rng: np.random.Generator, patient: Patient, codes: Collection[str], age: float) -> Intervals:
    """Draw rate, P, PR, QRS and QTc of one record, near the patient's own values and within its statements' limits.

    Whatever the limits, P ends 6 ms before QRS at the latest.

    Source: each coefficient as `coefficient_table` has it, limits as ``virtual_changes.csv`` has them.
    """
    years, female, share = age - 50, patient.sex, VALUE["visit_share"]
    z = np.sqrt(1 - share**2) * np.array(patient.tempo) + share * rng.standard_normal(4)  # variance stays 1
    rate = drawn(codes, "rate", VALUE["hr_sinus"] + VALUE["hr_female"] * (female - 0.5), VALUE["hr_sinus_sd"], z[0])
    usual = VALUE["pr_ms"] + VALUE["pr_female"] * female + VALUE["pr_age"] * years + VALUE["pr_rate"] * (rate - 70)
    pr = drawn(codes, "pr", usual, VALUE["pr_sd_ms"], z[1])
    usual = VALUE["qrs_ms"] + VALUE["qrs_female"] * female
    qrs = drawn(codes, "qrs", usual, VALUE["qrs_sd_ms"], z[2])
    usual = VALUE["qtc_ms"] + VALUE["qtc_female"] * female + VALUE["qtc_age"] * years
    qtc = drawn(codes, "qtc", usual, VALUE["qtc_sd_ms"], z[3]) + VALUE["qt_per_wide_qrs"] * max(qrs - 100, 0)
    usual = VALUE["p_ms"] + VALUE["p_female"] * female + VALUE["p_age"] * years
    p = min(drawn(codes, "p", usual, VALUE["p_sd_ms"], rng.standard_normal()), pr - 6)
    return Intervals(rate, p, pr, qrs, qtc)
