"""What the papers claim and what stands here beside it: read from the committed tables, never typed in.

The published values are all that is known to us of the papers' own: abstracts and summaries could be read, and public
code. Every "here" is a row of a file in ``book/results/`` that names its command, commit and date.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ecglib.ablations import reductions
from ecglib.errors import InputError
from ecglib.runs import ROOT, write_text

TABLES = ROOT / "book" / "results"
NOT_YET = "not yet measured here"
SHOWN = 4  # findings of a claim that README lists one by one
MARKS = "<!-- results: python -m ecglib results -->", "<!-- end of results -->"


@dataclass(frozen=True)
class Finding:
    """A value measured here.

    Parameters
    ----------
    here : str
        The value, with its interval or its spread over seeds.
    on : str
        Cohort, size and number of records or seeds.
    table : str
        The file of ``book/results/`` it was read from.
    value, low, high, published : float
        The same as numbers, and the published value in the same unit, for a figure; NaN where there is none.
    """

    here: str
    on: str
    table: str
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    published: float = np.nan


@dataclass(frozen=True)
class Claim:
    """A published claim: what was found here (() where nothing was), the function that measures it, and its chapter."""

    claim: str
    paper: str
    published: str
    find: Callable[[Path], tuple[Finding, ...]]
    yardstick: str
    chapter: str
    gap: str


def table_of(folder: Path, name: str) -> pd.DataFrame | None:
    """Return a committed table; None where it is not there, or empty."""
    path = folder / name
    table = pd.read_csv(path, comment="#") if path.exists() else pd.DataFrame()
    return None if table.empty else table


def against_baseline(folder: Path, metric: str, key: str, published: float, name: str = "") -> tuple[Finding, ...]:
    """By how many percent each mel loss changes a metric against the same network trained without one.

    Between the smallest and largest of several seeds; of one seed, within the interval over patients of the difference.
    Left out is what cannot be compared: a baseline whose samples are noise has no beats, and no value of a metric of
    beats.
    """
    table, found = table_of(folder, "ablations.csv"), []
    if table is None:
        return ()
    for (cohort, preset), rows in table.groupby(["cohort", "preset"], sort=False):
        change, part = reductions(rows, metric, key), rows[(rows["metric"] == metric) & (rows["key"] == key)]
        for variant in [name for name in change.index if "mel-" in name or name == "default"]:
            if np.isnan(change.loc[variant, "raw"]):
                continue
            row = change.loc[variant]
            low, high, seeds = row["raw_low"], row["raw_high"], f"{row['seeds']:.0f} seeds"
            if row["seeds"] == 1:
                one = part[part["variant"] == variant].iloc[0]
                without = one["value"] / (1 + row["raw"] / 100)
                low, high = 100 * one["difference_low"] / without, 100 * one["difference_high"] / without
                seeds = "1 seed, interval over patients"
            text = f"{name}{variant}: {row['raw']:+.0f} % ({low:+.0f} … {high:+.0f})"
            on = f"{RECORDS.get(cohort, cohort)}, {preset}, {seeds}"
            found.append(Finding(text, on, "ablations.csv", row["raw"], low, high, published))
    return tuple(found)


def demographics(folder: Path, metric: str, key: str, unit: str) -> tuple[Finding, ...]:
    """What age, sex or both beside the 71 labels change in a metric, against the labels alone of the same seed."""
    table, found = table_of(folder, "ablations.csv"), []
    if table is None:
        return ()
    part = table[(table["metric"] == metric) & (table["key"] == key)]
    for (cohort, preset), rows in part.groupby(["cohort", "preset"], sort=False):
        wide = rows.pivot_table(index="seed", columns="variant", values="value")
        for variant in [name for name in wide if name.startswith("labels-") and "labels" in wide]:
            gain = (wide[variant] - wide["labels"]).dropna()
            if len(gain):
                spread = f" ({gain.min():+.2f} … {gain.max():+.2f})" if len(gain) > 1 else ""
                on = f"{RECORDS.get(cohort, cohort)}, {preset}, {len(gain)} seed{'s' if len(gain) > 1 else ''}"
                found.append(Finding(f"{variant}: {gain.mean():+.2f}{unit}{spread}", on, "ablations.csv", gain.mean(),
                                     gain.min(), gain.max()))  # fmt: skip
    return tuple(found)


def little_data(folder: Path, method: str) -> tuple[Finding, ...]:
    """Macro AUROC with synthetic records less that of real ones alone, at each fraction of the real ones.

    Of several ratios the largest: synthetic records cost nothing, so whoever has some can have more.
    """
    table = table_of(folder, "utility_differences.csv")
    if table is None:
        return ()
    rows = table[table["method"] == method]
    rows = rows[rows["ratio"] == rows.groupby(["setting", "fraction"])["ratio"].transform("max")]
    setting = {"all": "the generator saw all", "fraction": "it saw the fraction only"}
    return tuple(Finding(f"{100 * row.fraction:g} % of real, ×{row.ratio}: {row.difference:+.3f} ({row.ci_low:+.3f} … "
                         f"{row.ci_high:+.3f}), {row.verdict}",
                         f"{setting[row.setting]}; {row.n_seeds} seed{'s' if row.n_seeds > 1 else ''}",
                         "utility_differences.csv", row.difference, row.ci_low, row.ci_high)
                 for row in rows.itertuples())  # fmt: skip


def rhythms(folder: Path, direction: str, published: float) -> tuple[Finding, ...]:
    """Macro F1 of the random forest on the paper's features."""
    table = table_of(folder, "sr_af.csv")
    if table is None:
        return ()
    rows = table[(table["direction"] == direction) & (table["model"] == "random forest") &
                 (table["features"] == "published")]  # fmt: skip
    if direction == "TRTS":
        rows = rows.drop_duplicates(["generator"])  # tested on synthetic records: the same whatever the real test set
    return tuple(Finding(f"{row.macro_f1:.2f} ({row.macro_f1_low:.2f} … {row.macro_f1_high:.2f})",
                         f"{row.generator}; tested on {row.n_test:.0f} "
                         + ("synthetic records" if direction == "TRTS" else f"records, {row.test}"), "sr_af.csv",
                         row.macro_f1, row.macro_f1_low, row.macro_f1_high, published)
                 for row in rows.itertuples())  # fmt: skip


