"""SSSD as one would write it first, with the weights of a fast one: what tests and benchmarks compare with.

Sequences lie channels first, as in SSSD-ECG, and all layers are torch's. A state space layer rebuilds its kernels
at each evaluation, and applies one forwards, one backwards in time; every block projects the step and the conditions
for itself. Nothing is slow on purpose: all runs over channels, states and time at once, and once for each step Δ.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecglib.diffusion.network import SSSD, Attention, ResidualBlock, step_embedding
from ecglib.diffusion.s4 import S4Layer, steps_of
from ecglib.diffusion.state_space import discretise


def filled(layer: nn.Module, weight: Tensor, bias: Tensor) -> nn.Module:
    """Give a layer of torch its weights."""
    with torch.no_grad():
        layer.weight.copy_(weight.view_as(layer.weight))
        layer.bias.copy_(bias)
    return layer


def pointwise(linear: nn.Linear) -> nn.Module:
    """Return a linear layer as a convolution of one sample."""
    return filled(nn.Conv1d(linear.in_features, linear.out_features, 1), linear.weight, linear.bias)


def convolve(u: Tensor, kernel: Tensor) -> Tensor:
    """Return the causal convolution of (B, H, L) with (H, L)."""
    length = u.shape[-1]
    product = torch.fft.rfft(u, n=2 * length) * torch.fft.rfft(kernel, n=2 * length)
    return torch.fft.irfft(product, n=2 * length)[..., :length]


class ObviousS4(nn.Module):
    """The state space layer."""

    def __init__(self, fast: S4Layer) -> None:
        super().__init__()
        self.kernel, self.channels = fast.kernel, fast.channels
        self.c, self.d = nn.Parameter(fast.c.detach().clone()), nn.Parameter(fast.d.detach().clone())
        self.mix = pointwise(fast.mix)
        self.norm = filled(nn.LayerNorm(fast.channels), fast.norm.weight, fast.norm.bias)
        steps = torch.tensor(steps_of(fast.channels), dtype=torch.float64)
        self.a_bar, self.b_bar = discretise(fast.kernel, fast.state, steps)  # (G, M, M), (G, M)

    def forward(self, u: Tensor) -> Tensor:
        """(B, H, L) → (B, H, L)."""
        forwards, backwards = self.kernels(u.shape[-1])
        past = convolve(u, forwards)
        future = convolve(F.pad(u.flip(-1), (1, -1)), backwards).flip(-1)  # strictly the future
        y = self.mix(F.gelu(past + future + self.d[:, None] * u))
        return self.norm((u + y).transpose(1, 2)).transpose(1, 2)

    def kernels(self, length: int) -> Tensor:
        """Return both kernels 2 Re(C Ā^l B̄), (2, H, L)."""
        if self.kernel == "s4d":  # Ā is diagonal: its powers are exponentials
            log_a = self.a_bar.diagonal(dim1=1, dim2=2).log().to(self.c.dtype.to_complex())
            x = torch.exp(log_a[..., None] * torch.arange(length)) * self.b_bar[..., None].to(log_a)  # (G, N/2, L)
        else:
            states = [self.b_bar]
            for _ in range(length - 1):
                states.append((self.a_bar @ states[-1][..., None])[..., 0])
            x = torch.stack(states, dim=-1)[:, : self.c.shape[2]].to(self.c.dtype.to_complex())
        c = torch.view_as_complex(self.c).unflatten(1, (len(x), -1))  # (2, G, H/G, N/2)
        return 2 * torch.einsum("dghn,gnl->dghl", c, x).real.flatten(1, 2)


class ObviousAttention(nn.Module):
    """Attention between the state space layers, by torch's own layer."""

    def __init__(self, fast: Attention) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(fast.mix.in_features, fast.heads, batch_first=True)
        with torch.no_grad():
            self.attention.in_proj_weight.copy_(fast.look.weight)
            self.attention.in_proj_bias.copy_(fast.look.bias)
        filled(self.attention.out_proj, fast.mix.weight, fast.mix.bias)

    def forward(self, h: Tensor) -> Tensor:
        """(B, H, L) → (B, H, L)."""
        rows = h.transpose(1, 2)
        return h + self.attention(rows, rows, rows, need_weights=False)[0].transpose(1, 2)


