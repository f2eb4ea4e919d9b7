"""The second paper's own steps: which records it keeps, and the nine features of lead II that it classifies by.

They are here to be rerun and to be criticised. Each rule looks at lead II alone, where P waves of real records are
often small, and NeuroKit2 marks waves in fibrillation too.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from ecglib.errors import InputError
from ecglib.evaluation.sr_af.entropy import sample_entropy
from ecglib.evaluation.sr_af.groups import af_of
from ecglib.parallel import chunked, in_order
from ecglib.signals.beats import find_beats
from ecglib.signals.cohort import Cohort

LEAST_AF_MS = 50.0  # SDNN and RMSSD of lead II
MOST_ENTROPY, LEAST_ALIKE = 0.5, 0.12
HALF_BEAT_S = 0.3
FEATURES = ("heart_rate", "rr_ms", "rr_sd_ms", "pr_ms", "qrs_ms", "qt_ms", "st_ms", "p_mv", "t_mv")
BLOCK = 16  # records a process takes at once


def select_as_published(cohort: Cohort) -> tuple[Cohort, pd.DataFrame]:
    """Keep the records that the second paper's rules keep.

    Parameters
    ----------
    cohort : Cohort
        With the column ``af``, as `sr_or_af` returns it.

    Returns
    -------
    kept : Cohort
    counts : DataFrame
        One row a rule: ``group``, ``rule``, ``asked`` (records of the group), ``kept`` by this rule alone; the last
        row of each group is of all rules together.

    Raises
    ------
    InputError
        If the cohort has no column ``af`` or no lead II, or nothing is kept.

    Notes
    -----
    Fibrillation: SDNN > 50 ms and RMSSD > 50 ms. Sinus rhythm: sample entropy < 0.5 and template correlation > 0.12.
    Source: Hegde et al. 2025, from the authors' public code. Of what the entropy is taken is not known to us: here of
    the signal of lead II (m = 2, r = 0.2 SD); so is the template: here the mean correlation of beats with their mean.
    """
    af = af_of(cohort).astype(bool)
    rules = pd.DataFrame([_rules(x, cohort.fs) for x in lead_ii(cohort)])
    passed = {"AF": {"SDNN > 50 ms": rules["sdnn_ms"] > LEAST_AF_MS, "RMSSD > 50 ms": rules["rmssd_ms"] > LEAST_AF_MS},
              "SR": {"sample entropy < 0.5": rules["entropy"] < MOST_ENTROPY,
                     "template correlation > 0.12": rules["alike"] > LEAST_ALIKE}}  # fmt: skip
    rows, kept = [], np.zeros(len(cohort), bool)
    for group, members in (("AF", af), ("SR", ~af)):
        together = members & np.logical_and.reduce([rule.to_numpy() for rule in passed[group].values()])
        for name, rule in {**passed[group], "all": pd.Series(together)}.items():
            rows.append({"group": group, "rule": name, "asked": int(members.sum()),
                         "kept": int((rule.to_numpy() & members).sum())})  # fmt: skip
        kept |= together
    if not kept.any():
        raise InputError(f"no record of {cohort.source} passes the second paper's rules: {rows}")
    return cohort.select(kept), pd.DataFrame(rows)


def published_features(cohort: Cohort, *, workers: int | None = None) -> pd.DataFrame:
    """Measure the second paper's nine features in lead II, with NeuroKit2.

    Parameters
    ----------
    cohort : Cohort
    workers : int, optional
        Processes; None: one a core.

    Returns
    -------
    DataFrame, one row a record
        ``heart_rate`` (1/min); ``rr_ms`` and ``rr_sd_ms``, mean and standard deviation of R–R; ``pr_ms``, ``qrs_ms``,
        ``qt_ms``, ``st_ms``, means over beats; ``p_mv``, ``t_mv``, mean heights. NaN where NeuroKit2 finds none; a
        row of NaN where it raises, as on flat or short signals.

    Raises
    ------
    InputError
        If NeuroKit2 is not installed, or there is no lead II.

    Notes
    -----
    Source: Hegde et al. 2025; Makowski et al., NeuroKit2, 2021 (method ``dwt``). Differs: intervals are divided by the
    sampling rate that the signal has.
    """
    try:
        import neurokit2  # noqa: F401  asked for here, before any process is started
    except ImportError:
        raise InputError("the second paper's features need NeuroKit2, which is not installed; run "
                         "`pip install -c constraints.txt -e '.[second-paper]'`; or use "
                         "better_features") from None  # fmt: skip
    measure = partial(_measure, fs=cohort.fs)
    done = in_order(measure, chunked(list(lead_ii(cohort)), BLOCK), workers=workers)
    return pd.DataFrame([row for rows in done for row in rows], columns=list(FEATURES))


def lead_ii(cohort: Cohort) -> np.ndarray:
    """Return lead II, float32 (n_records, L) in mV; `InputError` if the cohort has none."""
    if "II" not in cohort.leads:
        raise InputError(f"leads are {', '.join(cohort.leads)}; expected lead II, which "
                         "ecglib.signals.to_twelve_leads makes of the eight")
    return np.asarray(cohort.x[:, cohort.leads.index("II")])


def _rules(x: np.ndarray, fs: int) -> dict[str, float]:
    beats = find_beats(x[None], fs)
    rr = 1e3 * np.diff(beats)
    known = len(rr) >= 2
    return {"sdnn_ms": rr.std(ddof=1) if known else np.nan,
            "rmssd_ms": np.sqrt(np.mean(np.diff(rr) ** 2)) if known else np.nan,
            "entropy": sample_entropy(x), "alike": _likeness(x, beats, fs)}  # fmt: skip


def _likeness(x: np.ndarray, beats: np.ndarray, fs: int) -> float:
    """Mean correlation of beats with their mean, 0.3 s to both sides of R; NaN below two whole beats."""
    half, places = round(HALF_BEAT_S * fs), np.rint(beats * fs).astype(int)
    places = places[(places >= half) & (places < len(x) - half)]
    if len(places) < 2:
        return np.nan
    each = x[places[:, None] + np.arange(-half, half + 1)]
    mean = each.mean(axis=0)
    if min(each.std(axis=1).min(), mean.std()) == 0:
        return np.nan
    return float(np.mean([np.corrcoef(beat, mean)[0, 1] for beat in each]))


def _measure(records: Sequence[np.ndarray], fs: int) -> list[dict[str, float]]:
    return [_measure_one(x, fs) for x in records]


def _measure_one(x: np.ndarray, fs: int) -> dict[str, float]:
    import neurokit2

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            clean = neurokit2.ecg_clean(x, sampling_rate=fs)
            r = np.asarray(neurokit2.ecg_peaks(clean, sampling_rate=fs)[1]["ECG_R_Peaks"], float)
            waves = neurokit2.ecg_delineate(clean, r.astype(int), sampling_rate=fs, method="dwt")[1]
        except Exception:  # of many kinds, on flat, short or noisy signals: a row of NaN says so
            return dict.fromkeys(FEATURES, np.nan)
    at = {name: np.asarray(places, float) for name, places in waves.items()}
    rr = 1e3 * np.diff(r) / fs

    def between(start: str, end: str) -> float:
        n = min(len(at[start]), len(at[end]))
        return _mean(1e3 * (at[end][:n] - at[start][:n]) / fs)

    def height(name: str) -> float:
        places = at[name][np.isfinite(at[name])].astype(int)
        return _mean(clean[places])

    return {"heart_rate": 60e3 / rr.mean() if len(rr) else np.nan, "rr_ms": _mean(rr),
            "rr_sd_ms": rr.std(ddof=1) if len(rr) > 1 else np.nan,
            "pr_ms": between("ECG_P_Onsets", "ECG_R_Onsets"), "qrs_ms": between("ECG_R_Onsets", "ECG_R_Offsets"),
            "qt_ms": between("ECG_R_Onsets", "ECG_T_Offsets"), "st_ms": between("ECG_R_Offsets", "ECG_T_Onsets"),
            "p_mv": height("ECG_P_Peaks"), "t_mv": height("ECG_T_Peaks")}  # fmt: skip


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else np.nan
