"""Who the virtual patients are: statements, age, sex, body, and the intervals of a record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ecglib.signals.virtual.coefficients import VALUE, WHO, truncated

PATIENT, ANATOMY, RECORD, NOISE = range(4)  # the purposes of random streams
RATES = {"SR": (61.5, 97.0), "SBRAD": (38.0, 57.0), "STACH": (104.0, 150.0), "AFIB": (52.0, 150.0)}


@dataclass(frozen=True)
class Patient:
    """One virtual patient, the same in all of their records.

    Parameters
    ----------
    patient_id : int
        From 1.
    n_records : int
        How many records there are, 1 to 3.
    age : float
        Age in years at the first record, 18–95.
    sex : int
        0 male, 1 female.
    height, weight : float
        In cm and kg.
    diagnoses : frozenset of str
        Lasting statements: of AFIB, 1AVB, CLBBB, CRBBB, IMI, LVH.
    tempo : float (4,)
        Where the patient stands among others (standard normal): rate, PR, QRS, QTc.
    """

    patient_id: int
    n_records: int
    age: float
    sex: int
    height: float
    weight: float
    diagnoses: frozenset[str]
    tempo: tuple[float, float, float, float]


@dataclass(frozen=True)
class Intervals:
    """What one record's beats measure: rate in 1/min, the others in ms; ``pr`` and ``p`` are NaN without P wave."""

    rate: float
    p: float
    pr: float
    qrs: float
    qtc: float


def stream(seed: int, number: int, purpose: int) -> np.random.Generator:
    """Return the random stream of one patient or record: the same whatever else is drawn."""
    return np.random.default_rng([seed, number, purpose])


def draw_patients(n_records: int, seed: int) -> Iterator[Patient]:
    """Yield patients 1, 2, … until their records number at least `n_records`."""
    count = patient_id = 0
    while count < n_records:
        patient_id += 1
        patient = draw_patient(seed, patient_id)
        count += patient.n_records
        yield patient


def draw_patient(seed: int, patient_id: int) -> Patient:
    """Draw one patient from the stream of (seed, patient_id)."""
    rng = stream(seed, patient_id, PATIENT)
    diagnoses = _draw_diagnoses(rng)
    age_mean, age_sd, female = np.mean([WHO[name] for name in sorted(diagnoses) or ["NORM"]], axis=0)
    sex = int(rng.random() < female)
    age = truncated(rng, age_mean, age_sd, 18, 95)
    height, weight = _draw_body(rng, sex)
    chance = rng.random()
    three = VALUE["share_three_records"]
    n_records = 3 if chance < three else 2 if chance < three + VALUE["share_two_records"] else 1
    tempo = tuple(rng.standard_normal(4).tolist())
    return Patient(patient_id, n_records, age, sex, height, weight, diagnoses, tempo)


def _draw_diagnoses(rng: np.random.Generator) -> frozenset[str]:
    chance = dict(zip(("AFIB", "block", "1AVB", "IMI", "LVH"), rng.random(5), strict=True))
    found = {name for name in ("AFIB", "1AVB", "IMI", "LVH") if chance[name] < VALUE[f"share_{name.lower()}"]}
    left, right = VALUE["share_clbbb"], VALUE["share_crbbb"]
    if chance["block"] < left:
        found = (found | {"CLBBB"}) - {"IMI", "LVH"}  # neither can be read from a left bundle branch block
    elif chance["block"] < left + right:
        found |= {"CRBBB"}
    if "AFIB" in found:
        found -= {"1AVB"}
    return frozenset(found)


def _draw_body(rng: np.random.Generator, sex: int) -> tuple[float, float]:
    who = ("male", "female")[sex]
    first, second = rng.standard_normal(2)
    r = VALUE["height_weight_r"]
    height = VALUE[f"height_{who}"] + VALUE["height_sd"] * first
    weight = VALUE[f"weight_{who}"] + VALUE["weight_sd"] * (r * first + np.sqrt(1 - r**2) * second)
    return round(float(np.clip(height, 140, 210))), round(float(np.clip(weight, 40, 180)))


def draw_rhythm(rng: np.random.Generator, patient: Patient) -> str:
    """Draw a record's rhythm: AFIB for patients who have it, else SR, SBRAD or STACH."""
    chance = rng.random()
    if "AFIB" in patient.diagnoses:
        return "AFIB"
    if chance < VALUE["share_sbrad"]:
        return "SBRAD"
    if "1AVB" in patient.diagnoses:
        return "SR"  # at a fast rate a late P wave would hide in T
    return "STACH" if chance < VALUE["share_sbrad"] + VALUE["share_stach"] else "SR"


def draw_intervals(rng: np.random.Generator, patient: Patient, rhythm: str, age: float) -> Intervals:
    """Draw rate, P, PR, QRS and QTc of one record, near the patient's own values.

    Source: each coefficient as `coefficient_table` has it.
    """
    years = age - 50
    visit = 0.85 * np.array(patient.tempo) + 0.53 * rng.standard_normal(4)  # variance stays 1
    rate = _rate(visit[0], patient, rhythm)
    qrs = _qrs(visit[2], patient)
    qtc = VALUE["qtc_ms"] + VALUE["qtc_female"] * patient.sex + VALUE["qtc_age"] * years
    qtc = float(np.clip(qtc + VALUE["qtc_sd_ms"] * visit[3], 350, 450))
    qtc += VALUE["qt_per_wide_qrs"] * max(qrs - 100, 0)
    if rhythm == "AFIB":
        return Intervals(rate, np.nan, np.nan, qrs, qtc)
    pr = _pr(visit[1], patient, years, rate)
    p = float(np.clip(VALUE["p_ms"] + 0.2 * years + 7 * rng.standard_normal(), 85, min(130, pr - 15)))
    return Intervals(rate, p, pr, qrs, qtc)


def _rate(z: float, patient: Patient, rhythm: str) -> float:
    mean, sd = {
        "SR": (VALUE["hr_sinus"] + VALUE["hr_female"] * (patient.sex - 0.5), VALUE["hr_sinus_sd"]),
        "SBRAD": (VALUE["hr_sbrad"], 4.0),
        "STACH": (VALUE["hr_stach"], 8.0),
        "AFIB": (VALUE["hr_afib"], 18.0),
    }[rhythm]
    low, high = RATES[rhythm]
    return _folded(mean + sd * z, low, min(high, 84) if "1AVB" in patient.diagnoses else high)


def _pr(z: float, patient: Patient, years: float, rate: float) -> float:
    if "1AVB" in patient.diagnoses:
        return _folded(VALUE["pr_1avb_ms"] + 24 * z, 206, 310)
    mean = VALUE["pr_ms"] + VALUE["pr_age"] * years + VALUE["pr_rate"] * (rate - 70)
    return _folded(mean + VALUE["pr_sd_ms"] * z, 114, 198)


def _qrs(z: float, patient: Patient) -> float:
    for name in ("CRBBB", "CLBBB"):
        if name in patient.diagnoses:
            return _folded(VALUE[f"qrs_{name.lower()}_ms"] + 10 * z, 124 if name == "CRBBB" else 130, 176)
    mean = VALUE["qrs_ms"] + VALUE["qrs_female"] * patient.sex + VALUE["qrs_lvh"] * ("LVH" in patient.diagnoses)
    return _folded(mean + VALUE["qrs_sd_ms"] * z, 70, 116)


def _folded(value: float, low: float, high: float) -> float:
    """Fold a value that lies outside [low, high] back in at the limit it passed, so that none piles up there."""
    if value < low:
        value = 2 * low - value
    return float(min(max(2 * high - value if value > high else value, low), high))
