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
from ecglib.signals.statements import STATEMENTS
from ecglib.signals.table import check_table

TRAIN_FOLDS, VALIDATION_FOLD, TEST_FOLD = tuple(range(1, 9)), 9, 10
LARGEST_MV = 32.767  # int16 microvolts
ROWS_AT_ONCE = 512
HASHED = 1 << 30  # bytes: larger signals are not read when a cohort is opened


class Microvolts:
    """Signals kept as int16 µV (usually memory-mapped), read as float32 mV.

    Indexed like an array of shape (n_records, n_leads, n_times); only the rows asked for are read.
    """

    dtype, ndim = np.dtype(np.float32), 3

    def __init__(self, counts: np.ndarray, rows: np.ndarray | None = None) -> None:
        self.counts = counts
        self.rows = np.arange(len(counts)) if rows is None else np.asarray(rows)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_records, n_leads, n_times)."""
        return (len(self.rows), *self.counts.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> np.ndarray:
        first, *rest = key if isinstance(key, tuple) else (key,)
        rows = self.rows[first]
        block = self.counts[rows]
        if rest:
            block = block[tuple(rest)] if np.ndim(rows) == 0 else block[(slice(None), *rest)]
        return np.asarray(block, dtype=np.float32) * np.float32(1e-3)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)

    def take(self, rows: np.ndarray) -> Microvolts:
        """Return the same memory, other rows."""
        return Microvolts(self.counts, self.rows[rows])


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
            If a mask has another length, or a record is named twice (ecg_id must stay unique).
        """
        rows = np.asarray(rows)
        if rows.dtype == bool:
            if len(rows) != len(self):
                raise InputError(f"rows is a mask of length {len(rows)}; expected {len(self)}, one per record")
            rows = np.flatnonzero(rows)
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
            If a value exceeds ±32.767 mV, or `folder` holds something other than a cohort.
        """
        check_replaceable(folder, "cohort")
        with atomic_folder(folder) as temporary:
            _save_signals(self.x, temporary / "signals.npy")
            table = self.table.assign(scp_codes=self.table["scp_codes"].map(lambda c: json.dumps(c, sort_keys=True)))
            text = {name: np.flatnonzero(table[name].isna()).tolist() for name in table if table[name].dtype == object}
            table.to_csv(temporary / "table.csv", index=False)
            if self.waves is not None:
                self.waves.to_csv(temporary / "waves.csv", index=False, float_format="%.4f")
            files = {path.name: sha256_of(path) for path in sorted(temporary.iterdir())}
            write_manifest(temporary, "cohort", fs=self.fs, leads=list(self.leads), source=self.source,
                           notes=self.notes, n_records=len(self), text=text, sha256=files, **provenance)  # fmt: skip

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
        table["scp_codes"] = table["scp_codes"].map(json.loads)
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
    if path.stat().st_size <= HASHED:
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


def _save_signals(x: np.ndarray | Microvolts, path: Path) -> None:
    """Write int16 µV block by block, without mapping the file: memory does not grow with the number of records."""
    with open(path, "wb") as file:
        np.lib.format.write_array_header_2_0(file, {"descr": "<i2", "fortran_order": False, "shape": tuple(x.shape)})
        for start in range(0, len(x), ROWS_AT_ONCE):
            file.write(in_microvolts(x, slice(start, start + ROWS_AT_ONCE)).tobytes())


def in_microvolts(x: np.ndarray | Microvolts, rows: slice) -> np.ndarray:
    """Return int16 (n_rows, n_leads, n_times): those records in µV; `InputError` above ±32.767 mV."""
    if isinstance(x, Microvolts):
        return x.counts[x.rows[rows]]
    block = np.asarray(x[rows])
    largest = float(np.abs(block).max(initial=0))
    if largest > LARGEST_MV:
        raise InputError(f"x reaches {largest:.1f} mV; int16 microvolts hold ±{LARGEST_MV} mV: is x in millivolts?")
    return np.rint(block * 1000).astype("<i2")


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
                raise InputError(f"{len(shared)} patients are in two folds, first patient_id {min(shared)}; "
                                 "give all records of a patient the same strat_fold")  # fmt: skip


def is_twelve_lead(cohort: Cohort) -> bool:
    """Tell whether the cohort has the twelve standard leads in the standard order."""
    return cohort.leads == LEADS_12
