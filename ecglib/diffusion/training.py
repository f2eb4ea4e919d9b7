r"""Training: one loop, resumable to the bit, with an averaged model chosen by validation.

.. math:: \mathcal L = \operatorname{mean} w_t \| f(x_t, t, c) - y \|^2 + \lambda\, \mathrm{MelL1}(\tilde x, x_0)
          + \mathcal L_\mathrm{rhythm}

The last term, that of `ecglib.diffusion.rhythm`, shares no weight with the others: two models are trained in one loop.

Everything random in step k is drawn from (seed, k), so that a resumed run needs no saved random state and gives the
same weights as one that was never interrupted. What it leaves on disk is in `ecglib.diffusion.checkpoint`.
"""

import math
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from ecglib.config import Config
from ecglib.diffusion.batches import Batch, Batches, check_cohort, describe_signals, fingerprint
from ecglib.diffusion.checkpoint import (
    CHECKPOINT,
    LOG,
    StopSignals,
    load_checkpoint,
    open_log,
    remove_leftovers,
    save_checkpoint,
    write_log,
    writing,
)
from ecglib.diffusion.losses import Losses
from ecglib.diffusion.model import (
    WEIGHTS,
    Origin,
    SignalInfo,
    check_same_run,
    checked_device,
    load_tensors,
    load_weights,
    network_of,
    origin_of,
    save_description,
    save_tensors,
)
from ecglib.diffusion.optimiser import Optimiser
from ecglib.diffusion.process import Schedule
from ecglib.diffusion.workers import ALONE, Workers, divided
from ecglib.errors import InputError, whole
from ecglib.runs import MANIFEST, atomic_file, locked, sha256_of, write_manifest
from ecglib.signals import Cohort

N_VALIDATION = 128  # records in the validation loss, at most
N_SPECTRA = 2000  # records that the Wiener filter is fitted to, at most
N_SHEET = 4  # records on a sample sheet, at most


def train(config: Config, cohort: Cohort, run: Path | str, *, device: str = "cpu", progress: bool = True,
          stop_after: int | None = None, start_from: Path | str | None = None,
          workers: Workers = ALONE) -> Path:  # fmt: skip
    """Train a generator on folds 1–8 of a cohort and keep the averaged weights that validate best on fold 9.

    A run that was interrupted goes on where its last checkpoint was written, with the same result as if it had not
    been; a finished run returns at once. Ctrl-C finishes the step at hand and saves it.

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
    start_from : path or None
        A finished run whose kept weights are the initial ones: the same network, conditions and target. Its mean and
        scale of the signals are kept too, so that its numbers mean what they meant.
    workers : Workers
        The processes that train together. Each takes its share of every batch, and the first one writes; `run` is a
        folder that all can read.

    Returns
    -------
    Path
        The run folder: ``model.safetensors``, ``config.json``, ``model.json``, ``log.csv`` and, last, the manifest.

    Raises
    ------
    InputError
        If `stop_after` is no number of steps, the folder holds another configuration or cohort, is in use or cannot be
        written, its checkpoint is damaged, the device is absent, the cohort or `start_from` does not fit, or the loss
        or its gradient becomes NaN (the last good checkpoint is kept).
    KeyboardInterrupt
        After Ctrl-C or SIGTERM, with the step at hand saved.
    """
    run, last = Path(run), last_step(config, stop_after)
    check_cohort(config, cohort)
    divided(config.training.batch, workers)
    parts = cohort.split()
    origin = None if start_from is None else origin_of(Path(start_from), config, cohort.fs, cohort.x.shape[2])
    signals = describe_signals(config, parts[0]) if origin is None else origin.signals
    with ExitStack() as stack:
        if workers.first:
            with writing(run):
                stack.enter_context(locked(run))
                _prepare(run, config, signals, origin, fingerprint(*parts[:2]))
        workers.wait()
        if (run / MANIFEST).exists():
            return run
        loop = _Loop(config, signals, parts[0], parts[1], run, device, workers)
        if (run / CHECKPOINT).exists():
            loop.restore()
        elif origin is not None:
            loop.start_from(origin)
        loop.run(progress and workers.first, last)
        if workers.first and loop.step == config.training.steps:
            with writing(run):
                digests = {name: sha256_of(run / name) for name in (WEIGHTS, "config.json", LOG)}
                write_manifest(run, "run", config=config.id, cohort=cohort.source, n_train=len(parts[0]),
                               n_validation=len(parts[1]), best=loop.best, seed=config.seed,
                               start_from=origin.note if origin else None, device=str(loop.device),
                               threads=torch.get_num_threads(), processes=workers.count, sha256=digests)  # fmt: skip
        workers.wait()
    return run


