"""Figures: functions that return a Figure, need no display, and label every axis with its unit."""

from ecglib.figures.reading import reading_plot
from ecglib.figures.results import published_beside
from ecglib.figures.sheet import describe, ecg_sheet, sheet_grid
from ecglib.figures.style import Figure
from ecglib.figures.views import denoising_strip, interval_plot, loss_curve, mel_view

__all__ = [
    "Figure",
    "denoising_strip",
    "describe",
    "ecg_sheet",
    "interval_plot",
    "loss_curve",
    "mel_view",
    "published_beside",
    "reading_plot",
    "sheet_grid",
]
