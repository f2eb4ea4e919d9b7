"""Batches: records as the network is to see them, noised, with what it is to answer; each follows from (seed, step)."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ecglib.config import Config
from ecglib.diffusion.clock import beat_times, clock
from ecglib.diffusion.conditions import ASKED, Conditions
from ecglib.diffusion.model import SignalInfo
from ecglib.diffusion.process import Schedule, draw_steps, loss_weight, q_sample, target_of
from ecglib.diffusion.rhythm import DRAWS, series
from ecglib.diffusion.rhythm import TIMESTEPS as RHYTHM_T
from ecglib.diffusion.seeds import batch_rows, seeded
from ecglib.diffusion.workers import ALONE, Workers
from ecglib.errors import InputError, choose
from ecglib.signals import LEADS_8, LEADS_12, Cohort, to_eight_leads
from ecglib.signals.statements import superclasses

CLASSES = {"natural": 0.0, "root": 0.5, "balanced": 1.0}  # a, the exponent


@dataclass(frozen=True)
class Batch:
    """One evaluation of the loss: all it needs but the network.

    Parameters
    ----------
    x0, x_t, target : float32 (B, C, L)
        Signal, noised signal, and what the network is to answer, in the network's unit.
    t : int64 (B,)
        Steps, on the CPU, where the schedule is.
    alpha_bar : float32 (B,)
        Of each record's step.
    weight : float32 (B,)
        Of each record's squared error.
    conditions : float32 (B, K)
    clock : float32 (B, 9, L) or None
    rhythm : tuple or None
        What `RhythmModel.loss` takes beside conditions: intervals, noise, and steps (on the CPU).
    self_condition : bool
        Whether the network is first to make an estimate, and then to see it.
    """

    x0: Tensor
    x_t: Tensor
    target: Tensor
    t: Tensor
    alpha_bar: Tensor
    weight: Tensor
    conditions: Tensor
    clock: Tensor | None
    rhythm: tuple[Tensor, Tensor, Tensor] | None
    self_condition: bool

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device; the copy to a GPU is not waited for."""
        if device.type == "cpu":
            return self
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor) and field.name != "t":
                moved[field.name] = value.pin_memory().to(device, non_blocking=True)
        if self.rhythm is not None:
            intervals, noise, steps = self.rhythm
            moved["rhythm"] = intervals.to(device), noise.to(device), steps
        return replace(self, **moved)


