"""What Make asks before anything is installed: are the variables right, are the records there? Stdlib only."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ecglib.errors import InputError, choose

COHORTS: tuple[str, ...] = ("virtual", "ludb", "ptb-xl")
PYTHON = (3, 11)
_PLACES = {  # where below DATA the records may lie: itself, a folder of the usual name, what `wget -r` makes
    "ludb": ("ludb", "LUDB", "lobachevsky-university-electrocardiography-database*", "physionet.org/files/ludb/*"),
    "ptb-xl": ("ptb-xl", "ptbxl", "PTB-XL", "ptb-xl-a-large-publicly-available-*", "physionet.org/files/ptb-xl/*"),
}
_NEEDED = {  # each group: one of these must be there
    "ludb": (("ludb.csv",), ("data/*.hea",)),
    "ptb-xl": (("ptbxl_database.csv",), ("records100/*/*.hea", "records500/*/*.hea")),
}
_FROM = {"ludb": "https://physionet.org/content/ludb/1.0.1/", "ptb-xl": "https://physionet.org/content/ptb-xl/1.0.3/"}


def check(preset: str, cohort: str, data: str | os.PathLike[str] | None, seed: str | int) -> Path | None:
    """Check the variables of a ``make`` call.

    Parameters
    ----------
    preset : str
        PRESET: one of `ecglib.config.PRESETS`.
    cohort : str
        COHORT: one of `COHORTS`.
    data : path or None
        DATA: the records' folder; '' or None for the virtual cohort.
    seed : str or int
        SEED: a whole number, 0 to 2^32 − 1.

    Returns
    -------
    Path or None
        The folder that holds the records; None for the virtual cohort.

    Raises
    ------
    InputError
        If a variable is wrong, or the folder does not hold the cohort's records; or Python is too old.
    """
    check_python(sys.version_info[:2])
    from ecglib.config import PRESETS  # needs the Python just checked

    choose("PRESET", preset, PRESETS)
    choose("COHORT", cohort, COHORTS)
    text = str(seed)
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and text == str(int(text)) and int(text) < 2**32):
        raise InputError(f"SEED={seed!r}; expected a whole number from 0 to {2**32 - 1}, without leading zeros")
    return find_records(cohort, data)


def check_python(version: tuple[int, ...]) -> None:
    """Raise `InputError` if `version` (major, minor) is older than 3.11."""
    if tuple(version) < PYTHON:
        raise InputError(f"Python is {version[0]}.{version[1]}; expected 3.11 or newer: install it and name it, "
                         "for example `make book PYTHON=python3.12`")  # fmt: skip


def find_records(source: str, root: str | os.PathLike[str] | None) -> Path | None:
    """Find the folder that holds a cohort's records.

    Parameters
    ----------
    source : str
        One of `COHORTS`.
    root : path or None
        The folder itself, or the one that it lies in under its usual name.

    Returns
    -------
    Path or None
        The folder of ``ludb.csv`` or ``ptbxl_database.csv``; None for ``"virtual"``.

    Raises
    ------
    InputError
        If `root` is absent, is no folder, or does not hold the records; if it is given for the virtual cohort.
    """
    choose("COHORT", source, COHORTS)
    given = "" if root is None else str(root).strip()
    if source == "virtual":
        if given:
            raise InputError(f"DATA={given!r} is given, but COHORT=virtual reads no records; leave DATA out, or name "
                             "its cohort, for example COHORT=ludb")  # fmt: skip
        return None
    how = f"run `make book COHORT={source} DATA=<folder>`; the records are at {_FROM[source]}"
    if not given:
        raise InputError(f"DATA is empty, but COHORT={source} needs the folder of its records: {how}")
    folder = Path(given).expanduser()
    try:
        return _search(source, folder, how)
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"DATA={given!r} cannot be read: {error}; {how}") from None


def _search(source: str, folder: Path, how: str) -> Path:
    if not folder.is_dir():
        raise InputError(f"DATA={str(folder)!r} {'is not a folder' if folder.exists() else 'does not exist'}; {how}")
    found = [place for pattern in _PLACES[source] for place in sorted(folder.glob(pattern)) if place.is_dir()]
    for place in (folder, *found):
        if not _missing(source, place):
            return place
    begun = next((place for place in (folder, *found) if (place / _NEEDED[source][0][0]).is_file()), folder)
    raise InputError(f"DATA={str(begun)!r} lacks {' and '.join(_missing(source, begun))}; {how}")


def _missing(source: str, folder: Path) -> list[str]:
    return [" or ".join(group) for group in _NEEDED[source]
            if not any(next(folder.glob(pattern), None) for pattern in group)]  # fmt: skip
