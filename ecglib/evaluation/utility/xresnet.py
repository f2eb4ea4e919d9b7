"""xresnet1d: the residual network of PTB-XL's benchmark, for those who have a GPU.

Three small convolutions enter; four stages of residual blocks, each but the first at half the length and twice the
channels, follow; mean and maximum over time leave. Where a block halves the length, the way around averages pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import trange

from ecglib.errors import InputError, whole
from ecglib.evaluation.classifier import CLASSES, standard, targets, youden
from ecglib.evaluation.records import blocks, eight_leads
from ecglib.signals.cohort import Cohort

DEPTHS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
KERNEL, WIDTH = 5, 64


def _convolution(inputs: int, outputs: int, kernel: int = KERNEL, stride: int = 1, act: bool = True) -> nn.Sequential:
    layers = [nn.Conv1d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False), nn.BatchNorm1d(outputs)]
    return nn.Sequential(*layers, *([nn.ReLU()] if act else []))


class Bottleneck(nn.Module):
    """Narrow, filter, widen, and a way around: (B, inputs, L) → (B, outputs, L / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inner = outputs // 4
        last = nn.BatchNorm1d(outputs)
        nn.init.zeros_(last.weight)  # at first a block passes its input on
        self.main = nn.Sequential(_convolution(inputs, inner, 1), _convolution(inner, inner, stride=stride),
                                  nn.Conv1d(inner, outputs, 1, bias=False), last)  # fmt: skip
        pool = [nn.AvgPool1d(2, ceil_mode=True)] if stride == 2 else []
        narrow = [_convolution(inputs, outputs, 1, act=False)] if inputs != outputs else []
        self.around = nn.Sequential(*pool, *narrow)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, L) → (B, outputs, L / stride)."""
        return torch.relu(self.main(x) + self.around(x))


class XResNet1d(nn.Module):
    """(B, 8, L) → logits (B, n_classes).

    Parameters
    ----------
    depth : {18, 50, 101}
        101 is the benchmark's; 18 has its four stages of two blocks.
    n_classes : int
    width : int
        Channels of the first stage's filters; a multiple of 2.

    Raises
    ------
    InputError
        If the depth is unknown.

    Notes
    -----
    Source: Strodthoff et al., Deep learning for ECG analysis, 2021; the tricks are He et al.'s, Bag of tricks, 2019.
    Differs: depth 18 has bottlenecks too.
    """

    def __init__(self, depth: int = 101, n_classes: int = len(CLASSES), width: int = WIDTH) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise InputError(f"depth={depth!r}; expected one of {', '.join(map(str, DEPTHS))}")
        stages = DEPTHS[depth]
        half = width // 2
        self.enter = nn.Sequential(_convolution(8, half, stride=2), _convolution(half, half), _convolution(half, width),
                                   nn.MaxPool1d(3, 2, padding=1))  # fmt: skip
        body, inputs = [], width
        for stage, count in enumerate(stages):
            outputs = 4 * width * 2**stage
            for block in range(count):
                body.append(Bottleneck(inputs, outputs, 2 if stage and not block else 1))
                inputs = outputs
        self.body = nn.Sequential(*body)
        self.leave = nn.Sequential(nn.BatchNorm1d(2 * inputs), nn.Dropout(0.25), nn.Linear(2 * inputs, n_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, float (B, n_classes)."""
        h = self.body(self.enter(x))  # (B, C, L / 32)
        return self.leave(torch.cat([h.mean(dim=-1), h.amax(dim=-1)], dim=1))


@dataclass(frozen=True, eq=False)
class XResNetClassifier:
    """A trained network, its leads' scale, thresholds of fold 9 and sampling rate; used as `RocketClassifier`."""

    network: XResNet1d
    mean: np.ndarray
    scale: np.ndarray
    thresholds: np.ndarray
    device: str
    fs: int

    @torch.no_grad()
    def probabilities(self, cohort: Cohort) -> np.ndarray:
        """Return each record's probability of the five superclasses: float64 (n_records, 5)."""
        if cohort.fs != self.fs:
            raise InputError(f"cohort has fs={cohort.fs} Hz; the network was trained at {self.fs} Hz: resample it")
        parts = [torch.sigmoid(self.network(standard(cohort, block, self.mean, self.scale).to(self.device))).cpu()
                 for block in blocks(len(cohort))]  # fmt: skip
        return torch.cat(parts).double().numpy()

    def found(self, cohort: Cohort) -> list[set[str]]:
        """Return the superclasses found in each record."""
        verdicts = self.probabilities(cohort) >= self.thresholds
        return [{name for name, on in zip(CLASSES, row, strict=True) if on} for row in verdicts]


def train_xresnet(train: Cohort, validation: Cohort, *, depth: int = 101, width: int = WIDTH, epochs: int = 50,
                  batch: int = 128, seed: int = 0, device: str = "cpu", progress: bool = True
                  ) -> XResNetClassifier:  # fmt: skip
    """Train the network on records, real or synthetic; thresholds come from `validation`, real records of fold 9.

    Parameters
    ----------
    train, validation : Cohort
        Twelve leads in mV.
    depth, width
        As in `XResNet1d`.
    epochs : int
        From 1.
    batch : int
        Records, from 2: the network normalises over them.
    seed : int
    device : str
        A torch device.
    progress : bool

    Raises
    ------
    InputError
        If a set has fewer than two records, the rates differ, or `epochs` or `batch` is none.
    """
    whole("epochs", epochs, 1, 1_000_000)
    whole("batch", batch, 2, 1_000_000)
    if len(train) < 2 or len(validation) < 2 or train.fs != validation.fs:
        raise InputError(f"train has {len(train)} records at {train.fs} Hz and validation {len(validation)} at "
                         f"{validation.fs} Hz; expected at least two in each, at one rate")  # fmt: skip
    x = eight_leads(train, slice(1000))
    mean, scale = x.mean(axis=(0, 2)), x.std(axis=(0, 2)).clip(1e-3)
    y = torch.from_numpy(targets(train)).to(device)
    draw = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = XResNet1d(depth, width=width).to(device)
        optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=1e-2)
        parts = max(1, len(train) // batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=epochs * parts)
        for _ in trange(epochs, desc="xresnet1d", unit="epoch", disable=not progress):
            for rows in torch.randperm(len(train), generator=draw).tensor_split(parts):  # never a batch of one record
                logits = network(standard(train, rows.numpy(), mean, scale).to(device))
                loss = nn.functional.binary_cross_entropy_with_logits(logits, y[rows.to(device)])
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
    network = network.eval().requires_grad_(False)
    trained = XResNetClassifier(network, mean, scale, np.full(len(CLASSES), 0.5), device, train.fs)
    truth, chance = targets(validation), trained.probabilities(validation)
    points = np.array([youden(truth[:, k], chance[:, k]) for k in range(len(CLASSES))])
    return XResNetClassifier(network, mean, scale, points, device, train.fs)
