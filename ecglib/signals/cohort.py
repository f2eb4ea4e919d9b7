"""Cohort: ECG signals and the table that describes them; validated, split by patient, saved, memory-mapped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglib.errors import InputError
from ecglib.runs import atomic_folder, check_replaceable, read_manifest, sha256_of, write_manifest
from ecglib.signals.leads import LEADS_12, canonical_lead
from ecglib.signals.microvolts import Microvolts, save_signals
from ecglib.signals.statements import STATEMENTS
from ecglib.signals.table import check_table

TRAIN_FOLDS, VALIDATION_FOLD, TEST_FOLD = tuple(range(1, 9)), 9, 10
HASHED = 1 << 30  # bytes: larger signals are not read when a cohort is opened


@dataclass(frozen=True)
class Cohort:
    """ECG records of one sampling rate, length and lead order, with PTB-XL's columns.

    Parameters
    ----------
    x : float32 (n_records, n_leads, n_times)
        Signals in mV; an array, or `Microvolts` over a memory-mapped file.
    fs : int
        Sampling rate in Hz.
    leads : tuple of str
        Lead names in the usual spelling.
    table : DataFrame, one row a record
        ``ecg_id`` (int, unique), ``patient_id``, ``age`` in years, ``sex`` (0 male, 1 female), ``height`` in cm,
        ``weight`` in kg, ``heart_rate`` in beats/min, ``scp_codes`` (dict: statement → likelihood 0–100, where 0
        means "present, confidence unknown"), ``strat_fold`` (1–10). Unknown values are NaN. Other columns are kept.
        Without ``patient_id`` every record counts as a patient of its own; without ``strat_fold`` all are in fold 1:
        see `assign_folds`.
    waves : DataFrame or None, one row a beat
        What is known of the truth: ``ecg_id`` and times in s from the record's start: ``p_on``, ``p_peak``,
        ``p_off``, ``qrs_on``, ``r``, ``qrs_off``, ``t_peak``, ``t_off``; NaN where a wave is absent, QRS too if a P
        wave was blocked. Virtual patients add ``kind``, what sort of beat it is.
    source : str
        Where the records come from.
    notes : dict
        JSON values kept with the cohort, for example records left out, by reason.

    Raises
    ------
    InputError
        If shapes, leads, values or columns are not as described; the message names the column and the records.
    """

    x: np.ndarray | Microvolts
    fs: int
    leads: tuple[str, ...]
    table: pd.DataFrame
    waves: pd.DataFrame | None = None
    source: str = "unnamed"
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_signals(self.x, self.fs, self.leads)
        if len(self.table) != len(self.x):
            raise InputError(f"table has {len(self.table)} rows for {len(self.x)} records in x")
        object.__setattr__(self, "fs", int(self.fs))  # JSON knows no integers of NumPy's
        object.__setattr__(self, "leads", tuple(canonical_lead(name) for name in self.leads))
        object.__setattr__(self, "table", check_table(self.table))

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        seconds = self.x.shape[2] / self.fs
        patients = self.table["patient_id"].nunique()
        return (f"Cohort({self.source}: {len(self)} records of {patients} patients, {len(self.leads)} leads, "
                f"{seconds:g} s at {self.fs} Hz)")  # fmt: skip

    def select(self, rows: Sequence[int] | np.ndarray | pd.Series) -> Cohort:
        """Return the records at `rows`: positions, or a boolean mask over all records.

        Raises
        ------
        InputError
            If a mask has another length, a position is no whole number or beyond the cohort, or a record is named
            twice (ecg_id must stay unique).
        """
        rows = np.asarray(rows)
        if rows.dtype == bool:
            if len(rows) != len(self):
                raise InputError(f"rows is a mask of length {len(rows)}; expected {len(self)}, one per record")
            rows = np.flatnonzero(rows)
        if rows.size and (rows.dtype.kind not in "iu" or not (-len(self) <= rows.min() <= rows.max() < len(self))):
            raise InputError(f"rows={rows!r:.80}; expected whole numbers from {-len(self)} to {len(self) - 1}, or a "
                             "mask")  # fmt: skip
        rows = rows.astype(np.int64)
        table = self.table.iloc[rows].reset_index(drop=True)
        x = self.x.take(rows) if isinstance(self.x, Microvolts) else self.x[rows]
        waves = None if self.waves is None else self.waves[self.waves["ecg_id"].isin(table["ecg_id"])]
        return replace(self, x=x, table=table, waves=waves)

    def folds(self, *numbers: int) -> Cohort:
        """Return the records whose ``strat_fold`` is one of `numbers` (1–8 train, 9 validation, 10 test)."""
        return self.select(self.table["strat_fold"].isin(numbers))

    def split(self) -> tuple[Cohort, Cohort, Cohort]:
        """Return (train, validation, test): folds 1–8, 9 and 10, proven to share no patient.

        Raises
        ------
        InputError
            If a part is empty, or a patient has records in more than one of the three.
        """
        parts = self.folds(*TRAIN_FOLDS), self.folds(VALIDATION_FOLD), self.folds(TEST_FOLD)
        for part, name in zip(parts, ("folds 1–8 (training)", "fold 9 (validation)", "fold 10 (test)"), strict=True):
            if not len(part):
                raise InputError(f"column strat_fold: no record is in {name}; see ecglib.signals.assign_folds")
        check_disjoint(*parts)
        return parts

    def has(self, statement: str) -> np.ndarray:
        """Return a boolean (n_records,) array: which records carry the SCP statement `statement`."""
        if statement not in STATEMENTS.index:
            raise InputError(f"statement {statement!r} is not one of the 71 SCP statements of PTB-XL")
        return self.table["scp_codes"].map(lambda codes: statement in codes).to_numpy(bool)

    def save(self, folder: Path | str, **provenance: Any) -> None:
        """Write the cohort: ``signals.npy`` (int16 µV), ``table.csv``, ``waves.csv`` and, last, the manifest.

        Parameters
        ----------
        folder : path
            Replaced as a whole; an interrupted save changes nothing.
        **provenance
            JSON values for the manifest.

        Raises
        ------
        InputError
            If a value exceeds ±32.767 mV, a column holds what JSON cannot, or `folder` holds something else.
        """
        check_replaceable(folder, "cohort")
        with atomic_folder(folder) as temporary:
            save_signals(self.x, temporary / "signals.npy")
            table, coded = _without_objects(self.table)
            text = {name: np.flatnonzero(table[name].isna()).tolist() for name in table if table[name].dtype == object}
            table.to_csv(temporary / "table.csv", index=False)
            if self.waves is not None:
                self.waves.to_csv(temporary / "waves.csv", index=False, float_format="%.4f")
            files = {path.name: sha256_of(path) for path in sorted(temporary.iterdir())}
            write_manifest(temporary, "cohort", fs=self.fs, leads=list(self.leads), source=self.source,
                           notes=self.notes, n_records=len(self), text=text, json=coded, sha256=files,
                           **provenance)  # fmt: skip

    @staticmethod
    def load(folder: Path | str) -> Cohort:
        """Open a saved cohort; signals stay on disk until they are read.

        Raises
        ------
        InputError
            If the folder was not written whole, or a file is not the one in its manifest. Signals of more than 1 GiB
            are not read for that: only their size is looked at.
        """
        folder = Path(folder)
        manifest = read_manifest(folder, "cohort")
        _check_files(folder, manifest)
        table = _read_table(folder / "table.csv", manifest.get("text", {}))
        for name in manifest.get("json", ["scp_codes"]):
            table[name] = [np.nan if value is None else value for value in table[name].map(json.loads)]
        waves = pd.read_csv(folder / "waves.csv") if "waves.csv" in manifest["sha256"] else None
        counts = np.load(folder / "signals.npy", mmap_mode="r", allow_pickle=False)
        return Cohort(Microvolts(counts), manifest["fs"], tuple(manifest["leads"]), table, waves,
                      manifest["source"], manifest["notes"])  # fmt: skip


def _check_files(folder: Path, manifest: dict[str, Any]) -> None:
    """Raise `InputError` unless each file that the manifest names is there and unchanged."""
    shape = (manifest["n_records"], len(manifest["leads"]))
    for name, digest in ({"signals.npy": "", "table.csv": ""} | manifest.get("sha256", {})).items():
        path = folder / name
        if not path.exists() or not _is_whole(path, digest, shape):
            found = "not what its manifest names" if path.exists() else "not there"
            raise InputError(f"{path} is {found}; restore it, or delete the folder and make it again")


def _is_whole(path: Path, digest: str, shape: tuple[int, int]) -> bool:
    if path.stat().st_size <= HASHED or path.suffix != ".npy":
        return sha256_of(path) == digest
    try:
        counts = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):  # cut off, or empty
        return False
    return counts.dtype == np.int16 and counts.shape[:2] == shape


def _read_table(path: Path, text: dict[str, list[int]]) -> pd.DataFrame:
    """Read a saved table; `text` names the columns of text and the rows in which each is unknown, so that none of
    "007", "NA" and "" turns into something else."""
    table = pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=False,
                        na_values={name: [""] for name in pd.read_csv(path, nrows=0).columns if name not in text})
    for name, unknown in text.items():
        table.loc[unknown, name] = np.nan
    return table


def _without_objects(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the table with columns of neither numbers nor text, such as ``scp_codes``, as JSON, and their names."""
    coded = [name for name, column in table.items() if column.dtype == object
             and not column.dropna().map(lambda value: isinstance(value, str)).all()]  # fmt: skip
    table = table.copy()
    for name in coded:
        plain = [value.item() if isinstance(value, np.generic) else value for value in table[name]]
        unknown = table[name].isna()
        try:
            table[name] = [json.dumps(None if gap else value, sort_keys=True)
                           for value, gap in zip(plain, unknown, strict=True)]  # fmt: skip
        except (TypeError, ValueError) as error:
            raise InputError(f"column {name} cannot be stored: {error}; make it numbers or text") from None
    return table, coded


