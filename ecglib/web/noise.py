r"""Noise that a page can draw too: the same numbers in Python and in JavaScript, from a seed and a counter.

.. math:: u_k = \frac{h(k \oplus h(\mathrm{seed})) + 1/2}{2^{32}}, \qquad
          z = \sqrt{-2 \ln u_k}\, \cos 2\pi u_{k+1}

h mixes the 32 bits of a number so that neighbours share nothing; z is standard normal (Box & Muller). Both languages
count in whole numbers of 32 bits and compute in float64. Rounded to float32, z agrees bit for bit, but where logarithm
or cosine of two libraries differ in the last of 53 bits just where 24 are rounded: about once in a billion draws.

Source: the multipliers of h are those of MurmurHash3's last step (A. Appleby); Box & Muller, A note on the generation
of random normal deviates, 1958.
"""

import math

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ecglib.diffusion import Generator
from ecglib.diffusion.seeds import RecordNoise
from ecglib.errors import InputError


def mix(k: np.ndarray) -> np.ndarray:
    """Return h of whole numbers, uint32 (n,): one-to-one, and each bit depends on all."""
    k = k.astype(np.uint32)
    k = (k ^ (k >> 16)) * np.uint32(0x85EBCA6B)
    k = (k ^ (k >> 13)) * np.uint32(0xC2B2AE35)
    return k ^ (k >> 16)


class CounterNoise(RecordNoise):
    """The page's noise, in the place of `RecordNoise`: it depends on the seed alone.

    Patients asked for with one seed differ in nothing but what they were asked for.

    Parameters
    ----------
    seed : int
        0 to 2³² − 1.
    n_records : int
        All get the same numbers.
    shape : tuple of int
        (C, L) of one record.
    device : torch.device
    """

    def __init__(self, seed: int, n_records: int, shape: tuple[int, int], device: torch.device | str = "cpu") -> None:
        self.key = mix(np.array([seed]))
        self.counter, self.n_records, self.shape, self.device = 0, n_records, shape, torch.device(device)

    def _uniform(self, n: int) -> np.ndarray:
        k = np.arange(self.counter, self.counter + n)
        self.counter += n
        return (mix(k ^ self.key) + 0.5) / 2**32

    def uniform(self) -> Tensor:
        """Return one number in (0, 1) a record: float32 (B,)."""
        return torch.from_numpy(self._uniform(1).astype(np.float32)).expand(self.n_records).to(self.device)

    def __call__(self, shape: tuple[int, ...] | None = None) -> Tensor:
        """Return the next draw: float32 (B, C, L), or (B, *shape)."""
        shape = self.shape if shape is None else shape
        u, v = self._uniform(2 * math.prod(shape)).reshape(-1, 2).T
        z = np.sqrt(-2 * np.log(u)) * np.cos(2 * math.pi * v)
        drawn = torch.from_numpy(z.astype(np.float32)).reshape(shape)
        return drawn.expand(self.n_records, *shape).to(self.device)


class PageGenerator(Generator):
    """A `Generator` that draws the noise of the book's page: its `sample` gives what the page shows, row by row.

    >>> PageGenerator.of(Generator.load(run)).sample(table, seed=7)  # doctest: +SKIP
    """

    @staticmethod
    def of(generator: Generator) -> "PageGenerator":
        """Return the same generator with the page's noise."""
        return PageGenerator(generator.config, generator.signals, generator.network, generator.device,
                             generator.privacy)  # fmt: skip

    def _noise(self, asked: pd.DataFrame, seed: int) -> RecordNoise:
        if asked["copy"].any():
            raise InputError("copies is more than 1; the page's noise depends on the seed alone: copies would be alike")
        return CounterNoise(seed, len(asked), (len(self.signals.leads), self.signals.n_times), self.device)
