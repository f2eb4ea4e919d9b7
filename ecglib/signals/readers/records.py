"""What all readers share: reading many records, counting those left out, choosing a subset by patient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ecglib.errors import LARGEST_SEED, InputError, whole
from ecglib.parallel import chunked, in_order
from ecglib.signals.microvolts import LARGEST_MV, Microvolts
from ecglib.signals.quality import arms_swapped
from ecglib.signals.statements import superclasses
from ecglib.signals.wfdb_io import RecordError

MANY = 400  # records, above which several processes and a progress bar are worth their start
CHUNK = 100  # records a process reads at a time
SUBSET = "RECORDS.subset"  # what `make data N=…` leaves in the folder


@dataclass
class LeftOut:
    """Records that could not be used, by reason; under `strict` the first of them is an error."""

    strict: bool
    first: RecordError | None = None
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, error: RecordError) -> None:
        """Note that `name` is left out, or raise `error` under `strict`."""
        if self.strict:
            raise error
        self.first = self.first or error
        self.names.setdefault(error.reason, []).append(name)

    def __str__(self) -> str:
        counts = "; ".join(f"{reason}: {len(names)}" for reason, names in self.names.items())
        return f"{counts}; the first: {self.first}" if self.first else "nothing"


def check_fs(fs: int, native: int, cohort: str) -> None:
    """Raise `InputError` unless fs, in Hz, is a whole number up to the cohort's own sampling rate."""
    if isinstance(fs, bool) or not isinstance(fs, int | np.integer) or not 50 <= fs <= native:
        raise InputError(f"fs={fs!r}; expected a whole number of Hz, 50 to {native}, the sampling rate of {cohort}")


@dataclass(frozen=True)
class Reading:
    """What reading one record gives: x, float32 (12, L) in mV, and whatever else its reader wants to keep."""

    x: np.ndarray
    also: Any = None


@dataclass(frozen=True)
class Records:
    """What reading many records gives.

    Parameters
    ----------
    x : float32 (n_read, 12, L)
        In mV, rounded to microvolts, as cohorts are kept; `Microvolts` on disk where a folder was given for them.
    kept : list of int
        Which of the names were read, by position.
    also : list
        Their ``Reading.also``.
    arms_swapped : list of int
        Of those names, the ones whose arm electrodes look exchanged (`quality.arms_swapped`), by position.
    """

    x: np.ndarray | Microvolts
    kept: list[int]
    also: list[Any]
    arms_swapped: list[int]


def read_all(names: Sequence[str], read: Callable[[str], Reading], fs: int, left_out: LeftOut, label: str, *,
             workers: int | None = None, scratch: Path | None = None) -> Records:  # fmt: skip
    """Read records, in several processes where there are many of them.

    Parameters
    ----------
    names : sequence of str
        What `read` is called with.
    read : callable
        Returns a `Reading`, all of one length, or raises `RecordError`. Called in other processes, so that what it
        changes outside itself is lost: what is to be kept goes into ``Reading.also``.
    fs : int
        Sampling rate in Hz of what `read` returns.
    left_out : LeftOut
        Takes what could not be read, and each record whose signal is that of an earlier one, to the microvolt.
    label : str
        What is being read, for the progress bar and messages.
    workers : int, optional
        Processes; None: one a core for many records, one for few.
    scratch : path, optional
        Folder for a nameless file that holds the signals, so that memory does not grow with their number; it goes when
        they are let go. None: they are returned in memory.

    Returns
    -------
    Records

    Raises
    ------
    InputError
        If no record could be read.
    """
    many = len(names) > MANY
    chunks = chunked(list(enumerate(names)), CHUNK)
    outcomes = chain.from_iterable(in_order(partial(_read_chunk, read, fs), chunks, workers=workers if many else 1,
                                            label=f"reading {label}", progress=many))  # fmt: skip
    kept: list[int] = []
    also: list[Any] = []
    swapped: list[int] = []
    first_of: dict[bytes, int] = {}
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=scratch) as file:
        for position, outcome in outcomes:
            name = names[position]
            if isinstance(outcome, RecordError):
                left_out.add(name, outcome)
            elif (first := first_of.setdefault(outcome.digest, position)) != position:
                left_out.add(name, RecordError(name, "duplicate signal", f"it is the signal of {names[first]}",
                                               "leave one of the two out"))  # fmt: skip
            else:
                file.write(outcome.counts.tobytes())
                shape = outcome.counts.shape
                kept.append(position)
                also.append(outcome.also)
                if outcome.arms_swapped:
                    swapped.append(position)
        if not kept:
            raise InputError(f"none of {len(names)} records of {label} could be read: {left_out}")
        file.flush()
        signals = Microvolts(np.asarray(np.memmap(file, "<i2", mode="r", shape=(len(kept), *shape))))
    return Records(signals[:] if scratch is None else signals, kept, also, swapped)


