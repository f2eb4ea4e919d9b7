"""Interleaved timing: each candidate in turn, several rounds, the median of each."""

import time
from collections.abc import Callable

import numpy as np


def medians(candidates: dict[str, Callable[[], object]], rounds: int = 7) -> dict[str, float]:
    """Return the median seconds of each candidate; one unmeasured round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for k in range(rounds + 1):
        for name, call in candidates.items():
            begin = time.perf_counter()
            call()
            if k:
                seconds[name].append(time.perf_counter() - begin)
    return {name: float(np.median(values)) for name, values in seconds.items()}
