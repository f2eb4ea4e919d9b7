"""SSSD beside the obvious implementation that gives the same numbers, and beside its floor of single operations.

``python -m tests.bench.bench_network``: about four minutes on two cores.
"""

import torch

from ecglib.config import MelConfig
from ecglib.diffusion import MelLoss
from ecglib.diffusion.network import SSSD
from ecglib.diffusion.process import Schedule, predict_x0
from ecglib.diffusion.s4 import _NOTHING, S4Layer
from ecglib.diffusion.samplers import ddim
from tests.bench.bench_floors import Operations
from tests.bench.bench_step import batch, make, peak, step
from tests.bench.timing import medians
from tests.obvious_network import ObviousSSSD

CASES = [(64, 12, 4), (64, 4, 1), (64, 4, 16), (256, 2, 4)]  # channels, blocks, batch
ROUNDS = {1000: 4, 5000: 1}  # by length; each after one unmeasured round


def forget(network: SSSD) -> None:
    """Drop the kept spectra."""
    for layer in network.modules():
        if isinstance(layer, S4Layer):
            layer._kept = _NOTHING


def compare(channels: int, blocks: int, size: int, length: int) -> None:
    """Print a line: times of the fast network, and ratios to the obvious one and to the floor."""
    fast, inputs = make(channels, blocks), batch(size, length)
    obvious, operations = ObviousSSSD(fast), Operations(fast.config, size, length)
    with torch.no_grad():
        expected = obvious(*inputs)
        difference = (fast(*inputs) - expected).abs().max() / expected.abs().max()

    @torch.no_grad()
    def first() -> None:
        forget(fast)
        fast(*inputs)

    seconds = medians({
        "train": lambda: step(fast, inputs), "obvious train": lambda: step(obvious, inputs), "first": first,
        "next": torch.no_grad()(lambda: fast(*inputs)), "obvious": torch.no_grad()(lambda: obvious(*inputs)),
        "floor": torch.no_grad()(operations.in_order),
    }, rounds=ROUNDS[length])  # fmt: skip
    floors = seconds["floor"], operations.each_alone(3 * ROUNDS[length])
    train, once = ([seconds[name] / often / floor for floor in floors] for name, often in (("train", 3), ("next", 1)))
    many = [n * seconds["obvious"] / (seconds["first"] + (n - 1) * seconds["next"]) for n in (25, 200)]
    print(f"C{channels:<3} NL{blocks:<2} B{size:<2} L{length}  {1e3 * seconds['train']:7.0f} ms "
          f"{seconds['obvious train'] / seconds['train']:5.1f}× {train[0]:5.2f} {train[1]:5.2f}  "
          f"{1e3 * seconds['next']:6.0f} ms {seconds['obvious'] / seconds['next']:5.1f}× {once[0]:5.2f} {once[1]:5.2f}"
          f"  {many[0]:5.1f}× {many[1]:5.1f}×  {difference:.0e}", flush=True)  # fmt: skip


def sampling() -> None:
    """Whole runs of a sampler, C64 NL4 B1 L1000; the obvious network's 200 evaluations are 8 times its 25."""
    fast, (x, _, c) = make(64, 4), batch(1, 1000)
    obvious, schedule = ObviousSSSD(fast), Schedule.named("cosine", 200)

    @torch.no_grad()
    def run(network: torch.nn.Module, steps: int) -> torch.Tensor:
        def denoise(x_t: torch.Tensor, t: int) -> torch.Tensor:
            steps_ = torch.full((1,), t)
            return predict_x0(schedule, "x0", x_t, steps_, network(x_t, steps_, c))

        forget(fast)
        return ddim(denoise, x, schedule, steps=steps)

    seconds = medians({"25": lambda: run(fast, 25), "200": lambda: run(fast, 200),
                       "obvious": lambda: run(obvious, 25)}, rounds=1)  # fmt: skip
    expected = run(obvious, 25)
    difference = (run(fast, 25) - expected).abs().max() / expected.abs().max()
    print(f"\nDDIM, C64 NL4 B1 L1000: 25 evaluations {seconds['25']:.2f} s, {seconds['obvious'] / seconds['25']:.1f}× "
          f"faster than the obvious network's; 200 evaluations {seconds['200']:.1f} s, "
          f"{8 * seconds['obvious'] / seconds['200']:.1f}×; samples differ by {difference:.0e}")  # fmt: skip


def mel_share() -> None:
    """The mel loss and its gradient, in a training step of C64 NL12 B4 L1000."""
    network, mel, inputs = make(64, 12), MelLoss(MelConfig(), 100), batch(4, 1000)
    x, x_hat = inputs[0], torch.randn_like(inputs[0]).requires_grad_()
    seconds = medians({"step": lambda: step(network, inputs),
                       "mel": lambda: torch.autograd.grad(mel(x_hat, x, torch.ones(4)), x_hat)})  # fmt: skip
    share = seconds["mel"] / (seconds["step"] + seconds["mel"])
    print(f"mel loss with its gradient, windows {MelConfig().windows}: {1e3 * seconds['mel']:.0f} ms, "
          f"{100 * share:.1f} % of a training step of C64 NL12 B4 L1000")  # fmt: skip


def memory() -> None:
    """Peaks of training steps with AdamW, each in a process of its own; a block is half of what two more cost."""
    kinds = ("fast", "obvious")
    two, four = ({kind: peak(kind, 256, blocks, 4, 1000) for kind in kinds} for blocks in (2, 4))
    block = {kind: (four[kind] - two[kind]) / 2000 for kind in kinds}
    print(f"memory of training per block, C256 B4 L1000: {block['fast']:.3f} GB, obvious {block['obvious']:.3f} GB "
          f"({block['obvious'] / block['fast']:.1f}×)")  # fmt: skip
    whole = {kind: peak(kind, 64, 12, 4, 1000) / 1000 for kind in kinds}
    print(f"peak of a training process, C64 NL12 B4 L1000: {whole['fast']:.2f} GB, obvious {whole['obvious']:.2f} GB")


def main() -> None:
    """Run all."""
    torch.manual_seed(0)
    print("Times; × faster than the obvious network; over the floors of single operations, run in order and repeated\n"
          "alone (a training step: over three); 25 and 200 evaluations, the first of which computes the kernels, ×\n"
          "faster; largest difference of the answers, relative to the largest.\n\n"
          "                        training step                 one evaluation                25      200")
    for length in ROUNDS:
        for case in CASES:
            compare(*case, length)
    sampling()
    mel_share()
    memory()


if __name__ == "__main__":
    main()
