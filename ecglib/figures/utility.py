"""Views of utility and of rare rhythms: differences beside a margin, calibration, strips with their P waves marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ecglib.figures.style import COLOURS, INK, MM, Figure, clean, expect, style


def difference_plot(table: pd.DataFrame, margin: float, *, by: str, label: str, unit: str = "macro AUROC") -> Figure:
    """Draw paired differences with their intervals beside a margin stated before: a forest plot, one panel a group.

    Parameters
    ----------
    table : DataFrame
        ``difference``, ``ci_low``, ``ci_high``, and the columns `by` and `label`.
    margin : float
        Half the width of the band in which two count as comparable.
    by : str
        Column whose values head the panels, in the table's order.
    label : str
        Column that names the rows.
    unit : str
        What the difference is of.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If a column is missing or the table is empty.
    """
    needed = {"difference", "ci_low", "ci_high", by, label}
    expect(needed <= set(table.columns) and len(table) > 0, "table", f"of columns {list(table.columns)}, {len(table)} "
           "rows", f"{', '.join(sorted(needed))} and at least one row")  # fmt: skip
    labels = list(dict.fromkeys(table[label]))
    groups = list(table.groupby(by, sort=False))
    with style():
        figure = Figure(figsize=(200 * MM, (9 * len(labels) + 24) * MM), layout="constrained")
        panels = figure.subplots(1, len(groups), sharex=True, sharey=True, squeeze=False)[0]
        for axes, (name, rows) in zip(panels, groups, strict=True):
            axes.axvspan(-margin, margin, color="0.92", zorder=0)
            axes.axvline(0, color=INK, linewidth=0.6)
            places = [labels.index(value) for value in rows[label]]
            axes.hlines(places, rows["ci_low"], rows["ci_high"], color=COLOURS[0], linewidth=1.6)
            axes.plot(rows["difference"], places, "o", color=COLOURS[0], markersize=4)
            axes.set_title(clean(name, 40), fontsize=9)
            axes.tick_params(axis="x", labelsize=7, rotation=45)
        panels[0].set_yticks(range(len(labels)), [clean(value, 40) for value in labels])
        panels[0].set_ylim(len(labels) - 0.5, -0.5)
        figure.supxlabel(f"difference in {clean(unit)} from real records alone; grey: ± {margin:g}", fontsize=9)
    return figure


def calibration_plot(curves: Mapping[str, np.ndarray]) -> Figure:
    """Draw the share of positives against the mean probability, bin by bin; the size of a point is its records.

    Parameters
    ----------
    curves : mapping of name to float (bins, 3)
        As `ecglib.evaluation.utility.calibration_curve` returns them.

    Raises
    ------
    InputError
        If there is no curve, or one is not (bins, 3).
    """
    right = len(curves) > 0 and all(np.ndim(curve) == 2 and np.shape(curve)[1] == 3 for curve in curves.values())
    expect(right, "curves", f"{len(curves)} of them", "at least one, each (bins, 3)")
    with style():
        figure = Figure(figsize=(110 * MM, 95 * MM), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
        for k, (name, curve) in enumerate(curves.items()):
            full = curve[:, 2] > 0
            axes.plot(curve[full, 0], curve[full, 1], color=COLOURS[k % len(COLOURS)], linewidth=1,
                      label=clean(name, 40))  # fmt: skip
            axes.scatter(curve[full, 0], curve[full, 1], s=4 + 2 * np.sqrt(curve[full, 2]),
                         color=COLOURS[k % len(COLOURS)])  # fmt: skip
        axes.set(xlabel="mean probability in the bin", ylabel="share of records that have the class", aspect="equal",
                 xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))  # fmt: skip
        axes.legend(loc="upper left")
    return figure


def rhythm_strips(x: np.ndarray, fs: int, titles: Sequence[str], p_times: Sequence[np.ndarray],
                  conducted: Sequence[np.ndarray]) -> Figure:  # fmt: skip
    """Draw one lead of several records, one below the other, with their P waves marked.

    Parameters
    ----------
    x : float (n, L)
        One lead of each record, in mV.
    fs : int
        Sampling rate in Hz.
    titles : sequence of n str
    p_times : sequence of n float arrays
        When P waves peak, in s.
    conducted : sequence of n bool arrays
        Which of them a QRS complex follows: a short line below; the others get a red triangle.

    Raises
    ------
    InputError
        If there is no record, the numbers of records, titles and marks differ, or `fs` is not positive.
    """
    x = np.asarray(x, np.float64)
    counts = {len(titles), len(p_times), len(conducted)}
    expect(fs > 0, "fs", fs, "a positive number of Hz")
    right = x.ndim == 2 and len(x) > 0 and counts == {len(x)}
    expect(right, "x", f"of shape {x.shape} with {sorted(counts)} titles and marks", "(n, L) with n of each")
    time = np.arange(x.shape[1]) / fs
    with style():
        figure = Figure(figsize=(200 * MM, (22 * len(x) + 10) * MM), layout="constrained")
        panels = figure.subplots(len(x), 1, sharex=True, squeeze=False)[:, 0]
        for axes, signal, title, at, follows in zip(panels, x, titles, p_times, conducted, strict=True):
            axes.plot(time, signal, color=INK, linewidth=0.8)
            low, high = np.quantile(signal, [0.002, 0.998])
            floor = low - 0.18 * (high - low)
            axes.plot(at[follows], np.full(follows.sum(), floor), "|", color=COLOURS[0], markersize=7)
            axes.plot(at[~follows], np.full((~follows).sum(), floor), "^", color=COLOURS[3], markersize=6)
            axes.set_title(clean(title, 120), fontsize=8, loc="left", pad=2)
            axes.set(xlim=(0, time[-1]), ylim=(floor - 0.1 * (high - low), high + 0.1 * (high - low)))
            axes.tick_params(labelsize=7)
        panels[-1].set_xlabel("time (s)")
        figure.supylabel("mV", fontsize=9)
    return figure
