"""The twelve-lead sheet on ECG paper, right to the millimetre, and a compact grid of records side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

from ecglib.figures.style import INK, MM, Figure, clean, expect, style
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_8, LEADS_12, lead_order, to_twelve_leads

SPEED, GAIN = 25.0, 10.0  # mm/s, mm/mV
PAGE = (297.0, 210.0)  # A4 landscape, mm
PAPER = (10.0, 15.0, 275.0, 175.0)  # left, bottom, width, height of the ruled paper, mm: whole 5 mm squares
TRACE_LEFT = 30.0  # where time 0 stands, mm; the calibration pulse stands left of it
BASELINES = (160.0, 120.0, 80.0, 40.0)  # of the three rows and the rhythm strip, mm
LAYOUT = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
RHYTHM = "II"
ROOM_MV = 2.5  # for each lead of a panel of the grid
LONGEST_S = 10.0
FINE, COARSE, BACKGROUND = "#f7dada", "#eaa9a9", "#fffdfb"


def ecg_sheet(x: np.ndarray, fs: int, leads: Sequence[str] = LEADS_12, *, title: str = "",
              caption: str | None = None) -> Figure:  # fmt: skip
    """Draw a record as an ECG printout: 25 mm/s, 10 mm/mV, three rows of four leads, and lead II below.

    Parameters
    ----------
    x : float (12, L) or (8, L)
        Signals in mV. Eight leads are completed to twelve.
    fs : int
        Sampling rate in Hz.
    leads : sequence of str
        Names of the leads of `x`, in any order; for eight leads the default stands for `LEADS_8`.
    title, caption : str
        Drawn above and below the paper as plain text, on one line each.

    Returns
    -------
    Figure
        A4 landscape (297 mm × 210 mm). Saved as SVG or PDF and printed at 100 %, one second is 25 mm and one
        millivolt 10 mm. Its only axes have millimetres of the page as coordinates.

    Raises
    ------
    InputError
        If `x` is not finite, not of 8 or 12 leads that `leads` names, or shorter than two samples; or fs ≤ 0.

    Notes
    -----
    The four columns show consecutive quarters of the record, as on a printout. Of a record longer than 10 s the first
    10 s are drawn, and the sheet says so. The median of each lead is put on its baseline.
    """
    x = _twelve(x, fs, leads)
    seconds = x.shape[1] / fs
    drawn = min(seconds, LONGEST_S)
    x = x[:, : round(drawn * fs)]
    x = x - np.median(x, axis=1, keepdims=True)
    with style():
        figure = Figure(figsize=(PAGE[0] * MM, PAGE[1] * MM))
        axes = _page(figure)
        quarter = x.shape[1] / 4  # samples
        for row, baseline in zip(LAYOUT, BASELINES, strict=False):
            for column, lead in enumerate(row):
                first, last = round(column * quarter), round((column + 1) * quarter)
                _trace(axes, x[LEADS_12.index(lead)], fs, (first, last), baseline, lead)
        _trace(axes, x[LEADS_12.index(RHYTHM)], fs, (0, x.shape[1]), BASELINES[-1], RHYTHM)
        for baseline in BASELINES:
            _calibration(axes, baseline)
        _words(axes, title, caption, seconds, fs)
    return figure


def _twelve(x: np.ndarray, fs: int, leads: Sequence[str]) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    expect(x.ndim == 2 and x.shape[0] in (8, 12), "x", f"of shape {x.shape}", "(12, L) or (8, L), in mV")
    expect(fs > 0, "fs", repr(fs), "a positive number of Hz")
    expect(x.shape[1] >= 2, "x", f"{x.shape[1]} samples long", "at least two")
    expect(bool(np.isfinite(x).all()), "x", "NaN or infinite somewhere", "finite millivolts")
    if x.shape[0] == 8:
        names = LEADS_8 if tuple(leads) == LEADS_12 else tuple(leads)
        expect(len(names) == 8, "leads", f"{len(names)} names", "8, as many as x has leads")
        return to_twelve_leads(x[lead_order(names, LEADS_8)])
    expect(len(leads) == 12, "leads", f"{len(leads)} names", "12, as many as x has leads")
    return x[lead_order(leads, LEADS_12)]


def _page(figure: Figure) -> Axes:
    """Axes over the whole page, in millimetres, with ruled paper."""
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, PAGE[0]), ylim=(0, PAGE[1]))
    axes.set_axis_off()
    left, bottom, width, height = PAPER
    axes.add_patch(Rectangle((left, bottom), width, height, facecolor=BACKGROUND, edgecolor="none", zorder=0))
    for step, colour, line_mm in ((1, FINE, 0.12), (5, COARSE, 0.22)):
        across = [[(left + k, bottom), (left + k, bottom + height)] for k in np.arange(0, width + 1, step)]
        along = [[(left, bottom + k), (left + width, bottom + k)] for k in np.arange(0, height + 1, step)]
        name = f"grid-{step}-mm"
        axes.add_collection(LineCollection(across + along, colors=colour, linewidths=line_mm * 72 * MM, zorder=step,
                                           label=name, gid=name), autolim=False)  # fmt: skip
    return axes


def _trace(axes: Axes, signal: np.ndarray, fs: int, span: tuple[int, int], baseline: float, lead: str) -> None:
    first, last = span
    time = np.arange(first, min(last + 1, len(signal)))  # one sample more, so that columns join
    (line,) = axes.plot(TRACE_LEFT + SPEED * time / fs, baseline + GAIN * signal[time], color=INK, linewidth=0.75,
                        solid_joinstyle="round", zorder=10, label=lead)  # fmt: skip
    line.set_clip_path(Rectangle(PAPER[:2], *PAPER[2:], transform=axes.transData))
    start = TRACE_LEFT + SPEED * first / fs
    if first:
        axes.plot([start, start], [baseline - 3, baseline + 3], color=INK, linewidth=0.5, zorder=10)
    axes.text(start + 1, baseline + 12, lead, fontsize=9, fontweight="bold", color=INK, va="bottom", zorder=11,
              bbox={"facecolor": BACKGROUND, "edgecolor": "none", "alpha": 0.7, "pad": 0.5})  # fmt: skip


def _calibration(axes: Axes, baseline: float) -> None:
    """A pulse of 1 mV for 0.2 s: 10 mm high, 5 mm wide."""
    start = PAPER[0] + 5
    steps = [(start, 0), (start + 2.5, 0), (start + 2.5, GAIN), (start + 2.5 + 0.2 * SPEED, GAIN),
             (start + 2.5 + 0.2 * SPEED, 0), (start + 10, 0)]  # fmt: skip
    across, up = np.array(steps).T
    axes.plot(across, baseline + up, color=INK, linewidth=0.75, solid_joinstyle="miter", zorder=10, label="1 mV")


def _words(axes: Axes, title: str, caption: str | None, seconds: float, fs: int) -> None:
    left, bottom, width, height = PAPER
    axes.text(left, bottom + height + 5, clean(title, 140), fontsize=11, fontweight="bold", color=INK, va="center")
    scale = f"{SPEED:g} mm/s   {GAIN:g} mm/mV   {fs:g} Hz"
    if seconds > LONGEST_S:
        scale += f"   first {LONGEST_S:g} s of {seconds:.4g} s"
    axes.text(left + width, bottom - 5, scale, fontsize=8, color=INK, ha="right", va="center")
    axes.text(left, bottom - 5, clean(caption or "", 150), fontsize=8, color=INK, va="center")


def sheet_grid(cohort: Cohort, rows: Sequence[int] | np.ndarray, *, other: Cohort | None = None,
               names: tuple[str, str] = ("real", "synthetic"), leads: Sequence[str] = ("II", "V2"),
               seconds: float = 5.0) -> Figure:  # fmt: skip
    """Draw some records small, one below the other; with `other`, real beside synthetic.

    Parameters
    ----------
    cohort : Cohort
        Drawn in the left column.
    rows : sequence of int
        Positions of the records, the same in both cohorts.
    other : Cohort, optional
        Drawn in the right column.
    names : (str, str)
        Headings of the columns.
    leads : sequence of str
        Leads drawn in each panel, in mV, 2.5 mV apart.
    seconds : float
        How much of each record, from its start.

    Returns
    -------
    Figure
        The squares are those of ECG paper, 0.2 s by 0.5 mV, at a smaller scale.

    Raises
    ------
    InputError
        If `rows` is empty or leads are absent.
    """
    rows = [int(row) for row in rows]
    cohorts = [cohort] if other is None else [cohort, other]
    expect(bool(rows), "rows", "empty", "positions of at least one record")
    highest = min(map(len, cohorts))
    expect(all(-highest <= row < highest for row in rows), "rows", str(rows), f"positions below {highest}")
    height = ROOM_MV * len(leads)  # mV
    with style():
        wide, high = 12 + 15 * seconds, 9 + 6 * height  # mm: 15 mm/s, 6 mm/mV
        figure = Figure(figsize=(wide * len(cohorts) * MM, (high * len(rows) + 16) * MM), layout="constrained")
        panels = figure.subplots(len(rows), len(cohorts), sharex=True, sharey=True, squeeze=False)
        for column, (each, name) in enumerate(zip(cohorts, names, strict=False)):
            for k, row in enumerate(rows):
                _panel(panels[k, column], each, row, leads, seconds)
                heading = f"{clean(name)}: {describe(each.table.iloc[row])}" if other is not None else ""
                panels[k, column].set_title(heading or describe(each.table.iloc[row]), fontsize=8, loc="left")
            panels[-1, column].set_xlabel("time (s)")
        figure.supylabel("lead, squares of 0.5 mV", fontsize=9)
    return figure


def describe(record: pd.Series) -> str:
    """Say what a record's table knows: statements, sex, age."""
    parts = [" ".join(sorted(record["scp_codes"])) or "no statement"]
    if pd.notna(record["sex"]):
        parts.append("woman" if record["sex"] == 1 else "man")
    if pd.notna(record["age"]):
        parts.append(f"{record['age']:.0f} years")
    return clean(", ".join(parts), 60)


