"""The machine's report lines of MIMIC-IV-ECG → SCP statements, by a table of phrases."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

import pandas as pd

from ecglib.signals.readers.metadata import one_sinus_rhythm

COMMONEST = 50  # lines without a known phrase that are listed
LONGEST = 500  # characters of a line; assumption: no machine prints a longer one
SPELLING = {  # a table of phrases for every spelling would be several times as long
    "a-v": "av", "atrioventricular": "av", "s-a": "sa", "first": "1st", "second": "2nd", "third": "3rd",
    "lbbb": "left bundle branch block", "ilbbb": "incomplete left bundle branch block",
    "rbbb": "right bundle branch block", "irbbb": "incomplete right bundle branch block",
    "lafb": "left anterior fascicular block", "lpfb": "left posterior fascicular block",
    "lvh": "left ventricular hypertrophy", "rvh": "right ventricular hypertrophy", "bvh": "biventricular hypertrophy",
    "lae": "left atrial abnormality", "rae": "right atrial abnormality", "enlargement": "abnormality",
    "ivcd": "iv conduction delay", "i.v.": "iv", "intraventricular": "iv", "defect": "delay",
    "infarction": "infarct", "mi": "infarct", "myocardial": "", "ischaemia": "ischemia", "ant/septal": "anteroseptal",
    "wolff-parkinson-white": "wpw", "afib": "atrial fibrillation",
    "flut": "flutter", "contraction": "complex", "contractions": "complex", "beat": "complex", "beats": "complex",
    "abnormalities": "abnormality", "abnrm": "abnormality", "change": "abnormality", "changes": "abnormality",
    "elev": "elevation", "depr": "depression", "repol": "repolarization", "non-specific": "nonspecific",
    "st and t wave": "st-t", "st & t wave": "st-t", "st-t wave": "st-t",
    "st and t": "st-t", "st & t": "st-t", "t wave": "t", "t waves": "t", "q waves": "q wave", "qtc": "qt",
}  # fmt: skip
TERRITORIES = "inferior", "anteroseptal", "anterior", "septal", "lateral", "posterior"  # in the table's order
TOGETHER = {
    ("inferior", "lateral"): "inferolateral", ("inferior", "posterior"): "inferoposterior",
    ("anterior", "septal"): "anteroseptal", ("anteroseptal", "anterior"): "anteroseptal",
    ("anteroseptal", "septal"): "anteroseptal", ("anterior", "lateral"): "anterolateral",
    ("lateral", "posterior"): "posterolateral",
}  # fmt: skip
_ALONE = "(?<![a-z0-9])(?:{})(?![a-z0-9])"  # as whole words
_SPELLED = re.compile(_ALONE.format("|".join(sorted(map(re.escape, SPELLING), key=len, reverse=True))))
_TWO = re.compile(_ALONE.format("({0})(?: and | & |/|-)({0})".format("|".join(TERRITORIES))))
_HEDGE = re.compile(_ALONE.format("possibl[ey]|probabl[ey]|prob|likely|consider|suspect|suggests?|may|might|could|"
                                  "borderline|(?:cannot )?rule out|r/o") + r"|\?")  # fmt: skip
_OPEN = re.compile("cannot be (?:excluded|ruled out)")
_NO = re.compile(_ALONE.format("no|not|without|absence of|negative for") + "[^,;:|]*$")
_ABSENT = re.compile(r" (?:(?:is|are|was|were) )?" + _ALONE.format("absent|excluded|ruled out|unlikely|not"))


class Rule(NamedTuple):
    """A phrase of the table: its pattern, the statements it gives (likelihood), and whether it leaves NORM standing."""

    pattern: re.Pattern[str]
    codes: dict[str, float]
    normal: bool


class Translation(NamedTuple):
    """What a line gives: statements → likelihoods, whether NORM may stand, and whether any phrase of it is known."""

    codes: dict[str, float]
    normal: bool
    known: bool


@cache
def phrase_table() -> pd.DataFrame:
    """Return ``tables/mimic_statements.csv``: phrase, statement ('' if none), likelihood, normal (bool), note."""
    with files("ecglib.signals").joinpath("tables/mimic_statements.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file, comment="#", keep_default_na=False, dtype={"normal": int})
    return table.assign(likelihood=pd.to_numeric(table["likelihood"]).fillna(0.0), normal=table["normal"] == 1)


@cache
def _rules() -> list[Rule]:
    rules = []
    for phrase, rows in phrase_table().groupby("phrase", sort=False):
        parts = [_ALONE.format(re.escape(part.strip()) + "(?:e?s)?") if part else "" for part in str(phrase).split("*")]
        stated = rows[rows["statement"] != ""]
        codes = dict(zip(stated["statement"], stated["likelihood"], strict=True))
        rules.append(Rule(re.compile("[^|]*?".join(parts)), codes, bool(rows["normal"].all())))
    return rules


@lru_cache(maxsize=100_000)
def translate(line: str) -> Translation:
    """Translate one line of a report.

    Parameters
    ----------
    line : str
        For example ``"Left axis deviation - possible left anterior fascicular block"``.

    Returns
    -------
    Translation
        Of the phrases of the table, tried from its top; what one has matched is taken out of the line. A likelihood of
        100 is 50 where a hedge ("possible", "probable", "consider", "borderline", "may be", "cannot rule out", …)
        comes before the phrase or in it, or "cannot be excluded" anywhere. A phrase gives nothing after "no", "not" or
        "without", up to the next comma, nor before "is absent" or "ruled out". A line of more than 500 characters is
        none of a machine's, and unknown.
    """
    text = _respell(line) if len(line) <= LONGEST else ""
    codes: dict[str, float] = {}
    normal, known = True, False
    for rule in _rules():
        found = rule.pattern.search(text)
        if found is None:
            continue
        known = True
        start, end = found.span()
        if not (_NO.search(text[:start]) or _ABSENT.match(text[end:])):
            most = 50.0 if _HEDGE.search(text[:end]) or _OPEN.search(text) else 100.0
            codes |= {name: max(min(likelihood, most), codes.get(name, 0.0)) for name, likelihood in rule.codes.items()}
            normal &= rule.normal
        text = text[:start] + "|" * (end - start) + text[end:]
    return Translation(codes, normal, known)


def _respell(line: str) -> str:
    text = " ".join(line.lower().replace("(s)", "s").replace("(es)", "es").replace("|", " ").split())
    text = re.sub(" (?:-+|but) ", ", ", text).replace(" ,", ",")
    text = re.sub(r"\b(infero|antero|postero)-(?=[a-z])", r"\1", text)
    text = " ".join(_SPELLED.sub(lambda word: SPELLING[word[0]], text).split())
    return _TWO.sub(_in_order, text)


def _in_order(two: re.Match[str]) -> str:
    first, second = sorted(two.groups(), key=TERRITORIES.index)
    return TOGETHER.get((first, second), f"{first} and {second}")


def to_statements(lines: Iterable[str]) -> dict[str, float]:
    """Translate the report lines of one record into SCP statements.

    Parameters
    ----------
    lines : iterable of str
        For example ``["Sinus rhythm", "Possible inferior infarct - age undetermined", "Abnormal ECG"]``.

    Returns
    -------
    dict of str to float
        Statement → likelihood (`translate`), the highest where several lines give the same one. ``NORM`` is there if
        the report says "normal ECG", or nearly so, and no line speaks against it; no ``SR`` beside another sinus
        rhythm.
    """
    codes: dict[str, float] = {}
    found = [translate(line) for line in lines]
    for translation in found:
        codes |= {name: max(value, codes.get(name, 0.0)) for name, value in translation.codes.items()}
    if not all(translation.normal for translation in found):
        codes.pop("NORM", None)
    return one_sinus_rhythm(codes)


def untranslated(reports: pd.Series) -> dict[str, int]:
    """Return the lines that hold no phrase of the table → how many reports have them; the 50 commonest.

    Parameters
    ----------
    reports : Series of str
        Lines joined by "; ".
    """
    counts: Counter[str] = Counter()
    for report, times in reports.value_counts().items():
        for line in {" ".join(line.lower().split()).rstrip(".") for line in str(report).split("; ")} - {""}:
            counts[line] += 0 if translate(line).known else int(times)
    return dict((+counts).most_common(COMMONEST))
