r"""SSSD: a stack of gated residual blocks with two state space layers each.

The network maps a noised signal, a step and conditions to an estimate (of eps, v or x0: it does not know which). It
knows no schedule.

Source: SSSD-ECG (Alcaraz & Strodthoff, Comput Biol Med 163:107115, 2023), as its public code has it. Differs: an
optional `patch`, which folds several samples into the channels, self-conditioning, a clock that ticks at each beat,
attention between the two state space layers of every second block, and a Wiener filter beside it all. All are off in
preset `paper`.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecglib.config import NetworkConfig
from ecglib.diffusion.clock import CHANNELS as CLOCK
from ecglib.diffusion.clock import still
from ecglib.diffusion.s4 import S4Layer, spectra
from ecglib.diffusion.wiener import WienerFilter
from ecglib.errors import InputError

if TYPE_CHECKING:
    from ecglib.diffusion.rhythm import RhythmModel

STEP_WIDTH, STEP_HIDDEN = 128, 512


def step_embedding(t: Tensor, width: int = STEP_WIDTH) -> Tensor:
    """Return sines and cosines of t at `width` / 2 frequencies from 1 to 1e-4 rad/step: float (B, width)."""
    frequencies = torch.exp(torch.arange(width // 2, device=t.device) * (-math.log(10_000) / (width // 2 - 1)))
    angle = t[:, None].float() * frequencies
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class Convolution3(nn.Linear):
    """A convolution of three neighbours in time, on (B, L, H): the three weights of an output lie side by side."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(3 * inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map float (B, L, inputs) to float (B, L, outputs); zeros lie beyond both ends."""
        image = x.transpose(1, 2).unsqueeze(2)  # (B, inputs, 1, L), channels last in memory: no copy
        weight = self.weight.view(self.out_features, 1, 3, -1).permute(0, 3, 1, 2)
        return F.conv2d(image, weight, self.bias, padding=(0, 1)).squeeze(2).transpose(1, 2)


class Attention(nn.Module):
    r"""Let every position look at every other: h + W softmax(q kᵀ / √d) v (equation attention).

    With a clock, beats recognise each other by their phase, and agree on one shape.
    Source: Vaswani et al., Attention is all you need, 2017.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.look = nn.Linear(channels, 3 * channels)
        self.mix = nn.Linear(channels, channels)

    def forward(self, h: Tensor) -> Tensor:
        """Map float (B, L, H) to float (B, L, H)."""
        q, k, v = (z.unflatten(-1, (self.heads, -1)).transpose(1, 2) for z in self.look(h).chunk(3, dim=-1))
        seen = F.scaled_dot_product_attention(q, k, v)  # (B, heads, L, H/heads)
        return h + self.mix(seen.transpose(1, 2).flatten(-2))


class ResidualBlock(nn.Module):
    """One gated block: convolution → state space → + conditions → state space → gate → residual and skip."""

    def __init__(self, channels: int, state: int, kernel: str = "s4d", heads: int = 0) -> None:
        super().__init__()
        self.widen = Convolution3(channels, 2 * channels)
        self.first = S4Layer(2 * channels, state, kernel)
        self.attend = Attention(2 * channels, heads) if heads else None
        self.second = S4Layer(2 * channels, state, kernel)
        self.out = nn.Linear(channels, 2 * channels)

    def forward(self, x: Tensor, step: Tensor, condition: Tensor, spectra: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return (residual, skip), each float (B, L, H).

        Parameters
        ----------
        x : float (B, L, H)
        step : float (B, 1, H)
        condition : float (B, 1, 2 H)
        spectra : two complex (2 H, L + 1)
            Of both state space layers.
        """
        h = self.widen(x + step)  # (B, L, 2H)
        h = self.first(h, spectra[0]).add_(condition)
        if self.attend is not None:
            h = self.attend(h)
        h = self.second(h, spectra[1])
        a, b = h.chunk(2, dim=-1)
        residual, skip = self.out(torch.tanh(a) * torch.sigmoid(b)).chunk(2, dim=-1)
        return (x + residual).mul_(math.sqrt(0.5)), skip


