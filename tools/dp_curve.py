"""Privacy against quality and use: ``python tools/dp_curve.py book/results/dp_curve.csv [--rows K]``.

The patients are those of preset quick (virtual, "teaching", 4,000 records, seed 0). The network is a small one, of one
block, without beats drawn first: noise grows with the number of weights, and so does the time for a patient's gradient.
Each row trains a generator below ``work/dp/`` with another ε, from nothing or from a run on public records (virtual
patients of the population "ptb-xl", of another seed), and measures

- fidelity: inter-lead correlation error against the test fold, with its floor;
- use: macro AUROC on the test fold of a logistic regression that learnt from the synthetic records, in the features of
  a classifier that was trained on the public records;
- attack: AUC of "members have the smaller denoising loss", at four steps t and over all.

Nobody is asked for by a real patient's table: the wishes are those of virtual patients of a third seed. Rows that the
table holds are not done again, and a run that was stopped goes on; ``--rows K`` does at most K new rows,
and ``--train-only`` trains what they need.
"""

import argparse
import datetime
import json
import math
import platform
import time
from pathlib import Path

import numpy as np
import opacus
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ecglib.config import Config
from ecglib.diffusion import Generator, beat_times, q_sample, train
from ecglib.diffusion.private import Privacy, train_private
from ecglib.diffusion.seeds import seeded
from ecglib.errors import InputError
from ecglib.evaluation import Comparison, evaluate, interval
from ecglib.evaluation.classifier import CLASSES, Classifier, targets, train_classifier
from ecglib.evaluation.fidelity import ilce
from ecglib.runs import MANIFEST, atomic_file, commit, read_manifest, work_folder
from ecglib.signals import Cohort, load_cohort, to_eight_leads

COMMAND = "python tools/dp_curve.py book/results/dp_curve.csv"
SMALL = {"network.channels": 24, "network.blocks": 1, "network.state": 32, "network.patch": 5, "network.clock": False,
         "network.wiener": 0.0, "mel.weight": 0.0}  # fmt: skip
STEPS, PATIENTS, DRAWS, CLIP = 60, 32, 2, 0.2
PRIVATE = {"training.steps": STEPS, "training.warmup": 5, "training.ema": 0.95, "training.optimiser": "adamw",
           "training.save_every": 20}  # fmt: skip
RATE = {"nothing": 1e-2, "public run": 1e-3}  # of learning: picked after some seven toy runs on virtual patients
ROWS = [("nothing", math.inf), ("public run", 0.0), ("nothing", 1.0), ("public run", 1.0), ("public run", math.inf),
        ("public run", 3.0), ("public run", 10.0), ("nothing", 10.0), ("nothing", 3.0)]  # fmt: skip
ATTACKED = (20, 60, 100, 140)  # t, of 200
NOISES = 2
N_OTHERS = 400  # patients who were not learnt from, and as many who were
BOOTSTRAPS = 200


def kept(name: str, n: int, population: str, seed: int) -> Cohort:
    """Return a virtual cohort, made once."""
    folder = work_folder() / "dp" / name
    if not (folder / MANIFEST).exists():
        load_cohort("virtual", n=n, population=population, seed=seed).save(folder)
    return Cohort.load(folder)


def public_run(public: Cohort) -> Path:
    """Train, on public records, what private training may start from."""
    config = Config.preset("quick").override({**SMALL, "training.steps": 1500, "seed": 5})
    return train(config, public, work_folder() / "dp" / f"public-{config.id}", progress=False)


def public_reader(public: Cohort) -> Classifier:
    """Train, on public records, the classifier whose features a logistic regression uses."""
    folder = work_folder() / "dp" / "reader"
    if not (folder / MANIFEST).exists():
        members, validation, _ = public.split()
        train_classifier(members, validation, epochs=8).save(folder)
    return Classifier.load(folder)


