r"""The twelve leads and the algebra that ties them together.

Three electrodes (RA, LA, LL) give the limb leads, so only two of the six are independent. With I and aVF as
the independent pair (as SSSD-ECG has it),

.. math:: II = \tfrac12 I + aVF, \quad III = -\tfrac12 I + aVF, \quad
          aVR = -\tfrac34 I - \tfrac12 aVF, \quad aVL = \tfrac34 I - \tfrac12 aVF.

A generator therefore makes eight leads, and the other four follow exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ecglib.errors import InputError

LEADS_12: tuple[str, ...] = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
LEADS_8: tuple[str, ...] = ("I", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

_SPELLING = {name.upper(): name for name in LEADS_12}

Signal = Any  # a numpy array or a torch tensor: the algebra is the same, and the answer is of the same kind


def canonical_lead(name: str) -> str:
    """Return the usual spelling of a lead's name (``"AVR"``, ``"avr"`` → ``"aVR"``).

    Raises
    ------
    InputError
        If `name` is not one of the twelve standard leads.
    """
    try:
        return _SPELLING[name.strip().upper()]
    except KeyError:
        raise InputError(f"lead {name!r} is not one of the twelve standard leads {', '.join(LEADS_12)}") from None


def lead_order(present: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return, for each wanted lead, its position among the leads present.

    Raises
    ------
    InputError
        If a lead is unknown, present twice, or wanted and absent.
    """
    names = [canonical_lead(name) for name in present]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"leads {', '.join(twice)} are present twice in {list(present)}")
    absent = [name for name in wanted if name not in names]
    if absent:
        raise InputError(f"leads {', '.join(absent)} are wanted, but only {', '.join(names)} are present")
    return [names.index(name) for name in wanted]


def to_twelve_leads(x: Signal) -> Signal:
    """Complete eight independent leads to twelve.

    Parameters
    ----------
    x : float array or tensor (..., 8, L)
        Leads in the order of `LEADS_8`, in mV. The algebra is linear: leads scaled one by one (min–max, z-score)
        do not obey it.

    Returns
    -------
    float array or tensor (..., 12, L)
        Leads in the order of `LEADS_12`, in mV, same dtype and device.

    Raises
    ------
    InputError
        If the last axis but one is not of length 8.

    Notes
    -----
    Source: SSSD-ECG's choice of independent leads; the relations are Einthoven's and Goldberger's.
    Equation: leads-8-12.
    """
    _expect_leads(x, 8)
    i, avf, chest = x[..., 0, :], x[..., 1, :], x[..., 2:, :]
    limb = [i, i / 2 + avf, avf - i / 2, -0.75 * i - avf / 2, 0.75 * i - avf / 2, avf]
    return _stack([*limb, *(chest[..., k, :] for k in range(6))])


def to_eight_leads(x: Signal) -> Signal:
    """Keep the eight independent leads I, aVF, V1–V6 of twelve.

    Parameters
    ----------
    x : float array or tensor (..., 12, L)
        Leads in the order of `LEADS_12`.

    Returns
    -------
    float array or tensor (..., 8, L)
        Leads in the order of `LEADS_8`.

    Raises
    ------
    InputError
        If the last axis but one is not of length 12.
    """
    _expect_leads(x, 12)
    return x[..., [0, 5, 6, 7, 8, 9, 10, 11], :]


def einthoven_residual(x: Signal) -> Signal:
    """Return what is left of the four limb-lead identities, in the unit of `x`.

    Parameters
    ----------
    x : float array or tensor (..., 12, L)
        Leads in the order of `LEADS_12`.

    Returns
    -------
    float array or tensor (..., 4, L)
        III − (II − I), aVR + (I + II)/2, aVL − (I − II/2), aVF − (II − I/2). Zero for a record whose leads were
        derived from the same electrodes; zero *by construction* for an eight-lead model, where it proves nothing.
    """
    _expect_leads(x, 12)
    i, ii, iii, avr, avl, avf = (x[..., k, :] for k in range(6))
    return _stack([iii - (ii - i), avr + (i + ii) / 2, avl - (i - ii / 2), avf - (ii - i / 2)])


def _stack(rows: list[Signal]) -> Signal:
    if isinstance(rows[0], np.ndarray):
        return np.stack(rows, axis=-2)
    import torch  # only where tensors come in: reading records needs no torch

    return torch.stack(rows, dim=-2)


def _expect_leads(x: Signal, count: int) -> None:
    if x.ndim < 2 or x.shape[-2] != count:
        raise InputError(f"x has shape {tuple(x.shape)}; expected (..., {count}, L), leads on the last axis but one")
