"""Private training: patients drawn by chance, each clipped as one, noise on the sum; resumable, and always counted.

Nothing that depends on the patients leaves the loop but noisy gradients. So there is no log of losses and no choice of
the best checkpoint: the averaged weights of the last step are kept. Mean and scale of the signals, the rhythm's, and
the Wiener filter are constants, or those of a run on public records (`start_from`).
"""

import json
import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import inf, log
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from ecglib.config import Config
from ecglib.diffusion.batches import Batch, Batches, check_cohort, fingerprint
from ecglib.diffusion.checkpoint import (
    CHECKPOINT,
    StopSignals,
    load_checkpoint,
    remove_leftovers,
    save_checkpoint,
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
from ecglib.diffusion.network import SSSD
from ecglib.diffusion.optimiser import Optimiser
from ecglib.diffusion.private.accounting import Privacy, check_delta, epsilon_of, noise_for, statement
from ecglib.diffusion.private.mechanism import clip, draw_patients, flat_gradient, noisy_mean
from ecglib.diffusion.process import Schedule
from ecglib.diffusion.training import last_step, learning_rate
from ecglib.errors import InputError
from ecglib.runs import MANIFEST, locked, read_manifest, sha256_of, write_manifest, write_text
from ecglib.signals import LEADS_8, Cohort

PRIVACY = "privacy.json"
SCALE_MV = (0.15, 0.15, 0.2, 0.35, 0.35, 0.35, 0.3, 0.25)  # I, aVF, V1–V6: round numbers, of no cohort
BEAT_S, BEAT_SPREAD = 0.8, 0.25  # a beat's length, and the spread of its logarithm: 75 a minute


class Patients:
    """The patients of a cohort, each as one batch: what a step of private training draws.

    Parameters
    ----------
    config : Config
    signals : SignalInfo
    cohort : Cohort
        Twelve leads in mV.
    privacy : Privacy
    """

    def __init__(self, config: Config, signals: SignalInfo, cohort: Cohort, privacy: Privacy) -> None:
        self.config, self.privacy = config, privacy
        self.schedule = Schedule.named(config.diffusion.schedule, config.diffusion.timesteps)
        self.batches = Batches(config, signals, self.schedule, cohort)
        self.rows = list(cohort.table.groupby("patient_id", sort=True).indices.values())

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, patient: int, rng: np.random.Generator, generator: torch.Generator) -> Batch:
        """Return at most ``privacy.records`` of a patient's records, each noised ``privacy.draws`` times.

        Parameters
        ----------
        patient : int
            Position, from 0.
        rng : Generator
            Draws the records.
        generator : torch.Generator
            Draws steps, noise and dropped conditions.
        """
        rows = self.rows[patient]
        chosen = rng.choice(rows, min(len(rows), self.privacy.records), replace=False)
        return self.batches.draw(np.repeat(chosen, self.privacy.draws), generator, self.config.conditions.drop)


@dataclass(frozen=True)
class _Plan:
    """What the accountant needs to know, fixed before the first step and kept beside the run."""

    privacy: Privacy
    n_patients: int
    noise: float
    steps: int

    @property
    def rate(self) -> float:
        """The chance of a patient to be drawn in a step."""
        return self.privacy.patients / self.n_patients

    def to_json(self) -> str:
        """Return what is kept beside the run: the promise, and the numbers it was computed from."""
        kept = {"n_patients": self.n_patients, "rate": self.rate, "noise": self.noise, "steps": self.steps}
        return json.dumps({**json.loads(self.privacy.to_json()), **kept}, indent=2, sort_keys=True) + "\n"


