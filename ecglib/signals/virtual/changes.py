"""What each statement changes in a heart: the components of a beat, their patterns, and the tables of changes.

``virtual_patterns.csv`` has the heart's pushes for each kind of beat, ``virtual_changes.csv`` what each of the 71
statements adds to them or demands of an interval; this module reads both and answers questions about them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from ecglib.signals.virtual.coefficients import VALUE, folded, read_table

COMPONENTS = ("P1", "P2", "Ta", "X", "Q", "R", "L", "S", "K", "N1", "N2", "J", "ST", "T1", "T2", "U")
"""Right and left atrium, and their recovery; a pacemaker's impulse; septum, apex, side wall, base, late part and two
notches of QRS; J point, ST segment, T wave in two parts, U wave."""
INDEX = {name: k for k, name in enumerate(COMPONENTS)}
P, QRS, ST_T = slice(0, 3), slice(4, 11), slice(11, 16)
EARLY = slice(4, 8)  # Q, R, L, S: what turns with the frontal axis
NOTCHES = slice(9, 11)
WAVES = {"P": P, "QRS": QRS, "T": slice(13, 15), "notch": NOTCHES}


class Limits(NamedTuple):
    """A measure's typical, least and largest value under some statements; `typical` is NaN where they say none."""

    typical: float
    least: float
    most: float


def _patterns() -> dict[str, np.ndarray]:
    """Read (K, 5): centre, width, x, y, z of each component; what a pattern does not name is as in "narrow"."""
    found: dict[str, np.ndarray] = {}
    for name, rows in read_table("patterns").groupby("pattern", sort=False):
        table = found["narrow"].copy() if found else np.tile([0.5, 0.1, 0, 0, 0], (len(COMPONENTS), 1))
        table[[INDEX[component] for component in rows["component"]]] = rows[["centre", "width", "x", "y", "z"]]
        found[str(name)] = table
    return found


PATTERNS: dict[str, np.ndarray] = _patterns()
ADDED: dict[str, np.ndarray] = {}
"""Statement → (3, K), mV."""
FACTORS: dict[str, np.ndarray] = {}
"""Statement → (K,)."""
SOURCES: dict[tuple[str, str], np.ndarray] = {}
"""Statement and source of fibrillation or flutter → (3,), mV."""
LIMITS: dict[str, dict[str, Limits]] = {}
"""Measure → statement → limits."""


def _read_changes() -> None:
    for row in read_table("changes").itertuples(index=False):
        name, component, push = row.statement, row.component, [float(v or np.nan) for v in (row.x, row.y, row.z)]
        if component == "none":
            continue
        if component in INDEX and row.unit == "mV":
            ADDED.setdefault(name, np.zeros((3, len(COMPONENTS))))[:, INDEX[component]] = push
        elif component in ("f1", "f2"):
            SOURCES[name, component] = np.array(push)
        elif row.unit == "×":
            factor = FACTORS.setdefault(name, np.ones(len(COMPONENTS)))
            factor[WAVES[component] if component in WAVES else INDEX[component]] *= push[0]
        else:
            LIMITS.setdefault(component, {})[name] = Limits(*push)


_read_changes()


def limits(codes: Collection[str], measure: str) -> Limits:
    """Return what the statements `codes` demand of a measure; where they contradict each other, the table's later wins.

    Raises
    ------
    KeyError
        If no statement of `codes` says anything about the measure, and the table has no row "otherwise" for it.
    """
    known = LIMITS[measure]
    found = [row for name, row in known.items() if name in codes] or [known["otherwise"]]
    least, most = max(row.least for row in found), min(row.most for row in found)
    return Limits(found[-1].typical, least, most) if least < most else found[-1]


def drawn(codes: Collection[str], measure: str, otherwise: float, sd: float, z: float) -> float:
    """Return a measure that lies `z` (standard normal) from the statements' typical value, or from `otherwise`.

    It is folded into the statements' limits, and `sd` is at most a quarter of their width.
    """
    typical, least, most = limits(codes, measure)
    sd = min(sd, (most - least) / 4)
    return folded((otherwise if np.isnan(typical) else typical) + sd * z, least, most)


def demands(codes: Collection[str], measure: str) -> bool:
    """Tell whether one of the statements has a row for this measure."""
    return any(name in LIMITS[measure] for name in codes)


def added(codes: Collection[str]) -> np.ndarray:
    """Return (3, K), mV: the sum of the statements' changes.

    Each component's sum nears a limit as tanh: scars of two walls do not make a heart of twice the scar.
    """
    found = [ADDED[name] for name in ADDED if name in codes]
    if len(found) < 2:
        return sum(found, np.zeros((3, len(COMPONENTS))))
    size = np.linalg.norm(found, axis=1)  # (n, K)
    total, limit = np.sum(found, axis=0), VALUE["change_saturation"] * size.max(axis=0) + 1e-9
    length = np.linalg.norm(total, axis=0) + 1e-9
    return total * limit * np.tanh(length / limit) / length


def factor(codes: Collection[str]) -> np.ndarray:
    """Return (K,): what the statements multiply each component by, 0.2 to 4."""
    found = [FACTORS[name] for name in FACTORS if name in codes]
    return np.prod(found, axis=0).clip(0.2, 4) if found else np.ones(len(COMPONENTS))
