"""A small classifier of superclasses, trained on real records: its features compare populations, its verdicts curate.

A network that was trained on photographs knows nothing of ECGs; this one sees the eight independent leads. It is as
small as it can be, so that its features need no more records than a fold has: 24, and populations of 240.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor, nn
from tqdm import trange

from ecglib.diffusion.model import load_tensors, save_tensors
from ecglib.errors import InputError, whole
from ecglib.evaluation.records import blocks, eight_leads
from ecglib.runs import read_manifest, sha256_of, write_manifest, write_text
from ecglib.signals.cohort import Cohort
from ecglib.signals.statements import superclasses

CLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
N_FEATURES = 24
WIDTHS = (32, 32, 48, 64)
WEIGHTS = "classifier.safetensors"


class _Residual(nn.Module):
    """Two convolutions of seven samples and a way around them; halves the length."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(inputs, outputs, 7, stride=2, padding=3)
        self.second = nn.Conv1d(outputs, outputs, 7, padding=3)
        self.around = nn.Conv1d(inputs, outputs, 1, stride=2)
        self.norms = nn.ModuleList([nn.GroupNorm(4, outputs), nn.GroupNorm(4, outputs)])

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, L) → (B, outputs, L/2)."""
        h = torch.relu(self.norms[0](self.first(x)))
        return torch.relu(self.norms[1](self.second(h)) + self.around(x))


class Network(nn.Module):
    """(B, 8, L) of standardised leads → features (B, 24), of which a linear map makes logits (B, 5)."""

    def __init__(self) -> None:
        super().__init__()
        widths = (WIDTHS[0], *WIDTHS)
        self.enter = nn.Conv1d(8, WIDTHS[0], 15, stride=2, padding=7)
        self.blocks = nn.Sequential(*(_Residual(a, b) for a, b in pairwise(widths)))
        self.narrow = nn.Linear(WIDTHS[-1], N_FEATURES)
        self.leave = nn.Linear(N_FEATURES, len(CLASSES))

    def features(self, x: Tensor) -> Tensor:
        """Return float (B, 24)."""
        return torch.tanh(self.narrow(self.blocks(torch.relu(self.enter(x))).mean(dim=-1)))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, float (B, 5)."""
        return self.leave(self.features(x))


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained `Network`, with the scale of its leads and the threshold of each class.

    Parameters
    ----------
    network : Network
    mean, scale : float32 (8,)
        Of the training records' leads, in mV.
    thresholds : float64 (5,)
        Probabilities at Youden's point of the validation fold.
    auroc : dict
        Each class's area under the curve on the validation fold; NaN where it has one class only.
    fs : int
        Sampling rate in Hz.
    """

    network: Network
    mean: np.ndarray
    scale: np.ndarray
    thresholds: np.ndarray
    auroc: dict[str, float]
    fs: int

    @property
    def digest(self) -> str:
        """SHA-256 of the weights: which network a distance in its features belongs to."""
        weights = [tensor.numpy().tobytes() for _, tensor in sorted(self.network.state_dict().items())]
        return hashlib.sha256(b"".join(weights)).hexdigest()

    def features(self, cohort: Cohort) -> np.ndarray:
        """Return float64 (n_records, 24): what the network says before its last layer."""
        return self._of(cohort, self.network.features)

    def probabilities(self, cohort: Cohort) -> np.ndarray:
        """Return each record's probability of NORM, MI, STTC, CD and HYP: float64 (n_records, 5)."""
        return self._of(cohort, lambda x: torch.sigmoid(self.network(x)))

    def found(self, cohort: Cohort) -> list[set[str]]:
        """Return the superclasses found in each record."""
        above = self.probabilities(cohort) >= self.thresholds
        return [{name for name, on in zip(CLASSES, row, strict=True) if on} for row in above]

    def save(self, folder: Path | str) -> Path:
        """Write weights, scale and thresholds; the manifest last."""
        folder = Path(folder)
        save_tensors(folder / WEIGHTS, self.network.state_dict())
        described = {"mean": self.mean.tolist(), "scale": self.scale.tolist(), "thresholds": self.thresholds.tolist(),
                     "auroc": self.auroc, "fs": self.fs}  # fmt: skip
        write_text(folder / "classifier.json", json.dumps(described, indent=2) + "\n")
        digests = {name: sha256_of(folder / name) for name in (WEIGHTS, "classifier.json")}
        write_manifest(folder, "classifier", sha256=digests)
        return folder

    @staticmethod
    def load(folder: Path | str) -> Classifier:
        """Read what `save` wrote; `InputError` if it is absent or not what its manifest names."""
        folder = Path(folder)
        manifest = read_manifest(folder, "classifier", make="make book")
        for name, digest in manifest["sha256"].items():
            if not (folder / name).is_file() or sha256_of(folder / name) != digest:
                raise InputError(f"{folder / name} is not the file that its manifest names; train the classifier again")
        described = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))
        network = Network()
        network.load_state_dict(load_tensors(folder / WEIGHTS))
        mean, scale = (np.array(described[name], np.float32) for name in ("mean", "scale"))
        return Classifier(network.eval().requires_grad_(False), mean, scale, np.array(described["thresholds"]),
                          described["auroc"], described["fs"])  # fmt: skip

    def _of(self, cohort: Cohort, function) -> np.ndarray:
        if cohort.fs != self.fs:
            raise InputError(f"cohort has fs={cohort.fs} Hz; the classifier was trained at {self.fs} Hz: resample it")
        if not len(cohort):
            raise InputError("cohort holds no record; expected at least one")
        with torch.no_grad():
            parts = [function(standard(cohort, rows, self.mean, self.scale)) for rows in blocks(len(cohort))]
        return torch.cat(parts).double().numpy()


