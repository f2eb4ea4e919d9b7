"""Figures: functions that return a Figure, need no display, and label every axis with its unit."""

from ecglib.figures.reading import reading_plot
from ecglib.figures.results import published_beside
from ecglib.figures.sheet import describe, ecg_sheet, sheet_grid
from ecglib.figures.style import Figure, set_style
from ecglib.figures.utility import calibration_plot, difference_plot, rhythm_strips
from ecglib.figures.views import denoising_strip, interval_plot, loss_curve, mel_view

__all__ = [
    "Figure",
    "calibration_plot",
    "denoising_strip",
    "describe",
    "difference_plot",
    "ecg_sheet",
    "interval_plot",
    "loss_curve",
    "mel_view",
    "published_beside",
    "reading_plot",
    "rhythm_strips",
    "set_style",
    "sheet_grid",
]
