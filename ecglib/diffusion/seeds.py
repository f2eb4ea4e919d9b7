"""Where randomness comes from: each draw has a key of its own, so that nothing depends on order, batch or interruption.

Training draws from (seed, purpose, step); sampling from (seed, source_ecg_id, copy).
"""

import numpy as np
import torch
from torch import Tensor


def batch_rows(n_records: int, batch: int, seed: int, step: int) -> np.ndarray:
    """Return the records of a step: each epoch is a new shuffle, drawn from (seed, epoch); int64 (batch,)."""
    places = np.arange(step * batch, (step + 1) * batch)
    epochs = {epoch: np.random.default_rng([seed, epoch]).permutation(n_records)
              for epoch in np.unique(places // n_records)}  # fmt: skip
    return np.array([epochs[place // n_records][place % n_records] for place in places])


def seeded(seed: int, purpose: str, k: int) -> torch.Generator:
    """Return a CPU generator that depends on (seed, purpose, k) alone."""
    entropy = np.random.SeedSequence([seed, *purpose.encode(), k])
    return torch.Generator().manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1))


class RecordNoise:
    """Standard noise drawn record by record, so that a record's noise depends on nothing but its own key.

    Parameters
    ----------
    keys : sequence of tuples of int
        (seed, source_ecg_id, copy) of each record.
    shape : tuple of int
        (C, L) of one record.
    device : torch.device
    """

    def __init__(self, keys: list[tuple[int, int, int]], shape: tuple[int, int], device: torch.device) -> None:
        self.shape, self.device = shape, device
        states = [np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1 for key in keys]
        self.generators = [torch.Generator().manual_seed(int(state)) for state in states]

    def phase(self) -> Tensor:
        """Return one number in [0, 1) a record, for the clock: float32 (B,)."""
        return torch.cat([torch.rand(1, generator=g) for g in self.generators]).to(self.device)

    def __call__(self) -> Tensor:
        """Return the next draw: float32 (B, C, L)."""
        return torch.stack([torch.randn(self.shape, generator=g) for g in self.generators]).to(self.device)
