"""Tables that come with records: read whatever the file's dialect, and never evaluated as code."""

from __future__ import annotations

import ast
import csv
import math
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from ecglib.errors import InputError, choose
from ecglib.signals.statements import SINUS, STATEMENTS

LONGEST_CODES = 4096  # characters: 71 statements need fewer


def read_csv(path: Path, required: tuple[str, ...]) -> pd.DataFrame:
    """Read a CSV table as text.

    Parameters
    ----------
    path : Path
        UTF-8 (with or without byte order mark) or Latin-1, ``,`` or ``;`` between fields, any line ends.
    required : tuple of str
        Columns that it must have.

    Returns
    -------
    DataFrame of str
        Fields stripped; '' where empty.

    Raises
    ------
    InputError
        If it does not exist, is no table, is empty, or lacks a column.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    if "\0" in text:
        raise InputError(f"{path} holds NUL characters, so it is neither UTF-8 nor Latin-1 text; save it as UTF-8")
    table = _parse(path, text.replace("\r\n", "\n").replace("\r", "\n"))
    absent = [name for name in required if name not in table]
    if absent:
        raise InputError(f"{path} has no column {', '.join(absent)}; it has {', '.join(map(str, table.columns))[:300]}")
    if table.empty:
        raise InputError(f"{path} has a header line but no rows; fetch it again")
    return table.apply(lambda column: column.map({text: text.strip() for text in column.unique()}))


def _parse(path: Path, text: str) -> pd.DataFrame:
    from io import StringIO

    first = text.split("\n", 1)[0]
    separator = ";" if first.count(";") > first.count(",") else ","
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # pandas would drop the cells too many
            table = pd.read_csv(StringIO(text.rstrip("\n")), sep=separator, dtype=str, keep_default_na=False,
                                index_col=False, skip_blank_lines=False)  # fmt: skip
    except pd.errors.ParserWarning:
        raise InputError(f"{path}: a row has more cells than the header; quote text that holds commas") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise InputError(f"{path} is not a CSV table: {error}; fetch it again") from None
    rows = csv.reader(StringIO(text.rstrip("\n")), delimiter=separator)
    try:
        for k, cells in enumerate(rows, start=1):
            if 0 < len(cells) < table.shape[1]:  # pandas would take the rest for empty
                raise InputError(f"{path}, row {k}: {len(cells)} cells for {table.shape[1]} columns; complete the row")
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: {error}; is a quotation mark not closed?") from None
    return table


def typed(column: pd.Series) -> pd.Series:
    """Return a column of text as numbers or truth values if all that is not empty is; else as it is.

    Numbers with leading zeros, such as "007", with a line below, "1_0", or of more digits than a float holds are names.
    """
    known = column[column != ""]
    if known.str.match(r"-?0[0-9]|.*_|-?\d{16}").any():
        return column
    if len(known) and known.isin(("True", "False")).all():
        return (column == "True") if len(known) == len(column) else column
    if len(known) == len(column) and known.str.fullmatch(r"-?\d{1,15}").all():
        return column.astype("int64")
    try:
        return column.replace("", "nan").astype(float)
    except ValueError:
        return column


def truth(text: str) -> bool:
    """Return what a cell says: ``true`` or 1; ``false``, 0 or nothing.

    Raises
    ------
    ValueError
        If it is something else.
    """
    try:
        return {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False, "": False}[text.lower()]
    except KeyError:
        raise ValueError(f"{text[:60]!r} is not true, false or nothing") from None


def one_sinus_rhythm(codes: dict[str, float]) -> dict[str, float]:
    """Return the statements without ``SR`` beside another sinus rhythm: PTB-XL never states two, other sources do."""
    return {name: value for name, value in codes.items() if name != "SR" or len(SINUS & set(codes)) == 1}


def number(text: str, low: float, high: float) -> float:
    """Return `text` as a number from `low` to `high`; NaN if it is empty.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if text == "" or text.lower() == "nan":
        return math.nan
    value = float(text)
    if not low <= value <= high:  # inf fails too
        raise ValueError(f"{text!r} is not {low:g} to {high:g}")
    return value


def parse_codes(text: str) -> dict[str, float]:
    """Read PTB-XL's ``scp_codes``: a dict from statement to likelihood, printed by Python.

    Parameters
    ----------
    text : str
        For example ``{'NORM': 100.0, 'SR': 0.0}``. It is parsed as a literal; code in it is never run.

    Returns
    -------
    dict of str to float
        Known statements to likelihoods 0–100.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if len(text) > LONGEST_CODES:
        raise ValueError(f"{len(text)} characters; expected at most {LONGEST_CODES}")
    try:
        codes: Any = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(f"{text[:60]!r} is not a plain dict") from None
    if not isinstance(codes, dict):
        raise ValueError(f"{text[:60]!r} is a {type(codes).__name__}; expected a dict")
    for statement, likelihood in codes.items():
        choose("statement", statement, STATEMENTS.index)
        if isinstance(likelihood, bool) or not isinstance(likelihood, int | float) or not 0 <= likelihood <= 100:
            raise ValueError(f"likelihood {likelihood!r} of {statement}; expected 0 to 100")
    return {statement: float(likelihood) for statement, likelihood in codes.items()}
