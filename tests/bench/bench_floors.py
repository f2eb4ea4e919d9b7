"""What one evaluation of SSSD costs if nothing is moved: its matrix products, Fourier transforms and pointwise passes.

Each is timed alone, on tensors of the shapes and layouts it meets in the network, as often as it occurs there. Not
counted: padding, transposing, copies, Python, and memory that is allocated and not in the cache yet.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ecglib.config import NetworkConfig

LEADS = 8


def operations(config: NetworkConfig, batch: int, length: int) -> dict[str, tuple[int, Callable[[], Tensor]]]:
    """Return, by name, how often an evaluation does what, for a network without the options SSSD-ECG does not have."""
    h, wide, blocks, positions = config.channels, 2 * config.channels, config.blocks, batch * length
    narrow, u = torch.randn(batch, length, h), torch.randn(batch, length, wide)
    padded = torch.zeros(batch, wide, 2 * length)
    u_hat, spectrum = torch.fft.rfft(padded), torch.fft.rfft(torch.randn(wide, 2 * length))
    other, thin = torch.empty_like(u), torch.empty_like(narrow)
    a, b = u.chunk(2, dim=-1)
    one, scale, ones = torch.randn(batch, 1, h), torch.randn(batch, 1, wide), torch.ones(wide)

    def product(inputs: int, outputs: int) -> Callable[[], Tensor]:
        x, weight, bias = torch.randn(positions, inputs), torch.randn(outputs, inputs), torch.randn(outputs)
        return lambda: F.linear(x, weight, bias)

    state_spaces = 2 * blocks
    return {
        "enter": (1, product(LEADS, h)),
        "convolution k=3": (blocks, product(3 * h, wide)),
        "mix": (state_spaces, product(wide, wide)),
        "residual and skip": (blocks, product(h, wide)),
        "collect": (1, product(h, h)),
        "leave": (1, product(h, LEADS)),
        "rfft": (state_spaces, lambda: torch.fft.rfft(padded)),
        "irfft": (state_spaces, lambda: torch.fft.irfft(u_hat, n=2 * length)),
        "product of spectra": (state_spaces, lambda: u_hat * spectrum),
        "gelu": (state_spaces, lambda: F.gelu(u)),
        "layer norm": (state_spaces, lambda: F.layer_norm(u, (wide,), ones, ones)),
        "residual of a state space": (state_spaces, lambda: torch.add(u, u, out=other)),
        "add conditions": (blocks, lambda: torch.add(u, scale, out=other)),
        "gate": (blocks, lambda: torch.tanh(a) * torch.sigmoid(b)),
        "add step": (blocks, lambda: narrow + one),
        "add residual": (blocks, lambda: narrow + narrow),
        "add skip": (blocks, lambda: torch.add(narrow, narrow, out=thin)),
        "scale": (blocks + 1, lambda: torch.mul(narrow, 0.5, out=thin)),
        "relu": (2, lambda: F.relu(narrow)),
    }
