"""Virtual patients: twelve-lead ECGs from physiology, with the truth known to the millisecond.

A patient (`patients`) has a heart (`heart`, in a `torso`) that beats as its rhythm (`rhythm`) and its `conduction` let
it, with `intervals` of its own; `beats` puts every wave in its place; devices add `noise`. Every number and its source
is in a table (`coefficients`), and so is what each of the 71 statements changes (`changes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from ecglib.errors import LARGEST_SEED, InputError, choose, whole
from ecglib.parallel import chunked, in_order
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_12
from ecglib.signals.statements import STATEMENTS
from ecglib.signals.table import assign_folds
from ecglib.signals.virtual.annotations import annotations as annotate
from ecglib.signals.virtual.coefficients import COEFFICIENTS, coefficient_table
from ecglib.signals.virtual.patients import (
    NOISE,
    POPULATIONS,
    RECORD,
    Patient,
    draw_patient,
    draw_patients,
    draw_statements,
    load_chain,
    rules,
    stream,
)
from ecglib.signals.virtual.record import make_record

__all__ = ["COEFFICIENTS", "POPULATIONS", "coefficient_table", "patients_by_statement", "virtual_cases",
           "virtual_cohort"]  # fmt: skip

SERIAL_BELOW = 300  # records: fewer are made before other processes have started
CHUNK = 64  # patients
FIRST_CASE = 1_000_001  # number of the first patient of `virtual_cases`: beyond those of any cohort of a million


def virtual_cohort(
    n: int, *, seed: int = 0, fs: int = 100, seconds: float = 10.0, population: str = "ptb-xl",
    workers: int | None = None, progress: bool = False,
) -> Cohort:  # fmt: skip
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
    population : {"ptb-xl", "teaching"}
        How often each statement occurs: as in PTB-XL, or more evenly.
    workers : int, optional
        Processes; the records do not depend on it. None: one below 300 records, else as many as there are cores.
    progress : bool
        Show a bar with the time left.

    Returns
    -------
    Cohort
        Twelve leads, float32 in mV, source ``virtual``. Besides PTB-XL's columns the table has the truth: medians
        over the record's beats ``pr_ms`` (NaN where no P wave leads to a QRS), ``qrs_ms``, ``qt_ms``; ``axis_deg`` of
        the beats that prevail among those that are not ventricular premature; ``n_beats`` (with a QRS), ``n_pac``,
        ``n_pvc``, ``n_blocked`` (P waves without QRS).
        ``waves`` has every beat whose R lies in the record (its P may begin before, its T end after), and every P wave
        without QRS; its column ``kind`` is one of ``N`` (conducted), ``A`` (atrial premature), ``V`` (ventricular
        premature), ``paced``, ``escape``, ``blocked P`` (whose QRS and T are NaN).

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
    if workers is None and n < SERIAL_BELOW:
        workers = 1
    chunks = chunked(_visits(n, seed, population), CHUNK)
    make = partial(_records, seed=seed, fs=fs, n_times=round(seconds * fs), population=population)
    x = np.empty((n, len(LEADS_12), round(seconds * fs)), dtype=np.float32)
    rows: list[dict[str, Any]] = []
    waves: list[pd.DataFrame] = []
    for signals, some_rows, some_waves in in_order(make, chunks, workers=workers, label="virtual patients",
                                                   progress=progress):  # fmt: skip
        x[len(rows) : len(rows) + len(signals)] = signals
        rows += some_rows
        waves.append(some_waves)
    table = pd.DataFrame(rows)
    table["strat_fold"] = assign_folds(table, seed) if table["patient_id"].nunique() >= 10 else 1
    return Cohort(x, fs, LEADS_12, table, pd.concat(waves, ignore_index=True), "virtual",
                  {"seed": seed, "population": population})  # fmt: skip


def virtual_cases(codes: Mapping[str, float], n: int, *, seed: int = 0, fs: int = 100, seconds: float = 10.0,
                  population: str = "teaching", first: int = FIRST_CASE) -> Cohort:  # fmt: skip
    """Make `n` records of `n` virtual patients who all have the same statements: a rare class, in any number.

    Parameters
    ----------
    codes : mapping of str to float
        Statements → likelihood (0–100), such as ``{"2AVB": 100, "SR": 0}``.
    n : int
        At least 1.
    seed, fs, seconds, population
        As in `virtual_cohort`; ages, sexes and builds are the population's.
    first : int
        ``ecg_id`` and ``patient_id`` of the first record; the next follow.

    Returns
    -------
    Cohort
        As `virtual_cohort` makes it; folds 1–10 in turn.

    Raises
    ------
    InputError
        If an argument is out of its range, a code is none of the 71 statements, or two of them cannot stand in one
        record (``tables/virtual_rules.csv``).
    """
    _check(n, seed, fs, seconds, first)
    _check_codes(codes)
    made = []
    for number in range(first, first + n):
        patient = draw_patient(seed, number, population)
        patient = replace(patient, n_records=1, years=patient.years[:1], statements=frozenset(codes))
        made.append(_record(seed, number, 0, patient, round(seconds * fs), fs, population, dict(codes)))
    table = pd.DataFrame([row for _, row, _ in made]).assign(strat_fold=1 + np.arange(n) % 10)
    waves = pd.concat([pd.DataFrame(beats) for *_, beats in made], ignore_index=True)
    return Cohort(np.stack([x for x, *_ in made]), fs, LEADS_12, table, waves, "virtual",
                  {"seed": seed, "population": population, "codes": dict(codes)})  # fmt: skip


def patients_by_statement(n: int, *, seed: int = 0, population: str = "ptb-xl") -> pd.Series:
    """Count, without making a signal, the patients of a cohort of `n` records who have each statement at least once.

    Parameters
    ----------
    n : int
        Records.
    seed, population
        As in `virtual_cohort`, whose first n records these are.

    Returns
    -------
    Series of int, statement → patients
        All 71 statements.

    Raises
    ------
    InputError
        If an argument is out of its range.
    """
    _check(n, seed)
    count = dict.fromkeys(STATEMENTS.index, 0)
    said: dict[int, set[str]] = {}
    for ecg_id, visit, patient in _visits(n, seed, population):
        codes = draw_statements(stream(seed, ecg_id, RECORD), patient, patient.age_at(visit), population)
        said.setdefault(patient.patient_id, set()).update(codes)
    for names in said.values():
        for name in names:
            count[name] += 1
    return pd.Series(count)


def _visits(n: int, seed: int, population: str) -> list[tuple[int, int, Patient]]:
    """Return for each record its ecg_id, the number of the visit (from 0) and its patient."""
    visits = ((patient, visit) for patient in draw_patients(n, seed, population) for visit in range(patient.n_records))
    return [(ecg_id, visit, patient) for ecg_id, (patient, visit) in enumerate(islice(visits, n), start=1)]


def _records(
    visits: Sequence[tuple[int, int, Patient]], *, seed: int, fs: int, n_times: int, population: str
) -> tuple[np.ndarray, list[dict[str, Any]], pd.DataFrame]:
    """Make some records: signals (n, 12, n_times), rows of the table, beats."""
    records = [_record(seed, *visit, n_times, fs, population) for visit in visits]
    waves = {name: np.concatenate([beats[name] for *_, beats in records]) for name in records[0][2]}
    return np.stack([x for x, *_ in records]), [row for _, row, _ in records], pd.DataFrame(waves)


def _record(seed: int, ecg_id: int, visit: int, patient: Patient, n_times: int, fs: int, population: str,
            codes: dict[str, float] | None = None
            ) -> tuple[np.ndarray, dict[str, Any], dict[str, np.ndarray]]:  # fmt: skip
    """Make one record: signals (12, n_times) in mV, its row of the table, its beats."""
    rng = stream(seed, ecg_id, RECORD)
    age = patient.age_at(visit)
    codes = draw_statements(rng, patient, age, population) if codes is None else codes
    made = make_record(seed, rng, stream(seed, ecg_id, NOISE), patient, codes, age, n_times, fs)
    row = {"ecg_id": ecg_id, "patient_id": patient.patient_id, "age": float(np.floor(age)), "sex": patient.sex,
           "height": patient.height, "weight": patient.weight, "scp_codes": codes}  # fmt: skip
    row |= annotate(rng, patient, codes, visit, {**made.truth, **made.remarks}) | made.truth
    return made.x, row, {"ecg_id": np.full(len(made.waves["r"]), ecg_id)} | made.waves


def _check_codes(codes: Mapping[str, float]) -> None:
    if not isinstance(codes, Mapping):
        raise InputError(f"codes={codes!r}; expected statements with likelihoods, such as {{'2AVB': 100, 'SR': 0}}")
    for code in codes:
        choose("statement", code, STATEMENTS.index)
    names = tuple(name for name in load_chain("ptb-xl").names if name in codes)
    for i, j in np.argwhere(np.isneginf(rules(names))):
        raise InputError(f"codes={dict(codes)}: {names[i]} and {names[j]} cannot stand in one record; leave one out "
                         "(tables/virtual_rules.csv says why)")  # fmt: skip


def _check(n: int, seed: int, fs: int = 100, seconds: float = 10.0, first: int = 1) -> None:
    for name, value, low, high in (("n", n, 1, 10_000_000), ("seed", seed, 0, LARGEST_SEED), ("fs", fs, 100, 1000),
                                   ("first", first, 1, 2**53)):  # fmt: skip
        whole(name, value, low, high)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | np.number) or not 5 <= seconds <= 600:
        raise InputError(f"seconds={seconds!r}; expected a length of 5 to 600 s")
