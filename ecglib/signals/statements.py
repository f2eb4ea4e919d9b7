"""The 71 SCP-ECG statements of PTB-XL: what each says, and the groups it belongs to.

Source: PTB-XL's own table ``scp_statements.csv`` (Wagner et al., Sci Data 7:154, 2020; CC BY 4.0), reduced to the
columns used here.
"""

from collections.abc import Iterable
from importlib.resources import files

import pandas as pd

SUPERCLASSES: tuple[str, ...] = ("NORM", "MI", "STTC", "CD", "HYP")


def _read() -> pd.DataFrame:
    with files("ecglib.signals").joinpath("tables/scp_statements.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, index_col="statement", comment="#", keep_default_na=False)


STATEMENTS: pd.DataFrame = _read()
"""Index: statement; columns: description, group (diagnosis, form or rhythm), superclass, subclass ('' if none)."""


def in_group(group: str) -> tuple[str, ...]:
    """Return the statements of one disentangled group: ``diagnosis`` (40), ``form`` (19) or ``rhythm`` (12).

    Four statements (NDT, NST_, DIG, LNGQT) are both diagnostic and form statements in PTB-XL; MIDT-ECG keeps them
    with form, and so do we, so that each statement is in exactly one group.
    """
    return tuple(STATEMENTS.index[STATEMENTS["group"] == group])


def superclasses(codes: Iterable[str]) -> set[str]:
    """Return the diagnostic superclasses (NORM, MI, STTC, CD, HYP) of a record's statements."""
    found = STATEMENTS["superclass"].reindex(list(codes))
    return {name for name in found if isinstance(name, str) and name}
