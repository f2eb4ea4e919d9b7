"""Peak memory of two training steps, in MB: ``python -m tests.bench.bench_step fast 256 2 4 1000``.

A process of its own, because what counts is its peak, which the kernel keeps.
"""

import subprocess
import sys
from pathlib import Path

import torch

from ecglib.config import NetworkConfig
from ecglib.diffusion.network import SSSD, build_network
from tests.obvious_network import ObviousSSSD


def make(channels: int, blocks: int) -> SSSD:
    """Return SSSD-ECG in another size: 71 labels and "unknown", and a last layer that is not zero."""
    config = NetworkConfig(channels=channels, blocks=blocks, patch=1, self_conditioning=False, clock=False, heads=0,
                           wiener=0.0)  # fmt: skip
    network = build_network(config, 8, (72,), (128,), 0)
    torch.nn.init.normal_(network.leave.weight, std=0.1, generator=torch.Generator().manual_seed(1))
    return network


def batch(size: int, length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return x_t, t and conditions."""
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(size, 8, length, generator=generator), torch.randint(200, (size,), generator=generator),
            torch.eye(72)[:size])  # fmt: skip


def step(network: torch.nn.Module, inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    """Evaluate, compare, and compute all gradients."""
    network.zero_grad(set_to_none=True)
    (network(*inputs) - inputs[0]).square().mean().backward()


def peak(kind: str, channels: int, blocks: int, size: int, length: int) -> int:
    """Return the peak of a new process, in MB."""
    command = [sys.executable, "-m", "tests.bench.bench_step", kind, *map(str, (channels, blocks, size, length))]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    channels, blocks, size, length = map(int, sys.argv[2:])
    network: torch.nn.Module = make(channels, blocks)
    if sys.argv[1] == "obvious":
        network = ObviousSSSD(network)
    optimiser = torch.optim.AdamW(network.parameters(), fused=True)
    for _ in range(2):
        step(network, batch(size, length))
        optimiser.step()
    status = Path("/proc/self/status").read_text().splitlines()
    print(next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM")))