def standard(cohort: Cohort, rows, mean: np.ndarray, scale: np.ndarray) -> Tensor:
    """Return records' eight leads, less `mean` and over `scale`: float32 (B, 8, L)."""
    x = eight_leads(cohort, rows)
    return torch.from_numpy((x - mean[:, None]) / scale[:, None])


def targets(cohort: Cohort) -> np.ndarray:
    """Return which superclasses each record has: float32 (n_records, 5)."""
    sets = [superclasses(codes) for codes in cohort.table["scp_codes"]]
    return np.array([[name in found for name in CLASSES] for found in sets], np.float32)


def train_classifier(train: Cohort, validation: Cohort, *, epochs: int = 12, seed: int = 0, batch: int = 64,
                     progress: bool = True) -> Classifier:  # fmt: skip
    """Train a classifier of superclasses on real records.

    Parameters
    ----------
    train, validation : Cohort
        Twelve leads in mV. Thresholds are chosen on `validation` (fold 9): its patients must not be those judged later.
    epochs : int
    seed : int
        Of weights, order, each record's gain (±20 %) and each batch's shift in time (±0.5 s), which change no
        diagnosis.
    batch : int
    progress : bool

    Raises
    ------
    InputError
        If a set is empty, they differ in sampling rate, or `epochs` is no whole number from 1.
    """
    whole("epochs", epochs, 1, 10_000)
    if not len(train) or not len(validation) or train.fs != validation.fs:
        raise InputError(f"train has {len(train)} records at {train.fs} Hz and validation {len(validation)} at "
                         f"{validation.fs} Hz; expected records in both, at one rate")  # fmt: skip
    some = np.linspace(0, len(train) - 1, min(len(train), 1000)).astype(int)
    x = eight_leads(train, some)
    mean, scale = x.mean(axis=(0, 2)), x.std(axis=(0, 2)).clip(1e-3)
    y = torch.from_numpy(targets(train))
    draw = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    steps = epochs * -(-len(train) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for _ in trange(epochs, desc="classifier", unit="epoch", disable=not progress):
        for rows in torch.randperm(len(train), generator=draw).split(batch):
            x_batch = standard(train, rows.numpy(), mean, scale)
            gain = 1 + 0.2 * (2 * torch.rand((len(rows), 1, 1), generator=draw) - 1)
            shift = int(torch.randint(-train.fs // 2, train.fs // 2 + 1, (), generator=draw))
            logits = network(torch.roll(x_batch * gain, shift, dims=-1))
            loss = nn.functional.binary_cross_entropy_with_logits(logits, y[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    half = np.full(len(CLASSES), 0.5)
    trained = Classifier(network.eval().requires_grad_(False), mean, scale, half, {}, train.fs)
    truth, chance = targets(validation), trained.probabilities(validation)
    points = [(youden(y, p), np.nan if y.min() == y.max() else float(roc_auc_score(y, p)))
              for y, p in zip(truth.T, chance.T, strict=True)]  # fmt: skip
    auroc = {name: area for name, (_, area) in zip(CLASSES, points, strict=True)}
    return Classifier(trained.network, mean, scale, np.array([point for point, _ in points]), auroc, train.fs)


def youden(y: np.ndarray, chance: np.ndarray) -> float:
    """Return the probability at which sensitivity + specificity is highest; 0.5 if y has one kind only."""
    if y.min() == y.max():
        return 0.5
    false, true, at = roc_curve(y, chance)
    return float(min(at[np.argmax(true - false)], 1.0))