def check_signals(x: np.ndarray | Microvolts, fs: int, leads: Sequence[str]) -> None:
    """Raise `InputError` unless x is a finite float32 (n_records, n_leads, n_times) array that fits fs and leads."""
    if x.ndim != 3:
        raise InputError(f"x has shape {tuple(x.shape)}; expected (n_records, n_leads, n_times)")
    if isinstance(fs, bool) or not isinstance(fs, int | np.integer) or fs <= 0:
        raise InputError(f"fs={fs!r}; expected a positive whole number of Hz")
    names = [canonical_lead(name) for name in leads]
    if len(set(names)) != len(names) or len(names) != x.shape[1]:
        raise InputError(f"leads={list(leads)} for {x.shape[1]} leads in x; expected as many names, each once")
    if isinstance(x, Microvolts):
        return  # int16 is finite, and was checked when it was saved
    if x.dtype != np.float32:
        raise InputError(f"x is of dtype {x.dtype}; expected float32, in mV")
    bad = np.flatnonzero(~np.isfinite(x).all(axis=(1, 2)))
    if len(bad):
        raise InputError(f"x holds NaN or inf in {len(bad)} of {len(x)} records, first at position {bad[0]}")


def check_disjoint(*parts: Cohort) -> None:
    """Raise `InputError` if two of the cohorts share a patient."""
    for k, first in enumerate(parts):
        for second in parts[k + 1 :]:
            shared = set(first.table["patient_id"]) & set(second.table["patient_id"])
            if shared:
                raise InputError(f"{len(shared)} patients are in two folds, first patient_id {min(shared, key=str)}; "
                                 "give all records of a patient the same strat_fold")  # fmt: skip


def is_twelve_lead(cohort: Cohort) -> bool:
    """Tell whether the cohort has the twelve standard leads in the standard order."""
    return cohort.leads == LEADS_12
