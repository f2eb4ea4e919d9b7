"""Full scale by one command: what it will take, measured on this machine before anything starts.

A step of the very network is timed at two depths, and its memory counted, which tells both for the whole depth: blocks
are alike. A day of computing is then no surprise.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ecglib.config import Config
from ecglib.diffusion.batches import Batches, SignalInfo
from ecglib.diffusion.losses import Losses
from ecglib.diffusion.model import checked_device, evaluate, network_of
from ecglib.diffusion.optimiser import Optimiser
from ecglib.diffusion.process import Schedule
from ecglib.errors import InputError
from ecglib.preflight import check_download, fetched, find_records
from ecglib.signals import LEADS_8, load_cohort
from ecglib.signals.download import MANIFEST as DOWNLOAD
from ecglib.signals.download import is_complete
from ecglib.signals.download.cohorts import PROJECTS
from ecglib.signals.readers.metadata import read_csv
from ecglib.signals.readers.records import SUBSET

RECORDS = {"ptb-xl": 21_799, "mimic-iv-ecg": 800_035, "ludb": 200,
           "challenge-2021": 87_663}  # training records of the six sources that are read
TABLES = {"ptb-xl": "ptbxl_database.csv", "ludb": "ludb.csv", "mimic-iv-ecg": "record_list.csv",
          "folder": "records.csv"}  # a row a record; the Challenge has none
RECORD_BYTES = {"ptb-xl": 25_000}  # at 100 Hz; others as their project says
DEPTHS = (2, 4)  # blocks timed: every second one may have attention
ROUNDS, ENOUGH_S = 3, 10.0  # of each timing
GB = 1e9


@dataclass(frozen=True)
class Cost:
    """What a training step and an evaluation take.

    Parameters
    ----------
    step_s, evaluation_s : float
        Seconds of a training step, and of one evaluation of the network for a whole batch of samples.
    memory_gb : float
        Weights, their average, gradients, the optimiser's moments, and what a step keeps for its gradient.
    parameters : int
    """

    step_s: float
    evaluation_s: float
    memory_gb: float
    parameters: int


def cost_of(config: Config, device: str = "cpu") -> Cost:
    """Measure a configuration at two depths and extrapolate to its own, on virtual patients.

    Raises
    ------
    InputError
        If the device is absent.
    """
    place = checked_device(device)
    depths = sorted({min(depth, config.network.blocks) for depth in DEPTHS})
    found = [_measure(config.override({"network.blocks": depth}), place) for depth in depths]
    whole = network_of(config, len(LEADS_8))

    def at_depth(values: list[float]) -> float:
        if len(depths) == 1:
            return values[0]
        a_block = (values[1] - values[0]) / (depths[1] - depths[0])
        return values[1] + a_block * (config.network.blocks - depths[1])

    step, evaluation, kept = (at_depth([one[k] for one in found]) for k in range(3))
    parameters = sum(p.numel() for p in whole.parameters())
    copies = 5  # weights, their average, gradient and two moments
    return Cost(step, evaluation, (4 * parameters * copies + kept) / GB, parameters)


def supply(cohort: str, *, data: str = "", n: str | int = "", seed: int = 0) -> tuple[int | None, bool]:
    """Return how many records ``make reproduce`` will read, and whether they are on a disk already.

    Parameters
    ----------
    cohort : str
        One of ``ecglib.preflight.COHORTS``.
    data : str
        DATA: a folder, of which all is read; '' where ``make data`` fetches, or has fetched, `n` records.
    n : str or int
        N of ``make data``: at most so many; '' for all. Another part than the one that was fetched is fetched anew.
    seed : int
        SEED, of the choice of `n`.

    Returns
    -------
    records : int or None
        None for virtual patients, whose number is the preset's.
    at_hand : bool

    Raises
    ------
    InputError
        If a variable is wrong, or `data` does not hold the records.
    """
    if cohort in ("virtual", "folder") or data.strip():
        folder = find_records(cohort, data)
        return (None if folder is None else _count(cohort, folder)), folder is not None
    wanted, _ = check_download(cohort, n, seed)
    if is_complete(fetched(cohort)):
        noted = json.loads((fetched(cohort) / DOWNLOAD).read_text(encoding="utf-8"))
        if noted.get("n") is None or (noted["n"], noted.get("seed")) == (wanted, seed):
            held = _count(cohort, fetched(cohort))
            return min(held, wanted or held), True
    return min(RECORDS[cohort], wanted or RECORDS[cohort]), False


def _count(cohort: str, folder: Path) -> int:
    """Return how many records a folder holds: of a part its list, else the rows of its table, or the headers."""
    if (folder / SUBSET).is_file():
        return len((folder / SUBSET).read_text(encoding="utf-8").split())
    if cohort in TABLES:
        return len(read_csv(folder / TABLES[cohort], ()))
    return sum(1 for _ in folder.rglob("*.hea"))


def plan(config: Config, cohort: str, *, records: int | None = None, at_hand: bool = False, device: str = "cpu",
         folder: Path | str = ".") -> pd.DataFrame:  # fmt: skip
    """Return what a study will take, stage by stage.

    Parameters
    ----------
    config : Config
    cohort : str
        Of `RECORDS`, ``virtual``, or ``folder``.
    records : int, optional
        How many records are read (`supply`); None: all of `RECORDS`, or as many virtual ones as the preset has.
    at_hand : bool
        Whether the records are on a disk already, so that nothing is to be fetched.
    device : str
        A torch device.
    folder : path
        Where it will be written: its disk must have room.

    Returns
    -------
    DataFrame
        ``stage``, ``what``, ``hours`` (NaN for the network's download), ``disk_gb``, ``memory_gb``.

    Raises
    ------
    InputError
        If the device is absent, or the disk has no room.
    """
    n = RECORDS.get(cohort, config.cohort.n) if records is None else records
    each = RECORD_BYTES.get(cohort, PROJECTS[cohort].record_bytes) if cohort in PROJECTS and not at_hand else 0
    source = {"virtual": f"{n:,} virtual records, made here", "folder": f"{n:,} records of your own"}
    samples = round(config.cohort.fs * config.cohort.seconds)
    kept = min(n, config.cohort.n) if config.name == "smoke" else n  # as `Study.prepare` does
    prepared = kept * 12 * samples * 2 / GB
    cost, sampling = cost_of(config, device), config.sampling
    batches = -(-config.cohort.n_evaluate // sampling.batch)
    drawn = batches * sampling.steps * cost.evaluation_s * (2 if sampling.guidance != 1 else 1) / 3600
    rows = [
        ("data", source.get(cohort, f"{n:,} records {'at hand' if at_hand else 'from PhysioNet'}"),
         n / 490 / 3600 if cohort == "virtual" else float("nan"), n * each / GB, 0.0),
        ("cohort", f"12 leads, {config.cohort.fs} Hz, int16 µV", kept / 1000 / 3600, prepared, 2 * prepared),
        ("train", f"{config.training.steps:,} steps of {config.training.batch} records, {cost.parameters / 1e6:.1f} M "
         f"parameters, {cost.step_s:.2f} s a step", config.training.steps * cost.step_s / 3600,
         7 * 4 * cost.parameters / GB, cost.memory_gb),
        ("sample", f"{config.cohort.n_evaluate:,} records, {sampling.steps} evaluations each", drawn,
         config.cohort.n_evaluate * 12 * samples * 2 / GB, cost.memory_gb),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["stage", "what", "hours", "disk_gb", "memory_gb"])
    free, needed = shutil.disk_usage(folder).free / GB, table["disk_gb"].sum()
    if needed > free:
        raise InputError(f"{folder} has {free:.1f} GB free; {cohort} with {config.name} needs about {needed:.1f} "
                         "GB: make room, or make work/ a link to a larger disk")  # fmt: skip
    return table


def _measure(config: Config, device: torch.device) -> tuple[float, float, float]:
    """Return seconds of a training step and of an evaluation (of a batch of samples), and bytes kept for a gradient."""
    wanted = config.cohort
    cohort = load_cohort("virtual", n=max(16, config.training.batch), fs=wanted.fs, seconds=wanted.seconds, workers=1)
    n_times = cohort.x.shape[2]
    signals = SignalInfo(LEADS_8, config.cohort.fs, n_times, (0.0,) * 8, (0.2,) * 8)
    schedule = Schedule.named(config.diffusion.schedule, config.diffusion.timesteps)
    batches, losses = Batches(config, signals, schedule, cohort), Losses(config, schedule, signals.fs, device)
    network, average = (network_of(config, len(LEADS_8), n_times).to(device) for _ in range(2))
    average.requires_grad_(False)
    batch = replace(batches.of_step(0), self_condition=False).to(device)
    if network.wiener is not None:
        network.wiener.fit(batch.x0)
    if network.rhythm is not None:
        network.rhythm.fit(batches.intervals.to(device))
    optimiser, clip = Optimiser(network, config.training), config.training.clip or math.inf
    kept = 0

    def count(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    def step() -> None:
        drawn = replace(batches.of_step(0), self_condition=False).to(device)
        network.zero_grad(set_to_none=True)
        losses.total(network, drawn).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimiser.step(0.0)
        torch.autograd.graph.increment_version(network.parameters())  # as training does: no kept spectra
        get_ema_multi_avg_fn(0.5)(list(average.parameters()), list(network.parameters()), 0)
        next(network.parameters()).flatten()[0].item()  # a GPU is waited for

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        step()
    of_step = _median(step)
    ask = partial(evaluate, network.eval(), bf16=config.training.precision == "bf16")

    @torch.no_grad()
    def sample() -> None:
        t = batch.t.to(device)
        ask(batch.x_t, t, batch.conditions, None, batch.clock, batch.alpha_bar).sum().item()

    # with self-conditioning every second step evaluates once more: half of a third
    extra = 1 / 6 if config.network.self_conditioning else 0.0
    return of_step * (1 + extra), _median(sample) * config.sampling.batch / len(batch.t), float(kept)


def _median(call: Callable[[], None]) -> float:
    """Median of three calls, or of fewer where they take long."""
    seconds: list[float] = []
    while len(seconds) < ROUNDS and sum(seconds) < ENOUGH_S:
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return sorted(seconds)[len(seconds) // 2]