def nothing(folder: Path) -> tuple[Finding, ...]:
    """Nothing was measured."""
    return ()


MIDT, HEGDE = "MIDT-ECG", "second paper"
MORE = "more seeds, and PTB-XL, whose ages and sexes are real"
RECORDS = {"folder": "LUDB and Challenge"}  # what `tools/real_records.py` prepared for the rows of that name
CLAIMS = (
    Claim("inter-lead correlation error against SSSD-ECG", MIDT, "−74 % (arXiv abstract), −70 % (OpenReview summary)",
          lambda folder: against_baseline(folder, "ilce", "mean", -74.0),
          "ecglib.evaluation.fidelity.ilce", "09_ablations",
          "a training of the paper's size on PTB-XL, with and without the loss, over seeds"),
    Claim("demographic conditioning: the paper's SNR", MIDT, "better signal-to-noise ratio",
          lambda folder: demographics(folder, "paired_measures", "snr_db", " dB"),
          "ecglib.evaluation.fidelity.paired_measures", "10_fidelity", MORE),
    Claim("demographic conditioning: template SNR, distance from real", MIDT, "better signal-to-noise ratio",
          lambda folder: demographics(folder, "template_snr", "distance", " dB"),
          "ecglib.evaluation.fidelity.template_snr", "10_fidelity", MORE),
    Claim("demographic conditioning: error of the age read off", MIDT, "better personalisation",
          lambda folder: demographics(folder, "age_and_sex", "age_mae", " years"),
          "ecglib.evaluation.clinical.age_and_sex", "11_clinical", MORE),
    Claim("demographic conditioning: AUROC of the sex read off", MIDT, "better personalisation",
          lambda folder: demographics(folder, "age_and_sex", "sex_auc", ""),
          "ecglib.evaluation.clinical.age_and_sex", "11_clinical", MORE),
    Claim("privacy metrics against the baseline", MIDT, "4–8 % better",
          lambda folder: against_baseline(folder, "mir", "f1 beats", np.nan, "MIR F1, "),
          "ecglib.evaluation.privacy.audit", "12_privacy",
          "the audit on both variants, at a size where either leaks at all"),
    Claim("little data: real + synthetic against real", MIDT, "comparable",
          lambda folder: little_data(folder, "synthetic"), "ecglib.evaluation.utility.run_cell", "13_utility",
          "PTB-XL; a generator that saw the fraction only"),
    Claim("little data: synthetic alone against real", MIDT, "comparable",
          lambda folder: little_data(folder, "synthetic only"), "ecglib.evaluation.utility.verdict", "13_utility",
          "as above"),
    Claim("F1, synthetic features → real ECGs", HEGDE, "0.80", lambda folder: rhythms(folder, "TSTR", 0.80),
          "ecglib.evaluation.sr_af.transfer_table", "14_sr_vs_af", "MIMIC-IV-ECG, at the paper's size"),
    Claim("F1, real features → synthetic ECGs", HEGDE, "0.91", lambda folder: rhythms(folder, "TRTS", 0.91),
          "ecglib.evaluation.sr_af.transfer_table", "14_sr_vs_af", "as above"),
    Claim("physicians, blinded", HEGDE, "synthetic pass as real (counts unknown)", nothing,
          "ecglib.evaluation.blinded.analyse", "15_blinded_reading",
          "physicians: `make blinded` writes the sheets, and the chapter has the analysis"),
)  # fmt: skip


