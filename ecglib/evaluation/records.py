"""Records read block by block, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ecglib.evaluation.comparison import NotComputable
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_8, LEADS_12, lead_order, to_twelve_leads

BLOCK = 256  # records at once
LEAST_RECORDS = 8  # fewer say nothing: the floor of the inter-lead correlation error is 0.12–0.17 at n = 11 already


def blocks(n_records: int) -> Iterator[slice]:
    """Cut 0 … n_records − 1 into slices of at most 256."""
    for start in range(0, n_records, BLOCK):
        yield slice(start, start + BLOCK)


def eight_leads(cohort: Cohort, rows: slice | np.ndarray) -> np.ndarray:
    """Return the eight leads that networks read, by name: float32 (B, 8, L) in mV; `InputError` if one is absent."""
    return np.asarray(cohort.x[rows], np.float32)[:, lead_order(cohort.leads, LEADS_8)]


def twelve_leads(cohort: Cohort, rows: np.ndarray | None = None) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield blocks of records, and where they lie: float64 (B, 12, L) in mV, in the order of `LEADS_12`.

    Parameters
    ----------
    cohort : Cohort
    rows : int64 (n,), optional
        Which records, and in which order; all unless given.

    Raises
    ------
    NotComputable
        If the cohort has other leads than the twelve, or the eight independent ones.
    """
    eight = set(cohort.leads) == set(LEADS_8)
    if not eight and set(cohort.leads) != set(LEADS_12):
        raise NotComputable(f"it needs the twelve leads or the eight independent ones, not {', '.join(cohort.leads)}")
    order = lead_order(cohort.leads, LEADS_8 if eight else LEADS_12)
    for block in blocks(len(cohort) if rows is None else len(rows)):
        x = np.asarray(cohort.x[block if rows is None else rows[block]], dtype=np.float64)[:, order]
        yield block, to_twelve_leads(x) if eight else x
