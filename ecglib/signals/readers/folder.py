"""A plain folder of 12-lead WFDB records with a table by its user, ``records.csv`` → `Cohort`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglib.errors import InputError, choose
from ecglib.runs import inside
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_12
from ecglib.signals.readers.metadata import LONGEST_CODES, number, parse_codes, read_csv, truth, typed
from ecglib.signals.readers.records import LeftOut, Reading, check_fs, choose_records, read_all
from ecglib.signals.resample import resample
from ecglib.signals.statements import STATEMENTS
from ecglib.signals.table import assign_folds
from ecglib.signals.wfdb_io import RecordError, inside_or_error, read_header, read_record

TABLE = "records.csv"
SECONDS = 10.0
FASTEST = 10_000  # Hz; assumption: no recorder samples faster
OVER_89 = (">89", "300", "300.0")  # as LUDB and PTB-XL print it
SEXES = {"0": 0, "0.0": 0, "m": 0, "male": 0, "1": 1, "1.0": 1, "f": 1, "female": 1, "": np.nan, "nan": np.nan}


def read_folder(root: Path | str, *, fs: int = 100, n: int | None = None, seed: int = 0, strict: bool = False,
                workers: int | None = None, scratch: Path | None = None) -> Cohort:  # fmt: skip
    """Read a folder of WFDB records that its user describes in ``records.csv``.

    Parameters
    ----------
    root : path
        The folder of ``records.csv``, one row a record. Column ``file`` (path below the folder, without suffix) is
        needed. Read where given: ``scp_codes`` (see `parse_statements`), ``ecg_id``, ``patient_id``, ``age``, ``sex``
        (0, M or male; 1, F or female), ``height``, ``weight``, ``heart_rate``, ``strat_fold``, ``synthetic``,
        ``age_over_89`` (true or false). Others are kept.
    fs : int
        Sampling rate wanted, in Hz; the records' own must not be lower. They last 10 s.
    n : int, optional
        At most so many records: whole patients, a stratified choice. None: all.
    seed : int
        Seed of that choice, and of the folds where the table has none.
    strict : bool
        A bad record is an error instead of being left out, counted and listed in ``notes["left_out"]``.
    workers, scratch
        Processes, and a folder for the signals: see `read_all`.

    Returns
    -------
    Cohort
        12 leads in mV. Without ``ecg_id`` rows are numbered from 1; without ``patient_id`` each is a patient; without
        statements nothing is known of a record (``{}``), which is not "normal". ``source`` is "folder", or "synthetic
        (folder)" where a header or a column ``synthetic`` says so.

    Raises
    ------
    InputError
        If the table is absent or anything in it is wrong (the message gives the row, as spreadsheets count, and the
        column), or no record can be read; under `strict` also for each bad record.
    """
    root, left_out = Path(root), LeftOut(strict)
    check_fs(fs, FASTEST, "any recorder")
    table = _read_table(root)
    table = table.iloc[choose_records(table, n, seed)].reset_index(drop=True)
    names = table["file"].tolist()
    records = read_all(names, partial(_read_record, root, fs), fs, left_out, "folder", workers=workers, scratch=scratch)
    table = table.iloc[records.kept].reset_index(drop=True)
    if "strat_fold" not in table:
        table["strat_fold"] = assign_folds(table, seed) if table["patient_id"].nunique() >= 10 else 1
    said = "synthetic" in table and table["synthetic"].any()
    source = "synthetic (folder)" if said or any(synthetic for synthetic, _ in records.also) else "folder"
    notes = {"left_out": left_out.names, "arms_swapped": [names[k] for k in records.arms_swapped],
             "native_fs": sorted({native for _, native in records.also})}  # fmt: skip
    return Cohort(records.x, fs, LEADS_12, table, None, source, notes)


def _read_record(root: Path, fs: int, name: str) -> Reading:
    path = inside_or_error(root, f"{name}.hea")
    native = read_header(path).fs
    if not (native >= fs and native % 1 == 0):
        raise RecordError(path, "fs", f"its rate is {native:g} Hz; expected a whole one of {fs} or more", "lower fs")
    x, header = read_record(root, name, fs=int(native), seconds=SECONDS)
    synthetic = any("synthetic" in comment.lower() for comment in header.comments)
    return Reading(resample(x, int(native), fs), (synthetic, int(native)))


def parse_statements(text: str) -> dict[str, float]:
    """Read the statements of one record.

    Parameters
    ----------
    text : str
        PTB-XL's way, ``{'NORM': 100.0, 'SR': 0.0}``, or statements with blanks, ``,``, ``;`` or ``+`` between, in
        capitals or not: ``NORM SR``.

    Returns
    -------
    dict of str to float
        Statement → likelihood, 0–100; 0, "present, confidence unknown", where only statements are given.

    Raises
    ------
    ValueError
        If it is anything else; for an unknown statement the message names the nearest.
    """
    if text.startswith("{") or len(text) > LONGEST_CODES:
        return parse_codes(text)
    return {choose("statement", word, STATEMENTS.index): 0.0 for word in re.findall(r"[^\s,;+]+", text.upper())}


def _whole(text: str, low: float, high: float) -> int:
    if not number(text, low, high) % 1 == 0:  # NaN fails too
        raise ValueError(f"{text!r} is not a whole number")
    return int(float(text))


def _given(text: str) -> str:
    if not text:
        raise ValueError("it is empty")
    return text


def _patient(text: str) -> str:
    return re.sub(r"^([0-9]{1,15})\.0+$", r"\1", _given(text))  # a spreadsheet's way to write a number


Column = tuple[Callable[[str], Any], str]  # how its cells are read, and what is expected of them
COLUMNS: Mapping[str, Column] = {
    "ecg_id": (partial(_whole, low=0, high=2**53), "a whole number for each record, or none for any"),
    "patient_id": (_patient, "an id for each record, or none for any"),
    "age": (lambda text: 90.0 if text in OVER_89 else number(text, 0, 120), "0 to 120 years, >89, or nothing"),
    "sex": (lambda text: SEXES[text.lower()], "0, M or male, 1, F or female, or nothing"),
    "height": (partial(number, low=20, high=250), "20 to 250 cm, or nothing"),
    "weight": (partial(number, low=1, high=400), "1 to 400 kg, or nothing"),
    "heart_rate": (partial(number, low=5, high=400), "5 to 400 beats/min, or nothing"),
    "scp_codes": (parse_statements, "SCP statements of PTB-XL, such as NORM SR"),
    "strat_fold": (partial(_whole, low=1, high=10), "a fold from 1 to 10 for each record, or none for any"),
    "synthetic": (truth, "true, false or nothing"),
    "age_over_89": (truth, "true, false or nothing"),
}


def _read_table(root: Path) -> pd.DataFrame:
    path = inside(root, TABLE)
    raw = _read_cells(path)
    table = pd.DataFrame([{"ecg_id": k - 1, "scp_codes": {}, **_row(f"{path}, row {k}", root, cells)}
                          for k, cells in enumerate(raw.to_dict("records"), start=2)])  # fmt: skip
    if "patient_id" not in table:
        table["patient_id"] = table["ecg_id"]
    elif table["patient_id"].str.fullmatch("[1-9][0-9]{0,14}").all():
        table["patient_id"] = table["patient_id"].astype(np.int64)
    for name in ("file", "ecg_id"):
        twice = np.flatnonzero(table[name].duplicated())
        if len(twice):
            raise InputError(f"{path}, row {twice[0] + 2}, column {name}: {table[name][twice[0]]} is there twice")
    if "strat_fold" in table:
        folds = table.groupby("patient_id")["strat_fold"].nunique()
        if (folds > 1).any():
            raise InputError(f"{path}, column strat_fold: patient_id {folds.idxmax()} is in {folds.max()} folds; give "
                             "all records of a patient the same one")  # fmt: skip
    if "age" in table:
        table["age_over_89"] = raw["age"].isin(OVER_89) | table.get("age_over_89", False)
    return table.assign(**{name: typed(raw[name]) for name in raw if name not in table})


def _read_cells(path: Path) -> pd.DataFrame:
    """Return the table as text, without empty columns; names that we know in small letters."""
    raw = read_csv(path, ("file",))
    names = [name.strip().lower() if name.strip().lower() in COLUMNS else name.strip() for name in raw]
    twice = [name for name in COLUMNS if names.count(name) > 1 or f"{name}.1" in names]
    if twice:
        raise InputError(f"{path}: column {twice[0]} is there twice; keep one")
    raw.columns = pd.Index(names)
    return raw.loc[:, (raw != "").any() | (raw.columns == "file")]


def _row(where: str, root: Path, cells: dict[str, str]) -> dict[str, Any]:
    path: Column = (partial(_file, root), f"a record's path below {root}, without suffix")
    row: dict[str, Any] = {}
    for name, (read, expected) in {"file": path, **COLUMNS}.items():
        if name not in cells:
            continue
        try:
            row[name] = read(cells[name])
        except (ValueError, KeyError) as error:
            raise InputError(f"{where}, column {name}: {error}; expected {expected}") from None
    if row.get("weight", 0) > row.get("height", np.inf):
        raise InputError(f"{where}: height {row['height']:g} and weight {row['weight']:g} look exchanged; correct them")
    return row


def _file(root: Path, text: str) -> str:
    inside_or_error(root, _given(text))
    return text.removesuffix(".hea")
