"""One look for all figures: a Figure that needs no display, a colour-blind-safe style, and text made harmless."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import seaborn
from cycler import cycler
from matplotlib.figure import Figure as MatplotlibFigure

from ecglib.errors import InputError

MM = 1 / 25.4  # one millimetre in inches
COLOURS: tuple[Any, ...] = tuple(seaborn.color_palette("colorblind"))
INK = "#1a1a1a"
LONGEST_TEXT = 200


class Figure(MatplotlibFigure):
    """A matplotlib Figure that is bound to no window and shows itself in a notebook, uncropped."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def _parameters() -> Any:
    return {**seaborn.axes_style("ticks"), **seaborn.plotting_context("paper"),
            "axes.prop_cycle": cycler(color=COLOURS), "axes.spines.top": False, "axes.spines.right": False,
            "figure.dpi": 110, "legend.frameon": False}  # fmt: skip


@contextmanager
def style() -> Iterator[None]:
    """Draw in this project's style; nothing outside the block changes."""
    with matplotlib.rc_context(_parameters()):
        yield


def set_style() -> None:
    """Draw everything in this project's style from now on: for notebooks."""
    matplotlib.rcParams.update(_parameters())


def clean(text: object, longest: int = LONGEST_TEXT) -> str:
    """Return text that is safe to draw: one line, no control characters, not too long.

    HTML is drawn as the characters it is made of (matplotlib escapes it in SVG), and `$` is drawn as itself.
    """
    line = re.sub(r"\s+", " ", str(text)).strip()
    line = "".join(letter for letter in line if unicodedata.category(letter)[0] != "C")
    line = line if len(line) <= longest else line[: longest - 1] + "…"
    return line.replace("$", r"\$")  # else matplotlib would set a formula, or fail to


def expect(right: bool, argument: str, came: object, expected: str) -> None:
    """Raise `InputError` unless `right`."""
    if not right:
        raise InputError(f"{argument} is {came}; expected {expected}")
