"""One call for any cohort."""

from __future__ import annotations

import os

from ecglib.errors import InputError, choose
from ecglib.preflight import COHORTS, find_records
from ecglib.signals.cohort import Cohort

SOURCES = COHORTS
SECONDS = 10.0  # of the real cohorts


def load_cohort(source: str, *, root: str | os.PathLike[str] | None = None, n: int | None = None, seed: int = 0,
                fs: int = 100, seconds: float = SECONDS) -> Cohort:  # fmt: skip
    """Make or read a cohort.

    Parameters
    ----------
    source : {"virtual", "ludb", "ptb-xl"}
        Virtual patients (made here), or real records.
    root : path, optional
        The folder of the real records; none for virtual patients.
    n : int, optional
        Virtual patients' records to make (needed there), or at most so many real ones; None: all.
    seed : int
        Seed of the patients, or of the choice of records.
    fs : int
        Sampling rate in Hz.
    seconds : float
        Length of a record; the real ones last 10 s.

    Returns
    -------
    Cohort
        12 leads in mV.

    Raises
    ------
    InputError
        If `source` is unknown, `root` does not hold its records (the message says how to give it), `seconds` is not
        the length of the real records, or a reader refuses what it finds.
    """
    choose("source", source, SOURCES)
    folder = find_records(source, root)
    if folder is None:
        if n is None:
            raise InputError("n=None; say how many records of virtual patients to make")
        from ecglib.signals.readers.records import SHOW_PROGRESS_OVER
        from ecglib.signals.virtual import virtual_cohort

        return virtual_cohort(n, seed=seed, fs=fs, seconds=seconds, progress=n > SHOW_PROGRESS_OVER)
    if seconds != SECONDS:
        raise InputError(f"seconds={seconds!r}; the records of {source} last {SECONDS:g} s")
    from ecglib.signals.readers import read_ludb, read_ptbxl

    return (read_ludb if source == "ludb" else read_ptbxl)(folder, fs=fs, n=n, seed=seed)
