"""What one evaluation of SSSD costs if nothing is moved: its matrix products, Fourier transforms and pointwise passes.

Two floors. `in_order` runs these operations one after the other as the network does, each on what the one before it
left (a Fourier transform on a signal that lies ready for it). `each_alone` is the sum of their times when each is
repeated by itself until what it touches is in the cache: no sequence of them runs at that speed. Neither counts
padding, transposing or other copies.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ecglib.config import NetworkConfig
from tests.bench.timing import medians

LEADS = 8


class Operations:
    """The operations of a network without the options that SSSD-ECG does not have, on random weights."""

    def __init__(self, config: NetworkConfig, batch: int, length: int) -> None:
        h, wide = config.channels, 2 * config.channels
        self.blocks, self.length, self.image = config.blocks, length, (batch, h, 1, length)
        self.inputs, self.narrow, self.u = (torch.randn(batch, length, n) for n in (LEADS, h, wide))
        self.step, self.conditions, self.ones = torch.randn(batch, 1, h), torch.randn(batch, 1, wide), torch.ones(wide)
        self.padded, self.taps = torch.randn(batch, wide, 2 * length), torch.randn(wide, 1, 3, h).permute(0, 3, 1, 2)
        self.u_hat, self.spectrum = torch.fft.rfft(self.padded), torch.fft.rfft(self.padded[0])
        self.weights = {pair: torch.randn(pair[1], pair[0]) / pair[0] ** 0.5
                        for pair in ((LEADS, h), (h, wide), (wide, wide), (h, h), (h, LEADS))}  # fmt: skip

    def product(self, x: Tensor, outputs: int) -> Tensor:
        """A matrix product with a bias."""
        weight = self.weights[x.shape[-1], outputs]
        return F.linear(x, weight, weight[:, 0])

    def neighbours(self, x: Tensor) -> Tensor:
        """The convolution of three neighbours: as many multiplications as one product, and no copy."""
        return F.conv2d(x.mT.unsqueeze(2), self.taps, self.ones, padding=(0, 1)).squeeze(2).mT

    def rfft(self) -> Tensor:
        """Both ways, a signal and as many zeros."""
        return torch.fft.rfft(self.padded)

    def irfft(self, x_hat: Tensor) -> Tensor:
        """Back from a product of spectra."""
        return torch.fft.irfft(x_hat, n=2 * self.length)

    def norm(self, u: Tensor) -> Tensor:
        """Layer normalisation."""
        return F.layer_norm(u, (u.shape[-1],), self.ones, self.ones)

    @staticmethod
    def gate(h: Tensor) -> Tensor:
        """Three passes over half of the channels."""
        a, b = h.chunk(2, dim=-1)
        return torch.tanh(a) * torch.sigmoid(b)

    def in_order(self) -> Tensor:
        """Run them all as the network does."""
        h, wide = self.narrow.shape[-1], self.u.shape[-1]
        x = F.relu(self.product(self.inputs, h))
        skips = torch.zeros_like(x)
        for _ in range(self.blocks):
            u = self.neighbours(x + self.step)
            for last in (False, True):
                self.irfft(self.rfft() * self.spectrum)
                u = self.norm(u + self.product(F.gelu(u), wide))
                u = u if last else u.add_(self.conditions)
            residual, skip = self.product(self.gate(u), wide).chunk(2, dim=-1)
            x = (x + residual).mul_(0.5**0.5)
            skips += skip
        return self.product(F.relu(self.product(skips * 0.5, h)), LEADS)

    def each_alone(self, rounds: int) -> float:
        """Return the sum of the seconds of all, each repeated by itself."""
        n, h, wide, y = self.narrow, self.narrow.shape[-1], self.u.shape[-1], torch.empty_like(self.narrow)
        state_space: list[Callable[[], Tensor]] = [
            self.rfft, lambda: self.u_hat * self.spectrum, lambda: self.irfft(self.u_hat), lambda: F.gelu(self.u),
            lambda: self.product(self.u, wide), lambda: self.u + self.u, lambda: self.norm(self.u)]  # fmt: skip
        block = [lambda: n + self.step, lambda: self.neighbours(n), lambda: torch.add(self.u, self.conditions),
                 lambda: self.gate(self.u), lambda: self.product(n, wide), lambda: n + self.u.chunk(2, dim=-1)[0],
                 lambda: torch.mul(n, 0.5, out=y), lambda: torch.add(n, self.u.chunk(2, dim=-1)[1], out=y)]  # fmt: skip
        ends = [lambda: self.product(self.inputs, h), lambda: self.product(n, h), lambda: self.product(n, LEADS),
                lambda: F.relu(n), lambda: F.relu(n), lambda: n * 0.5]  # fmt: skip
        often = ((2 * self.blocks, state_space), (self.blocks, block), (1, ends))
        return sum(times * medians({"": call}, rounds)[""] for times, calls in often for call in calls)
