"""LUDB's wave marks: twelve annotation files a record → one row a beat."""

from __future__ import annotations

import os.path
from pathlib import Path

import numpy as np
import pandas as pd

from ecglib.signals.leads import LEADS_12
from ecglib.signals.wfdb_io import RecordError, inside_or_error

WAVES = {"p": "P", "N": "QRS", "t": "T"}  # annotation symbol of the peak → wave
COLUMNS = ("p_on", "p_peak", "p_off", "qrs_on", "r", "qrs_off", "t_peak", "t_off")
GAP = 0.15  # s: peaks of one wave in different leads lie closer, waves of successive beats farther apart
AGREE = 2  # leads that must show a wave already (or still): each lead was marked by itself, and single marks stray
LEAST_LEADS = 3  # marks in fewer leads are not taken for a wave of the heart
END = b"\0\0"  # of every annotation file
LONGEST_PR = 0.4  # s from P peak to R: beyond, the P wave is not this beat's


def read_waves(root: Path | str, name: str, fs: int) -> pd.DataFrame:
    """Read the marks of one record and join them over the leads.

    Parameters
    ----------
    root, name : path, str
        The cohort's folder and the record below it, without suffix.
    fs : int
        The record's sampling rate in Hz.

    Returns
    -------
    DataFrame, one row a beat
        Times in s: ``p_on``, ``p_peak``, ``p_off``, ``qrs_on``, ``r``, ``qrs_off``, ``t_peak``, ``t_off``. An onset is
        the earliest that two leads confirm, an offset the latest, a peak the median; NaN where a wave is absent. A P
        wave belongs to the next beat if it lies at most 0.4 s ahead, a T wave to the beat before.

    Raises
    ------
    RecordError
        If an annotation file is missing, cut off or cannot be read, or marks no heart beat.
    """
    leads = [_read_lead(root, name, lead) for lead in LEADS_12]
    p, qrs, t = (_join_leads([wave for lead in leads for wave in lead if wave[0] == symbol], fs) for symbol in WAVES)
    if not len(qrs):
        raise RecordError(Path(root, name), "annotation", "no QRS is marked in three leads or more")
    return pd.DataFrame([_beat(k, qrs, p, t) for k in range(len(qrs))], columns=list(COLUMNS), dtype=np.float64)


def _read_lead(root: Path | str, name: str, lead: str) -> list[tuple[str, float, float, float]]:
    """Return for each wave: symbol, and the samples of on, peak and off; the peak's where on or off is not marked."""
    import wfdb

    path = inside_or_error(root, f"{name}.{lead.lower()}")
    if not os.path.isfile(path):
        raise RecordError(path, "missing annotation", "it does not exist")
    try:
        found = wfdb.rdann(str(path.with_suffix("")), path.suffix[1:])
    except Exception as error:  # whatever a strange file makes of wfdb
        raise RecordError(path, "annotation", f"wfdb cannot read it: {error}") from None
    if not found.symbol:
        raise RecordError(path, "annotation", "it holds no marks")
    if not path.read_bytes().endswith(END) or (np.diff(found.sample) < 0).any():
        raise RecordError(path, "annotation", "it is cut off or garbled", "fetch it again")
    symbols, samples = ["", *found.symbol, ""], [0, *found.sample, 0]
    return [(symbol, samples[k - (symbols[k - 1] == "(")], samples[k], samples[k + (symbols[k + 1] == ")")])
            for k, symbol in enumerate(symbols) if symbol in WAVES]  # fmt: skip


def _join_leads(marks: list[tuple[str, float, float, float]], fs: int) -> np.ndarray:
    """Return float64 (n_waves, 3): on, peak and off of the heart's waves in s, in order of time."""
    times = np.array([mark[1:] for mark in marks], dtype=np.float64).reshape(-1, 3) / fs
    times = times[np.argsort(times[:, 1], kind="stable")]
    waves = np.split(times, np.flatnonzero(np.diff(times[:, 1]) > GAP) + 1)
    return np.array([_of_all_leads(wave) for wave in waves if len(wave) >= LEAST_LEADS]).reshape(-1, 3)


def _of_all_leads(wave: np.ndarray) -> list[float]:
    """Join the marks (n_leads, 3) of one wave: the first onset and last offset that `AGREE` leads confirm."""
    return [np.sort(wave[:, 0])[AGREE - 1], float(np.median(wave[:, 1])), np.sort(wave[:, 2])[-AGREE]]


def _beat(k: int, qrs: np.ndarray, p: np.ndarray, t: np.ndarray) -> list[float]:
    """Return the row of beat k: its P wave is the last within 0.4 s before R, its T wave the first after."""
    on, r, off = qrs[k]
    before = qrs[k - 1, 1] if k else -np.inf
    after = qrs[k + 1, 1] if k + 1 < len(qrs) else np.inf
    p_waves = p[(p[:, 1] > max(before, r - LONGEST_PR)) & (p[:, 1] < r)]
    t_waves = t[(t[:, 1] > r) & (t[:, 1] < after)]
    none = np.full((1, 3), np.nan)
    return [*(p_waves if len(p_waves) else none)[-1], on, r, off, *(t_waves if len(t_waves) else none)[0, 1:]]