class ObviousBlock(nn.Module):
    """One residual block; k is its place, by which it takes its rows of the merged projections."""

    def __init__(self, fast: ResidualBlock, network: SSSD, k: int) -> None:
        super().__init__()
        h = fast.out.in_features
        self.step = nn.Linear(network.to_blocks.in_features, h)
        filled(self.step, *(part.view(-1, h, *part.shape[1:])[k] for part in network.to_blocks.parameters()))
        self.condition = None
        if network.condition_to_blocks is not None:
            merged = network.condition_to_blocks
            self.condition = nn.Linear(merged.in_features, 2 * h)
            filled(self.condition, *(part.view(-1, 2 * h, *part.shape[1:])[k] for part in merged.parameters()))
        taps = fast.widen.weight.view(2 * h, 3, h).transpose(1, 2)
        self.widen = filled(nn.Conv1d(h, 2 * h, 3, padding=1), taps.contiguous(), fast.widen.bias)
        self.first, self.second = ObviousS4(fast.first), ObviousS4(fast.second)
        self.attend = ObviousAttention(fast.attend) if fast.attend is not None else nn.Identity()
        self.residual, self.skip = pointwise(fast.out), pointwise(fast.out)
        for part, rows in ((self.residual, slice(h)), (self.skip, slice(h, None))):
            part.weight, part.bias = nn.Parameter(part.weight[rows]), nn.Parameter(part.bias[rows])

    def forward(self, x: Tensor, step: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, H, L) → residual and skip."""
        h = self.first(self.widen(x + self.step(step)[..., None]))
        if self.condition is not None:
            h = h + self.condition(condition)[..., None]
        a, b = self.second(self.attend(h)).chunk(2, dim=1)
        gated = torch.tanh(a) * torch.sigmoid(b)
        return (x + self.residual(gated)) * math.sqrt(0.5), self.skip(gated)


class Unfolding(nn.Module):
    """Each position's features → `p` samples of each lead."""

    def __init__(self, linear: nn.Linear, leads: int, p: int) -> None:
        super().__init__()
        self.spread = nn.ConvTranspose1d(linear.in_features, leads, p, stride=p, bias=False)
        self.bias = nn.Parameter(linear.bias.detach().view(leads, p).clone())
        with torch.no_grad():
            self.spread.weight.copy_(linear.weight.T.view_as(self.spread.weight))

    def forward(self, y: Tensor) -> Tensor:
        """(B, H, L/p) → (B, C, L)."""
        return (self.spread(y).unflatten(-1, (-1, self.bias.shape[1])) + self.bias[:, None]).flatten(-2)


class ObviousSSSD(nn.Module):
    """The network, with the weights of a fast one, which is called in the same way."""

    def __init__(self, fast: SSSD) -> None:
        super().__init__()
        self.config, self.groups = fast.config, fast.condition_groups
        p, h, leads = fast.config.patch, fast.config.channels, fast.leads
        seen = fast.enter.in_features // p
        self.enter = filled(nn.Conv1d(seen, h, p, stride=p), fast.enter.weight, fast.enter.bias)
        self.step = nn.Sequential(*(filled(nn.Linear(layer.in_features, layer.out_features), layer.weight, layer.bias)
                                    if isinstance(layer, nn.Linear) else nn.SiLU() for layer in fast.step))  # fmt: skip
        self.embeddings = nn.ParameterList(nn.Parameter(e.weight.detach().T.clone()) for e in fast.embeddings)
        self.blocks = nn.ModuleList(ObviousBlock(block, fast, k) for k, block in enumerate(fast.blocks))
        self.collect = pointwise(fast.collect)
        self.leave = Unfolding(fast.leave, leads, p)

    def forward(self, x_t: Tensor, t: Tensor, conditions: Tensor | None = None, previous: Tensor | None = None,
                clock: Tensor | None = None) -> Tensor:  # fmt: skip
        """Estimate, as `SSSD.forward` does."""
        inputs = [x_t] + [part for part in (previous,) if part is not None]
        if clock is not None:
            inputs.append(clock)
        x = F.relu(self.enter(torch.cat(inputs, dim=1)))
        step, condition = self.step(step_embedding(t)), None
        if self.groups:
            groups = conditions.split(self.groups, dim=1)
            condition = torch.cat([group @ table for group, table in zip(groups, self.embeddings, strict=True)], dim=1)
        skips = 0
        for block in self.blocks:
            x, skip = block(x, step, condition)
            skips = skips + skip
        return self.leave(F.relu(self.collect(skips * math.sqrt(1 / len(self.blocks)))))
