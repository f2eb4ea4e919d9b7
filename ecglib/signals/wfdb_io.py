"""The one safe way into a WFDB record: header checked first, samples read after, millivolts out.

wfdb fills gaps in silence: gain 0 becomes 200, a negative sampling rate 250, a wrong checksum goes unread, a header
that claims 1e11 samples asks for 186 GiB, and microvolts stay microvolts. Here each of these is a `RecordError`.
"""

from __future__ import annotations

import math
import os.path
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ecglib.errors import InputError
from ecglib.runs import inside
from ecglib.signals import quality
from ecglib.signals.leads import LEADS_12, lead_order
from ecglib.signals.microvolts import LARGEST_MV
from ecglib.signals.wfdb_header import FORMATS, Channel, Header, RecordError, parse_header

LARGEST_HEADER = 1 << 20  # bytes
LARGEST_OFFSET_MV = 5.0  # assumption; electrodes drift (lead V6 of LUDB's record 115 rests at 4.8 mV)
UNITS: Mapping[str, float] = {"mv": 1.0, "uv": 1e-3, "\u00b5v": 1e-3, "\u03bcv": 1e-3}  # mV a unit; both signs for µ


def read_record(root: Path | str, name: str, *, fs: int, seconds: float, gain: float | None = None,
                crop: bool = False) -> tuple[np.ndarray, Header]:  # fmt: skip
    """Read one 12-lead record, checked, in millivolts.

    Parameters
    ----------
    root : path
        The cohort's folder; nothing outside it is read.
    name : str
        The record below `root`, without suffix; relative.
    fs : int
        Sampling rate in Hz that the header must have.
    seconds : float
        Length that the record must have.
    gain : float, optional
        Counts per mV with zero at 0 mV, in place of the header's gains and baselines where they are known to be wrong.
    crop : bool
        Take the first `seconds` of a longer record, instead of refusing it.

    Returns
    -------
    x : float32 (12, L)
        In mV, leads in the order of `LEADS_12`.
    header : Header
        What the header says.

    Raises
    ------
    RecordError
        If a file is missing or leads out of `root`; if header and samples disagree with each other (size, checksum)
        or with `fs`, `seconds` and the twelve leads; if units are neither mV nor µV, a gain is not positive, samples
        are missing, a value exceeds ±32.767 mV, a lead is flat, clipped or rests more than 5 mV off zero, or the limb
        leads cannot come from the same electrodes (`quality`).
    """
    path = inside_or_error(root, f"{name}.hea")
    header = read_header(path)
    _check_frame(header, path, fs, seconds, crop)
    order = _order(header, path)
    scale, baseline = _scale(header, path, gain)
    counts = _counts(root, name, path, header)
    _check_counts(counts, header, path)
    with np.errstate(over="ignore"):  # an absurd gain: told below
        x = ((counts - baseline[:, None]) * scale[:, None]).astype(np.float32)[order, : round(fs * seconds)]
    _check_signal(x, fs, path)
    return x, header


