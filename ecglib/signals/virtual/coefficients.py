"""Every number of the virtual patients, each with its source; what has none is marked as an assumption."""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple

import numpy as np
import pandas as pd


class Coefficient(NamedTuple):
    """A number, its unit, and where it comes from."""

    value: float
    unit: str
    source: str


def read_table(name: str) -> pd.DataFrame:
    """Read one of the tables ``ecglib/signals/tables/virtual_<name>.csv``; empty cells are ''."""
    with files("ecglib.signals").joinpath(f"tables/virtual_{name}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, comment="#", keep_default_na=False)


COEFFICIENTS: dict[str, Coefficient] = {
    row.name: Coefficient(float(row.value), row.unit, row.source)
    for row in read_table("coefficients").itertuples(index=False)
}
VALUE: dict[str, float] = {name: item.value for name, item in COEFFICIENTS.items()}


def coefficient_table() -> pd.DataFrame:
    """Return the coefficients as a table: name, value, unit, source."""
    return pd.DataFrame([(name, *item) for name, item in COEFFICIENTS.items()],
                        columns=["name", "value", "unit", "source"])  # fmt: skip


def truncated(rng: np.random.Generator, mean: float, sd: float, low: float, high: float) -> float:
    """Draw from a normal distribution cut to [low, high] (redrawn up to 64 times, then clipped)."""
    for _ in range(64):
        draw = mean + sd * rng.standard_normal()
        if low <= draw <= high:
            return draw
    return min(max(draw, low), high)


def folded(value: float, low: float, high: float) -> float:
    """Fold a value that lies outside [low, high] back in at the limit it passed, so that none piles up there."""
    if value < low:
        value = 2 * low - value
    return min(max(2 * high - value if value > high else value, low), high)