def train_private(config: Config, privacy: Privacy, cohort: Cohort, run: Path | str, *, device: str = "cpu",
                  progress: bool = True, stop_after: int | None = None,
                  start_from: Path | str | None = None) -> Path:  # fmt: skip
    """Train a generator on folds 1–8 of a cohort so that (ε, δ) holds for each patient.

    Parameters
    ----------
    config : Config
        ``training.classes`` natural; ``network.wiener`` 0 unless `start_from` brings a fitted filter. Its
        ``training.batch``, ``clip`` and ``standardise`` do not apply; ``training.steps`` are what is accounted for.
    privacy : Privacy
    cohort : Cohort
        Twelve leads at ``config.cohort.fs``. The number of its training patients counts as public.
    run : path
        Folder of the run; a run that was interrupted goes on, and its steps go on counting.
    device : str
    progress : bool
    stop_after : int or None
        Stop (resumably) once this many steps are done.
    start_from : path or None
        A finished run on *public* records, whose weights and statistics are the first ones: its patients have no part
        in the promise. That they are public is taken on trust, and the statement says so.

    Returns
    -------
    Path
        The run folder, as `train` leaves one, but without a log. Its manifest has ``privacy`` (a sentence),
        ``epsilon`` and ``delta``; `Generator.load` puts the sentence on everything that it makes.

    Raises
    ------
    InputError
        If `config` asks for statistics of the patients, there are fewer patients than a step is to have or so many that
        ``delta`` promises nothing, ``epsilon`` cannot be kept, `start_from` is of these records or private itself,
        Opacus is not installed, the folder holds another run (other privacy, too), or a gradient is not finite.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM, with the step at hand saved.
    """
    run, last = Path(run), last_step(config, stop_after)
    check_cohort(config, cohort)
    train, validation, _ = cohort.split()
    origin = None if start_from is None else origin_of(Path(start_from), config, cohort.fs, cohort.x.shape[2])
    if start_from is not None:
        _check_public(Path(start_from), fingerprint(train, validation))
    _check_blind(config, origin)
    signals = origin.signals if origin else SignalInfo(LEADS_8, cohort.fs, cohort.x.shape[2], (0.0,) * 8, SCALE_MV)
    patients, steps = Patients(config, signals, train, privacy), config.training.steps
    if len(patients) < privacy.patients:
        raise InputError(f"privacy.patients={privacy.patients} a step, but there are {len(patients)} training patients")
    check_delta(privacy, len(patients))
    rate = privacy.patients / len(patients)
    plan = _Plan(privacy, len(patients), noise_for(privacy.epsilon, rate, steps, privacy.delta), steps)
    with ExitStack() as stack:
        with writing(run):
            stack.enter_context(locked(run))
            _prepare(run, config, signals, origin, plan)
        if (run / MANIFEST).exists():
            return run
        loop = _Loop(config, plan, patients, origin, run, device)
        loop.run(progress, last)
        if loop.step == steps:
            _finish(run, config, plan, cohort, loop, origin)
    return run


class _Loop:
    """The state of a private run, and one step of it."""

    def __init__(self, config: Config, plan: _Plan, patients: Patients, origin: Origin | None, run: Path,
                 device: str) -> None:  # fmt: skip
        self.config, self.plan, self.patients, self.folder = config, plan, patients, run
        self.device, signals = checked_device(device), patients.batches.signals
        self.losses = Losses(config, patients.schedule, signals.fs, self.device)
        self.network, self.average = (self._first(signals, origin) for _ in range(2))
        self.average.requires_grad_(False)
        self.optimiser, self.step = Optimiser(self.network, config.training), 0
        if (run / CHECKPOINT).exists():
            self.step, _ = load_checkpoint(run / CHECKPOINT, self.network, self.average, self.optimiser)

    def _first(self, signals: SignalInfo, origin: Origin | None) -> SSSD:
        network = network_of(self.config, len(signals.leads), signals.n_times).to(self.device)
        if origin is not None:
            return load_weights(network, load_tensors(origin.weights), origin.weights)
        if network.rhythm is not None:
            network.rhythm.mean.fill_(log(BEAT_S))
            network.rhythm.scale.fill_(BEAT_SPREAD)
        return network

    def run(self, progress: bool, last: int) -> None:
        """Take the steps that are left, up to `last`, saving now and then."""
        t = self.config.training
        bar = tqdm(total=t.steps, initial=self.step, unit="step", desc="private training", disable=not progress)
        with bar, StopSignals() as signals:
            while self.step < last:
                self._one_step()
                bar.update()
                if self.step % t.save_every == 0 or self.step == last or signals.asked:
                    with writing(self.folder):
                        save_checkpoint(self.folder / CHECKPOINT, self.network, self.average, self.optimiser, self.step,
                                        {"step": self.step, "validation": inf})  # fmt: skip
                if signals.asked:
                    raise KeyboardInterrupt

    def _one_step(self) -> None:
        """Draw patients, clip each one's gradient, add noise to the sum, update weights and their average."""
        privacy, parameters, t = self.plan.privacy, list(self.network.parameters()), self.config.training
        rng, generator = randomness(privacy.seed, self.step)
        total = torch.zeros(sum(p.numel() for p in parameters), device=self.device)
        for patient in draw_patients(self.plan.n_patients, self.plan.rate, rng):
            total += clip(self._gradient(patient, rng, generator, parameters), privacy.clip)
        mean = noisy_mean(total, privacy.clip, self.plan.noise, privacy.patients, generator)
        for p, g in zip(parameters, mean.split([p.numel() for p in parameters]), strict=True):
            p.grad = g.view_as(p)
        self.optimiser.step(learning_rate(self.step, self.config))
        torch.autograd.graph.increment_version(parameters)  # fused steps do not: kept spectra would stay
        self.step += 1
        keep = min(t.ema, (1 + self.step) / (10 + self.step))
        get_ema_multi_avg_fn(keep)(list(self.average.parameters()), parameters, 0)

    def _gradient(self, patient: int, rng: np.random.Generator, generator: torch.Generator,
                  parameters: Sequence[Tensor]) -> Tensor:  # fmt: skip
        batch = self.patients.batch(patient, rng, generator).to(self.device)
        return flat_gradient(self.losses.total(self.network, batch), parameters)


