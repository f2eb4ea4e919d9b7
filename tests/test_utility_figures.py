"""Figures of utility and rare rhythms: what is drawn is what was given, and what cannot be drawn is refused."""

import numpy as np
import pandas as pd
import pytest

from ecglib.errors import InputError
from ecglib.evaluation.utility import calibration_curve
from ecglib.figures import calibration_plot, difference_plot, rhythm_strips


def table() -> pd.DataFrame:
    rows = [("a", "1 %", 0.01, -0.01, 0.03), ("b", "1 %", -0.05, -0.1, 0.0), ("a", "5 %", 0.0, -0.01, 0.01)]
    return pd.DataFrame(rows, columns=["way", "patients", "difference", "ci_low", "ci_high"])


def test_a_panel_a_group_and_every_row_in_its_place():
    figure = difference_plot(table(), 0.02, by="patients", label="way")
    first, second = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["1 %", "5 %"]
    assert first.lines[1].get_xdata().tolist() == [0.01, -0.05] and first.lines[1].get_ydata().tolist() == [0, 1]
    assert second.lines[1].get_ydata().tolist() == [0]
    assert [text.get_text() for text in first.get_yticklabels()] == ["a", "b"]
    band = first.patches[0].get_extents().transformed(first.transData.inverted())
    assert (band.x0, band.x1) == pytest.approx((-0.02, 0.02))


def test_a_table_without_intervals_is_refused():
    with pytest.raises(InputError, match="ci_low"):
        difference_plot(table().drop(columns="ci_low"), 0.02, by="patients", label="way")
    with pytest.raises(InputError, match="0 rows"):
        difference_plot(table().iloc[:0], 0.02, by="patients", label="way")


def test_calibration_leaves_empty_bins_out():
    curve = calibration_curve(np.array([0, 1, 1.0]), np.array([0.05, 0.05, 0.95]))
    (axes,) = calibration_plot({"x <b>": curve}).axes
    assert axes.lines[1].get_xdata().tolist() == [0.05, 0.95] and axes.lines[1].get_ydata().tolist() == [0.5, 1]
    assert len(calibration_plot({f"curve {k}": curve for k in range(12)}).axes[0].lines) == 13
    for bad in ({}, {"x": np.zeros((10, 2))}):
        with pytest.raises(InputError, match="curves"):
            calibration_plot(bad)


def test_strips_mark_conducted_and_blocked_p_waves_apart():
    x = np.sin(np.linspace(0, 60, 2000)).reshape(2, 1000)
    at, follows = [np.array([1.0, 2.0, 3.0])] * 2, [np.array([True, False, True]), np.array([True] * 3)]
    figure = rhythm_strips(x, 100, ["one", "two"], at, follows)
    for axes, expected in zip(figure.axes, ([2.0], []), strict=True):
        signal, conducted, blocked = axes.lines
        assert len(signal.get_xdata()) == 1000 and blocked.get_xdata().tolist() == expected
        assert len(conducted.get_xdata()) == 3 - len(expected)
    with pytest.raises(InputError, match="titles"):
        rhythm_strips(x, 100, ["one"], at, follows)
    with pytest.raises(InputError, match=r"\(0, 1000\)"):
        rhythm_strips(x[:0], 100, [], [], [])
    with pytest.raises(InputError, match="fs"):
        rhythm_strips(x, 0, ["one", "two"], at, follows)
