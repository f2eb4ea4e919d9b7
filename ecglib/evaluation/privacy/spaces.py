r"""Where distances are measured: on aligned typical beats, or on features that a network learnt.

Two records of one heart begin at different moments, so a distance of raw samples says nothing. The *typical beat* is
lined up on QRS; its distance is a root mean square in mV. Keys say which space a distance is of: ``beats``,
``features``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from ecglib.evaluation.comparison import Comparison
from ecglib.evaluation.typical_beat import AFTER_S, BEFORE_S, FS, Unmeasurable, at_500_hz, typical_beat
from ecglib.parallel import in_order
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_8, lead_order

BEAT_HZ = 100  # nothing of a typical beat is above 40 Hz
MEGABYTES = 32  # of one block of a matrix of distances
PARALLEL_FROM, AT_ONCE = 600, 2048  # records: fewer are not worth other processes; more are not read at once
WIDTH = (round(BEFORE_S * FS) + round(AFTER_S * FS)) * BEAT_HZ // FS  # samples of a beat


@dataclass(frozen=True)
class Space:
    """A space for records.

    Parameters
    ----------
    name : str
        Ends the keys of what is measured in it.
    of : callable
        Cohort → float (n_records, d); a row of NaN where a record has no place in it.
    """

    name: str
    of: Callable[[Cohort], np.ndarray]


def typical_beats(cohort: Cohort) -> np.ndarray:
    """Return the typical beats' eight independent leads at 100 Hz, over √d: float32 (n_records, 992), in mV.

    NaN where a record has no typical beat (flat, noise, fewer than three beats). The Euclidean distance of two rows is
    the root mean square difference of their beats in mV.
    """
    workers = 1 if len(cohort) < PARALLEL_FROM else None
    order, parts = lead_order(cohort.leads, LEADS_8), []
    for start in range(0, len(cohort), AT_ONCE):
        x = np.asarray(cohort.x[start : start + AT_ONCE], np.float32)[:, order]
        pieces: list[Any] = [x[k : k + 128] for k in range(0, len(x), 128)]
        parts += list(in_order(partial(_beats, fs=cohort.fs), pieces, workers=workers))
    return np.concatenate(parts)


def _beats(x: np.ndarray, fs: int) -> np.ndarray:
    """(B, 8, L) → (B, 992)."""
    beats = np.full((len(x), len(LEADS_8) * WIDTH), np.nan)
    for row, record in zip(beats, at_500_hz(x, fs), strict=True):
        try:
            row[:] = typical_beat(record).x[:, :: FS // BEAT_HZ].ravel()
        except Unmeasurable:
            continue
    return (beats / np.sqrt(beats.shape[1])).astype(np.float32)


BEATS = Space("beats", typical_beats)


def nearest(x: np.ndarray, y: np.ndarray, k: int = 1, *, itself: bool = False) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the distances to the k nearest rows of y, and which these are (equation nearest).

    :math:`|x - y|^2 = |x|^2 + |y|^2 - 2 x \cdot y`, by products of blocks, so that memory does not grow with the number
    of pairs. The distances of those found are then computed again from differences: a copy's is 0.

    Parameters
    ----------
    x : float (n, d)
    y : float (m, d)
        Rows with NaN are no one's neighbours, and have none.
    k : int
    itself : bool
        Whether x is y, and no row its own neighbour.

    Returns
    -------
    float64 (n, k), int64 (n, k)
        Rising distances, infinite (row −1) where y has fewer rows, NaN (row −1) for a row of NaN.
    """
    distances, rows = np.full((len(x), k), np.nan), np.full((len(x), k), -1)
    here, there = (np.flatnonzero(np.isfinite(z).all(axis=1)) for z in (x, y))
    if len(here) and len(there):
        middle = y[there].mean(axis=0)  # far from the origin, differences of large squares would lose digits
        b = (y[there] - middle).astype(np.float32)
        squares = (b**2).sum(axis=1)
        size = max(1, MEGABYTES * 2**20 // (4 * len(b)))
        for start in range(0, len(here), size):
            some = here[start : start + size]
            square = squares - 2 * ((x[some] - middle).astype(np.float32) @ b.T)  # (B, m), less each row's own square
            if itself:
                square[some[:, None] == there] = np.inf
            kept = min(k + 2, len(b))  # two more: float32 may exchange the k-th and the next
            found = np.argpartition(square, kept - 1, axis=1)[:, :kept]
            exact = np.linalg.norm(x[some, None].astype(np.float64) - y[there[found]], axis=-1)
            exact[np.take_along_axis(square, found, axis=1) == np.inf] = np.inf
            order = np.argsort(exact, axis=1, kind="stable")[:, :k]
            width = order.shape[1]
            distances[some, :width] = np.take_along_axis(exact, order, axis=1)
            rows[some, :width] = there[np.take_along_axis(found, order, axis=1)]
    distances[here] = np.where(np.isnan(distances[here]), np.inf, distances[here])
    return distances, np.where(np.isfinite(distances), rows, -1)


@lru_cache(maxsize=64)
def bound(function: Callable[..., Any], space: Space) -> Callable[..., Any]:
    """Return the function with its argument `space` given: the same object each time, so that results can be kept."""
    return partial(function, space=space)


def note_lost(c: Comparison, space: Space) -> None:
    """Say how many records of members, others and synthetic ones have no place in a space, and so are left out."""
    if c.whole:
        lost = sum(int(np.isnan(c.terms(role, space.of)).any(axis=1).sum()) for role in ("train", "real", "synthetic"))
        c.note(f"{lost} records without a place among {space.name} left out" if lost else "")


def evenly(n: int, most: int) -> np.ndarray:
    """Return at most `most` of n places, evenly spread: int64."""
    return np.linspace(0, n - 1, min(n, most)).astype(np.int64)
