"""PhysioNet/CinC Challenge 2021: records of several hospitals with SNOMED CT codes in their headers → `Cohort`."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache, partial
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ecglib.errors import InputError
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_12
from ecglib.signals.readers.metadata import number, one_sinus_rhythm
from ecglib.signals.readers.records import MANY, LeftOut, Reading, check_fs, choose_records, read_all, subset_of
from ecglib.signals.resample import resample
from ecglib.signals.statements import SINUS
from ecglib.signals.table import assign_folds
from ecglib.signals.wfdb_io import RecordError, read_header, read_record

FS, SECONDS = 500, 10.0
PREFIXES = ("HR", "A", "Q", "E", "JS", "S", "I")  # letters of a record's name, by source
IDS_EACH = 100_000  # ecg_ids kept free for each source
SEXES = {"male": 0.0, "m": 0.0, "female": 1.0, "f": 1.0}
NOT_KNOWN = ("", "nan", "unknown")
NO_RULE = {"statement": "", "normal": 0}  # for a code that the table lacks


def read_challenge(root: Path | str, *, fs: int = 100, n: int | None = None, seed: int = 0, strict: bool = False,
                   workers: int | None = None, scratch: Path | None = None) -> Cohort:  # fmt: skip
    """Read the training set of the Challenge, or a part of it.

    Parameters
    ----------
    root : path
        A folder with headers at any depth below it (``training/georgia/g1/E00001.hea``). Links that lead out of it,
        and links to folders, are left out.
    fs : int
        Sampling rate wanted, in Hz; the records' own is 500.
    n : int, optional
        At most so many records, a stratified choice; all headers are read, but only these signals. None: all.
    seed : int
        Seed of that choice and of the folds.
    strict : bool
        A bad record is an error instead of being left out, counted and listed in ``notes["left_out"]``.
    workers, scratch
        Processes, and a folder for the signals: see `read_all`.

    Returns
    -------
    Cohort
        12 leads in mV, of longer records the first 10 s. ``notes["untranslated"]``: code without a statement → records
        with it; ``notes["set_unknown"]``: how many ages and sexes could not be understood. Further columns: ``record``,
        ``origin`` (folder), ``snomed`` (the codes), ``recorded_s`` (before it was cut), ``age_over_89``.

    Raises
    ------
    InputError
        If there is no header below `root`, or no record can be read; under `strict` also for each bad record.

    Notes
    -----
    Source: Reyna et al., CinC 2021; Perez Alday et al., Physiol Meas 41:124003, 2020. Differs: SCP statements
    in place of the codes, by a table of ours (`snomed_table`); infarction without a site, the commonest, has none.

    The Challenge names no patients: each record counts as one, and folds are by record. PTB-XL's records keep their
    ``ecg_id`` (HR00001 is 1), by which its own table gives the patient; the other sources' start at a multiple of
    100,000, in the order of `PREFIXES`. As PTB-XL has several records of some patients, which only its table names, its
    records are in folds 1 to 8, for training, alone: nobody is trained on and judged by. PTB (1000 Hz) and INCART
    (257 Hz) are left out by their sampling rate, on purpose: both have several records of a patient, which folds by
    record would spread, and INCART's codes describe half an hour, not its first 10 s.
    """
    root, left_out = Path(root), LeftOut(strict)
    check_fs(fs, FS, "the Challenge")
    table = _read_headers(root, _find_records(root, left_out), left_out)
    table = table.iloc[choose_records(table, n, seed)].reset_index(drop=True)
    names = table.pop("name").tolist()
    records = read_all(names, partial(_read_record, root, fs), fs, left_out, "challenge-2021", workers=workers,
                       scratch=scratch)  # fmt: skip
    table = table.iloc[records.kept].reset_index(drop=True)
    table["strat_fold"] = assign_folds(table, seed) if len(table) >= 10 else 1
    of_ptbxl = table["ecg_id"] < IDS_EACH
    table.loc[of_ptbxl, "strat_fold"] = 1 + table["ecg_id"] % 8
    codes = Counter(code for text in table["snomed"] for code in text.split())
    notes = {"left_out": left_out.names, "arms_swapped": [names[k] for k in records.arms_swapped],
             "untranslated": {code: count for code, count in codes.most_common() if not to_statements([code])},
             "set_unknown": table.pop("set_unknown").explode().value_counts().to_dict(), "native_fs": FS}  # fmt: skip
    return Cohort(records.x, fs, LEADS_12, table, None, "challenge-2021", notes)


def _find_records(root: Path, left_out: LeftOut) -> list[str]:
    """Return the names of all headers below `root`, without suffix, in order."""

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}")

    names = []
    for folder, folders, found in os.walk(root, onerror=refuse):
        below = Path(folder).relative_to(root)
        for path in ((below / name).as_posix() for name in folders if Path(folder, name).is_symlink()):
            left_out.add(path, RecordError(path, "path", "it is a link to a folder", "put the folder there"))
        names += [(below / name).as_posix().removesuffix(".hea") for name in found if name.endswith(".hea")]
    if not names:
        raise InputError(f"{root} holds no header (.hea); give a folder of the Challenge, such as its training/")
    return [name for name, wanted in zip(sorted(names), subset_of(root, sorted(names)), strict=True) if wanted]


def _read_headers(root: Path, names: list[str], left_out: LeftOut) -> pd.DataFrame:
    """Return a row for each record whose header can be used."""
    rows: dict[int, dict[str, Any]] = {}
    home = root.resolve().name
    for name in tqdm(names, desc="headers", unit="record", disable=len(names) <= MANY):
        try:
            row = _row(root, home, name)
            if (first := rows.setdefault(row["ecg_id"], row)) is not row:
                raise RecordError(name, "record name", f"{first['name']} has it too", "leave one of the two out")
        except RecordError as error:
            left_out.add(name, error)
    if not rows:
        raise InputError(f"{root}: none of {len(names)} headers could be used: {left_out}")
    return pd.DataFrame(list(rows.values()))


def _row(root: Path, home: str, name: str) -> dict[str, Any]:
    *folders, record = ("", *PurePosixPath(name).parts)  # a file may be named ".hea"
    known = re.fullmatch(f"({'|'.join(PREFIXES)})([0-9]{{1,5}})", record)
    if known is None:
        raise RecordError(name, "record name", "it is none of the Challenge's, such as HR00001", "use read_folder")
    path = root / f"{name}.hea"  # a link out of the folder is refused with the signals
    header = read_header(path)
    facts = _facts(header.comments)
    if "dx" not in facts:
        raise RecordError(path, "Dx", "the header has no line '#Dx: codes'")
    ecg_id = IDS_EACH * PREFIXES.index(known[1]) + int(known[2])
    origin = [home, *(folder for folder in folders if not re.fullmatch("(g[0-9]+)?", folder))][-1]
    return {"name": name, "ecg_id": ecg_id, "patient_id": ecg_id, **_patient(facts), "record": record, "origin": origin,
            "scp_codes": to_statements(facts["dx"].split()), "snomed": facts["dx"],
            "recorded_s": header.n_times / FS}  # fmt: skip


def _facts(comments: Sequence[str]) -> dict[str, str]:
    """Read lines such as "Age: 56": name in small letters → text, of ``dx`` the codes, each once, blanks between."""
    facts: dict[str, str] = {}
    for name, text in (line.split(":", 1) for line in comments if ":" in line):
        facts[name.strip().lower()] = f"{facts.get(name.strip().lower(), '')} {text}".strip()
    if "dx" in facts:
        codes = dict.fromkeys(re.split(r"[\s,;]+", facts["dx"]))
        facts["dx"] = " ".join(code for code in codes if code.lower() not in NOT_KNOWN)
    return facts


def _patient(facts: dict[str, str]) -> dict[str, Any]:
    """Return age, age_over_89 and sex; what is given but cannot be understood is NaN and named in set_unknown."""
    age, sex = facts.get("age", "").lower(), facts.get("sex", "").lower()
    over_89, unknown = age in (">89", "300"), [] if sex in SEXES or sex in NOT_KNOWN else ["sex"]
    try:
        years = 90.0 if over_89 else number("" if age in NOT_KNOWN else age, 0, 120)
    except ValueError:
        years, unknown = np.nan, ["age", *unknown]
    return {"age": years, "age_over_89": over_89, "sex": SEXES.get(sex, np.nan), "set_unknown": unknown}


def _read_record(root: Path, fs: int, name: str) -> Reading:
    x, _ = read_record(root, name, fs=FS, seconds=SECONDS, crop=True)
    return Reading(resample(x, FS, fs))


@cache
def snomed_table() -> dict[str, dict[str, Any]]:
    """Return ``tables/snomed_statements.csv``: code → name, statement ('' if none), likelihood, normal (0, 1), note."""
    with files("ecglib.signals").joinpath("tables/snomed_statements.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file, comment="#", keep_default_na=False, dtype={"code": str}, index_col="code")
    return table.assign(likelihood=pd.to_numeric(table["likelihood"]).fillna(0.0)).to_dict("index")


def to_statements(codes: Sequence[str]) -> dict[str, float]:
    """Translate the SNOMED CT codes of one record into SCP statements.

    Parameters
    ----------
    codes : sequence of str
        For example ``["426783006", "270492004"]``; codes without a statement, or not in the table, give none.

    Returns
    -------
    dict of str to float
        Statement → likelihood. ``NORM`` (100) is added for a sinus rhythm of any rate when every code is marked as no
        contradiction to it. ``SR`` is dropped beside another sinus rhythm: the Challenge states both, PTB-XL does not.
    """
    rules = [snomed_table().get(code, NO_RULE) for code in codes]
    found = one_sinus_rhythm({rule["statement"]: rule["likelihood"] for rule in rules if rule["statement"]})
    normal = all(rule["normal"] for rule in rules) and SINUS & set(found)
    return {"NORM": 100.0, **found} if normal else found
