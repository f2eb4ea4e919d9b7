"""The figure of a blinded reading: every reader's shares with their intervals, beside what counts as guessing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ecglib.figures.style import COLOURS, INK, MM, Figure, clean, expect, style

SHARES = {"accuracy": "right answers", "sensitivity": "synthetic called synthetic", "specificity": "real called real"}
GUESSING = (0.4, 0.6)


def reading_plot(table: pd.DataFrame) -> Figure:
    """Draw accuracy, sensitivity and specificity of each reader and of all, with 95 % intervals.

    Parameters
    ----------
    table : DataFrame
        What `ecglib.evaluation.blinded.analyse` returns.

    Returns
    -------
    Figure
        The grey band, 40 to 60 %, is what the equivalence test calls guessing; the line is one half.

    Raises
    ------
    InputError
        If `table` lacks a column, or holds no share.
    """
    needed = {"quantity", "reader", "value", "ci_low", "ci_high", "n"}
    expect(needed <= set(table.columns), "table", f"of columns {list(table.columns)}", ", ".join(sorted(needed)))
    rows = table[table["quantity"].isin(SHARES)]
    expect(len(rows) > 0, "table", "without accuracy, sensitivity and specificity", "what `analyse` returns")
    readers = list(dict.fromkeys(rows["reader"]))
    with style():
        figure = Figure(figsize=(180 * MM, (34 + 7 * len(readers)) * MM), layout="constrained")
        panels = figure.subplots(1, len(SHARES), sharey=True)
        places = np.arange(len(readers))
        for axes, (quantity, label) in zip(panels, SHARES.items(), strict=True):
            of = rows[rows["quantity"] == quantity].set_index("reader").reindex(readers)
            axes.axvspan(*GUESSING, color="#e8e8e8", zorder=0)
            axes.axvline(0.5, color="#999999", linewidth=0.8, zorder=1)
            axes.hlines(places, of["ci_low"], of["ci_high"], color=COLOURS[0], linewidth=2)
            axes.plot(of["value"], places, "o", color=INK, markersize=4)
            counts = sorted({int(n) for n in of["n"]})
            axes.set_xlabel(f"{label}\n(share, n = {', '.join(map(str, counts))})")
            axes.set(xlim=(0, 1), ylim=(len(readers) - 0.5, -0.5))
        panels[0].set_yticks(places, [clean(reader, 24) for reader in readers])
    return figure
