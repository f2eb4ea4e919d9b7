r"""Training: one loop, resumable to the bit, with an averaged model chosen by validation.

.. math:: \mathcal L = \operatorname{mean} \| f(x_t, t, c) - y \|^2 + \lambda\, w_t\, \mathrm{MelL1}(\hat x_0, x_0)

Everything random in step k is drawn from (seed, k), so that a resumed run needs no saved random state and gives the
same weights as one that was never interrupted.
"""

import csv
import io
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ecglib.config import Config
from ecglib.diffusion.clock import beat_phase, clock
from ecglib.diffusion.conditions import Conditions
from ecglib.diffusion.mel import MelLoss
from ecglib.diffusion.model import (
    WEIGHTS,
    SignalInfo,
    checked_device,
    load_description,
    load_tensors,
    load_weights,
    network_of,
    save_description,
    save_tensors,
)
from ecglib.diffusion.network import SSSD
from ecglib.diffusion.process import Schedule, predict_x0, q_sample, target_of
from ecglib.diffusion.seeds import batch_rows, seeded
from ecglib.errors import InputError
from ecglib.runs import MANIFEST, locked, read_manifest, sha256_of, write_manifest, write_text
from ecglib.signals import LEADS_8, LEADS_12, Cohort, to_eight_leads

CHECKPOINT, LOG = "checkpoint.safetensors", "log.csv"
N_VALIDATION = 128  # records in the validation loss, at most
LOG_COLUMNS = ("step", "train", "mse", "mel", "validation")


def train(config: Config, cohort: Cohort, run: Path | str, *, device: str = "cpu", progress: bool = True,
          stop_after: int | None = None) -> Path:  # fmt: skip
    """Train a generator on folds 1–8 of a cohort and keep the averaged weights that validate best on fold 9.

    A run that was interrupted goes on where its last checkpoint was written, with the same result as if it had not
    been; a finished run returns at once.

    Parameters
    ----------
    config : Config
    cohort : Cohort
        Twelve leads at ``config.cohort.fs``; I, aVF and V1–V6 are learnt.
    run : path
        Folder of the run; made where absent.
    device : str
        A torch device.
    progress : bool
        Show a bar with the time left.
    stop_after : int or None
        Stop (resumably) once this many steps are done: for tests and for training in pieces.

    Returns
    -------
    Path
        The run folder: ``model.safetensors``, ``config.json``, ``model.json``, ``log.csv`` and, last, the manifest.

    Raises
    ------
    InputError
        If the folder holds another configuration or cohort, is in use, its checkpoint is damaged, the device is
        absent, the cohort does not fit, or the loss becomes NaN (the last good checkpoint is kept).
    """
    run = Path(run)
    _check_cohort(config, cohort)
    with locked(run):
        parts = cohort.split()
        signals = describe_signals(config, parts[0])
        if (run / "config.json").exists():
            _check_same_run(run, config, signals)
            if (run / MANIFEST).exists():
                return run
        save_description(run, config, signals)
        loop = _Loop(config, signals, parts[0], parts[1], run, device)
        loop.run(progress, stop_after)
        if loop.step == config.training.steps:
            write_manifest(run, "run", config=config.id, cohort=cohort.source, n_train=len(parts[0]),
                           n_validation=len(parts[1]), best=loop.best, seed=config.seed,
                           threads=torch.get_num_threads(),
                           sha256={name: sha256_of(run / name) for name in (WEIGHTS, "config.json", LOG)})  # fmt: skip
    return run


def describe_signals(config: Config, cohort: Cohort) -> SignalInfo:
    """Measure each of the eight leads' mean and standard deviation, in mV, on (at most 2,000 of) the training records.

    With ``training.standardise`` off, as in SSSD-ECG, mean is 0 and scale 1: the model works in mV.
    """
    n_times = cohort.x.shape[2]
    if not config.training.standardise:
        return SignalInfo(LEADS_8, cohort.fs, n_times, (0.0,) * 8, (1.0,) * 8)
    rows = np.linspace(0, len(cohort) - 1, min(len(cohort), 2000)).astype(np.int64)
    x = to_eight_leads(cohort.x[rows]).astype(np.float64)
    mean, scale = x.mean(axis=(0, 2)), x.std(axis=(0, 2))
    return SignalInfo(LEADS_8, cohort.fs, n_times, tuple(mean.round(6).tolist()), tuple(scale.round(6).tolist()))