def generator_of(start: str, epsilon: float, cohort: Cohort, origin: Path) -> tuple[Generator, dict]:
    """Train one row's generator; the public run itself spends nothing: ε = 0."""
    if epsilon == 0:
        return Generator.load(origin), {"noise": 0.0, "rate": 0.0, "delta": 0.0, "spent": 0.0}
    config = Config.preset("quick").override({**SMALL, **PRIVATE, "training.learning_rate": RATE[start]})
    privacy = Privacy(epsilon=epsilon, clip=CLIP, patients=PATIENTS, draws=DRAWS, seed=0)
    run = work_folder() / "dp" / f"{start.replace(' ', '-')}-{epsilon:g}-{config.id}"
    train_private(config, privacy, cohort, run, progress=False, start_from=origin if start == "public run" else None)
    plan = json.loads((run / "privacy.json").read_text(encoding="utf-8"))
    return Generator.load(run), {"noise": plan["noise"], "rate": plan["rate"], "delta": plan["delta"],
                                 "spent": float(read_manifest(run, "run")["epsilon"])}  # fmt: skip


def firsts(cohort: Cohort, n: int | None = None) -> Cohort:
    """Return the first record of each of n patients, spread over the cohort."""
    rows = np.flatnonzero(~cohort.table["patient_id"].duplicated())
    return cohort.select(rows if n is None else rows[np.linspace(0, len(rows) - 1, n).astype(int)])


def denoising_loss(generator: Generator, cohort: Cohort, t: int) -> np.ndarray:
    """Return each record's mean squared error of x0_hat at step t, over fixed noises: float64 (n_records,)."""
    x0 = generator.signals.to_model(torch.from_numpy(to_eight_leads(np.asarray(cohort.x[:], np.float32))))
    encoded, beats, total = generator.conditions.encode(cohort.table), beat_times(cohort), np.zeros(len(cohort))
    for k in range(NOISES):
        eps = torch.randn(x0.shape, generator=seeded(0, "attack", k))
        for rows in torch.arange(len(x0)).split(32):
            steps = torch.full((len(rows),), t)
            x_t = q_sample(generator.schedule, x0[rows], steps, eps[rows])
            with torch.no_grad():
                x0_hat = generator.denoiser(encoded[rows], beats=[beats[row] for row in rows])(x_t, t)
            total[rows.numpy()] += (x0_hat - x0[rows]).square().mean(dim=(1, 2)).double().numpy() / NOISES
    return total


def area(truth: np.ndarray, score: np.ndarray) -> dict:
    """Return an AUC with its bootstrap interval over patients (one record each)."""
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(truth), len(truth)) for _ in range(BOOTSTRAPS)]
    value = float(roc_auc_score(truth, score))
    low, high = interval(value, np.array([roc_auc_score(truth[rows], score[rows]) for rows in draws]))
    return {"value": value, "ci_low": low, "ci_high": high, "n": len(truth)}


def attack(generator: Generator, members: Cohort, others: Cohort) -> list[dict]:
    """Return the AUC of the denoising loss as a test of membership, by step and over all."""
    truth = np.repeat([1, 0], [len(members), len(others)])
    rows, ranks = [], np.zeros(len(truth))
    for t in ATTACKED:
        score = -np.concatenate([denoising_loss(generator, c, t) for c in (members, others)])
        ranks += score.argsort().argsort()
        rows.append({"metric": "membership", "key": f"t = {t}", **area(truth, score), "floor": 0.5})
    return [*rows, {"metric": "membership", "key": "all t", **area(truth, ranks), "floor": 0.5}]


def use(reader: Classifier, learnt_from: Cohort, test: Cohort) -> list[dict]:
    """Return macro AUROC on real test records of a logistic regression that learnt from `learnt_from`."""
    x, y, real, truth = reader.features(learnt_from), targets(learnt_from), reader.features(test), targets(test)
    able = [k for k in range(len(CLASSES)) if 0 < y[:, k].mean() < 1 and 0 < truth[:, k].mean() < 1]
    if not able:
        why = "not computed because no class has records with and without it on both sides"
        return [{"metric": "use", "key": "macro AUROC", "n": len(test), "reason": why}]
    chance = np.stack([make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(x, y[:, k])
                       .predict_proba(real)[:, 1] for k in able])  # fmt: skip

    def macro(rows: np.ndarray) -> float:
        kinds = [(truth[rows, k], chance[i, rows]) for i, k in enumerate(able) if 0 < truth[rows, k].mean() < 1]
        return float(np.mean([roc_auc_score(*kind) for kind in kinds]))

    rng, every = np.random.default_rng(0), np.arange(len(test))
    value = macro(every)
    low, high = interval(value, np.array([macro(rng.integers(0, len(test), len(test))) for _ in range(BOOTSTRAPS)]))
    return [{"metric": "use", "key": "macro AUROC", "value": value, "ci_low": low, "ci_high": high, "n": len(test),
             "reason": f"{len(able)} of {len(CLASSES)} classes"}]  # fmt: skip