class Batches:
    """Draws batches from a cohort.

    Parameters
    ----------
    config : Config
    signals : SignalInfo
    schedule : Schedule
    cohort : Cohort
        Twelve leads in mV.
    workers : Workers
        Every process draws the same random numbers, and makes only its share of each batch.
    """

    def __init__(self, config: Config, signals: SignalInfo, schedule: Schedule, cohort: Cohort,
                 workers: Workers = ALONE) -> None:  # fmt: skip
        self.config, self.signals, self.schedule, self.cohort, self.workers = config, signals, schedule, cohort, workers
        self.groups = Conditions(config.conditions.groups)
        self.encoded = self.groups.encode(cohort.table)
        self.beats = beat_times(cohort) if config.network.clock else []
        self.intervals = series(self.beats, signals.n_times / signals.fs)
        self.chance = class_chance(cohort.table, config.training.classes)

    def records(self, n: int) -> Tensor:
        """Return at most n records, spread over the cohort, in the network's unit: float32 (n, C, L)."""
        rows = np.linspace(0, len(self.cohort) - 1, min(n, len(self.cohort))).astype(np.int64)
        return self.signals.to_model(torch.from_numpy(to_eight_leads(np.asarray(self.cohort.x[rows]))))

    def of_step(self, step: int) -> Batch:
        """Return this process's share of the batch of a training step."""
        config = self.config
        rows = batch_rows(len(self.cohort), config.training.batch, config.seed, step, self.chance)
        return self.draw(rows, seeded(config.seed, "step", step), config.conditions.drop, self.workers)

    def all(self, n: int, size: int = 32) -> list[Batch]:
        """Return the first n records in batches, with steps and noise that are always the same and nothing dropped."""
        generator = seeded(self.config.seed, "validation", 0)
        rows = np.arange(min(n, len(self.cohort)))
        return [self.draw(part, generator) for part in np.array_split(rows, -(-len(rows) // size))]

    def draw(self, rows: np.ndarray, generator: torch.Generator, drop: float = 0.0, workers: Workers = ALONE) -> Batch:
        """Noise the records at `rows`; return a process's share of them.

        Parameters
        ----------
        rows : int64 (B,)
        generator : torch.Generator
            Draws what is dropped, noise, steps, self-conditioning and the rhythm's, in this order, for all records.
        drop : float
            Probability of dropping conditions.
        workers : Workers
        """
        diffusion, network, signals = self.config.diffusion, self.config.network, self.signals
        mine = workers.share(len(rows))
        encoded = self.encoded[rows]
        conditions = (self.groups.drop(encoded, drop, generator) if drop else encoded)[mine]
        eps = torch.randn((len(rows), len(signals.leads), signals.n_times), generator=generator)[mine]
        t = draw_steps(diffusion, self.schedule, len(rows), generator)[mine]
        self_condition = network.self_conditioning and bool(torch.rand((), generator=generator) < 0.5)
        rhythm, ticks = None, None
        if network.clock:
            intervals = self.intervals[rows]
            noise = torch.randn((len(rows), DRAWS, intervals.shape[1]), generator=generator)
            steps = torch.randint(RHYTHM_T, (len(rows), DRAWS), generator=generator)
            rhythm = intervals[mine], noise[mine], steps[mine]
            ticks = clock([self.beats[row] for row in rows[mine]], signals.n_times, signals.fs)
        rows = rows[mine]
        x0 = signals.to_model(torch.from_numpy(to_eight_leads(np.asarray(self.cohort.x[rows]))))
        return Batch(x0, q_sample(self.schedule, x0, t, eps), target_of(self.schedule, diffusion.target, x0, t, eps), t,
                     self.schedule.alpha_bar[t].to(x0), loss_weight(diffusion, self.schedule, t).to(x0), conditions,
                     ticks, rhythm, self_condition)  # fmt: skip


def class_chance(table: pd.DataFrame, classes: str) -> np.ndarray | None:
    r"""Return how likely each record is to be drawn (equation class-sampling).

    .. math:: p_i \propto n_i^{-a}, \quad a = 0\ (\text{natural}),\ \tfrac12\ (\text{root}),\ 1\ (\text{balanced})

    with :math:`n_i` the number of records that have the same set of superclasses (NORM, MI, STTC, CD, HYP) as record i;
    a record without any of them belongs to the empty set. So every *set* is drawn equally often when balanced; rare
    combinations come very often then, which invites learning their few records by heart.

    Parameters
    ----------
    table : DataFrame
        With ``scp_codes``.
    classes : {"natural", "root", "balanced"}

    Returns
    -------
    float64 (n_records,) or None
        Sums to 1. None for ``natural``: every record once an epoch.

    Notes
    -----
    Source: this project; such sampling is common where classes are of very different sizes. SSSD-ECG draws naturally.
    """
    power = CLASSES[choose("training.classes", classes, CLASSES)]
    if not power:
        return None
    sets = [frozenset(superclasses(codes)) for codes in table["scp_codes"]]
    count = Counter(sets)
    chance = np.array([count[each] for each in sets], dtype=np.float64) ** -power
    return chance / chance.sum()


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
    if flat := [lead for lead, spread in zip(LEADS_8, scale, strict=True) if spread < 1e-6]:
        raise InputError(f"lead {', '.join(flat)} is flat in all {len(rows)} training records that were looked at; "
                         "leave such records out, or look for a wrong gain")  # fmt: skip
    return SignalInfo(LEADS_8, cohort.fs, n_times, tuple(mean.round(6).tolist()), tuple(scale.round(6).tolist()))


def fingerprint(*parts: Cohort) -> str:
    """Return 16 hexadecimal digits of cohorts' tables, beats and signals (in µV, of at most 2,000 records of each)."""
    digest = hashlib.sha256()
    for part in parts:
        codes = [json.dumps(codes, sort_keys=True) for codes in part.table["scp_codes"]]
        asked = part.table[["ecg_id", *ASKED]].assign(scp_codes=codes)
        digest.update(asked.to_csv(index=False, float_format="%.6g").encode())
        if part.waves is not None:
            digest.update(part.waves[["ecg_id", "r"]].to_csv(index=False, float_format="%.4f").encode())
        rows = np.linspace(0, len(part) - 1, min(len(part), 2000)).astype(np.int64)
        for some in np.array_split(rows, -(-len(rows) // 256)):
            digest.update(np.rint(np.asarray(part.x[some]) * 1000).astype("<i4").tobytes())
    return digest.hexdigest()[:16]


def check_cohort(config: Config, cohort: Cohort) -> None:
    """Raise `InputError` if a cohort has other leads or another rate than training expects, or no whole patches."""
    if cohort.leads != LEADS_12:
        raise InputError(f"cohort has leads {cohort.leads}; training expects the twelve in the order {LEADS_12}")
    if cohort.fs != config.cohort.fs:
        raise InputError(f"cohort is sampled at {cohort.fs} Hz; config.cohort.fs is {config.cohort.fs}: resample it")
    n_times, patch = cohort.x.shape[2], config.network.patch
    if n_times % patch:
        raise InputError(f"records have {n_times} samples, no multiple of network.patch={patch}")
