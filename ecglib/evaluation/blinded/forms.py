"""What readers answer, the key, and its seal: written, read back, and refused where open, altered or of another kit."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ecglib.errors import InputError
from ecglib.evaluation.blinded.plan import ARMS
from ecglib.runs import atomic_file, write_text

ANSWERS = ARMS
CONFIDENCE = ("1", "2", "3", "4", "5")  # 1 a guess, 5 certain
RHYTHMS = ("sinus rhythm", "sinus tachycardia", "sinus bradycardia", "atrial fibrillation", "atrial flutter",
           "other supraventricular rhythm", "junctional rhythm", "ventricular rhythm", "paced rhythm",
           "second- or third-degree AV block", "other", "cannot tell")  # fmt: skip
QUALITIES = ("good", "acceptable", "poor")
CHOICES = {"answer": ANSWERS, "confidence": CONFIDENCE, "rhythm": RHYTHMS, "quality": QUALITIES}
FIELDS = ("seal", "reader", "sheet", *CHOICES, "reason")
KEY_FORMAT = 1
READER = re.compile("[A-Z0-9][A-Z0-9-]{0,19}")  # a reader's code, as the page takes it once it is in capitals


@dataclass(frozen=True)
class Key:
    """Which sheet shows what.

    Parameters
    ----------
    sheets : DataFrame
        ``sheet``, ``arm``, ``ecg_id``, ``repeat_of``, in the order of showing.
    secret : str
        Salt of the seal, and what the plan was drawn from.
    seal : str
        SHA-256 of the key's file, in hexadecimal.
    """

    sheets: pd.DataFrame
    secret: str
    seal: str


def write_key(path: Path | str, plan: pd.DataFrame, secret: str) -> str:
    """Write the key and return its seal, the SHA-256 of the file.

    Parameters
    ----------
    path : path
        The key's file; only its owner may read it.
    plan : DataFrame
        Of `draw_plan`.
    secret : str
        Hexadecimal. It is in the file, so that nobody can try out which key fits the published seal.
    """
    sheets = plan[["sheet", "arm", "ecg_id", "repeat_of"]].to_dict(orient="records")
    text = json.dumps({"format": KEY_FORMAT, "secret": secret, "sheets": sheets}, indent=1) + "\n"
    write_text(path, text)
    Path(path).chmod(0o600)
    return hashlib.sha256(text.encode()).hexdigest()


def read_key(path: Path | str) -> Key:
    """Read a key.

    Raises
    ------
    InputError
        If the file is absent, or no key that `write_key` wrote.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give the key that `make blinded` wrote beside the hand-out") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give the file key.json") from None
    try:
        content = json.loads(data)
        assert content["format"] == KEY_FORMAT and isinstance(content["secret"], str)
        sheets = pd.DataFrame(content["sheets"])[["sheet", "arm", "ecg_id", "repeat_of"]]
        assert set(sheets["arm"]) == set(ARMS) and sheets["sheet"].is_unique
        assert set(sheets["repeat_of"]) - {""} <= set(sheets["sheet"])
    except (ValueError, KeyError, TypeError, AssertionError):
        raise InputError(f"{path} is no key of a blinded reading (format {KEY_FORMAT}); was it edited?") from None
    return Key(sheets, content["secret"], hashlib.sha256(data).hexdigest())


def write_form(path: Path | str, seal: str, reader: str, answers: pd.DataFrame) -> None:
    """Write one reader's answers, as the page exports them.

    Parameters
    ----------
    path : path
        CSV, in UTF-8.
    seal : str
        The kit's.
    reader : str
        The reader's code.
    answers : DataFrame
        ``sheet`` and any of ``answer``, ``confidence``, ``rhythm``, ``quality``, ``reason``; what is absent stays open.
    """
    table = answers.assign(seal=seal, reader=reader).reindex(columns=list(FIELDS)).fillna("")
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False)