def _panel(axes: Axes, cohort: Cohort, row: int, leads: Sequence[str], seconds: float) -> None:
    signals = np.asarray(cohort.x[row], dtype=np.float64)
    if cohort.leads == LEADS_8:
        signals, present = to_twelve_leads(signals), LEADS_12
    else:
        present = cohort.leads
    signals = signals[lead_order(present, leads), : max(2, round(seconds * cohort.fs))]
    time = np.arange(signals.shape[1]) / cohort.fs
    top = ROOM_MV * len(leads)
    axes.set(xlim=(0, seconds), ylim=(0, top), xticks=np.arange(0, seconds + 0.01, 1 if seconds < 8 else 2))
    levels = top - ROOM_MV * np.arange(len(leads)) - 1.3
    axes.set_yticks(levels, [clean(lead) for lead in leads])
    for step, colour, width in (((0.04, 0.1), FINE, 0.3), ((0.2, 0.5), COARSE, 0.5)):
        axes.vlines(np.arange(0, seconds + 1e-6, step[0]), 0, top, colors=colour, linewidths=width, zorder=0)
        axes.hlines(np.arange(0, top + 1e-6, step[1]), 0, seconds, colors=colour, linewidths=width, zorder=0)
    for signal, level in zip(signals, levels, strict=True):
        axes.plot(time, signal - np.median(signal) + level, color=INK, linewidth=0.7)
    for spine in axes.spines.values():
        spine.set(visible=True, color=COARSE)