class _Read(NamedTuple):
    """A record read: int16 counts (12, L) in µV, their hash, a suspicion, and what else its reader keeps."""

    counts: np.ndarray
    digest: bytes
    arms_swapped: bool
    also: Any


def _read_chunk(read: Callable[[str], Reading], fs: int, chunk: Sequence[tuple[int, str]]
                ) -> list[tuple[int, _Read | RecordError]]:  # fmt: skip
    outcomes: list[tuple[int, _Read | RecordError]] = []
    for position, name in chunk:
        try:
            reading = read(name)
            if not np.abs(reading.x).max() <= LARGEST_MV:  # resampling overshoots at edges
                raise RecordError(name, "amplitude", f"resampled, a value exceeds ±{LARGEST_MV} mV", "correct the gain")
        except RecordError as error:
            outcomes.append((position, error))
        else:
            counts = np.rint(reading.x * 1000).astype("<i2")
            digest = blake2b(counts.tobytes(), digest_size=16).digest()
            outcomes.append((position, _Read(counts, digest, arms_swapped(reading.x, fs), reading.also)))
    return outcomes


def subset_of(root: Path, names: Sequence[str]) -> np.ndarray:
    """Return bool (n_names,): which records are wanted of a folder that `make data N=…` filled in part.

    All are, unless there is a file ``RECORDS.subset``, which then lists them, one name a line.

    Raises
    ------
    InputError
        If that file names none of `names`.
    """
    path = root / SUBSET
    if not path.is_file():
        return np.ones(len(names), bool)
    wanted = set(path.read_text(encoding="utf-8").split("\n"))
    found = np.array([name in wanted for name in names], bool)
    if not found.any():
        raise InputError(f"{path} names none of the {len(names)} records of its table; delete it, or run `make data` "
                         "again")  # fmt: skip
    return found


def choose_records(table: pd.DataFrame, n: int | None, seed: int) -> np.ndarray:
    """Return the positions of at most `n` records: whole patients, strata in proportion, the same for a seed.

    A smaller subset is contained in a larger one where patients have one record each.

    Parameters
    ----------
    table : DataFrame
        With ``patient_id``, ``scp_codes`` (dicts) and, if there are any, ``strat_fold``.
    n : int or None
        Records wanted; None or more than there are: all.
    seed : int
        Seed of the choice.

    Returns
    -------
    int64 (n_chosen,)
        In the table's order.

    Raises
    ------
    InputError
        If `n` is not a positive whole number, the seed none from 0, or no patient has as few as `n` records.
    """
    seed = whole("seed", seed, 0, LARGEST_SEED)
    if n is not None and (isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1):
        raise InputError(f"n={n!r}; expected a positive whole number of records, or None for all")
    if n is None or n >= len(table):
        return np.arange(len(table))
    patients = table.groupby("patient_id").agg(records=("ecg_id", "size"), stratum=("ecg_id", "first"))
    stratum = table["scp_codes"].map(lambda codes: "+".join(sorted(superclasses(codes))))
    stratum += " fold " + table.get("strat_fold", pd.Series(0, index=table.index)).astype(str)
    patients["stratum"] = stratum.set_axis(table["patient_id"]).groupby(level=0).first()
    chance = np.random.default_rng(seed).random(len(patients))
    # The k-th patient of a stratum comes at place k/size of the queue, so each start of the queue is stratified.
    size = patients.groupby("stratum")["stratum"].transform("size")
    place = pd.Series(chance, patients.index).groupby(patients["stratum"]).rank() / size
    queue = patients.assign(place=place - chance / size).sort_values("place")
    taken, room = [], n
    for patient, records in queue["records"].items():
        if records <= room:
            taken.append(patient)
            room -= records
    if not taken:
        raise InputError(f"n={n}: every patient has more records; take n ≥ {int(patients['records'].min())}")
    return np.flatnonzero(table["patient_id"].isin(taken))
