"""Virtual patients: twelve-lead ECGs from physiology, with the truth known to the millisecond.

A moving heart vector (`heart`) beats at RR intervals (`rhythm`) in patients of every age (`patients`); devices add
noise (`noise`); `beats` puts it together; every number and its source is in `coefficients`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ecglib.errors import InputError
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_12, to_twelve_leads
from ecglib.signals.table import assign_folds
from ecglib.signals.virtual.beats import Beats, place_beats, time_courses
from ecglib.signals.virtual.coefficients import COEFFICIENTS, VALUE, coefficient_table
from ecglib.signals.virtual.heart import COMPONENTS, Heart, draw_heart
from ecglib.signals.virtual.noise import draw_noise
from ecglib.signals.virtual.patients import NOISE, RECORD, Patient, draw_intervals, draw_patients, draw_rhythm, stream
from ecglib.signals.virtual.rhythm import beat_times, f_waves

__all__ = ["COEFFICIENTS", "coefficient_table", "virtual_cohort"]


def virtual_cohort(
    n: int, *, seed: int = 0, fs: int = 100, seconds: float = 10.0, progress: bool = False
) -> Cohort:
    """Make `n` records of virtual patients.

    Parameters
    ----------
    n : int
        Number of records, at least 1.
    seed : int
        Same seed: the same records. Record k is the same whatever `n` is, but for its ``strat_fold``, which depends
        on the whole cohort.
    fs : int
        Sampling rate in Hz, 100–1000. Beats are the same at every rate, noise is not.
    seconds : float
        Length of a record, 5–600 s.
    progress : bool
        Show a bar with the time left.

    Returns
    -------
    Cohort
        Twelve leads, float32 in mV, source ``virtual``. Besides PTB-XL's columns the table has the truth ``pr_ms``
        (NaN in AFIB), ``qrs_ms``, ``qt_ms`` (median over the record's beats) and ``axis_deg``; ``waves`` has
        every beat whose R lies in the record (its P may begin before, its T end after).

    Raises
    ------
    InputError
        If an argument is out of its range.

    Notes
    -----
    Source: Gaussian components of a heart vector after McSharry et al., IEEE Trans Biomed Eng 50:289, 2003, and
    Sameni et al., EURASIP J Adv Signal Process 2007:043407; the lead field is Dower's.
    """
    _check(n, seed, fs, seconds)
    n, seed, fs = int(n), int(seed), int(fs)
    n_times = round(seconds * fs)
    x = np.empty((n, len(LEADS_12), n_times), dtype=np.float32)
    rows: list[dict[str, Any]] = []
    waves: list[pd.DataFrame | dict[str, np.ndarray]] = []
    with tqdm(total=n, desc="virtual patients", unit="record", disable=not progress) as bar:
        for patient in draw_patients(n, seed):
            heart = draw_heart(seed, patient)
            for visit in range(min(patient.n_records, n - len(rows))):
                ecg_id = len(rows) + 1
                x[ecg_id - 1], row, beats = _record(seed, ecg_id, visit, patient, heart, n_times, fs)
                rows.append(row)
                waves.append(beats)
                bar.update()
    table = pd.DataFrame(rows)
    table["strat_fold"] = assign_folds(table, seed) if table["patient_id"].nunique() >= 10 else 1
    columns = {name: np.concatenate([beats[name] for beats in waves]) for name in waves[0]}
    return Cohort(x, fs, LEADS_12, table, pd.DataFrame(columns), "virtual", {"seed": seed})


def _record(
    seed: int, ecg_id: int, visit: int, patient: Patient, heart: Heart, n_times: int, fs: int
) -> tuple[np.ndarray, dict[str, Any], dict[str, np.ndarray]]:
    """Make one record: signals (12, n_times) in mV, its row of the table, its beats."""
    rng = stream(seed, ecg_id, RECORD)
    age = min(patient.age + visit * rng.uniform(0.2, 3), 95.0)
    rhythm = draw_rhythm(rng, patient)
    intervals = draw_intervals(rng, patient, rhythm, age)
    beats = place_beats(heart, intervals, beat_times(rng, rhythm, intervals, age, n_times / fs))
    x = heart.amplitudes @ time_courses(heart, beats, _beat_gain(rng, beats.r), n_times, fs)  # (8, n_times)
    if rhythm == "AFIB":
        x += heart.f_waves @ f_waves(rng, np.arange(n_times) / fs)
    x += draw_noise(stream(seed, ecg_id, NOISE), n_times, fs)
    waves = _waves(ecg_id, beats, heart, n_times / fs)
    return to_twelve_leads(x), _row(ecg_id, age, rhythm, patient, heart, waves), waves


def _beat_gain(rng: np.random.Generator, r: np.ndarray) -> np.ndarray:
    """Return (n_beats, K): amplitudes swing with respiration, and a little at random."""
    breath = np.sin(2 * np.pi * (VALUE["respiration"] * r + rng.random()))
    noise = VALUE["beat_gain_sd"] * rng.standard_normal((len(r), len(COMPONENTS)))
    return 1 + VALUE["breathing_gain"] * breath[:, None] + noise


def _waves(ecg_id: int, beats: Beats, heart: Heart, seconds: float) -> dict[str, np.ndarray]:
    inside = (beats.r >= 0) & (beats.r < seconds)
    known = {name: times[inside] for name, times in asdict(beats).items()}
    t_peak = known["qrs_off"] + heart.t_peak * (known["t_off"] - known["qrs_off"])
    p_peak = known["p_on"] + heart.p_peak * (known["p_off"] - known["p_on"])
    known |= {"ecg_id": np.full(inside.sum(), ecg_id), "p_peak": p_peak, "t_peak": t_peak}
    order = ("ecg_id", "p_on", "p_peak", "p_off", "qrs_on", "r", "qrs_off", "t_peak", "t_off")
    return {name: known[name] for name in order}


def _row(
    ecg_id: int, age: float, rhythm: str, patient: Patient, heart: Heart, waves: dict[str, np.ndarray]
) -> dict[str, Any]:
    diagnoses = sorted(patient.diagnoses - {"AFIB"})
    if not diagnoses and rhythm != "AFIB":
        diagnoses = ["NORM"]
    return {
        "ecg_id": ecg_id,
        "patient_id": patient.patient_id,
        "age": float(np.floor(age)),
        "sex": patient.sex,
        "height": patient.height,
        "weight": patient.weight,
        "heart_rate": 60 / np.diff(waves["r"]).mean(),
        "scp_codes": {**dict.fromkeys(diagnoses, 100.0), rhythm: 0.0},
        "pr_ms": 1000 * float(np.median(waves["qrs_on"] - waves["p_on"])),
        "qrs_ms": 1000 * float(np.median(waves["qrs_off"] - waves["qrs_on"])),
        "qt_ms": 1000 * float(np.median(waves["t_off"] - waves["qrs_on"])),
        "axis_deg": heart.axis,
    }


def _check(n: int, seed: int, fs: int, seconds: float) -> None:
    whole = {"n": (n, 1, 10_000_000), "seed": (seed, 0, 2**32 - 1), "fs": (fs, 100, 1000)}
    for name, (value, low, high) in whole.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
            raise InputError(f"{name}={value!r}; expected a whole number from {low} to {high}")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | np.number) or not 5 <= seconds <= 600:
        raise InputError(f"seconds={seconds!r}; expected a length of 5 to 600 s")
