"""Processes that do one job together: each takes its share, their results are joined, and the first one writes.

`accelerate launch` starts them and `accelerate.PartialState` introduces them. No model is wrapped: all draw the same
random numbers, so that N processes train on the batches, and answer with the samples, that one alone would.
"""

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ecglib.diffusion.model import checked_device
from ecglib.errors import InputError


@dataclass(frozen=True)
class Workers:
    """The processes at work, seen by one of them; by default it is alone.

    Parameters
    ----------
    rank, count : int
        Which this process is, from 0, and how many there are.
    device : str
        Torch device of this process.
    """

    rank: int = 0
    count: int = 1
    device: str = "cpu"

    @staticmethod
    def joined(device: str | None = None) -> "Workers":
        """Meet the processes that were started with this one; alone, if none were.

        Parameters
        ----------
        device : str, optional
            ``cpu`` or ``cuda``; None: a GPU where there is one. Of several GPUs each process gets its own.

        Raises
        ------
        InputError
            If the device is absent.
        """
        kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
        checked_device(kind)
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return Workers(device=kind)
        from accelerate import PartialState  # takes a while to import: only where there is someone to meet

        state = PartialState(cpu=kind == "cpu")
        atexit.register(state.destroy_process_group)
        return Workers(state.process_index, state.num_processes, str(state.device))

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until every process has come this far."""
        self.average([torch.zeros(1, device=self.device)])

    def share(self, n: int) -> slice:
        """Return which of n things in a row are this process's: shares differ by at most one."""
        return slice(n * self.rank // self.count, n * (self.rank + 1) // self.count)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Put the mean over all processes into each tensor, in one message (equation data-parallel)."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        torch.distributed.all_reduce(flat)
        parts = (flat / self.count).split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def join(self, mine: np.ndarray, n: int) -> np.ndarray:
        """Join everyone's share of n things: float32 (n, ...), in their order, in every process."""
        if self.count == 1:
            return mine
        most = -(-n // self.count)
        padded = np.zeros((most, *mine.shape[1:]), dtype=np.float32)
        padded[: len(mine)] = mine
        parts = [torch.empty(padded.shape, device=self.device) for _ in range(self.count)]
        torch.distributed.all_gather(parts, torch.from_numpy(padded).to(self.device))
        sizes = [n * (rank + 1) // self.count - n * rank // self.count for rank in range(self.count)]
        return np.concatenate([part[:size].cpu().numpy() for part, size in zip(parts, sizes, strict=True)])


ALONE = Workers()


def divided(batch: int, workers: Workers) -> None:
    """Raise `InputError` unless every process gets the same number of a batch's records."""
    if batch % workers.count:
        raise InputError(f"training.batch={batch} cannot be divided by {workers.count} processes; expected a multiple, "
                         f"such as {-(-batch // workers.count) * workers.count}")  # fmt: skip
