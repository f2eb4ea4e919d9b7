"""How attacks grow with training steps, the fewer the patients the faster: ``python tools/attack_curves.py OUT.csv``.

Small generators are trained below ``work/attack_curves/`` on 50, 200 and 1,000 records of virtual patients, and stopped
at several steps. At each stop members and patients never seen are attacked: white-box (loss, SecMI, PIA), and by the
distance to samples; and so are fresh patients in the members' place, who must not be found. Two models are asked: the
averaged weights as they are at that step (``last``), and those that training keeps, the best on validation so far
(``kept``). OUT.csv is written after every stop; what is in it is not done
again, and training goes on from its checkpoint, so the command can be stopped at any moment.
"""

import datetime
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from ecglib import Config
from ecglib.diffusion import Generator, train
from ecglib.diffusion.checkpoint import CHECKPOINT
from ecglib.diffusion.model import WEIGHTS, load_description, load_tensors, load_weights, network_of
from ecglib.evaluation import Comparison, evaluate
from ecglib.evaluation.privacy.denoising import white_box
from ecglib.evaluation.privacy.membership import distance_attack
from ecglib.runs import atomic_file, versions, work_folder
from ecglib.signals import Cohort, load_cohort

SIZES, STEPS = (50, 200, 1000), (100, 200, 400, 800, 1600)
N_OTHERS, N_TAIL, N_FRESH, N_SAMPLES, N_VALIDATION = 1200, 11_700, 300, 100, 128  # records
CHANGES = {"network.blocks": 2, "network.patch": 20, "network.clock": False, "network.self_conditioning": False,
           "training.steps": max(STEPS), "training.validate_every": 25, "training.save_every": max(STEPS),
           "training.decay": False}  # fmt: skip


def patients(n: int, seed: int, first: int) -> Cohort:
    """Return n records of virtual patients of a seed, numbered from `first`."""
    cohort = load_cohort("virtual", n=n, seed=seed, population="teaching")
    table = cohort.table.assign(ecg_id=cohort.table["ecg_id"] + first, patient_id=cohort.table["patient_id"] + first)
    return replace(cohort, table=table, waves=None)


def folds(members: Cohort, validation: Cohort) -> Cohort:
    """Join members (fold 1) and validation patients (fold 9, and the last of them 10, which nobody reads)."""
    fold = np.where(np.arange(len(validation)) < N_VALIDATION, 9, 10)
    late = validation.table["patient_id"].isin(validation.table["patient_id"][fold == 10])
    tables = [members.table.assign(strat_fold=1), validation.table.assign(strat_fold=np.where(late, 10, 9))]
    x = np.concatenate([members.x, validation.x])
    return Cohort(x, members.fs, members.leads, pd.concat(tables, ignore_index=True), source="virtual")


def averaged(run: Path) -> Generator:
    """Return the generator with the averaged weights of a run's last checkpoint."""
    config, signals, _ = load_description(run)
    state = load_tensors(run / CHECKPOINT)
    weights = {name.removeprefix("average."): value for name, value in state.items() if name.startswith("average.")}
    return Generator(config, signals, load_weights(network_of(config, len(signals.leads)), weights, run / CHECKPOINT))


def kept(run: Path) -> Generator:
    """Return the generator with the weights that a run, finished or not, has kept so far."""
    config, signals, _ = load_description(run)
    network = load_weights(network_of(config, len(signals.leads)), load_tensors(run / WEIGHTS), run / WEIGHTS)
    return Generator(config, signals, network)


def best_step(run: Path) -> int:
    """Return the step of the weights that a run has kept."""
    return int(load_tensors(run / CHECKPOINT)["progress"][1])


def attacked(bases: dict[str, Comparison], generator: Generator, asked: pd.DataFrame) -> pd.DataFrame:
    """Attack members, and fresh patients in their place; one row an attack and key."""
    samples = generator.sample(asked, seed=0)
    tables = [evaluate(base.instead(synthetic=samples, generator=generator), [white_box, distance_attack], floor=False,
                       resamples=100).assign(members=members) for members, base in bases.items()]  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def far_tail(members: Cohort, tail: Cohort, generator: Generator) -> pd.DataFrame:
    """Attack members again, beside the 10,000 patients that a rate of 0.1 % needs."""
    table = evaluate(Comparison(tail, members, train=members, generator=generator), [white_box], floor=False,
                     resamples=0)  # fmt: skip
    return table[table["key"].str.startswith("tpr 0.1%")]


class Results:
    """The table on disk: what it holds is not done again."""

    def __init__(self, out: Path) -> None:
        found = versions()
        self.out, self.table = out, pd.read_csv(out, comment="#") if out.exists() else pd.DataFrame()
        self.made = {"commit": found["commit"], "torch": found["torch"], "date": str(datetime.date.today())}

    def has(self, **values: object) -> bool:
        """Return whether a row has these values."""
        rows = np.ones(len(self.table), bool)
        for name, value in values.items():
            rows &= (self.table[name] == value).to_numpy() if len(self.table) else False
        return bool(rows.any())

    def add(self, rows: pd.DataFrame) -> None:
        """Add rows and write all."""
        self.table = pd.concat([self.table, rows.drop(columns="floor").assign(**self.made)], ignore_index=True)
        with atomic_file(self.out) as temporary:
            head = "# command: python tools/attack_curves.py book/results/attack_curves.csv\n"
            temporary.write_text(head + self.table.to_csv(index=False, float_format="%.4g"), encoding="utf-8")


def main(out: Path) -> None:
    """Train and attack every size at every step that `out` does not hold; last, the far tails."""
    torch.set_num_threads(1)
    results, config = Results(out), Config.preset("quick").override(CHANGES)
    validation, fresh = patients(N_VALIDATION + 12, 4, 300_000), patients(N_FRESH, 5, 400_000)
    asked, reference = patients(N_SAMPLES, 3, 200_000), patients(N_SAMPLES, 6, 500_000)
    root = Comparison(patients(N_OTHERS, 2, 100_000), reference, held_out=reference)  # keeps what is measured once
    everyone = {size: patients(size, 1, 0) for size in SIZES}
    for size, step in tqdm([(size, step) for size in SIZES for step in STEPS], desc="attack curves", unit="stop"):
        if results.has(size=size, step=step):
            continue
        members, run = everyone[size], work_folder() / "attack_curves" / f"run-{size}-{config.id}"
        train(config, folds(members, validation), run, stop_after=step, progress=False)
        bases = {"trained on": root.instead(train=members), "fresh": root.instead(train=fresh)}
        best = best_step(run)
        tables = {"last": attacked(bases, averaged(run), asked.table)}
        tables["kept"] = tables["last"] if best == step else attacked(bases, kept(run), asked.table)
        results.add(pd.concat([table.assign(size=size, step=step, weights=weights,
                                            weights_of_step=step if weights == "last" else best)
                               for weights, table in tables.items()]))  # fmt: skip
    left = [size for size in SIZES if not results.has(size=size, members="10,000 others")]
    tail = patients(N_TAIL, 7, 600_000) if left else None
    for size in tqdm(left, desc="far tails", unit="size"):
        run = work_folder() / "attack_curves" / f"run-{size}-{config.id}"
        train(config, folds(everyone[size], validation), run, stop_after=max(STEPS), progress=False)  # where it is not
        rates = far_tail(everyone[size], tail, averaged(run)).assign(members="10,000 others")
        results.add(rates.assign(size=size, step=max(STEPS), weights="last", weights_of_step=max(STEPS)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
