"""Where randomness comes from: each draw has a key of its own, so that nothing depends on order, batch or interruption.

Training draws from (seed, purpose, step); sampling from (seed, source_ecg_id, copy). So there is no state of a random
generator to save: a run that goes on needs its seed and the number of the step.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

WORD = 2**32  # a larger number is given as two, or two keys could be one to NumPy


def batch_rows(n_records: int, batch: int, seed: int, step: int, chance: np.ndarray | None = None) -> np.ndarray:
    """Return the records of a training step: int64 (batch,).

    Parameters
    ----------
    n_records, batch : int
    seed, step : int
        All that the choice depends on.
    chance : float64 (n_records,), optional
        Draw with replacement, each record with its own probability. Without it each epoch is a new shuffle, in which
        every record comes once.
    """
    if chance is not None:
        return np.random.default_rng([seed, 0, step]).choice(n_records, batch, p=chance)
    places = np.arange(step * batch, (step + 1) * batch)
    return np.array([_shuffle(n_records, seed, int(place) // n_records)[place % n_records] for place in places])


@lru_cache(maxsize=4)
def _shuffle(n_records: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(n_records)


def seeded(seed: int, purpose: str, k: int) -> torch.Generator:
    """Return a CPU generator that depends on (seed, purpose, k) alone."""
    entropy = np.random.SeedSequence([seed, *purpose.encode(), k])
    return torch.Generator().manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1))


class RecordNoise:
    """Standard noise drawn record by record, so that a record's noise depends on nothing but its own key.

    Parameters
    ----------
    keys : sequence of tuples of int
        (seed, source_ecg_id, copy) of each record; seed and copy below 2^32.
    shape : tuple of int
        (C, L) of one record.
    device : torch.device
    """

    def __init__(self, keys: list[tuple[int, int, int]], shape: tuple[int, int], device: torch.device) -> None:
        self.shape, self.device = shape, device
        words = [(seed, number % WORD, copy, number // WORD) for seed, number, copy in keys]
        states = [np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1 for key in words]
        self.generators = [torch.Generator().manual_seed(int(state)) for state in states]

    def uniform(self) -> Tensor:
        """Return one number in [0, 1) a record: float32 (B,)."""
        return torch.cat([torch.rand(1, generator=g) for g in self.generators]).to(self.device)

    def __call__(self, shape: tuple[int, ...] | None = None) -> Tensor:
        """Return the next draw: float32 (B, C, L), or (B, *shape)."""
        shape = self.shape if shape is None else shape
        return torch.stack([torch.randn(shape, generator=g) for g in self.generators]).to(self.device)
