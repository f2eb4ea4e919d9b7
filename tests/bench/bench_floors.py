"""What one evaluation of SSSD costs if nothing is moved: its matrix products, Fourier transforms and pointwise passes.

Each is timed alone, on tensors of the shapes and layouts it meets in the network, several times in a row and so with
warm caches, and counts as often as it occurs there. Not counted: padding, transposing, copies, Python.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ecglib.config import NetworkConfig

LEADS = 8
IN_A_ROW = 4


def operations(config: NetworkConfig, batch: int, length: int) -> dict[str, tuple[int, Callable[[], Tensor]]]:
    """Return, by name, how often an evaluation does what, for a network without the options SSSD-ECG does not have."""
    h, wide, blocks = config.channels, 2 * config.channels, config.blocks
    narrow, u = torch.randn(batch, length, h), torch.randn(batch, length, wide)
    thin, other = torch.empty_like(narrow), torch.empty_like(u)  # results of the sums the network makes in place
    a, b = u.chunk(2, dim=-1)
    padded = torch.randn(batch, wide, 2 * length)
    u_hat, spectrum = torch.fft.rfft(padded), torch.fft.rfft(padded[0])
    of_step, of_conditions, ones = torch.randn(batch, 1, h), torch.randn(batch, 1, wide), torch.ones(wide)

    def product(inputs: int, outputs: int) -> Callable[[], Tensor]:
        x, weight, bias = torch.randn(batch, length, inputs), torch.randn(outputs, inputs), torch.randn(outputs)
        return lambda: F.linear(x, weight, bias)

    state_spaces = 2 * blocks
    return {
        "enter": (1, product(LEADS, h)),
        "convolution of neighbours": (blocks, product(3 * h, wide)),
        "mix": (state_spaces, product(wide, wide)),
        "residual and skip": (blocks, product(h, wide)),
        "collect": (1, product(h, h)),
        "leave": (1, product(h, LEADS)),
        "rfft": (state_spaces, lambda: torch.fft.rfft(padded)),
        "irfft": (state_spaces, lambda: torch.fft.irfft(u_hat, n=2 * length)),
        "product of spectra": (state_spaces, lambda: u_hat * spectrum),
        "gelu": (state_spaces, lambda: F.gelu(u)),
        "add u": (state_spaces, lambda: torch.add(u, u, out=other)),
        "layer norm": (state_spaces, lambda: F.layer_norm(u, (wide,), ones, ones)),
        "add step": (blocks, lambda: torch.add(narrow, of_step, out=thin)),
        "add conditions": (blocks, lambda: torch.add(u, of_conditions, out=other)),
        "gate": (blocks, lambda: torch.tanh(a) * torch.sigmoid(b)),
        "add residual": (blocks, lambda: torch.add(narrow, a, out=thin)),
        "add skip": (blocks, lambda: torch.add(narrow, b, out=thin)),
        "scale": (blocks + 1, lambda: torch.mul(narrow, 0.5, out=thin)),
        "relu": (2, lambda: F.relu(narrow)),
    }


def in_a_row(call: Callable[[], Tensor]) -> Callable[[], None]:
    """Return a function that calls it IN_A_ROW times."""

    def several() -> None:
        for _ in range(IN_A_ROW):
            call()

    return several


def candidates(operations: dict[str, tuple[int, Callable[[], Tensor]]]) -> dict[str, Callable[[], None]]:
    """Return what to time: each operation, in a row."""
    return {name: in_a_row(call) for name, (_, call) in operations.items()}


def floor(operations: dict[str, tuple[int, Callable[[], Tensor]]], seconds: dict[str, float]) -> float:
    """Return the seconds of one evaluation, from those of the candidates."""
    return sum(often * seconds[name] / IN_A_ROW for name, (often, _) in operations.items())
