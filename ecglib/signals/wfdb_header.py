"""WFDB headers, read strictly: what is absent or malformed is an error, nothing is filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ecglib.errors import InputError

FORMATS: Mapping[str, tuple[float, int]] = {  # storage format: bytes a sample, the value that means "no sample"
    "16": (2, -(1 << 15)),
    "24": (3, -(1 << 23)),
    "32": (4, -(1 << 31)),
    "80": (1, -(1 << 7)),
    "212": (1.5, -(1 << 11)),
}
AGAIN = "fetch the record again"


class RecordError(InputError):
    """A record that cannot be used.

    Parameters
    ----------
    file : path
        The file at fault.
    reason : str
        The field at fault, in a word or two; readers count records left out by it.
    problem, remedy : str
        What came (and was expected), and what to do.
    """

    def __init__(self, file: Path | str, reason: str, problem: str, remedy: str = AGAIN) -> None:
        super().__init__(str(file), reason, problem, remedy)
        self.file, self.reason = str(file), reason

    def __str__(self) -> str:
        return "{}: {}: {}; {}".format(*self.args)


@dataclass(frozen=True)
class Channel:
    """One signal line of a header; `gain` in counts per unit, `baseline` and `first` in counts, `offset` in bytes."""

    file: str
    format: str
    offset: int
    gain: float
    baseline: int
    units: str
    first: int | None
    checksum: int | None
    lead: str


@dataclass(frozen=True)
class Header:
    """A single-segment WFDB header: name, fs in Hz, n_times samples a channel, channels, comments without ``#``."""

    name: str
    fs: float
    n_times: int
    channels: tuple[Channel, ...]
    comments: tuple[str, ...]


_NUMBER = r"[-+]?\d{1,18}(?:\.\d{0,18})?(?:[eE][-+]?\d{1,4})?"
_INTEGER = r"[-+]?\d{1,18}"
_RECORD = re.compile(
    rf"(?P<name>[^\s/]+)(?P<segments>/\d+)?\s+(?P<n_sig>\d{{1,6}})"
    rf"(?:\s+(?P<fs>{_NUMBER})(?:/\S*)?(?:\s+(?P<n_times>{_INTEGER})(?:\s.*)?)?)?",
    re.ASCII,
)
_CHANNEL = re.compile(
    r"(?P<file>\S+)\s+(?P<format>\d{1,4})(?:x(?P<per_frame>\d{1,6}))?(?::(?P<skew>\d{1,9}))?(?:\+(?P<offset>\d{1,12}))?"
    rf"(?:\s+(?P<gain>{_NUMBER})(?:\((?P<baseline>{_INTEGER})\))?(?:/(?P<units>\S+))?"
    rf"(?:\s+{_INTEGER}(?:\s+(?P<zero>{_INTEGER})(?:\s+(?P<first>{_INTEGER})(?:\s+(?P<checksum>{_INTEGER})"
    rf"(?:\s+{_INTEGER}(?:\s+(?P<lead>\S.*))?)?)?)?)?)?)?",
    re.ASCII,
)


def parse_header(raw: bytes, file: Path | str = "header") -> Header:
    """Read a WFDB header strictly: nothing is filled in.

    Parameters
    ----------
    raw : bytes
        The file's content.
    file : path
        Its name, for messages.

    Raises
    ------
    RecordError
        If it is empty, binary or of several segments; if the number of signal lines is not the one announced; if
        sampling rate, number of samples, gain, units or lead name are absent or malformed.

    Notes
    -----
    Source: the header format of PhysioNet's WFDB Applications Guide, header(5).
    """
    lines = _lines(raw, file)
    body = [line for line in lines if not line.startswith("#")]
    if not body:
        raise RecordError(file, "header", "it is empty")
    record = _RECORD.fullmatch(body[0])
    if record is None:
        raise RecordError(file, "header", f"its first line {body[0][:80]!r} is not 'name signals fs samples'")
    if record["segments"]:
        raise RecordError(file, "segments", "the record is multi-segment", "give one single-segment record each")
    if record["fs"] is None or record["n_times"] is None:
        raise RecordError(file, "header", "it gives no sampling rate or no number of samples")
    if int(record["n_sig"]) != len(body) - 1:
        raise RecordError(file, "signal lines", f"{record['n_sig']} signals announced, {len(body) - 1} lines follow")
    channels = tuple(_channel(line, file) for line in body[1:])
    comments = tuple(line.lstrip("#").strip() for line in lines if line.startswith("#"))
    return Header(record["name"], float(record["fs"]), int(record["n_times"]), channels, comments)


def _lines(raw: bytes, file: Path | str) -> list[str]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text.replace("\r\n", "\n")):
        raise RecordError(file, "header", "it holds control characters, so it is not a text header")
    return [line.strip() for line in text.split("\n") if line.strip()]


def _channel(line: str, file: Path | str) -> Channel:
    found = _CHANNEL.fullmatch(line)
    if found is None:
        raise RecordError(file, "signal line", f"{line[:80]!r} cannot be read")
    if found["format"] not in FORMATS:
        raise RecordError(file, "format", f"format {found['format']} is not one of {', '.join(FORMATS)}",
                          "convert the record to format 16")  # fmt: skip
    if int(found["per_frame"] or 1) != 1 or int(found["skew"] or 0):
        raise RecordError(file, "format", f"{line[:80]!r} has several samples a frame, or a skew",
                          "convert the record to one sample a frame without skew")  # fmt: skip
    absent = [name for name in ("gain", "units", "lead") if found[name] is None]
    if absent:
        raise RecordError(file, absent[0], f"{line[:80]!r} gives no {', no '.join(absent)}", "complete the header")
    whole = {name: None if found[name] is None else int(found[name]) for name in ("zero", "first", "checksum")}
    baseline = int(found["baseline"]) if found["baseline"] else whole["zero"] or 0
    return Channel(found["file"], found["format"], int(found["offset"] or 0), float(found["gain"]), baseline,
                   found["units"], whole["first"], whole["checksum"], found["lead"])  # fmt: skip