class _Loop:
    """The state of a training run, and one step of it."""

    def __init__(self, config: Config, signals: SignalInfo, train: Cohort, validation: Cohort, run: Path,
                 device: str, workers: Workers) -> None:  # fmt: skip
        self.config, self.signals, self.run_folder, self.workers = config, signals, run, workers
        self.device = checked_device(device)
        self.schedule = Schedule.named(config.diffusion.schedule, config.diffusion.timesteps)
        self.batches = Batches(config, signals, self.schedule, train, workers)
        self.patients = validation
        self.validation = Batches(config, signals, self.schedule, validation).all(N_VALIDATION)
        self.losses = Losses(config, self.schedule, signals.fs, self.device)
        self.network = network_of(config, len(signals.leads), signals.n_times).to(self.device)
        self.average = network_of(config, len(signals.leads), signals.n_times).to(self.device).requires_grad_(False)
        for network in (self.network, self.average):
            if network.wiener is not None:
                network.wiener.fit(self.batches.records(N_SPECTRA).to(self.device))
            if network.rhythm is not None:
                network.rhythm.fit(self.batches.intervals.to(self.device))
        if config.training.compile:
            self.network.compile()  # its calls, not itself: names and weights stay as they are
        t = config.training
        self.optimiser = Optimiser(self.network, t)
        self.step, self.best = 0, {"step": 0, "validation": math.inf}
        self.rows: list[dict[str, float]] = []
        self.began = 0, time.perf_counter()  # step and time of the last row of the log

    def restore(self) -> None:
        """Go on from the checkpoint."""
        path = self.run_folder / CHECKPOINT
        self.step, self.best = load_checkpoint(path, self.network, self.average, self.optimiser)
        every, steps = self.config.training.validate_every, self.config.training.steps
        self.rows = open_log(self.run_folder, self.step // every + (self.step == steps and steps % every > 0))
        self.began = self.step, time.perf_counter()

    def start_from(self, origin: Origin) -> None:
        """Take the kept weights of another run."""
        for network in (self.network, self.average):
            load_weights(network, load_tensors(origin.weights), origin.weights)

    def run(self, progress: bool, last: int) -> None:
        """Train until `last` steps are done; validate and save on the way."""
        t, first = self.config.training, self.workers.first
        bar = tqdm(total=t.steps, initial=self.step, unit="step", mininterval=2, desc="training", disable=not progress)
        with bar, StopSignals() as signals:
            batch = self.batches.of_step(self.step).to(self.device)
            while self.step < last:
                report = self._one_step(batch, signals.asked)
                batch = self.batches.of_step(self.step).to(self.device)  # drawn while a GPU is at work
                loss, mse, mel, rhythm, gradient, asked = report.tolist()
                self._check_finite(loss=loss, gradient=gradient)
                bar.update()
                if first and (self.step % t.validate_every == 0 or self.step == t.steps):
                    self._validate({"train": loss, "mse": mse, "mel": mel, "rhythm": rhythm, "gradient": gradient})
                    bar.set_postfix_str(f"validation {self.rows[-1]['validation']:.4f}")
                if first and t.sheet_every and self.step % t.sheet_every == 0:
                    self._draw_sheet()
                stop = asked > 0 or (signals.asked and self.workers.count == 1)  # several have to agree on the step
                if first and (self.step % t.save_every == 0 or self.step == last or stop):
                    self._save()
                if stop:
                    raise KeyboardInterrupt

    def _one_step(self, batch: Batch, stop: bool) -> Tensor:
        """Update the weights; return the loss, its three parts, gradient norm and whether to stop: float (6,)."""
        config, t = self.config, self.config.training
        mse, mel, rhythm = self.losses(self.network, batch)
        loss = mse + config.mel.weight * mel + rhythm
        self.network.zero_grad(set_to_none=True)
        loss.backward()
        report = torch.stack([part.detach() for part in (loss, mse, mel, rhythm, torch.full_like(loss, float(stop)))])
        self.workers.average([p.grad for p in self.network.parameters() if p.grad is not None] + [report])
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), t.clip or math.inf)
        self.optimiser.step(learning_rate(self.step, config))
        torch.autograd.graph.increment_version(self.network.parameters())  # fused steps do not: kept spectra would stay
        self.step += 1
        keep = min(t.ema, (1 + self.step) / (10 + self.step))  # its memory grows with the steps done, up to t.ema
        get_ema_multi_avg_fn(keep)(list(self.average.parameters()), list(self.network.parameters()), 0)
        return torch.cat([report[:4], norm[None], report[4:]])

    @torch.no_grad()
    def _validate(self, losses: dict[str, float]) -> None:
        """Measure the averaged model on fixed records, steps and noise; keep it if it is the best so far."""
        total, n = 0.0, 0
        for batch in self.validation:
            mse, mel, rhythm = self.losses(self.average, batch.to(self.device))
            total, n = total + float(mse + self.config.mel.weight * mel + rhythm) * len(batch.t), n + len(batch.t)
        value = total / n
        self._check_finite(validation=value)
        now = time.perf_counter()
        seconds = (now - self.began[1]) / (self.step - self.began[0])
        self.began = self.step, now
        self.rows.append({"step": self.step, **losses, "validation": value, "seconds_per_step": round(seconds, 4),
                          "minutes_left": round((self.config.training.steps - self.step) * seconds / 60, 1)})
        with writing(self.run_folder):
            write_log(self.run_folder, self.rows)
            if value < self.best["validation"]:
                self.best = {"step": self.step, "validation": value}
                save_tensors(self.run_folder / WEIGHTS, self.average.state_dict())

    def _draw_sheet(self) -> None:
        """Draw a few fixed patients of the validation fold beside what the averaged model makes of them."""
        from ecglib.diffusion.sampling import Generator  # these two here: training needs neither
        from ecglib.figures import sheet_grid

        rows = np.linspace(0, len(self.patients) - 1, min(N_SHEET, len(self.patients))).astype(np.int64)
        real = self.patients.select(rows)
        samples = Generator(self.config, self.signals, self.average, self.device).sample(real.table)
        figure = sheet_grid(real, range(len(real)), other=samples, seconds=min(5.0, real.x.shape[2] / real.fs))
        with writing(self.run_folder), atomic_file(self.run_folder / "sheets" / f"step-{self.step:06d}.png") as path:
            figure.savefig(path, metadata={"Software": "ecglib"})

    def _check_finite(self, **values: float) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                raise InputError(f"the {name} became {value} at step {self.step}; the checkpoint of an earlier step is "
                                 "kept: lower training.learning_rate, or set training.clip")  # fmt: skip

    def _save(self) -> None:
        with writing(self.run_folder):
            save_checkpoint(self.run_folder / CHECKPOINT, self.network, self.average, self.optimiser, self.step,
                            self.best)  # fmt: skip


def last_step(config: Config, stop_after: int | None) -> int:
    """Return after how many steps a call of `train` stops; `InputError` if `stop_after` is no whole number from 0."""
    steps = config.training.steps
    return steps if stop_after is None else min(steps, whole("stop_after", stop_after, 0, 100_000_000))


def learning_rate(step: int, config: Config) -> float:
    """Return the learning rate of a step: linear warm-up, then (``training.decay``) half a cosine down to 2 %."""
    t = config.training
    warm = min(1.0, (step + 1) / (t.warmup + 1))
    fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / t.steps)) if t.decay else 1.0
    return t.learning_rate * warm * fall


def _prepare(run: Path, config: Config, signals: SignalInfo, origin: Origin | None, data: str) -> None:
    remove_leftovers(run)
    if (run / "config.json").exists():
        check_same_run(run, config, signals, origin, data)
    else:
        save_description(run, config, signals, origin, data)
