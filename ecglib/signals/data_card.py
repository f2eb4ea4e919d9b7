"""The words that go with an exported cohort: its data card and its licence note."""

from __future__ import annotations

from collections import Counter

from ecglib import __version__
from ecglib.signals.cohort import Cohort

_CARD = """# {title}

{about}

| | |
|---|---|
| records, patients | {n_records}, {n_patients} |
| signals | 12 leads, {seconds:g} s at {fs} Hz, int16, 1 µV a count |
| source | {source} |
| age in years, median (range); unknown | {age}; {age_unknown} |
| sex: male, female, unknown | {male}, {female}, {sex_unknown} |
| folds | strat_fold 1–8 train, 9 validation, 10 test |
| made by | ecglib {version} |

Statements (SCP-ECG), records: {statements}.

## Reading it
The layout is PTB-XL's (Wagner et al., Sci Data 7:154, 2020):

```python
import ast, pandas as pd, wfdb
table = pd.read_csv("ptbxl_database.csv", index_col="ecg_id")
table.scp_codes = table.scp_codes.apply(ast.literal_eval)
signals = [wfdb.rdsamp(name)[0] for name in table.{column}]
```

`waves.csv`, where present, holds the times of each beat's waves in seconds. `sha256sum -c SHA256SUMS.txt` checks the
files.

## Limits
{limits}
"""
_SYNTHETIC = ("**These records are synthetic.** They were made by a program, belong to no person, and are marked so in "
              "every header and in the column `synthetic`.")  # fmt: skip
_LICENCES = {
    "ludb": "Derived from LUDB 1.0.1 (Kalyakulina et al., IEEE Access 8:186181, 2020), under the Open Data Commons "
            "Attribution License 1.0: https://opendatacommons.org/licenses/by/1-0/",
    "ptb-xl": "Derived from PTB-XL (Wagner et al., Sci Data 7:154, 2020), under Creative Commons Attribution 4.0: "
              "https://creativecommons.org/licenses/by/4.0/",
    "challenge-2021": "Derived from the PhysioNet/CinC Challenge 2021, under Creative Commons Attribution 4.0: "
                      "https://creativecommons.org/licenses/by/4.0/",
    "mimic-iv-ecg": "Derived from MIMIC-IV-ECG 1.0, under the Open Data Commons Open Database License 1.0: "
                    "https://opendatacommons.org/licenses/odbl/1-0/",
}  # fmt: skip


def licence(source: str, synthetic: bool) -> str:
    """Return the text of ``LICENSE.txt``."""
    if source in _LICENCES:
        return _LICENCES[source] + "\n"
    if not synthetic:
        return f"Records of {source!r}: the licence of their source applies.\n"
    return ("Synthetic ECG records, made with ecglib (MIT licence) and marked synthetic in every header and row.\n"
            "If the generator was trained on a cohort, that cohort's licence may ask for attribution. Not for clinical "
            "use.\n")  # fmt: skip


def data_card(cohort: Cohort, synthetic: bool) -> str:
    """Return the text of ``README.md``: what the records are, how many, of whom, and how to read them."""
    table = cohort.table
    age = table["age"].dropna()
    counts = Counter(statement for codes in table["scp_codes"] for statement in codes)
    return _CARD.format(
        title="Synthetic ECGs in PTB-XL's layout" if synthetic else "ECGs in PTB-XL's layout",
        about=_SYNTHETIC if synthetic else "Real records, copied from their source.",
        n_records=len(cohort),
        n_patients=table["patient_id"].nunique(),
        seconds=cohort.x.shape[2] / cohort.fs,
        fs=cohort.fs,
        source=" ".join(cohort.source.split()),
        age=f"{age.median():.0f} ({age.min():.0f}–{age.max():.0f})" if len(age) else "–",
        age_unknown=len(table) - len(age),
        male=int((table["sex"] == 0).sum()),
        female=int((table["sex"] == 1).sum()),
        sex_unknown=int(table["sex"].isna().sum()),
        version=__version__,
        statements=", ".join(f"{statement} {count}" for statement, count in counts.most_common()) or "none",
        column="filename_lr" if cohort.fs == 100 else "filename_hr",
        limits="Not for clinical use; not evidence about any patient." if synthetic else "As of the source.",
    )
