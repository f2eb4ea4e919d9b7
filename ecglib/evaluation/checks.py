"""Whether two cohorts can be compared: one sampling rate, one order of leads, one length, and millivolts."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np

from ecglib.errors import InputError
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_12

LOOKED_AT = 64  # records read to see whether a set is in millivolts and in its leads' order

# Einthoven and Goldberger as rows over (I, II, III, aVR, aVL, aVF); each product is zero for a true record.
LIMB_LAWS = np.array([[1, -1, 1, 0, 0, 0], [0.5, 0.5, 0, 1, 0, 0], [-1, 0.5, 0, 0, 1, 0], [0.5, -1, 0, 0, 0, 1]])


def check_role(cohort: Cohort, role: str) -> None:
    """Raise `InputError` if a role is no cohort of millivolts in the order of leads that it says."""
    if not isinstance(cohort, Cohort):
        raise InputError(f"{role} is a {type(cohort).__name__}; expected a Cohort")
    if len(cohort) == 0:
        raise InputError(f"{role} holds no records; expected at least one")
    x = np.asarray(cohort.x[:LOOKED_AT], dtype=np.float64)
    _check_millivolts(x, role)
    if cohort.leads == LEADS_12:
        _check_limb_order(x, role)


def check_alike(real: Cohort, other: Cohort, role: str) -> None:
    """Raise `InputError` if a role differs from `real` in sampling rate, leads, their order, or length."""
    if other.fs != real.fs:
        raise InputError(f"{role} has fs={other.fs} Hz and real has fs={real.fs} Hz; resample one of them")
    if other.leads != real.leads:
        order = set(other.leads) == set(real.leads)
        remedy = "bring them into one order" if order else "keep the leads of both, or complete eight to twelve leads"
        raise InputError(f"{role} has leads {', '.join(other.leads)} and real has {', '.join(real.leads)}; {remedy}")
    if other.x.shape[2] != real.x.shape[2]:
        raise InputError(f"{role} has {other.x.shape[2]} samples a record and real has {real.x.shape[2]}; crop one")


def _check_millivolts(x: np.ndarray, role: str) -> None:
    low, high, mean, deviation = x.min(-1), x.max(-1), x.mean(-1), x.std(-1)  # each (n, C)
    live = high > low
    if not live.any():
        return
    for name, first, second in (("z-scored", mean, deviation - 1), ("min–max scaled", low, high - 1),
                                ("min–max scaled", low + 1, high - 1)):  # fmt: skip
        if max(np.abs(first[live]).max(), np.abs(second[live]).max()) < 2e-3:
            raise InputError(f"{role} looks {name} lead by lead; expected millivolts: undo the scaling, since the "
                             "limb leads' algebra and every amplitude are lost in it")  # fmt: skip


def _check_limb_order(x: np.ndarray, role: str) -> None:
    limb = x[:, :6].swapaxes(0, 1).reshape(6, -1)  # (6, n·L)
    moment = limb @ limb.T
    if _law_residual(moment, range(6)) < 1e-2:
        return
    best = min(permutations(range(6)), key=lambda order: _law_residual(moment, order))
    if _law_residual(moment, best) < 1e-3:
        places = ", ".join(LEADS_12[best.index(k)] for k in range(6))
        raise InputError(f"{role} says that its limb leads are {', '.join(LEADS_12[:6])}, but they obey Einthoven's "
                         f"law only if read as {places}; reorder them")  # fmt: skip


def _law_residual(moment: np.ndarray, order: Any) -> float:
    """Share of the limb leads' power that breaks the limb-lead laws, read in the given order."""
    order = list(order)
    power = np.trace(moment)
    return float(np.trace(LIMB_LAWS @ moment[np.ix_(order, order)] @ LIMB_LAWS.T) / power) if power > 0 else 0.0
