"""What all readers share: reading many records, counting those left out, choosing a subset by patient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from tqdm import tqdm

from ecglib.errors import InputError
from ecglib.signals.statements import superclasses
from ecglib.signals.wfdb_io import RecordError

SHOW_PROGRESS_OVER = 200  # records


@dataclass
class LeftOut:
    """Records that could not be used, by reason; under `strict` the first of them is an error."""

    strict: bool
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, error: RecordError) -> None:
        """Note that `name` is left out, or raise `error` under `strict`."""
        if self.strict:
            raise error
        self.names.setdefault(error.reason, []).append(name)

    def __str__(self) -> str:
        return "; ".join(f"{reason}: {len(names)} ({names[0]}, …)" for reason, names in self.names.items())


def read_all(names: Sequence[str], read: Callable[[str], np.ndarray], n_times: int, left_out: LeftOut, label: str
             ) -> tuple[np.ndarray, list[int]]:  # fmt: skip
    """Read records one by one, with a progress bar above 200 of them.

    Parameters
    ----------
    names : sequence of str
        What `read` is called with.
    read : callable
        Returns float32 (12, n_times) in mV, or raises `RecordError`.
    n_times : int
        Samples per lead.
    left_out : LeftOut
        Takes what could not be read.
    label : str
        What is being read, for the progress bar and messages.

    Returns
    -------
    x : float32 (n_read, 12, n_times)
        In mV.
    kept : list of int
        Positions in `names` of the records read.

    Raises
    ------
    InputError
        If no record could be read.
    """
    x = np.empty((len(names), 12, n_times), np.float32)
    kept: list[int] = []
    hidden = len(names) <= SHOW_PROGRESS_OVER
    for position, name in enumerate(tqdm(names, desc=f"reading {label}", unit="record", disable=hidden)):
        try:
            x[len(kept)] = read(name)
        except RecordError as error:
            left_out.add(name, error)
        else:
            kept.append(position)
    if not kept:
        raise InputError(f"none of {len(names)} records of {label} could be read: {left_out}")
    return x[: len(kept)], kept


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
        If `n` is not a positive whole number, or no patient has as few as `n` records.
    """
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
