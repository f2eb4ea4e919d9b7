"""What a cardiograph prints below the sheet: each record's rate, intervals, amplitudes and axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd

from ecglib.errors import InputError
from ecglib.evaluation.delineation import Marks, mark, p_height
from ecglib.evaluation.typical_beat import BEFORE_S, FS, LEAST_S, TypicalBeat, Unmeasurable, at_500_hz, typical_beat
from ecglib.parallel import chunked, in_order
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_8, LEADS_12, lead_order, to_twelve_leads

ST_S = 0.06  # after the J point
LEVEL_S = 0.010  # before QRS: what amplitudes are measured from
TEMPLATE_S, LEAST_BEATS = (-0.25, 0.40), 4  # around R
LEAST_HZ = 80  # of the sampling rate: the band reaches 40 Hz
BLOCK = 32  # records at once
WORTH_PROCESSES = 500  # records: for fewer, processes take longer to start than the work does

MEASURES = (
    "n_beats", "heart_rate", "rr_cv", "rmssd_ms", "template_snr_db", "p_ms", "p_mv", "pr_ms", "qrs_ms", "qt_ms",
    "qtcb_ms", "qtcf_ms", "st_mv", "r_mv", "s_mv", "axis_deg", "sokolow_mv", "cornell_mv",
)  # fmt: skip
BEAT_MARKS = ("p_on", "p_peak", "p_off", "qrs_on", "r", "qrs_off", "t_peak", "t_off")


def delineate(x: np.ndarray, fs: int, leads: tuple[str, ...] = LEADS_12) -> pd.DataFrame:
    """Measure records.

    Parameters
    ----------
    x : float (n_records, n_leads, L)
        Signals in mV.
    fs : int
        Sampling rate in Hz, at least 80.
    leads : tuple of str
        The twelve standard leads, in any order, or the eight independent ones.

    Returns
    -------
    DataFrame, one row a record
        ``n_beats``; ``heart_rate`` (1/min, of the median R–R interval), ``rr_cv``, ``rmssd_ms``; ``template_snr_db``,
        how far beats of the typical shape are alike (equation template-snr; NaN below four); ``p_ms``, ``pr_ms``,
        ``qrs_ms``, ``qt_ms``, and QT corrected for rate by Bazett (``qtcb_ms``) and Fridericia (``qtcf_ms``); ``p_mv``;
        ``st_mv``, the level 60 ms after QRS in the lead where it is farthest from that before QRS; ``r_mv`` and
        ``s_mv``, the highest and lowest point of QRS in any lead; ``axis_deg`` of QRS in the frontal plane, −180 to
        180; ``sokolow_mv`` (S in V1 + R in V5 or V6) and ``cornell_mv`` (R in aVL + S in V3). NaN where a wave is
        absent. ``reason``: why nothing could be measured; empty where it could.

    Raises
    ------
    InputError
        If x is not (n_records, n_leads, L) of these leads, or fs is below 80 Hz.
    """
    rows = []
    for beat in _typical_beats(x, fs, leads):
        if isinstance(beat, str):
            rows.append(dict.fromkeys(MEASURES, np.nan) | {"reason": beat})
            continue
        marks = mark(beat)
        missing = "" if np.isfinite(marks.qrs_on) else "no QRS boundaries"
        rows.append({**_rhythm(beat), **_intervals(beat, marks), **_amplitudes(beat, marks), "reason": missing})
    return pd.DataFrame(rows, columns=[*MEASURES, "reason"])


def beat_marks(x: np.ndarray, fs: int, leads: tuple[str, ...] = LEADS_12) -> pd.DataFrame:
    """Carry the marks of each record's typical beat to its beats.

    Parameters
    ----------
    x, fs, leads
        As in `delineate`.

    Returns
    -------
    DataFrame, one row a beat
        ``record``, its place in x; ``p_on``, ``p_peak``, ``p_off``, ``qrs_on``, ``r``, ``qrs_off``, ``t_peak`` and
        ``t_off`` in s from the record's start, as in ``Cohort.waves``. A beat whose QRS complex is not the typical one
        has R alone. Records that cannot be measured have no rows.
    """
    tables = []
    for k, beat in enumerate(_typical_beats(x, fs, leads)):
        if isinstance(beat, str):
            continue
        marks = {**mark(beat)._asdict(), "r": 0.0}
        table = pd.DataFrame({name: beat.r + marks[name] for name in BEAT_MARKS})
        table.loc[~beat.alike, [name for name in BEAT_MARKS if name != "r"]] = np.nan
        tables.append(table.assign(record=k))
    empty = pd.DataFrame(columns=["record", *BEAT_MARKS], dtype=float)
    return pd.concat(tables, ignore_index=True)[["record", *BEAT_MARKS]] if tables else empty


def measured(cohort: Cohort) -> np.ndarray:
    """Return `MEASURES` of every record, float64 (n_records, 18), NaN where there is none; on all cores."""
    workers = None if len(cohort) >= WORTH_PROCESSES else 1
    done = in_order(partial(_measure_rows, cohort), chunked(range(len(cohort)), 2 * BLOCK), workers=workers)
    return np.concatenate([np.zeros((0, len(MEASURES))), *done])


def _measure_rows(cohort: Cohort, rows: Sequence[int]) -> np.ndarray:
    table = delineate(np.asarray(cohort.x[list(rows)]), cohort.fs, cohort.leads)
    return table[list(MEASURES)].to_numpy(np.float64)


def _typical_beats(x: np.ndarray, fs: int, leads: tuple[str, ...]) -> Iterator[TypicalBeat | str]:
    """Yield each record's typical beat of the twelve leads, or the reason why it has none."""
    x = np.asarray(x)
    if x.ndim != 3 or x.shape[1] != len(leads) or set(leads) not in (set(LEADS_8), set(LEADS_12)):
        raise InputError(f"x has shape {x.shape} and leads {', '.join(leads)}; expected (n_records, n_leads, L) of the "
                         "twelve standard leads or the eight independent ones")  # fmt: skip
    if fs < LEAST_HZ:
        raise InputError(f"fs={fs} Hz; expected at least {LEAST_HZ} Hz: waves cannot be delineated below")
    eight = len(leads) == len(LEADS_8)
    order = lead_order(leads, LEADS_8 if eight else LEADS_12)
    if x.shape[2] < LEAST_S * fs:  # the filter would not take a few samples
        yield from [f"shorter than {LEAST_S:g} s"] * len(x)
        return
    for start in range(0, len(x), BLOCK):
        block = np.asarray(x[start : start + BLOCK], np.float64)[:, order]
        finite = np.asarray(np.isfinite(block).all(axis=(1, 2)))
        block[~finite] = 0.0  # no filter takes them; what they are is said below
        block = at_500_hz(to_twelve_leads(block) if eight else block, fs)
        for record, known in zip(block, finite, strict=True):
            try:
                yield typical_beat(record) if known else "not finite"
            except Unmeasurable as reason:
                yield str(reason)


