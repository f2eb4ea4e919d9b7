"""Work spread over processes, results in order: the same whatever the number of processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

from ecglib.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def chunked(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Cut a sequence into pieces of `size`, the last one shorter."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def in_order(function: Callable[[Sequence[Item]], Result], chunks: Sequence[Sequence[Item]], *,
             workers: int | None = None, label: str = "", progress: bool = False) -> Iterator[Result]:  # fmt: skip
    """Yield ``function(chunk)`` for each chunk, in order.

    Parameters
    ----------
    function : callable
        Called in another process with one chunk; it, the chunk and the result must be picklable (functions defined
        anywhere are). It must draw nothing from a shared random stream.
    chunks : sequence of sequences
        One chunk, one call.
    workers : int, optional
        Processes; 1 works in this one. None: as many as there are cores, and no more than chunks.
    label : str
        What the bar is labelled with.
    progress : bool
        Show a bar that counts the chunks' items.

    Raises
    ------
    InputError
        If `workers` is not a whole number of 1 or more. What `function` raises is raised here.

    Notes
    -----
    Only a few results wait at any time, so that memory does not grow with the number of chunks.
    """
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise InputError(f"workers={workers!r}; expected a whole number of processes, 1 or more, or None")
    workers = min(cores() if workers is None else workers, len(chunks))
    with tqdm(total=sum(map(len, chunks)), desc=label, unit="record", disable=not progress) as bar:
        results = map(function, chunks) if workers <= 1 else _spread(function, chunks, workers)
        for chunk, result in zip(chunks, results, strict=True):
            yield result
            bar.update(len(chunk))


def _spread(function: Callable[[Sequence[Item]], Result], chunks: Sequence[Sequence[Item]], workers: int
            ) -> Iterator[Result]:  # fmt: skip
    from joblib import Parallel, delayed  # takes a moment to import: only where it is needed

    run = Parallel(n_jobs=workers, return_as="generator", pre_dispatch=2 * workers)
    yield from run(delayed(function)(chunk) for chunk in chunks)
