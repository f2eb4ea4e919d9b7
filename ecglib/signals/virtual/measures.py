"""What is measured of every record, real or virtual, by the same few lines.

Intervals alone come from ``waves``: real ones are the cardiologists' marks (LUDB: the second earliest and second latest
over twelve leads), virtual ones the truth, so that a part of their gap is one of definitions.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import periodogram

from ecglib.signals.beats import find_beats
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_8, LEADS_12

BANDS = ((0.05, 0.5), (0.5, 1), (1, 5), (5, 15), (15, 40))  # Hz
BEFORE_S, AFTER_S, SLACK_S = 0.30, 0.50, 0.02  # of a beat's window around the steepest part of its QRS complex
PLACES = {"PQ": (-0.09, -0.06), "P": (-0.28, -0.08), "QRS": (-0.07, 0.08), "T": (0.15, 0.5)}  # s from there
U_S, TP_S = 0.44, -0.29  # s from there: U wave; end of the pause, which atrial repolarisation lets PQ lie below
FAST = 0.15  # of the highest speed: what counts as the fast part of QRS
LEAST_BEATS = 3
PAIRS = [(a, b) for b in range(len(LEADS_12)) for a in range(b)]
EIGHT = [LEADS_12.index(lead) for lead in LEADS_8]

Features = dict[tuple[str, str, str], float]  # (measure, lead, unit) → value


def measure(cohort: Cohort) -> pd.DataFrame:
    """Measure every record of a cohort of the twelve leads; intervals, if it has ``waves``.

    Returns
    -------
    DataFrame, index patient_id, one row a record; columns (measure, lead, unit)
        NaN where a record has fewer than three whole beats, or a wave is absent. Amplitudes are of the typical
        beat (median of beats lined up on QRS), from the level before QRS; P and T are the largest deflection of either
        sign. ``power share``: of the typical beat's eight independent leads, on the first singular vectors.
        ``residual``: by what beats differ from the typical one, root mean square over leads.
    """
    rows = []
    waves = {} if cohort.waves is None else dict(list(cohort.waves.groupby("ecg_id")))
    for k, ecg_id in enumerate(cohort.table["ecg_id"]):
        x = np.rint(1000 * np.asarray(cohort.x[k], np.float64)) / 1000  # whole µV in both: resolution is no difference
        r = find_beats(x, cohort.fs)
        age = {("age", "", "years"): cohort.table["age"].iloc[k]}  # of the same people? see `twins`
        rows.append(age | _intervals(r, waves.get(ecg_id)) | _typical_beat(x, cohort.fs, r) | _whole(x, cohort.fs))
    table = pd.DataFrame.from_records(rows, index=cohort.table["patient_id"])
    table.columns = pd.MultiIndex.from_tuples(table.columns, names=["measure", "lead", "unit"])
    return table


def _intervals(r: np.ndarray, marks: pd.DataFrame | None) -> Features:
    ends = {"P": ("p_on", "p_off"), "PR": ("p_on", "qrs_on"), "QRS": ("qrs_on", "qrs_off"), "QT": ("qrs_on", "t_off")}
    found, rr = {}, np.diff(r)
    if len(rr) >= LEAST_BEATS:
        found = {("heart rate", "", "1/min"): 60 / np.median(rr), ("RR CV", "", "1"): rr.std() / rr.mean()}
    if marks is not None:
        medians = {name: (marks[off] - marks[on]).dropna().median() for name, (on, off) in ends.items()}
        medians["QTcF"] = medians["QT"] / np.cbrt(marks["r"].dropna().sort_values().diff().median())  # Fridericia
        found |= {(f"{name} interval", "", "ms"): 1000 * value for name, value in medians.items()}
    return found


def _typical_beat(x: np.ndarray, fs: int, r: np.ndarray) -> Features:
    before, after, slack = (round(s * fs) for s in (BEFORE_S, AFTER_S, SLACK_S))
    at = np.rint(r * fs).astype(int)
    at = at[(at >= before + slack) & (at + after + slack <= x.shape[1])]
    if len(at) < LEAST_BEATS:
        return {}
    time = np.arange(-before, after) / fs
    pq, p, qrs, t = ((time >= start) & (time < stop) for start, stop in PLACES.values())
    wide = np.stack([x[:, k - before - slack : k + after + slack] for k in at])
    lags = sliding_window_view(wide, before + after, axis=-1)  # (n_beats, 12, lags, n_times)
    lags = lags - lags[..., pq].mean(axis=-1, keepdims=True)
    misfit = lags[..., qrs] - np.median(lags[:, :, slack, qrs], axis=0)[:, None]
    beats = lags[np.arange(len(at)), :, (misfit**2).sum(axis=(1, 3)).argmin(axis=1)]  # (n_beats, 12, n_times)
    y = np.median(beats, axis=0)
    rest, eight = beats - y, y[EIGHT]
    power = np.linalg.svd(eight - eight.mean(axis=-1, keepdims=True), compute_uv=False) ** 2
    size, speed = np.linalg.norm(eight, axis=0), np.linalg.norm(np.gradient(eight, axis=-1), axis=0)[qrs]
    fast = time[qrs][speed > FAST * speed.max()]
    st, u, tp = (np.abs(time - at_s) <= 0.01 for at_s in (fast.max() + 0.06, U_S, TP_S))
    leads = {"R": y[:, qrs].max(axis=1), "S or Q": y[:, qrs].min(axis=1), "P": _largest(y[:, p]),
             "T": _largest(y[:, t]), "ST 60 ms on": y[:, st].mean(axis=1),
             "U wave": y[:, u].mean(axis=1), "TP over PQ": y[:, tp].mean(axis=1)}  # fmt: skip
    found = {(name, lead, "mV"): float(row[k]) for name, row in leads.items() for k, lead in enumerate(LEADS_12)}
    found |= {("power share", f"first {k}", "%"): 100 * power[:k].sum() / power.sum() for k in (1, 2, 3)}
    i, avf = (y[LEADS_12.index(lead), qrs].sum() for lead in ("I", "aVF"))
    return found | {
        ("axis", "", "°"): float(np.degrees(np.arctan2(2 / np.sqrt(3) * avf, i))),
        ("fast part of QRS", "", "ms"): 1000 * float(np.ptp(fast)),
        ("T peak after QRS", "", "ms"): 1000 * float(time[t][size[t].argmax()]),
        ("template SNR", "", "dB"): _db(y.var(axis=-1).sum() / rest.var(axis=-1).mean(axis=0).sum()),
        ("residual in QRS", "", "µV"): 1000 * float(rest[..., qrs].std()),
        ("residual elsewhere", "", "µV"): 1000 * float(rest[..., ~qrs].std()),
    }


def _largest(y: np.ndarray) -> np.ndarray:
    return np.take_along_axis(y, np.abs(y).argmax(axis=1)[:, None], axis=1)[:, 0]


def _db(power: float) -> float:
    return 10 * np.log10(power) if power > 0 else np.nan


def _whole(x: np.ndarray, fs: int) -> Features:
    hz, power = periodogram(x, fs, window="hann", detrend="constant")
    with np.errstate(invalid="ignore", divide="ignore"):  # a flat lead has no correlation
        correlation = np.corrcoef(x)
    found = {("correlation", f"{LEADS_12[a]}, {LEADS_12[b]}", "1"): float(correlation[a, b]) for a, b in PAIRS}
    return found | {(f"power {low:g}–{high:g} Hz", lead, "dB (1 mV²)"): _db(p[(hz >= low) & (hz < high)].sum() * hz[1])
                    for low, high in BANDS for lead, p in zip(LEADS_12, power, strict=True)}  # fmt: skip
