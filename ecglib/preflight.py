"""What Make asks before anything is installed: are the variables right, are the records there? Stdlib only."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

from ecglib.errors import InputError, choose

COHORTS: tuple[str, ...] = ("virtual", "ludb", "ptb-xl", "mimic-iv-ecg", "challenge-2021", "folder")
DOWNLOADED: tuple[str, ...] = ("ludb", "ptb-xl", "mimic-iv-ecg", "challenge-2021")  # what `make data` fetches
PYTHON = ((3, 11), (3, 14))  # oldest and newest that torch of constraints.txt is built for
SHEETS = 100  # different ECGs of a blinded reading
_PLACES = {  # where below DATA the records may lie: itself, a folder of the usual name, what `wget -r` makes
    "ludb": ("ludb", "LUDB", "lobachevsky-university-electrocardiography-database*", "physionet.org/files/ludb/*"),
    "ptb-xl": ("ptb-xl", "ptbxl", "PTB-XL", "ptb-xl-a-large-publicly-available-*", "physionet.org/files/ptb-xl/*"),
    "mimic-iv-ecg": ("mimic-iv-ecg", "mimic-iv-ecg-diagnostic-*", "physionet.org/files/mimic-iv-ecg/*"),
    "challenge-2021": ("challenge-2021", "physionet.org/files/challenge-2021/*"),
    "folder": (),
}
_NEEDED = {  # each group: one of these must be there
    "ludb": (("ludb.csv",), ("data/*.hea",)),
    "ptb-xl": (("ptbxl_database.csv",), ("records100/*/*.hea", "records500/*/*.hea")),
    "mimic-iv-ecg": (("record_list.csv",), ("machine_measurements.csv",), ("files/p*/p*/s*/*.hea",)),
    "challenge-2021": (("*.hea", "*/*.hea", "*/g*/*.hea", "training/*/g*/*.hea"),),
    "folder": (("records.csv",),),
}
_FROM = {
    "ludb": "https://physionet.org/content/ludb/1.0.1/",
    "ptb-xl": "https://physionet.org/content/ptb-xl/1.0.3/",
    "mimic-iv-ecg": "https://physionet.org/content/mimic-iv-ecg/1.0/",
    "challenge-2021": "https://physionet.org/content/challenge-2021/1.0.3/",
}


def check(preset: str, cohort: str, data: str | os.PathLike[str] | None, seed: str | int) -> Path | None:
    """Check the variables of a ``make`` call.

    Parameters
    ----------
    preset : str
        PRESET: one of `ecglib.config.PRESETS`.
    cohort : str
        COHORT: one of `COHORTS`.
    data : path or None
        DATA: the records' folder; '' or None for the virtual cohort, or for what `make data` fetched.
    seed : str or int
        SEED: a whole number, 0 to 2^32 − 1.

    Returns
    -------
    Path or None
        The folder that holds the records; None for the virtual cohort.

    Raises
    ------
    InputError
        If a variable is wrong, or the folder does not hold the cohort's records; or torch is not built for
        this Python or machine.
    """
    _check_here()
    from ecglib.config import PRESETS  # needs the Python just checked

    choose("PRESET", preset, PRESETS)
    choose("COHORT", cohort, COHORTS)
    _whole("SEED", seed, 0)
    return find_records(cohort, data)


def check_download(cohort: str, n: str | int, seed: str | int) -> tuple[int | None, int]:
    """Check the variables of a ``make data`` call.

    Parameters
    ----------
    cohort : str
        COHORT: one of `DOWNLOADED`.
    n : str or int
        N: records wanted, 1 or more; '' for all.
    seed : str or int
        SEED: a whole number, 0 to 2^32 − 1.

    Returns
    -------
    n : int or None
        None for all.
    seed : int

    Raises
    ------
    InputError
        If a variable is wrong, the cohort needs no download, or torch is not built for this Python or machine.
    """
    _check_here()
    if choose("COHORT", cohort, COHORTS) == "virtual":
        raise InputError("COHORT=virtual needs no data; name a cohort: make data COHORT=ludb")
    if cohort not in DOWNLOADED:
        raise InputError(f"COHORT={cohort} is not fetched: {_how_to_give(cohort)}")
    return _whole("N", n, 1) if str(n) else None, _whole("SEED", seed, 0)


def check_kit(preset: str, cohort: str, data: str | os.PathLike[str] | None, seed: str | int, n: str | int) -> int:
    """Check the variables of a ``make blinded`` call.

    Parameters
    ----------
    preset, cohort, data, seed
        As in `check`.
    n : str or int
        N: different ECGs of the kit, an even number from 4; '' for `SHEETS`.

    Returns
    -------
    int
        N.

    Raises
    ------
    InputError
        If a variable is wrong, the preset makes too few samples, or this study has a kit already.
    """
    check(preset, cohort, data, seed)
    from ecglib.config import Config

    count = _whole("N", n, 4) if str(n) else SHEETS
    if count % 2:
        raise InputError(f"N={count}; expected an even number: half of the ECGs are real, half synthetic")
    if count > 2 * (most := Config.preset(preset).cohort.n_evaluate):
        raise InputError(f"N={count} needs {count // 2} synthetic ECGs, but PRESET={preset} makes {most}; expected N "
                         f"of at most {2 * most}, or a larger preset")  # fmt: skip
    folder = _kit(preset, cohort, seed)
    if any((folder / part).exists() for part in ("hand-out", "key")):
        raise InputError(f"{folder} holds a kit, which readers may have in hand; move it away to make another")
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} holds no kit, but results of another one's forms; move them away")
    return count


def check_forms(preset: str, cohort: str, seed: str | int, forms: str, key: str) -> tuple[Path, Path, Path]:
    """Check the variables of a ``make unblind`` call.

    Parameters
    ----------
    preset, cohort, seed
        As in `check`: whose kit it is.
    forms : str
        FORMS: the folder of the readers' CSV files.
    key : str
        KEY: the key's file; '' for where ``make blinded`` put it.

    Returns
    -------
    forms, key, kit : Path
        Where the forms and the key are, and the kit's folder, below which results go.

    Raises
    ------
    InputError
        If a variable is wrong, there are no forms, or no key.
    """
    _check_here()
    from ecglib.config import PRESETS

    choose("PRESET", preset, PRESETS)
    choose("COHORT", cohort, COHORTS)
    _whole("SEED", seed, 0)
    if not forms.strip():
        raise InputError("FORMS is empty; give the folder of the readers' CSV files: make unblind FORMS=<folder>")
    folder, kit = Path(forms.strip()).expanduser(), _kit(preset, cohort, seed)
    if not folder.is_dir() or not any(folder.glob("*.csv")):
        raise InputError(f"FORMS={forms.strip()!r} is no folder with *.csv in it; give that of the readers' files")
    file = Path(key.strip()).expanduser() if key.strip() else kit / "key" / "key.json"
    if not file.is_file():
        raise InputError(f"KEY: {file} does not exist; give the key.json that `make blinded` wrote: KEY=<file>")
    return folder, file, kit


def _kit(preset: str, cohort: str, seed: str | int) -> Path:
    from ecglib.study import Study  # which imports this module

    return Study(cohort, preset, int(seed)).folder / "blinded"


def _whole(name: str, value: str | int, low: int) -> int:
    text = str(value)
    if text.isascii() and text.isdecimal() and len(text) <= 10 and text == str(int(text)) and low <= int(text) < 2**32:
        return int(text)
    raise InputError(f"{name}={value!r}; expected a whole number from {low} to {2**32 - 1}, without leading zeros")


def check_python(version: tuple[int, ...]) -> None:
    """Raise `InputError` if `version` (major, minor) is older than 3.11 or newer than 3.14."""
    if not PYTHON[0] <= tuple(version) <= PYTHON[1]:
        raise InputError(f"Python is {version[0]}.{version[1]}; expected 3.11 to 3.14: install one of them and name "
                         "it, for example `make book PYTHON=python3.13`")  # fmt: skip


def check_machine(system: str, machine: str) -> None:
    """Raise `InputError` on a Mac with an Intel processor (`sys.platform` "darwin", `platform.machine()` "x86_64")."""
    if (system, machine) == ("darwin", "x86_64"):
        raise InputError("this is a Python for Macs with Intel processors, for which PyTorch is not built any more; "
                         "expected Linux, WSL, or macOS 14 or newer on Apple silicon, with its Python")  # fmt: skip


def _check_here() -> None:
    check_python(sys.version_info[:2])
    check_machine(sys.platform, platform.machine())


def find_records(source: str, root: str | os.PathLike[str] | None) -> Path | None:
    """Find the folder that holds a cohort's records.

    Parameters
    ----------
    source : str
        One of `COHORTS`.
    root : path or None
        The folder itself, or the one that it lies in under its usual name. '' or None: where `make data` puts it.

    Returns
    -------
    Path or None
        The folder that holds the cohort's table or records; None for ``"virtual"``.

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
    how = _how_to_give(source)
    if not given and not fetched(source).is_dir():
        raise InputError(f"DATA is empty, but COHORT={source} needs the folder of its records: {how}")
    given = given or str(fetched(source))
    folder = Path(given).expanduser()
    try:
        return _search(source, folder, how)
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"DATA={given!r} cannot be read: {error}; {how}") from None


