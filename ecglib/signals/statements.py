"""The 71 SCP-ECG statements of PTB-XL: what each says, and the groups it belongs to.

Source: PTB-XL's own table ``scp_statements.csv`` (Wagner et al., Sci Data 7:154, 2020; CC BY 4.0).
"""

from collections.abc import Iterable
from importlib.resources import files

import pandas as pd

from ecglib.errors import choose

SUPERCLASSES: tuple[str, ...] = ("NORM", "MI", "STTC", "CD", "HYP")
SINUS = frozenset({"SR", "SBRAD", "STACH", "SARRH"})  # rhythms of the sinus node


def _read() -> pd.DataFrame:
    with files("ecglib.signals").joinpath("tables/scp_statements.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, index_col="statement", comment="#", keep_default_na=False)


STATEMENTS: pd.DataFrame = _read()
"""Index: statement; columns: description, group (diagnosis, form or rhythm), superclass, subclass ('' if none), and
PTB-XL's six of codes in other vocabularies."""

_SUPERCLASS: dict[str, str] = STATEMENTS["superclass"].to_dict()


def in_group(group: str) -> tuple[str, ...]:
    """Return the statements of one disentangled group: ``diagnosis`` (40), ``form`` (19) or ``rhythm`` (12).

    Four statements (NDT, NST_, DIG, LNGQT) are both diagnostic and form statements in PTB-XL; MIDT-ECG keeps them
    with form, and so do we, so that each statement is in exactly one group. Another name is an `InputError`.
    """
    choose("group", group, ("diagnosis", "form", "rhythm"))
    return tuple(STATEMENTS.index[STATEMENTS["group"] == group])


LEVELS: tuple[str, ...] = ("superclass", "subclass", "diagnostic", "form", "rhythm", "all")


def labels_of(codes: Iterable[str], level: str) -> set[str]:
    """Return a record's labels at one level of PTB-XL's classification.

    Parameters
    ----------
    codes : iterable of str
        The record's statements.
    level : {"superclass", "subclass", "diagnostic", "form", "rhythm", "all"}
        Of 5, 23, 44, 19, 12 and 71 labels. NDT, NST_, DIG and LNGQT are diagnostic *and* form statements.

    Raises
    ------
    InputError
        If there is no such level, or a code is none of the 71 statements.

    Notes
    -----
    Source: Wagner et al., Sci Data 7:154, 2020.
    """
    choose("level", level, LEVELS)
    rows = STATEMENTS.loc[[choose("statement", code, STATEMENTS.index) for code in codes]]
    if level in ("superclass", "subclass"):
        return set(rows[level]) - {""}
    wanted = rows["superclass"] != "" if level == "diagnostic" else (rows["group"] == level) | (level == "all")
    return set(rows.index[wanted])


def superclasses(codes: Iterable[str]) -> set[str]:
    """Return the diagnostic superclasses (NORM, MI, STTC, CD, HYP) of a record's statements."""
    return {_SUPERCLASS[code] for code in codes if _SUPERCLASS.get(code)}
