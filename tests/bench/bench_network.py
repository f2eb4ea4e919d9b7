"""The state space layer and the network against obvious forms that give the same numbers."""

import torch

from ecglib.config import Config, NetworkConfig
from ecglib.diffusion import Conditions, MelLoss, network_of
from ecglib.diffusion.network import build_network
from ecglib.diffusion.s4 import S4Layer, discretise, kernel_slow, s4d_lin
from tests.bench.timing import medians


def kernels() -> None:
    """Two-level product against powers, length 1000."""
    s4 = S4Layer(128, 64)
    a_bar, b_bar = discretise(s4d_lin(64), s4.step)

    def slow():
        return [kernel_slow(a_bar, b_bar, c, 1000) for c in torch.view_as_complex(s4.c.detach().double())]

    with torch.no_grad():
        times = medians({"slow": slow, "fast": lambda: s4.kernels(1000)}, rounds=5)
        difference = max((f - s).abs().max().item() for f, s in zip(s4.kernels(1000), slow(), strict=True))
    print(f"kernel, 128 channels, N 64, L 1000: {times['fast'] * 1e3:.1f} ms, "
          f"{times['slow'] / times['fast']:.0f}× faster than powers; largest difference {difference:.1e}")  # fmt: skip


def evaluation() -> None:
    """One evaluation with cached spectra against rebuilding every kernel, as the public code does."""
    config = NetworkConfig(channels=64, blocks=12, patch=1, self_conditioning=False, clock=False)
    network = build_network(config, 8, (), (32,), 0).eval()
    layers = [module for module in network.modules() if isinstance(module, S4Layer)]
    for batch in (1, 4, 16):
        x, t = torch.randn(batch, 8, 1000), torch.zeros(batch, dtype=torch.int64)

        def cached(x=x, t=t):
            return network(x, t)

        def rebuilt(x=x, t=t):
            for layer in layers:
                layer._spectrum = None
            return network(x, t)

        with torch.no_grad():
            times = medians({"cached": cached, "rebuilt": rebuilt}, rounds=5)
        print(f"evaluation, C64 NL12 L1000 B{batch}: {times['cached'] / batch * 1e3:.1f} ms a sample, "
              f"{times['rebuilt'] / times['cached']:.2f}× faster than with kernels rebuilt")  # fmt: skip


def training_step() -> None:
    """The `quick` preset's step, and the mel loss's share of it."""
    config = Config.preset("quick")
    network, mel = network_of(config, 8), MelLoss(config.mel, 100)
    batch = config.training.batch
    x, t = torch.randn(batch, 8, 1000), torch.randint(200, (batch,))
    c = Conditions(config.conditions.groups).unknown(batch)

    def step(with_mel: bool):
        network.zero_grad(set_to_none=True)
        y = network(x, t, c)
        loss = (y - x).square().mean()
        (loss + mel(y, x, torch.ones(batch)) if with_mel else loss).backward()

    times = medians({"with": lambda: step(True), "without": lambda: step(False)})
    print(f"training step, quick, B{batch}: {times['with'] * 1e3:.0f} ms; the mel loss is "
          f"{100 * (1 - times['without'] / times['with']):.0f} % of it")  # fmt: skip


def main() -> None:
    """Run all."""
    torch.manual_seed(0)
    kernels()
    evaluation()
    training_step()
