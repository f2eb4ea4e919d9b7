"""One call for any cohort."""

from __future__ import annotations

import os
from pathlib import Path

from ecglib.errors import InputError, choose, whole
from ecglib.preflight import COHORTS, find_records
from ecglib.signals import readers
from ecglib.signals.cohort import Cohort
from ecglib.signals.virtual import virtual_cohort

SOURCES = COHORTS
SECONDS = 10.0  # of the real cohorts
READERS = {"ludb": readers.read_ludb, "ptb-xl": readers.read_ptbxl, "mimic-iv-ecg": readers.read_mimic,
           "challenge-2021": readers.read_challenge, "folder": readers.read_folder}  # fmt: skip


def load_cohort(source: str, *, root: str | os.PathLike[str] | None = None, n: int | None = None, seed: int = 0,
                fs: int = 100, seconds: float = SECONDS, population: str = "ptb-xl", workers: int | None = None,
                scratch: Path | None = None) -> Cohort:  # fmt: skip
    """Make or read a cohort.

    Parameters
    ----------
    source : {"virtual", "ludb", "ptb-xl", "mimic-iv-ecg", "challenge-2021", "folder"}
        Virtual patients (made here), or real records.
    root : path, optional
        The folder of the real records; None: where ``make data`` puts them. None for virtual patients.
    n : int, optional
        Virtual patients' records to make (needed there), or at most so many real ones; None: all.
    seed : int
        Seed of the patients, or of the choice of records.
    fs : int
        Sampling rate in Hz.
    seconds : float
        Length of a record; the real ones last 10 s.
    population : {"ptb-xl", "teaching"}
        Which virtual patients: see `virtual_cohort`. Real records are what they are.
    workers : int, optional
        Processes; None: one a core where it pays. The result does not depend on it.
    scratch : path, optional
        Folder for the signals of real records until the cohort is saved: see `read_all`. None: in memory.

    Returns
    -------
    Cohort
        12 leads in mV.

    Raises
    ------
    InputError
        If `source` is unknown, `root` does not hold its records (the message says how to get them), `seconds` is not
        the length of the real records, or a reader refuses what it finds.
    """
    choose("source", source, SOURCES)
    folder = find_records(source, root)
    if folder is None:
        if n is None:
            raise InputError("n=None; say how many records of virtual patients to make")
        n = whole("n", n, 1, 10_000_000)
        return virtual_cohort(n, seed=seed, fs=fs, seconds=seconds, population=population, workers=workers,
                              progress=n > 200)  # fmt: skip
    if seconds != SECONDS:
        raise InputError(f"seconds={seconds!r}; the records of {source} last {SECONDS:g} s")
    return READERS[source](folder, fs=fs, n=n, seed=seed, workers=workers, scratch=scratch)