class SSSD(nn.Module):
    """Structured state space diffusion network on (B, leads, L).

    Parameters
    ----------
    config : NetworkConfig
        Sizes.
    leads : int
        C, leads in and out.
    condition_groups : tuple of int
        How the K entries of a condition vector divide into groups, each with an embedding of its own; () for none.
    condition_widths : tuple of int
        Width of each group's embedding; one number stands for all.
    """

    def __init__(self, config: NetworkConfig, leads: int = 8, condition_groups: tuple[int, ...] = (),
                 condition_widths: tuple[int, ...] = (32,)) -> None:  # fmt: skip
        super().__init__()
        self.config, self.leads, self.condition_groups = config, leads, tuple(condition_groups)
        h, blocks = config.channels, config.blocks
        inputs = leads * config.patch
        seen = leads * (1 + config.self_conditioning + (config.wiener > 0)) + CLOCK * config.clock
        # put here by `network_of`: they depend on the records' length
        self.wiener: WienerFilter | None = None
        self.rhythm: RhythmModel | None = None  # has a network like this one
        self.enter = nn.Linear(seen * config.patch, h)
        self.step = nn.Sequential(nn.Linear(STEP_WIDTH, STEP_HIDDEN), nn.SiLU(), nn.Linear(STEP_HIDDEN, STEP_HIDDEN),
                                  nn.SiLU())  # fmt: skip
        self.to_blocks = nn.Linear(STEP_HIDDEN, blocks * h)  # every block's projection of the step, in one product
        # nn.Linear on a multi-hot vector is a sum of embeddings; one a group, so that groups stay disentangled
        widths = condition_widths * len(self.condition_groups) if len(condition_widths) == 1 else condition_widths
        self.embeddings = nn.ModuleList(nn.Linear(k, width, bias=False)
                                        for k, width in zip(self.condition_groups, widths, strict=True))  # fmt: skip
        self.condition_to_blocks = nn.Linear(sum(widths), blocks * 2 * h) if widths else None
        for embedding in self.embeddings:
            nn.init.normal_(embedding.get_parameter("weight"))
        # attention in every second block: half its price, and beats agree as well (the table of trials)
        self.blocks = nn.ModuleList(ResidualBlock(h, config.state, config.kernel, config.heads * (k % 2))
                                    for k in range(blocks))  # fmt: skip
        self.collect = nn.Linear(h, h)
        self.leave = nn.Linear(h, inputs)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x_t: Tensor, t: Tensor, conditions: Tensor | None = None, previous: Tensor | None = None,
                clock: Tensor | None = None, slow: Tensor | None = None) -> Tensor:  # fmt: skip
        """Estimate from a noised signal.

        Parameters
        ----------
        x_t : float (B, C, L)
            L a multiple of `patch`.
        t : int64 (B,)
            Steps, 0-based.
        conditions : float (B, K) or None
            Multi-hot groups, from `Conditions.encode`.
        previous : float (B, C, L) or None
            An earlier estimate of x0 (self-conditioning); None stands for zeros.
        clock : float (B, 9, L) or None
            From `ecglib.diffusion.clock`; None: beats unknown.
        slow : float (B, C, L) or None
            The Wiener filter's estimate of x0, to which the network adds its own; None stands for zeros.

        Returns
        -------
        float (B, C, L)

        Raises
        ------
        InputError
            If the shapes do not fit the network.
        """
        self._check(x_t, conditions, clock)
        inputs = [x_t]
        if self.config.self_conditioning:
            inputs.append(torch.zeros_like(x_t) if previous is None else previous)
        if self.config.clock:
            clock = still(x_t.shape[-1]).to(x_t).expand(len(x_t), -1, -1) if clock is None else clock
            inputs.append(clock)
        if self.config.wiener:
            inputs.append(torch.zeros_like(x_t) if slow is None else slow)
        x = F.relu(self.enter(self.fold(torch.cat(inputs, dim=1)))).to(x_t.dtype)  # (B, L/p, H)
        steps, given = self.project(t, conditions)
        kernels = spectra([layer for block in self.blocks for layer in (block.first, block.second)], x.shape[1])
        skips = torch.zeros_like(x)
        for k, block in enumerate(self.blocks):
            x, skip = block(x, steps[k], given[k], kernels[2 * k : 2 * k + 2])
            skips += skip  # in place, like other sums here: autograd needs no sum's value
        y = F.relu(self.collect(skips * math.sqrt(1 / len(self.blocks))))
        answer = self.unfold(self.leave(y)).to(x_t.dtype)
        return answer if slow is None else answer + slow

    def project(self, t: Tensor, conditions: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return every block's addends: float (blocks, B, 1, H) of the step, (blocks, B, 1, 2 H) of conditions."""
        blocks, h = len(self.blocks), self.config.channels
        steps = self.to_blocks(self.step(step_embedding(t).to(self.to_blocks.weight.dtype)))
        steps = steps.view(len(t), blocks, 1, h).transpose(0, 1)
        if self.condition_to_blocks is None or conditions is None:
            return steps, steps.new_zeros(blocks, 1, 1, 1)
        groups = conditions.split(self.condition_groups, dim=1)
        embedded = torch.cat([embed(group) for embed, group in zip(self.embeddings, groups, strict=True)], dim=1)
        return steps, self.condition_to_blocks(embedded).view(len(t), blocks, 1, 2 * h).transpose(0, 1)

    def fold(self, x: Tensor) -> Tensor:
        """(B, C, L) → (B, L/p, C p): p neighbouring samples of every lead become features of one position."""
        b, c, length = x.shape
        p = self.config.patch
        return x.view(b, c, length // p, p).permute(0, 2, 1, 3).reshape(b, length // p, c * p)

    def unfold(self, x: Tensor) -> Tensor:
        """(B, L/p, C p) → (B, C, L): undo `fold`."""
        b, positions, _ = x.shape
        p = self.config.patch
        return x.view(b, positions, self.leads, p).permute(0, 2, 1, 3).reshape(b, self.leads, positions * p)

    def _check(self, x_t: Tensor, conditions: Tensor | None, clock: Tensor | None) -> None:
        if x_t.ndim != 3 or x_t.shape[1] != self.leads or x_t.shape[2] % self.config.patch:
            raise InputError(f"x_t has shape {tuple(x_t.shape)}; expected (B, {self.leads}, L) with L a multiple of "
                             f"network.patch={self.config.patch}")  # fmt: skip
        k = sum(self.condition_groups)
        if k and (conditions is None or conditions.shape != (len(x_t), k)):
            came = None if conditions is None else tuple(conditions.shape)
            raise InputError(f"conditions has shape {came}; expected {(len(x_t), k)}, as Conditions.encode gives")
        ticks = len(x_t), CLOCK, x_t.shape[2]
        if self.config.clock and clock is not None and clock.shape != ticks:
            raise InputError(f"clock has shape {tuple(clock.shape)}; expected {ticks}, as ecglib.diffusion.clock gives")


def build_network(config: NetworkConfig, leads: int, condition_groups: tuple[int, ...],
                  condition_widths: tuple[int, ...], seed: int) -> SSSD:  # fmt: skip
    """Return an SSSD whose initial weights depend on `seed` alone; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SSSD(config, leads, condition_groups, condition_widths)
