"""What is fetched of each project: the lists and tables first, then the records, all of them or a stratified choice."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from ecglib.errors import InputError, choose
from ecglib.signals.readers.ludb import FINDINGS, to_statements
from ecglib.signals.readers.metadata import parse_codes, read_csv
from ecglib.signals.readers.records import choose_records

SUMS = "SHA256SUMS.txt"
ALSO = ("LICENSE.txt", "README", "README.md", "RECORDS", "ANNOTATORS")  # fetched where they are listed
RHYTHMS = ("pac(?:e|ing)", "atrial fibrillation", "atrial flutter", "sinus")  # of MIMIC's machine report: its strata
CHALLENGE = ("chapman_shaoxing", "cpsc_2018", "cpsc_2018_extra", "georgia", "ningbo", "ptb-xl")


@dataclass(frozen=True)
class Project:
    """A project of PhysioNet, open to everyone.

    Parameters
    ----------
    version : str
        Name and version, as in its address.
    licence : str
        Of the data.
    tables : tuple of str
        Files that the reader needs beside the records.
    folders : tuple of str
        Where the records lie.
    record_bytes : int
        About what one record takes, from its format: 12 leads × 10 s × 500 Hz × 2 bytes, and 1000 for its header.
    """

    version: str
    licence: str
    tables: tuple[str, ...]
    folders: tuple[str, ...]
    record_bytes: int = 121_000


PROJECTS = {
    "ptb-xl": Project("ptb-xl/1.0.3", "CC BY 4.0", ("ptbxl_database.csv", "scp_statements.csv"), ("records100/",)),
    "ludb": Project("ludb/1.0.1", "ODC-BY 1.0", ("ludb.csv",), ("data/",)),
    "mimic-iv-ecg": Project("mimic-iv-ecg/1.0", "ODbL 1.0", ("record_list.csv", "machine_measurements.csv"),
                            ("files/",)),
    # records of CPSC last up to minutes: 130 kB is an assumption; two small sources with other lengths are left out
    "challenge-2021": Project("challenge-2021/1.0.3", "CC BY 4.0", (),
                              tuple(f"training/{name}/" for name in CHALLENGE), 130_000),
}  # fmt: skip


def project_of(cohort: str, fs: int) -> Project:
    """Return the project of a cohort; PTB-XL's records of `fs` = 100 or 500 Hz, the others' own 500 Hz.

    Raises
    ------
    InputError
        If there is no such cohort, or PTB-XL has no records of that sampling rate.
    """
    project = PROJECTS[choose("COHORT", cohort, PROJECTS)]
    if cohort != "ptb-xl":
        return project
    if fs not in (100, 500):
        raise InputError(f"fs={fs!r}; PTB-XL has records of 100 and of 500 Hz")
    return replace(project, folders=(f"records{fs}/",), record_bytes=fs * 10 * 12 * 2 + 1000)


def record_of(name: str) -> str:
    """Return the record that a file belongs to: its path without the suffix."""
    return str(PurePosixPath(name).with_suffix(""))


def read_sums(path: Path, wanted: Callable[[str], bool]) -> dict[str, str]:
    """Read some lines of a SHA256SUMS.txt.

    Parameters
    ----------
    path : Path
        Lines of 64 hexadecimal digits, a blank, a blank or ``*`` or nothing, and a path.
    wanted : callable
        Which paths to keep; MIMIC-IV-ECG lists 1.6 million.

    Returns
    -------
    dict of str to str
        Path → SHA-256 in lower case, in the file's order. Paths are not to be trusted.

    Raises
    ------
    InputError
        If a line is not of this form, or one path has two sums.
    """
    sums: dict[str, str] = {}
    with open(path, encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            line = line.strip("\ufeff \r\n")
            if not line:
                continue
            found = re.fullmatch(r"([0-9a-fA-F]{64}) [ *]?(\S.*)", line)
            if not found:
                raise InputError(f"{path} line {number} is {line[:60]!r}; expected a SHA-256 and a path; delete it")
            digest, name = found[1].lower(), found[2]
            if wanted(name) and sums.setdefault(name, digest) != digest:
                raise InputError(f"{path} line {number}: {name} has two different sums; delete this list")
    return sums


def choose_subset(cohort: str, folder: Path, n: int, seed: int) -> set[str]:
    """Choose at most `n` records: whole patients, strata in proportion, the same for a seed.

    Parameters
    ----------
    cohort : str
        A key of `PROJECTS`.
    folder : Path
        Holds the project's tables and list of sums.
    n : int
        Records wanted.
    seed : int
        Seed of the choice.

    Returns
    -------
    set of str
        Records. Strata are superclasses and folds (PTB-XL), superclasses of the findings (LUDB), the rhythm that the
        machine's report names (MIMIC-IV-ECG), the source (Challenge, which tells nothing of patients: there each
        record counts as one).

    Raises
    ------
    InputError
        If a table cannot be read, or every patient has more than `n` records.
    """
    table = _TABLES[cohort](folder)
    table["ecg_id"] = range(len(table))
    chosen = table.iloc[choose_records(table, n, seed)]
    return {*chosen["record"], *chosen.get("other", ())} - {""}


# Each table has a row a record: record, patient_id, scp_codes; strat_fold may be any label, and makes strata as well.


def _ptbxl(folder: Path) -> pd.DataFrame:
    path = folder / "ptbxl_database.csv"
    raw = read_csv(path, ("patient_id", "scp_codes", "strat_fold", "filename_lr", "filename_hr"))
    try:
        raw["scp_codes"] = raw["scp_codes"].map(parse_codes)
    except ValueError as error:
        raise InputError(f"{path}: scp_codes: {error}; delete it and run the same command again") from None
    return raw.rename(columns={"filename_lr": "record", "filename_hr": "other"})


def _ludb(folder: Path) -> pd.DataFrame:
    raw = read_csv(folder / "ludb.csv", ("ID", *FINDINGS))
    findings = raw[list(FINDINGS)].agg("\n".join, axis=1).str.split("\n")
    codes = findings.map(lambda lines: to_statements([line.strip() for line in lines if line.strip()]))
    return pd.DataFrame({"record": "data/" + raw["ID"], "patient_id": raw["ID"], "scp_codes": codes})


def _mimic(folder: Path) -> pd.DataFrame:
    machine = read_csv(folder / "machine_measurements.csv", ("study_id", "report_0"))
    report = machine["report_0"].str.cat(machine.filter(like="report_"), sep=" ").str.lower()
    rhythm = np.select([report.str.contains(name) for name in RHYTHMS], RHYTHMS, "other").tolist()
    of_study = dict(zip(machine["study_id"], rhythm, strict=True))
    raw = read_csv(folder / "record_list.csv", ("subject_id", "study_id", "path"))
    return pd.DataFrame({"record": raw["path"], "patient_id": raw["subject_id"], "scp_codes": [{}] * len(raw),
                         "strat_fold": raw["study_id"].map(of_study)})  # fmt: skip


def _challenge(folder: Path) -> pd.DataFrame:
    folders = PROJECTS["challenge-2021"].folders
    headers = read_sums(folder / SUMS, lambda name: name.startswith(folders) and name.endswith(".hea"))
    record = pd.Series([record_of(name) for name in headers], dtype=str)
    return pd.DataFrame({"record": record, "patient_id": record, "scp_codes": [{}] * len(record),
                         "strat_fold": record.str.split("/").str[1]})  # fmt: skip


_TABLES = {"ptb-xl": _ptbxl, "ludb": _ludb, "mimic-iv-ecg": _mimic, "challenge-2021": _challenge}