def randomness(seed: int | None, step: int) -> tuple[np.random.Generator, torch.Generator]:
    """Return a step's sources of chance: of the operating system, kept nowhere, or (for teaching) of a seed."""
    entropy = secrets.randbits(128) if seed is None else [seed, *b"private", step]
    first, second = np.random.SeedSequence(entropy).spawn(2)
    number = int(second.generate_state(1, np.uint64)[0] >> 1)
    return np.random.default_rng(first), torch.Generator().manual_seed(number)


def _check_blind(config: Config, origin: Origin | None) -> None:
    """Raise `InputError` where a setting would let statistics of the patients in, unaccounted for."""
    if config.training.classes != "natural":
        raise InputError(f"training.classes={config.training.classes!r} counts the patients' diagnoses, outside of "
                         "the accounting; use natural")  # fmt: skip
    if not config.conditions.learn:
        raise InputError("conditions.learn=False leaves embeddings as they were drawn, a defect that is shown in "
                         "ordinary training; set it to True")  # fmt: skip
    if config.network.wiener and origin is None:
        raise InputError(f"network.wiener={config.network.wiener} fits a filter to the patients, outside of the "
                         "accounting; set network.wiener to 0, or start_from a run on public records")  # fmt: skip


def _check_public(start: Path, data: str) -> None:
    """Raise `InputError` if a run to start from was trained on these records, or itself with a promise of privacy."""
    if "epsilon" in (manifest := read_manifest(start, "run")):
        raise InputError(f"start_from={str(start)!r} is a private run (epsilon {manifest['epsilon']}), whose steps are "
                         "not counted here; start from a run on public records")  # fmt: skip
    if json.loads((start / "model.json").read_text(encoding="utf-8")).get("data") == data:
        raise InputError(f"start_from={str(start)!r} was trained on these same records, without noise: nothing can "
                         "be promised to their patients; start from a run on public records")  # fmt: skip


def _prepare(run: Path, config: Config, signals: SignalInfo, origin: Origin | None, plan: _Plan) -> None:
    remove_leftovers(run)
    if not (run / "config.json").exists():
        write_text(run / PRIVACY, plan.to_json())
        save_description(run, config, signals, origin)
        return
    check_same_run(run, config, signals, origin)  # of the patients nothing is kept, not even a fingerprint
    if not (run / PRIVACY).exists():
        raise InputError(f"{run} holds a run that is not private; choose another folder")
    kept, wanted = json.loads((run / PRIVACY).read_text(encoding="utf-8")), json.loads(plan.to_json())
    if kept != wanted:
        was = {name: kept.get(name) for name in sorted(wanted) if kept.get(name) != wanted[name]}
        raise InputError(f"{run} was begun with {was}, by which its steps are counted; give the same, or choose "
                         "another folder")  # fmt: skip


def _finish(run: Path, config: Config, plan: _Plan, cohort: Cohort, loop: _Loop, origin: Origin | None) -> None:
    spent = epsilon_of(plan.noise, plan.rate, loop.step, plan.privacy.delta)
    with writing(run):
        save_tensors(run / WEIGHTS, loop.average.state_dict())
        digests = {name: sha256_of(run / name) for name in (WEIGHTS, "config.json", PRIVACY)}
        note = origin.note if origin else None
        write_manifest(run, "run", config=config.id, cohort=cohort.source, device=str(loop.device), sha256=digests,
                       privacy=statement(plan.privacy, spent, note["sha256"] if note else None), seed=config.seed,
                       epsilon="inf" if spent == inf else spent, delta=plan.privacy.delta, start_from=note)  # fmt: skip
