"""From heart to skin: the lead field, rotations of the heart, the frontal axis."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ecglib.signals.virtual.coefficients import VALUE, read_table

LEADS = read_table("leads").set_index("lead")
"""Dower's lead field and how real chests differ from it; the rows I, II, V1–V6, where II stands for aVF too."""
DIFFERENCES = LEADS[["place", "height", "ventricles"]].to_numpy().T
ATRIA, RESIDUE = LEADS["atria"].to_numpy()[:, None], LEADS["residue"].to_numpy()[2:, None]


@lru_cache(maxsize=1)
def lead_field() -> np.ndarray:
    """Return Dower's (8, 3) lead field of the leads I, aVF, V1–V6, with aVF = II − I/2."""
    i, ii, *chest = LEADS[["x", "y", "z"]].to_numpy()
    return np.stack([i, ii - i / 2, *chest])


def own_lead_field(along: np.ndarray, height: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Return a patient's (8, 3) lead field: electrodes sit a little beside Dower's places, in a chest of its own.

    Parameters
    ----------
    along, height, gain : float64 (8,)
        Standard normal: how far each chest electrode lies towards the next, how high a lead looks, and from how near.
    """
    field = lead_field().copy()
    usual_place, usual_height, seen = DIFFERENCES
    place = usual_place + VALUE["electrode_shift_sd"] * along.clip(-1.5, 1.5)
    field[2:] += place[2:, None] * np.gradient(field[2:], axis=0)
    field[:, 1] += (usual_height + VALUE["electrode_height_sd"] * height) * np.linalg.norm(field, axis=1)
    return field * (seen * np.exp(VALUE["electrode_gain_sd"] * gain.clip(-2, 2)))[:, None]


def rotation(degrees: float, axis: int) -> np.ndarray:
    """Return the (3, 3) rotation about one of the axes x (0), y (1), z (2); about z, positive turns left to foot."""
    a, (i, j) = np.radians(degrees), [k for k in range(3) if k != axis]
    turn = np.eye(3)
    turn[i, i] = turn[j, j] = np.cos(a)
    turn[i, j], turn[j, i] = -np.sin(a), np.sin(a)
    return turn


def axis_of(areas: np.ndarray) -> np.ndarray:
    """Return the frontal axis in degrees (−180 to 180, 0 left, 90 foot) of net areas (2, ...) in I and aVF.

    Source: the definition of the electrical axis; aVF counts 2/√3, as an augmented lead is shorter than a limb lead.
    """
    return np.degrees(np.arctan2(2 / np.sqrt(3) * areas[1], areas[0]))


def with_axis(net: np.ndarray, wanted: float, field: np.ndarray) -> np.ndarray:
    """Return the vector (3,) of frontal axis `wanted` (degrees) that has `net`'s z and its size in the limb leads."""
    i, avf = field[:2] @ net
    size, a = np.hypot(i, 2 / np.sqrt(3) * avf), np.radians(wanted)
    areas = size * np.array([np.cos(a), np.sqrt(3) / 2 * np.sin(a)])
    return np.append(np.linalg.solve(field[:2, :2], areas - field[:2, 2] * net[2]), net[2])


def turn_between(first: np.ndarray, second: np.ndarray) -> float:
    """Return the turn about z, in degrees, that brings the frontal part of one vector to that of another."""
    return float(np.degrees(np.arctan2(second[1], second[0]) - np.arctan2(first[1], first[0])))
