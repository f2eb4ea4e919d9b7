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

SIZES, STEPS = (50, 200, 1000), (50, 100, 200, 400, 800, 1600)
N_OTHERS, N_TAIL, N_FRESH, N_SAMPLES, N_VALIDATION = 1200, 11_700, 300, 200, 128  # records
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
                     resamples=0).assign(members="trained on")  # fmt: skip
    return table[table["key"].str.startswith("tpr 0.1%")]


def main(out: Path) -> None:
    """Train and attack every size at every step that `out` does not hold."""
    torch.set_num_threads(1)
    found = versions()
    made = {"commit": found["commit"], "torch": found["torch"], "date": str(datetime.date.today())}
    known = pd.read_csv(out, comment="#") if out.exists() else pd.DataFrame(columns=["size", "step"])
    done = set(zip(known["size"], known["step"], strict=True))
    others, tail = patients(N_OTHERS, 2, 100_000), None
    validation, fresh = patients(N_VALIDATION + 12, 4, 300_000), patients(N_FRESH, 5, 400_000)
    asked, reference = patients(N_SAMPLES, 3, 200_000), patients(N_SAMPLES, 6, 500_000)
    config = Config.preset("quick").override(CHANGES)
    todo = [(size, step) for size in SIZES for step in STEPS]
    for size, step in tqdm(todo, desc="attack curves", unit="stop"):
        if (size, step) in done:
            continue
        members = patients(size, 1, 0)
        run = work_folder() / "attack_curves" / f"run-{size}-{config.id}"
        train(config, folds(members, validation), run, stop_after=step, progress=False)
        bases = {"trained on": Comparison(others, reference, train=members, held_out=reference),
                 "fresh": Comparison(others, reference, train=fresh, held_out=reference)}  # fmt: skip
        last, best = averaged(run), best_step(run)
        tables = {"last": attacked(bases, last, asked.table)}
        tables["kept"] = tables["last"] if best == step else attacked(bases, kept(run), asked.table)
        if step == max(STEPS):
            tail = patients(N_TAIL, 7, 600_000) if tail is None else tail
            rates = far_tail(members, tail, last)
            tables["last"] = pd.concat([tables["last"][~tables["last"]["key"].isin(rates["key"])], rates])
        rows = [table.assign(size=size, step=step, weights=weights, weights_of_step=step if weights == "last" else best)
                for weights, table in tables.items()]  # fmt: skip
        known = pd.concat([known, pd.concat(rows).drop(columns="floor").assign(**made)], ignore_index=True)
        with atomic_file(out) as temporary:
            head = "# command: python tools/attack_curves.py book/results/attack_curves.csv\n"
            temporary.write_text(head + known.to_csv(index=False, float_format="%.4g"), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