def _rhythm(beat: TypicalBeat) -> dict[str, float]:
    rr = beat.rr
    return {"n_beats": len(beat.r), "heart_rate": 60 / np.median(rr), "rr_cv": rr.std() / rr.mean(),
            "rmssd_ms": 1e3 * np.sqrt(np.mean(np.diff(rr) ** 2)) if len(rr) > 1 else np.nan,
            "template_snr_db": template_snr_db(beat)}  # fmt: skip


def template_snr_db(beat: TypicalBeat) -> float:
    """Return var(typical beat) / var(beat − typical beat) in dB (equation template-snr); NaN below four beats."""
    if len(beat.beats) < LEAST_BEATS:
        return np.nan
    first, last = (_sample(at) for at in TEMPLATE_S)
    beats = beat.beats[:, :, first:last]
    beats = beats - beats.mean(axis=-1, keepdims=True)
    typical = np.median(beats, axis=0)
    return float(10 * np.log10(max(typical.var(), 1e-12) / max((beats - typical).var(), 1e-12)))


def _intervals(beat: TypicalBeat, marks: Marks) -> dict[str, float]:
    qt, rr = marks.t_off - marks.qrs_on, float(np.median(beat.rr))
    seconds = {"p_ms": marks.p_off - marks.p_on, "pr_ms": marks.qrs_on - marks.p_on,
               "qrs_ms": marks.qrs_off - marks.qrs_on, "qt_ms": qt, "qtcb_ms": qt / np.sqrt(rr),
               "qtcf_ms": qt / np.cbrt(rr)}  # fmt: skip
    return {name: 1e3 * value for name, value in seconds.items()}


def _amplitudes(beat: TypicalBeat, marks: Marks) -> dict[str, float]:
    """Return amplitudes in mV and the axis; NaN throughout without QRS, and where a lead is flat."""
    if not np.isfinite(marks.qrs_on):
        return {}
    x: np.ndarray = np.where(beat.live[:, None], beat.x, np.nan)
    on, off = _sample(marks.qrs_on), _sample(marks.qrs_off)
    x = x - x[:, on - round(LEVEL_S * FS) : on + 1].mean(axis=1, keepdims=True)
    qrs = x[:, on : off + 1]
    r, s, net = (dict(zip(LEADS_12, of_lead, strict=True))
                 for of_lead in (qrs.max(axis=1), qrs.min(axis=1), qrs.sum(axis=1)))  # fmt: skip
    st: np.ndarray = x[:, off + round(ST_S * FS)]
    p = np.nan if np.isnan(marks.p_on) else p_height(beat.x[beat.live], _sample(marks.p_on), _sample(marks.p_off))
    return {"p_mv": p, "st_mv": st[np.nanargmax(np.abs(st))], "r_mv": np.nanmax(qrs), "s_mv": np.nanmin(qrs),
            "axis_deg": float(np.degrees(np.arctan2(net["aVF"] * 2 / np.sqrt(3), net["I"]))),
            "sokolow_mv": np.fmax(r["V5"], r["V6"]) - s["V1"], "cornell_mv": r["aVL"] - s["V3"]}  # fmt: skip


def _sample(seconds: float) -> int:
    return round((BEFORE_S + seconds) * FS)