def measure(generator: Generator, reader: Classifier, members: Cohort, others: Cohort, test: Cohort,
            wishes: Cohort) -> list[dict]:  # fmt: skip
    """Return the rows of one generator."""
    try:
        samples = generator.sample(wishes.table, seed=0)
    except InputError as error:  # too much noise can leave weights that make nothing finite
        reason = f"not computed because {error}"
        of_samples = [{"metric": "ilce", "key": "mean", "reason": reason},
                      {"metric": "use", "key": "macro AUROC", "reason": reason}]  # fmt: skip
    else:
        fidelity = evaluate(Comparison(test, samples, train=members), [ilce], resamples=BOOTSTRAPS)
        of_samples = [*fidelity.to_dict("records"), *use(reader, samples, test)]
    return [*of_samples, *attack(generator, firsts(members, len(others)), others)]


def main(out: Path, at_most: int, train_only: bool) -> None:
    """Do the rows that the table does not hold."""
    known = pd.read_csv(out, comment="#") if out.exists() else pd.DataFrame({"start": [], "epsilon": []})
    todo = [(s, e) for s, e in ROWS if not ((known["start"] == s) & (known["epsilon"] == e)).any()][:at_most]
    cohort = kept("cohort", 4000, "teaching", 0)
    members, _, test = cohort.split()
    public, wishes = kept("public", 2000, "ptb-xl", 5), kept("wishes", 400, "teaching", 77)
    origin, reader, test = public_run(public), public_reader(public), firsts(test)
    others = firsts(cohort.select(cohort.table["strat_fold"].isin([9, 10])), N_OTHERS)
    made = {"n_patients": members.table["patient_id"].nunique(), "steps": STEPS, "patients": PATIENTS, "draws": DRAWS,
            "clip": CLIP, "commit": commit(), "torch": torch.__version__, "opacus": opacus.__version__,
            "python": platform.python_version(), "date": str(datetime.date.today())}  # fmt: skip
    wishes = wishes.select(np.arange(min(len(wishes), len(test))))
    if "real records" not in set(known["start"]):
        rows = np.linspace(0, len(members) - 1, len(wishes)).astype(int)
        real = pd.DataFrame(use(reader, members.select(rows), test))
        known = save(out, known, real.assign(start="real records", epsilon=math.inf, **made))
    for start, epsilon in todo if train_only else ():
        generator_of(start, epsilon, cohort, origin)
        print(f"trained {start}, epsilon {epsilon:g}", flush=True)
    for number, (start, epsilon) in enumerate(() if train_only else todo, start=1):
        began = time.perf_counter()
        generator, spent = generator_of(start, epsilon, cohort, origin)
        new = pd.DataFrame(measure(generator, reader, members, others, test, wishes))
        minutes = (time.perf_counter() - began) / 60
        known = save(out, known, new.assign(start=start, epsilon=epsilon, **spent, minutes=minutes, **made))
        left = minutes * (len(todo) - number)
        print(f"{start}, epsilon {epsilon:g}: {minutes:.1f} min, about {left:.0f} min left", flush=True)
        print(new[["metric", "key", "value", "ci_low", "ci_high", "floor"]].to_string(index=False), flush=True)


def save(out: Path, known: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Add rows to the table, atomically; return it."""
    table = pd.concat([known, new]) if len(known) else new
    first = ["start", "epsilon", "metric", "key", "value", "ci_low", "ci_high", "n", "floor"]
    table = table.reindex(columns=[*first, *(name for name in table if name not in first)])
    text = f"# command: {COMMAND}\n" + table.to_csv(index=False, float_format="%.4g")
    with atomic_file(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=len(ROWS), help="new rows, at most")
    parser.add_argument("--train-only", action="store_true", help="train the generators, measure nothing yet")
    given = parser.parse_args()
    main(given.out, given.rows, given.train_only)
