"""Signals as int16 microvolts: a thousandth of a millivolt is finer than any recorder, and half the size of float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ecglib.errors import InputError

LARGEST_MV = 32.767  # int16 microvolts
ROWS_AT_ONCE = 512


class Microvolts:
    """Signals kept as int16 µV (usually memory-mapped), read as float32 mV.

    Indexed like an array of shape (n_records, n_leads, n_times), with lists or arrays in one of the places at most;
    only the rows asked for are read.
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
        places = key if isinstance(key, tuple) else (key,)
        if sum(np.ndim(place) > 0 for place in places) > 1:
            raise InputError("signals were asked for by two lists of places at once; take x[:], then index the array")
        if any(place is Ellipsis for place in places):
            at = next(k for k, place in enumerate(places) if place is Ellipsis)
            places = (*places[:at], *[slice(None)] * (self.ndim + 1 - len(places)), *places[at + 1 :])
        first, *rest = places
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


def in_microvolts(x: np.ndarray | Microvolts, rows: slice) -> np.ndarray:
    """Return int16 (n_rows, n_leads, n_times): those records in µV; `InputError` above ±32.767 mV."""
    if isinstance(x, Microvolts):
        return x.counts[x.rows[rows]]
    block = np.asarray(x[rows])
    largest = float(np.abs(block).max(initial=0))
    if largest > LARGEST_MV:
        raise InputError(f"x reaches {largest:.1f} mV; int16 microvolts hold ±{LARGEST_MV} mV: is x in millivolts?")
    return np.rint(block * 1000).astype("<i2")


def save_signals(x: np.ndarray | Microvolts, path: Path) -> None:
    """Write int16 µV block by block, without mapping the file: memory does not grow with the number of records."""
    with open(path, "wb") as file:
        np.lib.format.write_array_header_2_0(file, {"descr": "<i2", "fortran_order": False, "shape": tuple(x.shape)})
        for start in range(0, len(x), ROWS_AT_ONCE):
            file.write(in_microvolts(x, slice(start, start + ROWS_AT_ONCE)).tobytes())