class _Loop:
    """The state of a training run, and one step of it."""

    def __init__(self, config: Config, signals: SignalInfo, train: Cohort, validation: Cohort, run: Path,
                 device: str) -> None:  # fmt: skip
        self.config, self.signals, self.run_folder = config, signals, run
        self.device = checked_device(device)
        self.train, self.validation = train, validation
        self.conditions = Conditions(config.conditions.groups)
        self.encoded = self.conditions.encode(train.table)
        self.phase = beat_phase(train) if config.network.clock else torch.zeros(len(train))
        self.schedule = Schedule.named(config.diffusion.schedule, config.diffusion.timesteps)
        self.alpha_bar = self.schedule.alpha_bar.to(torch.float32)
        self.mel = MelLoss(config.mel, signals.fs).to(self.device) if config.mel.weight else None
        self.network = network_of(config, len(signals.leads)).to(self.device)
        self.average = network_of(config, len(signals.leads)).to(self.device).requires_grad_(False)
        t = config.training
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=t.learning_rate, weight_decay=t.weight_decay,
                                           fused=True)  # fmt: skip
        self.step, self.best = 0, {"step": 0, "validation": math.inf}
        self.rows: list[dict[str, float]] = []
        if (run / CHECKPOINT).exists():
            self._restore()

    def run(self, progress: bool, stop_after: int | None) -> None:
        """Train to the last step, or until `stop_after` steps are done; validate and save on the way."""
        steps = self.config.training.steps
        last = steps if stop_after is None else min(steps, stop_after)
        bar = tqdm(total=self.config.training.steps, initial=self.step, unit="step", mininterval=2,
                   desc="training", disable=not progress)  # fmt: skip
        with bar:
            while self.step < last:
                losses = self._one_step()
                bar.update()
                if self.step % self.config.training.validate_every == 0 or self.step == self.config.training.steps:
                    self._validate(losses)
                    bar.set_postfix_str(f"validation {self.rows[-1]['validation']:.4f}")
                if self.step % self.config.training.save_every == 0 or self.step == last:
                    self._save()

    def _one_step(self) -> dict[str, float]:
        config, t = self.config, self.config.training
        generator = seeded(config.seed, "step", self.step)
        rows = batch_rows(len(self.train), t.batch, config.seed, self.step)
        x0 = self._signals(self.train, rows)
        c = self.conditions.drop(self.encoded[rows], config.conditions.drop, generator).to(self.device)
        mse, mel = self._losses(self.network, x0, c, self.phase[rows], generator)
        loss = mse + config.mel.weight * mel
        value = float(loss.detach())
        if not math.isfinite(value):
            raise InputError(f"the loss became {value} at step {self.step}; the checkpoint of an earlier step is kept: "
                             "lower training.learning_rate, or set training.clip")  # fmt: skip
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, config)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if t.clip:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), t.clip)
        self.optimiser.step()
        self.step += 1
        self._update_average()
        return {"train": value, "mse": float(mse.detach()), "mel": float(mel.detach())}

    def _losses(self, network: SSSD, x0: Tensor, c: Tensor, phase: Tensor,
                generator: torch.Generator) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Return (mean squared error of the target, mel loss of x0_hat) for a batch."""
        eps = torch.randn(x0.shape, generator=generator).to(x0)
        t = torch.randint(len(self.schedule), (len(x0),), generator=generator)
        x_t = q_sample(self.schedule, x0, t, eps)
        ticks = None
        if self.config.network.clock:
            ticks = clock(self.conditions.rate(c), phase, self.signals.n_times, self.signals.fs)
        previous = None
        if self.config.network.self_conditioning and bool(torch.rand((), generator=generator) < 0.5):
            with torch.no_grad():
                previous = self._x0_hat(network, x_t, t, c, None, ticks)[1]
        output, x0_hat = self._x0_hat(network, x_t, t, c, previous, ticks)
        y = target_of(self.schedule, self.config.diffusion.target, x0, t, eps)
        mse = (output - y).square().mean()
        return mse, x0.new_zeros(()) if self.mel is None else self.mel(x0_hat, x0, self.alpha_bar[t].to(x0.device))

    def _x0_hat(self, network: SSSD, x_t: Tensor, t: Tensor, c: Tensor, previous: Tensor | None,
                ticks: Tensor | None) -> tuple[Tensor, Tensor]:  # fmt: skip
        output = network(x_t, t.to(x_t.device), c, previous, ticks)
        return output, predict_x0(self.schedule, self.config.diffusion.target, x_t, t, output)

    @torch.no_grad()
    def _validate(self, losses: dict[str, float]) -> None:
        """Measure the averaged model on fixed records, steps and noise; keep it if it is the best so far."""
        generator = seeded(self.config.seed, "validation", 0)
        rows = np.arange(min(len(self.validation), N_VALIDATION))
        encoded = self.conditions.encode(self.validation.table.iloc[rows])
        phase = beat_phase(self.validation.select(rows)) if self.config.network.clock else torch.zeros(len(rows))
        model = self.average if self.config.training.ema else self.network
        total = 0.0
        for chunk in np.array_split(rows, math.ceil(len(rows) / 32)):
            x0 = self._signals(self.validation, chunk)
            mse, mel = self._losses(model, x0, encoded[chunk].to(self.device), phase[chunk], generator)
            total += float(mse + self.config.mel.weight * mel) * len(chunk)
        value = total / len(rows)
        self.rows.append({"step": self.step, **losses, "validation": value})
        if value < self.best["validation"]:
            self.best = {"step": self.step, "validation": value}
            save_tensors(self.run_folder / WEIGHTS, model.state_dict())

    @torch.no_grad()
    def _update_average(self) -> None:
        """Exponential moving average of the weights; its memory grows with the steps done, up to training.ema."""
        keep = min(self.config.training.ema, (1 + self.step) / (10 + self.step))
        for mean, new in zip(self.average.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(new, 1 - keep)

    def _signals(self, cohort: Cohort, rows: np.ndarray) -> Tensor:
        """Read records as the network sees them: float32 (B, 8, L)."""
        return self.signals.to_model(torch.from_numpy(to_eight_leads(np.asarray(cohort.x[rows])))).to(self.device)

    def _save(self) -> None:
        state = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        state |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for k, moments in self.optimiser.state_dict()["state"].items():
            state |= {f"optimiser.{k}.{name}": value for name, value in moments.items()}
        state["step"] = torch.tensor(self.step)
        state["best"] = torch.tensor([self.best["step"], self.best["validation"]], dtype=torch.float64)
        table = [[row[name] for name in LOG_COLUMNS] for row in self.rows]
        state["log"] = torch.tensor(table, dtype=torch.float64).reshape(len(table), len(LOG_COLUMNS))
        save_tensors(self.run_folder / CHECKPOINT, state)
        self._write_log()

    def _restore(self) -> None:
        path = self.run_folder / CHECKPOINT
        state = load_tensors(path)
        load_weights(self.network, _below(state, "network."), path)
        load_weights(self.average, _below(state, "average."), path)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(state, "optimiser.").items():
            k, _, leaf = name.partition(".")
            moments.setdefault(int(k), {})[leaf] = value
        self.optimiser.load_state_dict({"state": moments, "param_groups": self.optimiser.state_dict()["param_groups"]})
        self.step = int(state["step"])
        self.best = {"step": int(state["best"][0]), "validation": float(state["best"][1])}
        self.rows = [dict(zip(LOG_COLUMNS, row, strict=True)) for row in state["log"].tolist()]

    def _write_log(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, LOG_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "step": int(row["step"])} for row in self.rows)
        write_text(self.run_folder / LOG, text.getvalue())


def learning_rate(step: int, config: Config) -> float:
    """Return the learning rate of a step: linear warm-up, then (``training.decay``) half a cosine down to 2 %."""
    t = config.training
    warm = min(1.0, (step + 1) / (t.warmup + 1))
    fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / t.steps)) if t.decay else 1.0
    return t.learning_rate * warm * fall


def _below(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _check_cohort(config: Config, cohort: Cohort) -> None:
    if cohort.leads != LEADS_12:
        raise InputError(f"cohort has leads {cohort.leads}; training expects the twelve in the order {LEADS_12}")
    if cohort.fs != config.cohort.fs:
        raise InputError(f"cohort is sampled at {cohort.fs} Hz; config.cohort.fs is {config.cohort.fs}: resample it")
    n_times, patch = cohort.x.shape[2], config.network.patch
    if n_times % patch:
        raise InputError(f"records have {n_times} samples, no multiple of network.patch={patch}")


def _check_same_run(run: Path, config: Config, signals: SignalInfo) -> None:
    old_config, old_signals = load_description(run)
    if old_config != config:
        raise InputError(f"{run} holds a run of config {old_config.id}, not {config.id}; choose another folder")
    if old_signals != signals:
        raise InputError(f"{run} was trained on other signals (scale, length, sampling rate); choose another folder")


def read_log(run: Path | str) -> "list[dict[str, float]]":
    """Return the training log of a finished run: one dict a validation, with the keys of `LOG_COLUMNS`."""
    read_manifest(run, "run")
    with open(Path(run) / LOG, newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