def published_and_here(folder: Path = TABLES) -> pd.DataFrame:
    """Return one row a finding: ``paper``, ``claim``, ``published``, ``here``, ``on``, ``table``, ``to close the gap``.

    A claim without a finding has one row whose ``here`` says so.
    """
    rows = []
    for claim in CLAIMS:
        for finding in claim.find(folder) or (Finding(NOT_YET, "", ""),):
            rows.append({"paper": claim.paper, "claim": claim.claim, "published": claim.published,
                         "here": finding.here, "on": finding.on, "table": finding.table,
                         "to close the gap": claim.gap})  # fmt: skip
    return pd.DataFrame(rows)


def in_short(findings: Sequence[Finding]) -> str:
    """Return one or two findings as they are, of more the smallest and the largest."""
    if len(findings) < 3:
        return "; ".join(finding.here for finding in findings) or NOT_YET
    least, most = (end(findings, key=lambda finding: finding.value) for end in (min, max))
    return f"{len(findings)} findings, from {least.here} to {most.here}"


def as_markdown(folder: Path = TABLES) -> str:
    """Return the table for README, a claim's name and published value once; of many findings the two ends only."""
    lines = ["| claim | published | measured here | on |", "|---|---|---|---|"]
    for claim in CLAIMS:
        findings = claim.find(folder)
        shown = [(one.here, one.on) for one in findings] or [(NOT_YET, "")]
        if len(findings) > SHOWN:
            shown = [(in_short(findings), f"chapter {claim.chapter[:2]}; each of them in chapter 19")]
        heads = [(f"{claim.claim} ({claim.paper})", claim.published)] + [("", "")] * (len(shown) - 1)
        lines += ["| " + " | ".join([*head, *row]) + " |" for head, row in zip(heads, shown, strict=True)]
    return "\n".join(lines)


def write_readme(readme: Path = ROOT / "README.md", folder: Path = TABLES) -> bool:
    """Put the table between README's two marks; return whether it changed.

    Raises
    ------
    InputError
        If the marks are not there.
    """
    text = readme.read_text(encoding="utf-8")
    if text.count(MARKS[0]) != 1 or text.count(MARKS[1]) != 1:
        raise InputError(f"{readme} has not one {MARKS[0]} and one {MARKS[1]}; put them back around the results' table")
    before, rest = text.split(MARKS[0])
    new = before + MARKS[0] + "\n" + as_markdown(folder) + "\n" + MARKS[1] + rest.split(MARKS[1])[1]
    if new != text:
        write_text(readme, new)
    return new != text