def read_forms(paths: Sequence[Path | str] | Path | str, key: Key) -> pd.DataFrame:
    """Read all readers' forms and join them with the key; separated by commas, or, as some spreadsheets do, semicolons.

    Parameters
    ----------
    paths : folder, or sequence of paths
        One CSV a reader; of a folder, all its ``*.csv``.
    key : Key

    Returns
    -------
    DataFrame, one row a reader and sheet
        `FIELDS`, ``reader`` in capitals, ``confidence`` as a whole number; and ``arm`` and ``repeat_of`` of the key. In
        the order of the key.

    Raises
    ------
    InputError
        If there are no forms; if a form carries another seal than the key's; if one is open (a sheet or a field
        without its answer), names a sheet twice or one that is not of this kit, or holds an answer that no form offers;
        if a reader's code is none that the page takes, or two files are of one reader. Nothing is unblinded then: no
        share of right answers is computed.
    """
    if isinstance(paths, str | Path):
        folder = Path(paths)
        if not folder.is_dir():
            raise InputError(f"FORMS={str(folder)!r} is no folder; give the one that holds the readers' CSV files")
        paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise InputError("FORMS holds no *.csv; give the folder with the files that the readers exported")
    forms = [_read_form(Path(path), key) for path in paths]
    table = pd.concat(forms, ignore_index=True)
    readers = [form["reader"].iloc[0] for form in forms]
    for k, reader in enumerate(readers):
        if reader in readers[:k]:
            raise InputError(f"{paths[readers.index(reader)]} and {paths[k]} are both of reader {reader!r}; keep one")
    return table


def _read_form(path: Path, key: Key) -> pd.DataFrame:
    try:
        with path.open(encoding="utf-8-sig") as file:
            separator = ";" if file.readline().count(";") >= len(FIELDS) - 1 else ","
        form = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, OSError) as error:  # pandas' parser errors and wrong encodings are ValueErrors
        raise InputError(f"{path} cannot be read as CSV ({error}); export the form once more") from None
    missing = [field for field in FIELDS if field not in form]
    if missing or form.empty:
        raise InputError(f"{path} lacks {', '.join(missing) or 'rows'}; expected {', '.join(FIELDS)}")
    form = form[list(FIELDS)].apply(lambda column: column.str.strip())
    if set(form["seal"]) != {key.seal}:
        raise InputError(f"{path} carries the seal {form['seal'].iloc[0][:12]}… and the key's SHA-256 "
                         f"is {key.seal[:12]}…: the key is of another kit, or was changed since")  # fmt: skip
    form["reader"] = form["reader"].str.upper()  # as the page does: r1 is R1
    if form["reader"].nunique() != 1 or not READER.fullmatch(form["reader"].iloc[0]):
        raise InputError(f"{path}: column reader holds {sorted(set(form['reader']))}; expected one code in every row, "
                         "of up to 20 letters A–Z, digits and hyphens, no hyphen first")  # fmt: skip
    unknown, twice = set(form["sheet"]) - set(key.sheets["sheet"]), form["sheet"][form["sheet"].duplicated()]
    if unknown or len(twice):
        sheet = min(unknown) if unknown else twice.iloc[0]
        raise InputError(f"{path}: sheet {sheet!r} is {'not of this kit' if unknown else 'there twice'}")
    table = key.sheets.merge(form, on="sheet", how="left")
    empty = (table[list(CHOICES)].fillna("") == "").any(axis=1)
    if empty.any():
        names = table.loc[empty, "sheet"]
        listed = ", ".join([*names[:5], *["…"] * (len(names) > 5)])
        raise InputError(f"{path} is open: {len(names)} of {len(table)} sheets lack an answer ({listed}); let the "
                         "reader finish it")  # fmt: skip
    for field, choices in CHOICES.items():
        wrong = table.loc[~table[field].isin(choices)]
        if len(wrong):
            raise InputError(f"{path}: sheet {wrong['sheet'].iloc[0]} has {field} {wrong[field].iloc[0]!r}; expected "
                             f"one of {', '.join(choices)}")  # fmt: skip
    table["confidence"] = table["confidence"].astype(int)
    return table[[*FIELDS, "arm", "repeat_of"]]
