"""LUDB 1.0.1: 200 real records with the cardiologists' findings and marks of every wave → `Cohort`."""

from __future__ import annotations

from functools import cache, partial
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd

from ecglib.errors import InputError
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_12, einthoven_residual
from ecglib.signals.readers.ludb_waves import read_waves
from ecglib.signals.readers.metadata import number, read_csv
from ecglib.signals.readers.records import LeftOut, Reading, check_fs, choose_records, read_all, subset_of
from ecglib.signals.resample import resample
from ecglib.signals.statements import SINUS
from ecglib.signals.table import assign_folds
from ecglib.signals.wfdb_io import RecordError, read_record

FS, SECONDS = 500, 10.0
COUNTS_PER_MV = 1000.0
FINDINGS = ("Rhythms", "Electric axis of the heart", "Conduction abnormalities", "Extrasystolies", "Hypertrophies",
            "Cardiac pacing", "Ischemia", "Non-specific repolarization abnormalities", "Other states")  # fmt: skip


def read_ludb(root: Path | str, *, fs: int = 100, n: int | None = None, seed: int = 0, strict: bool = False,
              workers: int | None = None, scratch: Path | None = None) -> Cohort:  # fmt: skip
    """Read LUDB.

    Parameters
    ----------
    root : path
        The folder of ``ludb.csv`` and ``data/``.
    fs : int
        Sampling rate wanted, in Hz; the records' own is 500.
    n : int, optional
        At most so many records, a stratified choice; None: all.
    seed : int
        Seed of that choice and of the folds.
    strict : bool
        A bad record is an error instead of being left out, counted and listed in ``notes["left_out"]``.
    workers, scratch
        Processes, and a folder for the signals: see `read_all`.

    Returns
    -------
    Cohort
        12 leads in mV; ``waves`` from the annotations; ``notes["einthoven_residual_uv"]``, the largest residual of
        the limb-lead identities at 500 Hz. Table columns beyond the usual: ``age_over_89``, ``report``.

    Raises
    ------
    InputError
        If ``ludb.csv`` is absent or malformed, holds a finding that the table of statements lacks, or no record can be
        read; under `strict` also for each bad record.

    Notes
    -----
    Source: Kalyakulina et al., IEEE Access 8:186181, 2020 (ODC-BY 1.0). Differs: its headers give each lead a
    gain and a baseline of its own, which break Einthoven's law. The stored counts themselves are microvolts: with them
    III = II − I exactly and the augmented leads to 0.5 µV, in all 200 records; less the baselines, only to 2.5 µV.
    """
    root, left_out = Path(root), LeftOut(strict)
    check_fs(fs, FS, "LUDB")
    table = _read_table(root / "ludb.csv", left_out)
    table = table[subset_of(root, [f"data/{k}" for k in table["ecg_id"]])]
    table = table.iloc[choose_records(table, n, seed)].reset_index(drop=True)
    names = [f"data/{k}" for k in table["ecg_id"]]
    records = read_all(names, partial(_read_record, root, fs), fs, left_out, "ludb", workers=workers, scratch=scratch)
    table = table.iloc[records.kept].reset_index(drop=True)
    beats = pd.concat([waves for waves, _ in records.also], ignore_index=True)
    table["heart_rate"] = table["ecg_id"].map(beats.groupby("ecg_id")["r"].agg(_heart_rate))
    table["strat_fold"] = assign_folds(table, seed) if len(table) >= 10 else 1
    notes = {"left_out": left_out.names, "arms_swapped": [names[k] for k in records.arms_swapped],
             "einthoven_residual_uv": max(residual for _, residual in records.also), "native_fs": FS}  # fmt: skip
    return Cohort(records.x, fs, LEADS_12, table, beats, "ludb", notes)


def _read_record(root: Path, fs: int, name: str) -> Reading:
    x, _ = read_record(root, name, fs=FS, seconds=SECONDS, gain=COUNTS_PER_MV)
    beats = read_waves(root, name, FS)
    beats.insert(0, "ecg_id", int(name.removeprefix("data/")))
    residual = float(np.abs(einthoven_residual(x.astype(np.float64))).max()) * 1000
    return Reading(resample(x, FS, fs), (beats, residual))


def _heart_rate(r: pd.Series) -> float:
    return float(60 / np.median(np.diff(r))) if len(r) > 1 else float("nan")


def _read_table(path: Path, left_out: LeftOut) -> pd.DataFrame:
    raw = read_csv(path, ("ID", "Sex", "Age", *FINDINGS))
    rows = []
    for record in raw.to_dict("records"):
        try:
            rows.append(_row(path, record))
        except RecordError as error:
            left_out.add(str(record["ID"]), error)
    table = pd.DataFrame(rows)
    if table.empty or table["ecg_id"].duplicated().any():
        raise InputError(f"{path}: column ID holds no usable ids, or one twice; fetch it again")
    return table


def _row(path: Path, record: dict[str, str]) -> dict[str, object]:
    for name, right in (("ID", record["ID"].isdecimal()), ("Sex", record["Sex"] in ("M", "F", ""))):
        if not right:
            raise RecordError(path, name, f"{record[name]!r} at ID {record['ID']}", "correct the row or fetch it again")
    over_89 = record["Age"] == ">89"
    try:
        age = 90.0 if over_89 else number(record["Age"], 0, 120)
    except ValueError as error:
        raise RecordError(path, "Age", f"{error} at ID {record['ID']}", "correct the row or fetch it again") from None
    findings = [line.strip() for name in FINDINGS for line in record[name].split("\n") if line.strip()]
    sex = {"M": 0.0, "F": 1.0}.get(record["Sex"], np.nan)
    return {"ecg_id": int(record["ID"]), "patient_id": int(record["ID"]), "age": age, "age_over_89": over_89,
            "sex": sex, "scp_codes": to_statements(findings), "report": "; ".join(findings)}  # fmt: skip


@cache
def finding_table() -> pd.DataFrame:
    """Return ``tables/ludb_statements.csv``: finding, statement ('' if none), likelihood, normal (bool), note."""
    with files("ecglib.signals").joinpath("tables/ludb_statements.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file, comment="#", keep_default_na=False, dtype={"normal": int})
    return table.assign(likelihood=pd.to_numeric(table["likelihood"]).fillna(0.0), normal=table["normal"] == 1)


def to_statements(findings: list[str]) -> dict[str, float]:
    """Translate LUDB's findings of one record into SCP statements.

    Parameters
    ----------
    findings : list of str
        For example ``["Sinus rhythm", "Electric axis of the heart: normal"]``.

    Returns
    -------
    dict of str to float
        Statement → likelihood, the highest where several findings give the same statement. ``NORM`` (100) is added for
        a sinus rhythm of any rate when every finding is marked as no contradiction to it.

    Raises
    ------
    InputError
        If the table of statements lacks a finding.
    """
    table = finding_table()
    unknown = sorted(set(findings) - set(table["finding"]))
    if unknown:
        raise InputError(f"finding {unknown[0]!r} is not in tables/ludb_statements.csv; add it there, with a statement "
                         "or an empty one")  # fmt: skip
    rows = table[table["finding"].isin(findings)]
    codes = rows[rows["statement"] != ""].groupby("statement", sort=False)["likelihood"].max().to_dict()
    if rows["normal"].all() and SINUS & set(codes):
        codes = {"NORM": 100.0, **codes}
    return codes