def inside_or_error(root: Path | str, name: str) -> Path:
    """Return ``root / name``; where `ecglib.runs.inside` refuses it, raise `RecordError`."""
    try:
        return inside(root, name)
    except (InputError, OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        raise RecordError(name, "path", str(error), f"give a plain name below {root}") from None


def read_header(path: Path) -> Header:
    """Read and parse one header file; `RecordError` if it is missing, over 1 MiB, or malformed."""
    if not os.path.isfile(path):
        raise RecordError(path, "missing file", "it does not exist")
    with open(path, "rb") as file:
        raw = file.read(LARGEST_HEADER + 1)
    if len(raw) > LARGEST_HEADER:
        raise RecordError(path, "header", "it is over 1 MiB, so it is not a header")
    return parse_header(raw, path)


def _check_frame(header: Header, path: Path, fs: int, seconds: float, crop: bool) -> None:
    if header.fs != fs:
        raise RecordError(path, "fs", f"sampling rate {header.fs:g} Hz; expected {fs}",
                          "correct the header, or leave the record out")  # fmt: skip
    wanted = round(fs * seconds)
    if header.n_times < wanted or (header.n_times > wanted and not crop):
        raise RecordError(path, "length", f"{header.n_times} samples; expected {wanted} ({seconds:g} s)",
                          "leave the record out")  # fmt: skip


def _order(header: Header, path: Path) -> list[int]:
    try:
        return lead_order([channel.lead for channel in header.channels], LEADS_12)
    except InputError as error:
        raise RecordError(path, "leads", str(error), "name the twelve standard leads, each once") from None


def _scale(header: Header, path: Path, gain: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Return float64 (n_channels,): millivolts per count, and the counts at 0 mV."""
    scale = []
    for channel in header.channels:
        unit = UNITS.get(channel.units.lower())
        if unit is None:
            raise RecordError(path, "units", f"lead {channel.lead} is in {channel.units!r}; expected mV or uV",
                              "correct the header")  # fmt: skip
        if gain is None and not (np.isfinite(channel.gain) and channel.gain > 0):
            raise RecordError(path, "gain", f"lead {channel.lead} has gain {channel.gain:g}; expected a positive one",
                              "correct the header")  # fmt: skip
        scale.append(unit / channel.gain if gain is None else 1 / gain)
    baseline = [channel.baseline if gain is None else 0 for channel in header.channels]
    return np.array(scale), np.array(baseline)


def _counts(root: Path | str, name: str, path: Path, header: Header) -> np.ndarray:
    """Return int64 (n_channels, n_times): the samples as stored; sizes are checked before anything is read."""
    for file in dict.fromkeys(channel.file for channel in header.channels):
        channels = [channel for channel in header.channels if channel.file == file]
        _check_size(inside_or_error(root, posixpath.join(posixpath.dirname(name), file)), channels, header.n_times)
    first = header.channels[0]
    if all((c.file, c.format) == (first.file, "16") for c in header.channels):
        counts = np.fromfile(path.parent / first.file, "<i2", offset=first.offset)
        return counts.reshape(header.n_times, len(header.channels)).T.astype(np.int64)
    return _counts_by_wfdb(path)


def _check_size(file: Path, channels: list[Channel], n_times: int) -> None:
    if not os.path.isfile(file):
        raise RecordError(file, "missing file", "the header names it, but it does not exist")
    if len({(channel.format, channel.offset) for channel in channels}) != 1:
        raise RecordError(file, "format", "its channels differ in format or offset", "convert the record to format 16")
    bytes_each, _ = FORMATS[channels[0].format]
    size, expected = file.stat().st_size, channels[0].offset + math.ceil(n_times * len(channels) * bytes_each)
    if size != expected:
        raise RecordError(file, "size", f"{size} bytes; its header needs {expected}")


def _counts_by_wfdb(path: Path) -> np.ndarray:
    import wfdb

    try:
        record: Any = wfdb.rdrecord(str(path.with_suffix("")), physical=False, return_res=32)
    except Exception as error:  # whatever a strange file makes of wfdb
        raise RecordError(path, "format", f"wfdb cannot read it: {error}") from None
    return record.d_signal.T.astype(np.int64)


def _check_counts(counts: np.ndarray, header: Header, path: Path) -> None:
    sums = (counts.sum(axis=1) + 32768) % 65536 - 32768  # as WFDB counts: 16 bits with a sign
    for channel, samples, total in zip(header.channels, counts, sums, strict=True):
        missing = np.count_nonzero(samples == FORMATS[channel.format][1])
        if missing:
            raise RecordError(path, "missing samples", f"lead {channel.lead} lacks {missing} of {len(samples)} samples",
                              "leave the record out")  # fmt: skip
        if channel.checksum is not None and (total - channel.checksum) % 65536:
            raise RecordError(path, "checksum", f"lead {channel.lead} sums to {total}; its header says "
                              f"{channel.checksum}")  # fmt: skip
        if channel.first is not None and samples[0] != channel.first:
            raise RecordError(path, "first sample", f"lead {channel.lead} starts with {samples[0]}; its header says "
                              f"{channel.first}")  # fmt: skip


def _check_signal(x: np.ndarray, fs: int, path: Path) -> None:
    """Raise `RecordError` if x, float32 (12, L) in mV, is no sound ECG."""
    if not np.abs(x).max() <= LARGEST_MV:  # a NaN fails too
        raise RecordError(path, "amplitude", f"a value exceeds ±{LARGEST_MV} mV", "correct gain and units")
    resting = np.median(x, axis=1)
    for reason, leads, problem in (
        ("flat lead", quality.flat_leads(x, fs), "do not change for 2 s or more"),
        ("clipped lead", quality.clipped_leads(x, fs), "are cut off at their highest or lowest value"),
        ("offset", [LEADS_12[k] for k in np.flatnonzero(np.abs(resting) > LARGEST_OFFSET_MV)],
         f"rest more than {LARGEST_OFFSET_MV:g} mV off zero"),
    ):  # fmt: skip
        if leads:
            raise RecordError(path, reason, f"{', '.join(leads)} {problem}", "leave the record out")
    if quality.breaks_einthoven(x):
        raise RecordError(path, "Einthoven", "its limb leads cannot come from the same three electrodes",
                          "correct gains and lead names, or leave the record out")  # fmt: skip