def fetched(source: str) -> Path:
    """Return the folder where `make data` puts a cohort."""
    from ecglib.runs import work_folder  # needs the Python just checked

    return work_folder() / "data" / source


def _how_to_give(source: str) -> str:
    if source not in DOWNLOADED:
        return f"run `make book COHORT={source} DATA=<folder>`; the folder holds records.csv and WFDB records"
    return (f"run `make data COHORT={source}` to fetch them, or `make book COHORT={source} DATA=<folder>`; the records "
            f"are at {_FROM[source]}")  # fmt: skip


def _search(source: str, folder: Path, how: str) -> Path:
    if not folder.is_dir():
        raise InputError(f"DATA={str(folder)!r} {'is not a folder' if folder.exists() else 'does not exist'}; {how}")
    found = [place for pattern in _PLACES[source] for place in sorted(folder.glob(pattern)) if place.is_dir()]
    for place in (folder, *found):
        if not _missing(source, place):
            _check_fetched(source, place)
            return place
    begun = next((place for place in (folder, *found) if (place / _NEEDED[source][0][0]).is_file()), folder)
    raise InputError(f"DATA={str(begun)!r} lacks {' and '.join(_missing(source, begun))}; {how}")


def _check_fetched(source: str, folder: Path) -> None:
    """Refuse a folder that `make data` has begun and not finished."""
    try:
        complete = json.loads((folder / "download.json").read_text(encoding="utf-8"))["complete"]
    except FileNotFoundError:  # it came another way
        return
    except (ValueError, KeyError, TypeError):
        complete = False
    if complete is not True:
        raise InputError(f"{folder} is not complete: run `make data COHORT={source}` once more, with the N and DATA "
                         "that it had, to go on")  # fmt: skip


def _missing(source: str, folder: Path) -> list[str]:
    return [" or ".join(group) for group in _NEEDED[source]
            if not any(next(folder.glob(pattern), None) for pattern in group)]  # fmt: skip
