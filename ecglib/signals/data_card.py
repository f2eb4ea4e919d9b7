"""The words that go with an exported cohort: its data card and its licence note."""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from importlib.resources import files
from typing import Any

import pandas as pd

from ecglib import __version__
from ecglib.signals.cohort import Cohort
from ecglib.signals.statements import STATEMENTS

SYNTHETIC = "Synthetic ECGs: made by a program, of no person, not for clinical use."
_REAL = {
    "ludb": (
        "Derived from LUDB 1.0.1, under the Open Data Commons Attribution License 1.0: "
        "https://opendatacommons.org/licenses/by/1-0/",
        "Kalyakulina et al., IEEE Access 8:186181, 2020",
    ),
    "ptb-xl": (
        "Derived from PTB-XL, under Creative Commons Attribution 4.0: https://creativecommons.org/licenses/by/4.0/",
        "Wagner et al., Sci Data 7:154, 2020",
    ),
    "challenge-2021": (
        "Derived from the PhysioNet/CinC Challenge 2021, under Creative Commons Attribution 4.0: "
        "https://creativecommons.org/licenses/by/4.0/",
        "Reyna et al., Computing in Cardiology 2021; Perez Alday et al., Physiol Meas 41:124003, 2020",
    ),
    "mimic-iv-ecg": (
        "Derived from MIMIC-IV-ECG 1.0, under the Open Data Commons Open Database License 1.0, which asks that a "
        "derived database be shared under the same terms: https://opendatacommons.org/licenses/odbl/1-0/",
        "Gow et al., MIMIC-IV-ECG: Diagnostic Electrocardiogram Matched Subset, PhysioNet, 2023",
    ),
}
_PHYSIONET = "Goldberger et al., Circulation 101:e215, 2000"
REAL = tuple(_REAL)
"""Sources that are known to be real records."""
_LIMITS = {
    "virtual": "Simulated from physiology: simpler than real ECGs. No patient's record was used.",
    "generated": "Made by a generative model: they may repeat its training records, and its errors. What was done for "
                 "privacy is stated above, or is not known here.",
    "real": "Those of the source.",
}  # fmt: skip


def says_synthetic(source: str) -> bool:
    """Tell whether the name of a source says that its records are synthetic: virtual, or generated."""
    return source.lower().startswith(("virtual", "synthetic"))


def licence(source: str, synthetic: bool) -> str:
    """Return the text of ``LICENSE.txt``."""
    if synthetic:
        return (f"{SYNTHETIC}\nMade with ecglib (MIT licence). If a generator was trained on a cohort, that cohort's "
                "licence may ask for attribution.\n")  # fmt: skip
    if source in _REAL:
        text, citation = _REAL[source]
        return f"{text}\nCite: {citation}; {_PHYSIONET}.\n"
    return f"Records of {source!r}: the licence of their source applies.\n"


def one_line(text: str) -> str:
    """Return `text` without line breaks, control characters or half characters, so that it cannot add lines."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+", " ", text)


def data_card(cohort: Cohort, synthetic: bool) -> str:
    """Return the text of ``README.md``: what the records are, how made, of whom, how to read them, their limits.

    Parameters
    ----------
    cohort : Cohort
        What ``notes`` holds is printed; what it does not hold is not claimed. Generated records always have a
        row for ε.
    synthetic : bool
        Whether the records are synthetic.
    """
    table = cohort.table
    counts = Counter(statement for codes in table["scp_codes"] for statement in codes)
    kind = "real" if not synthetic else "virtual" if cohort.source.startswith("virtual") else "generated"
    notes = {"epsilon": "not stated"} | cohort.notes if kind == "generated" else cohort.notes
    card = files("ecglib.signals").joinpath("tables/data_card.md").read_text(encoding="utf-8")
    return card.format(
        title="Synthetic ECGs in PTB-XL's layout" if synthetic else "ECGs in PTB-XL's layout",
        about=f"**{SYNTHETIC}** Every header and every row say so." if synthetic else "Real records.",
        n_records=len(cohort),
        n_patients=table["patient_id"].nunique(),
        rates="500 Hz in `records500/`; 100 Hz in `records100/`, made from these, low-pass filtered first"
        if cohort.fs == 500 else "100 Hz in `records100/`; there is no `records500/`, and `filename_hr` is empty",
        source=_cell(cohort.source),
        version=__version__,
        facts=_rows([name, _fact(value)] for name, value in notes.items()),
        people=_rows(_person(table, name) for name in ("age", "height", "weight", "heart_rate")),
        male=int((table["sex"] == 0).sum()),
        female=int((table["sex"] == 1).sum()),
        sex_unknown=int(table["sex"].isna().sum()),
        over_89=" An age over 89 is printed as 300, as in PTB-XL." if "age_over_89" in table else "",
        statements=_rows([name, *STATEMENTS.loc[name, ["description", "superclass"]], str(count)]
                         for name, count in counts.most_common()),
        limits=f"{_LIMITS[kind]} Not for clinical use.",
        licence=licence(cohort.source, synthetic),
        citation="Cite ecglib, and the cohort that a generator was trained on." if synthetic else "",
    )  # fmt: skip


def _person(table: pd.DataFrame, name: str) -> list[str]:
    known = table[name].dropna()
    span = f"{known.median():.0f} ({known.min():.0f}–{known.max():.0f})" if len(known) else "–"
    return [f"`{name}`", f"{len(known)} of {len(table)}", span]


def _fact(value: Any) -> str:
    """Return one of a cohort's notes in a line; long lists, such as records left out by reason, are counted."""
    if isinstance(value, dict):
        parts = (f"{name}: {len(found) if isinstance(found, list) else found}" for name, found in value.items())
        return "; ".join(parts) or "none"
    if isinstance(value, list) and len(value) > 10:
        return str(len(value))
    return value if isinstance(value, str) else json.dumps(value)


def _rows(rows: Any) -> str:
    return "".join(f"| {' | '.join(map(_cell, row))} |\n" for row in rows)


def _cell(text: str) -> str:
    """Return text that neither ends a table's cell nor is taken for HTML."""
    return html.escape(one_line(text), quote=False).replace("|", "&#124;").strip()
