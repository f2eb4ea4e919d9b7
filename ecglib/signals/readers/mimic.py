"""MIMIC-IV-ECG 1.0: 800,035 records of 161,352 patients with the machine's report and measurements → `Cohort`."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ecglib.errors import InputError
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_12
from ecglib.signals.readers.metadata import read_csv
from ecglib.signals.readers.mimic_statements import to_statements, untranslated
from ecglib.signals.readers.records import LeftOut, Reading, check_fs, choose_records, read_all, subset_of
from ecglib.signals.resample import resample
from ecglib.signals.table import assign_folds
from ecglib.signals.wfdb_io import RecordError, read_record

FS, SECONDS = 500, 10.0
IDS = ("subject_id", "study_id")
TIMES = ("rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end")  # in ms
AXES = ("p_axis", "qrs_axis", "t_axis")  # in degrees
POSSIBLE = {  # assumptions
    "heart_rate": (10, 400), "p_ms": (1, 300), "pr_ms": (30, 1000), "qrs_ms": (20, 400), "qt_ms": (100, 1000),
    "p_axis": (-180, 180), "qrs_axis": (-180, 180), "t_axis": (-180, 180),
}  # fmt: skip
OLDEST = 89  # MIMIC-IV gives everyone older than this in the anchor year the age 91


def read_mimic(root: Path | str, *, fs: int = 100, n: int | None = None, seed: int = 0, strict: bool = False,
               workers: int | None = None, scratch: Path | None = None) -> Cohort:  # fmt: skip
    """Read MIMIC-IV-ECG, or a part of it.

    Parameters
    ----------
    root : path
        The folder of ``record_list.csv``, ``machine_measurements.csv`` and ``files/``. If it holds a part of the
        records, a file ``RECORDS.subset`` names them (`make data N=…` writes it). MIMIC-IV-ECG tells neither age nor
        sex; both are filled in if ``patients.csv`` of MIMIC-IV (which asks for credentials) lies there too.
    fs : int
        Sampling rate wanted, in Hz; the records' own is 500.
    n : int, optional
        At most so many records: whole patients, folds and superclasses in proportion; only these are read.
    seed : int
        Seed of that choice and of the folds, which are made before it.
    strict : bool
        A bad record is an error instead of being left out, counted and listed in ``notes["left_out"]``.
    workers, scratch
        Processes, and a folder for the signals: see `read_all`.

    Returns
    -------
    Cohort
        12 leads in mV. ``ecg_id`` is the study, ``patient_id`` the subject. Table columns beyond the usual: ``path``,
        ``ecg_time`` (dates shifted by the source), ``report`` (the machine's lines, joined by "; "), ``age_over_89``,
        ``p_ms``, ``pr_ms``, ``qrs_ms``, ``qt_ms`` in ms and ``p_axis``, ``qrs_axis``, ``t_axis`` in degrees, as the
        machine measured them. ``notes["untranslated"]``: line without any known phrase → records of the cohort with
        it, the 50 commonest; ``notes["set_unknown"]``: values of the cohort that are NaN because the machine wrote
        "not measured" (29999, 32767, …) or something outside `POSSIBLE`; and ages and sexes, where ``patients.csv``
        was there and did not tell them.

    Raises
    ------
    InputError
        If a table is absent or malformed, a study appears twice, or no record can be read; under `strict` also for
        each bad record, and each without a row of measurements.

    Notes
    -----
    Source: Gow et al., MIMIC-IV-ECG 1.0, PhysioNet, 2023 (ODbL 1.0). Its signals come in the order I, II, III, aVR,
    **aVF, aVL**, V1–V6: here they are put in order by name. Age is ``anchor_age`` plus the years from ``anchor_year``
    to ``ecg_time``; above 89 it is 90 with ``age_over_89``, and NaN before the anchor year of a patient whose age there
    is withheld. Differs: statements are the machine's, by a table of ours (`translate`), not a cardiologist's.
    """
    root, left_out = Path(root), LeftOut(strict)
    check_fs(fs, FS, "MIMIC-IV-ECG")
    table = _read_tables(root, left_out)
    codes = {report: to_statements(report.split("; ")) for report in table["report"].unique()}
    table["scp_codes"] = table["report"].map(codes)
    table["strat_fold"] = assign_folds(table, seed) if table["patient_id"].nunique() >= 10 else 1
    table = table.iloc[choose_records(table, n, seed)].reset_index(drop=True)
    names = table["path"].tolist()
    records = read_all(names, partial(_read_record, root, fs), fs, left_out, "mimic-iv-ecg",
                       workers=workers, scratch=scratch)  # fmt: skip
    people = root / "patients.csv"
    table = _demographics(people, table.iloc[records.kept].reset_index(drop=True))
    notes = {"left_out": left_out.names, "arms_swapped": [names[k] for k in records.arms_swapped], "native_fs": FS,
             "untranslated": untranslated(table["report"]),
             "set_unknown": {name: int(table[name].isna().sum())
                             for name in (*POSSIBLE, *(("age", "sex") if people.is_file() else ()))}}  # fmt: skip
    return Cohort(records.x, fs, LEADS_12, table, None, "mimic-iv-ecg", notes)


def _read_record(root: Path, fs: int, name: str) -> Reading:
    x, _ = read_record(root, name, fs=FS, seconds=SECONDS)
    return Reading(resample(x, FS, fs))


def _read_tables(root: Path, left_out: LeftOut) -> pd.DataFrame:
    """Return a row for each study that both tables name."""
    measured = _measurements(root / "machine_measurements.csv")
    path = root / "record_list.csv"
    listed = read_csv(path, (*IDS, "ecg_time", "path"))[[*IDS, "ecg_time", "path"]]
    _check_once(path, listed["study_id"])
    listed = listed[subset_of(root, listed["path"])]
    numbers = listed[list(IDS)].apply(lambda ids: ids.str.fullmatch("[0-9]{1,15}")).all(axis=1)
    for name, *ids in listed.loc[~numbers, ["path", *IDS]].itertuples(index=False):
        left_out.add(name, RecordError(path, "ids", f"{ids} are no numbers", "fetch the table again"))
    table = listed[numbers].merge(measured, how="left", on=list(IDS))
    for name in table["path"][table["report"].isna()]:
        left_out.add(name, RecordError(root / "machine_measurements.csv", "no measurements", f"it lacks {name}",
                                       "fetch the table again"))  # fmt: skip
    table = table[table["report"].notna()].rename(columns={"subject_id": "patient_id", "study_id": "ecg_id"})
    if table.empty:
        raise InputError(f"{path} and machine_measurements.csv name no study in common; fetch both again")
    return table.astype({"patient_id": np.int64, "ecg_id": np.int64}).reset_index(drop=True)


def _measurements(path: Path) -> pd.DataFrame:
    """Return subject_id and study_id as text, the report, and what `POSSIBLE` names; NaN where it is not possible."""
    raw = read_csv(path, (*IDS, "report_0", *TIMES, *AXES))
    _check_once(path, raw["study_id"])
    lines = [raw[name] for name in raw if re.fullmatch("report_[0-9]+", str(name))]
    report = ["; ".join(filter(None, row)) for row in zip(*lines, strict=True)]
    number = {name: pd.to_numeric(raw[name], errors="coerce") for name in (*TIMES, *AXES)}
    number |= {name: number[name].where(number[name].between(0, 1000 * SECONDS)) for name in TIMES}
    measured = {
        "heart_rate": 60_000 / number["rr_interval"],
        "p_ms": number["p_end"] - number["p_onset"],
        "pr_ms": number["qrs_onset"] - number["p_onset"],
        "qrs_ms": number["qrs_end"] - number["qrs_onset"],
        "qt_ms": number["t_end"] - number["qrs_onset"],
        **{name: number[name] for name in AXES},
    }
    possible = {name: value.where(value.between(*POSSIBLE[name])) for name, value in measured.items()}
    return raw[list(IDS)].assign(report=report, **possible)


def _check_once(path: Path, ids: pd.Series) -> None:
    if ids.duplicated().any():
        raise InputError(f"{path}: study_id {ids[ids.duplicated()].iloc[0]} appears twice; fetch the table again")


def _demographics(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with age, age_over_89 and sex: NaN, False and NaN where MIMIC-IV's ``patients.csv`` is not."""
    if not path.is_file():
        return table.assign(age=np.nan, age_over_89=False, sex=np.nan)
    people = read_csv(path, ("subject_id", "gender", "anchor_age", "anchor_year"))
    if people["subject_id"].duplicated().any():
        raise InputError(f"{path}: a subject_id appears twice; fetch the table again")
    people = people.set_index("subject_id").reindex(table["patient_id"].astype(str)).reset_index(drop=True)
    at_anchor, year = (pd.to_numeric(people[name], errors="coerce") for name in ("anchor_age", "anchor_year"))
    later = pd.to_numeric(table["ecg_time"].str[:4], errors="coerce") - year
    age = (at_anchor + later).where((at_anchor <= OLDEST) | (later >= 0))
    age = age.where(age.between(0, 120))
    return table.assign(age=age.mask(age > OLDEST, 90.0), age_over_89=age > OLDEST,
                        sex=people["gender"].map({"M": 0.0, "F": 1.0}))  # fmt: skip
