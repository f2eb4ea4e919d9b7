"""PTB-XL, and whatever is laid out like it (our own exports) → `Cohort`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglib.errors import InputError
from ecglib.runs import MANIFEST, inside, read_manifest
from ecglib.signals.cohort import Cohort
from ecglib.signals.data_card import says_synthetic
from ecglib.signals.leads import LEADS_12
from ecglib.signals.readers.folder import parse_statements
from ecglib.signals.readers.metadata import number, parse_codes, read_csv, truth, typed
from ecglib.signals.readers.records import LeftOut, Reading, check_fs, choose_records, read_all, subset_of
from ecglib.signals.resample import resample
from ecglib.signals.table import check_table
from ecglib.signals.wfdb_io import RecordError, read_record

SECONDS = 10.0
OVER_89 = 300.0  # PTB-XL's age for "over 89"
REQUIRED = ("ecg_id", "patient_id", "age", "sex", "scp_codes", "strat_fold")
USED = (*REQUIRED, "height", "weight", "heart_rate", "synthetic", "filename_lr", "filename_hr", "age_over_89")
VERSIONS = {(21_799, 18_869): "1.0.3", (21_837, 18_885): "1.0.1"}  # records, patients of the complete table
UNKNOWN = "ptb-xl layout"  # source of records that are laid out like PTB-XL's, of which no more is known
LAYOUT = "ptb-xl-layout"  # kind of the manifest in exports of ours
WAVE_TIMES = ("p_on", "p_peak", "p_off", "qrs_on", "r", "qrs_off", "t_peak", "t_off")  # columns of waves.csv
REMEDY = "correct the row or fetch the table again"


def read_ptbxl(root: Path | str, *, fs: int = 100, n: int | None = None, seed: int = 0, strict: bool = False,
               workers: int | None = None, scratch: Path | None = None) -> Cohort:  # fmt: skip
    """Read PTB-XL 1.0.x, or a set in its layout.

    Parameters
    ----------
    root : path
        The folder of ``ptbxl_database.csv``, ``records100/`` and ``records500/``; one of the two is enough.
    fs : int
        Sampling rate wanted, in Hz: 100 is read from records100 (if absent, resampled from records500), 500 from
        records500, any other below 500 resampled from it.
    n : int, optional
        At most so many records: whole patients, folds and superclasses in proportion; only these are read.
    seed : int
        Seed of that choice.
    strict : bool
        A bad record is an error instead of being left out, counted and listed in ``notes["left_out"]``; and so is a
        table that is neither PTB-XL 1.0.3's, complete, nor one of our exports (``notes["version"]`` tells).
    workers, scratch
        Processes, and a folder for the signals: see `read_all`.

    Returns
    -------
    Cohort
        12 leads in mV. Age 300 becomes 90 with ``age_over_89``; height and weight of 0, out of range or swapped are
        NaN, counted in ``notes["set_unknown"]``. ``source`` is "ptb-xl" for PTB-XL's own table, in an export of ours
        what its manifest says, else `UNKNOWN`; "synthetic (…)" where the table or a header says so. A ``waves.csv`` of
        ours is read as well.

    Raises
    ------
    InputError
        If the table or a manifest is malformed, the table absent, an ``ecg_id`` appears twice, a patient is in two
        folds, or no record can be read; under `strict` also for each bad record.

    Notes
    -----
    Source: Wagner et al., Sci Data 7:154, 2020 (CC BY 4.0).
    """
    root, left_out = Path(root), LeftOut(strict)
    column, native = _which_files(root, fs)
    path = inside(root, "ptbxl_database.csv")
    raw = read_csv(path, (*REQUIRED, column))
    version = _version(root, raw, strict)
    table, set_unknown = _usable_rows(path, raw, column, left_out)
    table = table[subset_of(root, table[column])]
    table = table.iloc[choose_records(table, n, seed)].reset_index(drop=True)
    names = table[column].tolist()
    records = read_all(names, partial(_read_record, root, native, fs), fs, left_out, "ptb-xl",
                       workers=workers, scratch=scratch)  # fmt: skip
    table = table.iloc[records.kept].reset_index(drop=True)
    source = _source(root, version, synthetic=any(records.also) or bool(table["synthetic"].any()))
    notes = {"version": version, "left_out": left_out.names, "set_unknown": set_unknown, "native_fs": native,
             "arms_swapped": [names[k] for k in records.arms_swapped]}  # fmt: skip
    return Cohort(records.x, fs, LEADS_12, table, _read_waves(root, table), source, notes)


def _version(root: Path, raw: pd.DataFrame, strict: bool) -> str:
    """Return which complete PTB-XL the table is, by its counts, or that it is none; an error under `strict`."""
    counts = len(raw), raw["patient_id"].nunique()
    found = VERSIONS.get(counts, f"other: {counts[0]:,} records of {counts[1]:,} patients")
    if strict and found != "1.0.3" and not (root / MANIFEST).is_file():
        raise InputError(f"{root / 'ptbxl_database.csv'} is not the table of PTB-XL 1.0.3 ({found}); expected 21,799 "
                         "records of 18,869 patients: fetch it again, or read it without strict")  # fmt: skip
    return found


def _read_record(root: Path, native: int, fs: int, name: str) -> Reading:
    x, header = read_record(root, name, fs=native, seconds=SECONDS)
    return Reading(resample(x, native, fs), any("synthetic" in comment.lower() for comment in header.comments))


def _which_files(root: Path, fs: int) -> tuple[str, int]:
    """Return the column of file names to read and the sampling rate of these files."""
    check_fs(fs, 500, "PTB-XL")
    if fs == 100 and (root / "records100").is_dir():
        return "filename_lr", 100
    if not (root / "records500").is_dir():
        raise InputError(f"{root} has no records500/, which fs={fs} needs; fetch it, or ask for fs=100 of records100/")
    return "filename_hr", 500


def read_table(path: Path | str) -> pd.DataFrame:
    """Read a table of patients, for whom ECGs are to be made: PTB-XL's columns, only two of them needed.

    Parameters
    ----------
    path : path
        CSV with ``ecg_id`` and ``scp_codes`` (see `parse_statements`); ``patient_id``, ``age``, ``sex``, … where known.

    Returns
    -------
    DataFrame
        As `Cohort` describes it.

    Raises
    ------
    InputError
        If the file is no such table, or any row is wrong.
    """
    path = Path(path)
    raw = read_csv(path, ("ecg_id", "scp_codes"))
    for name, default in (("patient_id", raw["ecg_id"]), ("strat_fold", "1")):
        if name not in raw:
            raw[name] = default
    table, _ = _usable_rows(path, raw, None, LeftOut(strict=True))
    return check_table(table)


def _usable_rows(path: Path, raw: pd.DataFrame, column: str | None, left_out: LeftOut
                 ) -> tuple[pd.DataFrame, dict[str, int]]:  # fmt: skip
    """Return the rows that can be used, in standard types, and how often height and weight were set unknown."""
    unknown = {"height": 0, "weight": 0}
    rows, used = [], []
    for position, record in enumerate(raw.to_dict("records")):
        try:
            rows.append(_row(path, record, column, unknown))
            used.append(position)
        except RecordError as error:
            left_out.add(record["ecg_id"], error)
    if not rows:
        raise InputError(f"{path}: no row could be used: {left_out}")
    table = pd.DataFrame(rows)
    twice = table["ecg_id"][table["ecg_id"].duplicated()]
    if len(twice):
        raise InputError(f"{path}: ecg_id {twice.iloc[0]} appears twice; {REMEDY}")
    folds = table.groupby("patient_id")["strat_fold"].nunique()
    if (folds > 1).any():
        raise InputError(f"{path}: patient_id {folds[folds > 1].index[0]} is in {folds.max()} folds (strat_fold); "
                         f"{REMEDY}: a patient must be in one")  # fmt: skip
    others = {name: typed(raw.loc[used, name].reset_index(drop=True)) for name in raw.columns
              if name not in (*USED, column) and (raw[name] != "").any()}  # fmt: skip
    return table.assign(**others), {name: count for name, count in unknown.items() if count}


def _row(path: Path, record: dict[str, str], column: str | None, unknown: dict[str, int]) -> dict[str, Any]:
    def value(name: str, low: float, high: float, whole: bool = False) -> float:
        try:
            found = number(record.get(name, ""), low, high)
            if whole and not found % 1 == 0:  # NaN fails too
                raise ValueError(f"{record[name]!r} is not a whole number")
        except ValueError as error:
            raise RecordError(path, name, f"{error} at ecg_id {record['ecg_id']}", REMEDY) from None
        return found

    row: dict[str, Any] = {name: int(value(name, 0, 2**53, whole=True)) for name in ("ecg_id", "patient_id")}
    row["strat_fold"] = int(value("strat_fold", 1, 10, whole=True))
    over_89 = value("age", 0, OVER_89) == OVER_89
    row |= {"age": 90.0 if over_89 else value("age", 0, 120), "age_over_89": over_89, "sex": value("sex", 0, 1)}
    if row["sex"] not in (0, 1) and row["sex"] == row["sex"]:
        raise RecordError(path, "sex", f"{record['sex']!r} at ecg_id {row['ecg_id']}; expected 0, 1 or nothing", REMEDY)
    row["heart_rate"] = value("heart_rate", 5, 400)
    row["height"], row["weight"] = _body(record, unknown)
    try:
        row["scp_codes"] = (parse_codes if column else parse_statements)(record["scp_codes"])
    except ValueError as error:
        raise RecordError(path, "scp_codes", f"{error} at ecg_id {row['ecg_id']}", REMEDY) from None
    try:
        row["synthetic"] = truth(record.get("synthetic", ""))
    except ValueError as error:
        raise RecordError(path, "synthetic", f"{error} at ecg_id {row['ecg_id']}", REMEDY) from None
    return row if column is None else {**row, column: record[column]}


def _body(record: dict[str, str], unknown: dict[str, int]) -> tuple[float, float]:
    """Return height in cm and weight in kg; NaN for 0, for what no body has, and for both if they look swapped."""
    found = {}
    for name, low, high in (("height", 20, 250), ("weight", 1, 400)):
        try:
            found[name] = number(record.get(name, ""), low, high)
        except ValueError:
            found[name] = np.nan
            unknown[name] += 1
    if found["weight"] > found["height"]:
        unknown.update({name: count + 1 for name, count in unknown.items()})
        return np.nan, np.nan
    return found["height"], found["weight"]


def _source(root: Path, version: str, synthetic: bool) -> str:
    """Return what an export of ours says of its source; synthetic records never come back as real ones."""
    if (root / MANIFEST).is_file():
        source = str(read_manifest(root, LAYOUT).get("source", UNKNOWN))
    else:
        source = "ptb-xl" if version in VERSIONS.values() else UNKNOWN
    return source if not synthetic or says_synthetic(source) else f"synthetic ({source})"


def _read_waves(root: Path, table: pd.DataFrame) -> pd.DataFrame | None:
    path = inside(root, "waves.csv")
    if not path.is_file():
        return None
    waves = read_csv(path, ("ecg_id", "r")).apply(typed)  # a column of words, such as kind, stays text
    wrong = [name for name in ("ecg_id", *WAVE_TIMES) if name in waves and waves[name].dtype == object]
    if wrong or (waves["ecg_id"] % 1 != 0).any():  # NaN fails too
        raise InputError(f"{path} holds something other than numbers in column {(wrong or ['ecg_id'])[0]}; "
                         "delete it or export again")  # fmt: skip
    waves["ecg_id"] = waves["ecg_id"].astype(np.int64)
    return waves[waves["ecg_id"].isin(table["ecg_id"])].reset_index(drop=True)
