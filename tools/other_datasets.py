"""Train on one cohort, judge on others: ``python tools/other_datasets.py OUT.csv --target NAME=FOLDER …``.

For example, from the repository's root, with LUDB and Challenge records at hand:

    python tools/other_datasets.py book/results/other_datasets.csv --target ludb=LUDB --target challenge-2021=RECORDS

``--source`` names the cohort learnt from (default: virtual; others need ``--data``), ``--run`` a finished run on it;
else preset quick is trained below ``work/other/``, resumably. Targets that the table holds for this source are not done
again. Each target is measured three times, each at equal n with its floor: the source's real records against it, the
generator asked for its patients, and the generator at home, asked for patients of the source's test fold. Statements
that only one side knows are asked of nobody.
"""

import argparse
import datetime
import platform
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ecglib.config import Config
from ecglib.diffusion import Generator, train
from ecglib.diffusion.model import WEIGHTS
from ecglib.evaluation import Comparison, clinical, evaluate, fidelity, rhythm
from ecglib.evaluation.across import described_by, halves, shared_statements, stand_in
from ecglib.runs import MANIFEST, atomic_file, commit, sha256_of, work_folder
from ecglib.signals import Cohort, load_cohort

METRICS = (fidelity.ilce, fidelity.ilce_distributional, fidelity.log_spectral_distance, fidelity.template_snr,
           fidelity.two_sample, *rhythm.METRICS, *clinical.METRICS)  # fmt: skip
LEAST = 20  # records of a training statement


def source_of(name: str, data: str | None, config: Config) -> Cohort:
    """Return the cohort that is learnt from; virtual patients are made once."""
    if name != "virtual":
        return load_cohort(name, root=data, fs=config.cohort.fs)
    folder = work_folder() / "other" / f"virtual-{config.cohort.population}-{config.cohort.n}-{config.seed}"
    if not (folder / MANIFEST).exists():
        load_cohort("virtual", n=config.cohort.n, seed=config.seed, population=config.cohort.population).save(folder)
    return Cohort.load(folder)


def at_most(cohort: Cohort, n: int) -> Cohort:
    """Return n records, spread over the cohort, or all of them."""
    return cohort.select(np.linspace(0, len(cohort) - 1, min(n, len(cohort))).astype(int))


def judge(generator: Generator, source: Cohort, target: Cohort, seed: int = 0) -> pd.DataFrame:
    """Return the three comparisons of one target."""
    learnt, _, test = source.split()
    statements = shared_statements(learnt, target, LEAST)
    there = described_by(target, statements)
    judged, floor = halves(there, seed)
    home, home_floor = halves(at_most(described_by(test, statements), len(there)), seed)
    sets = {"source's records → target": (judged, stand_in(judged, described_by(learnt, statements), seed), floor),
            "generator → target": (judged, generator.sample(judged.table, seed=seed), floor),
            "generator → its own cohort": (home, generator.sample(home.table, seed=seed), home_floor)}  # fmt: skip
    tables = [evaluate(Comparison(real, other, train=rest), METRICS, seed=seed, resamples=200)
              .assign(comparison=name) for name, (real, other, rest) in sets.items()]  # fmt: skip
    return pd.concat(tables).assign(n_target=len(target), n_shared=len(there), statements=len(statements))


def main(out: Path, source_name: str, data: str | None, run: Path | None, targets: list[str]) -> None:
    """Do every target that the table does not hold."""
    known = pd.read_csv(out, comment="#") if out.exists() else pd.DataFrame({"source": [], "target": []})
    done = set(zip(known["source"], known["target"], strict=True))
    config = Config.preset("quick")
    source = source_of(source_name, data, config)
    run = run or train(config, source, work_folder() / "other" / f"{source_name}-{config.id}")
    generator = Generator.load(run)
    made = {"run": f"{generator.config.name} {generator.config.id}", "weights": sha256_of(run / WEIGHTS)[:12],
            "commit": commit(),
            "torch": torch.__version__, "python": platform.python_version(),
            "date": str(datetime.date.today())}  # fmt: skip
    todo = [text.partition("=")[::2] for text in targets if (source_name, text.partition("=")[0]) not in done]
    for number, (name, folder) in enumerate(todo, start=1):
        began = time.perf_counter()
        new = judge(generator, source, load_cohort(name, root=folder, fs=generator.signals.fs))
        known = pd.concat([known, new.assign(source=source_name, target=name, **made)])
        first = ["source", "target", "comparison"]
        known = known[[*first, *(column for column in known if column not in first)]]
        command = " --target ".join(["python tools/other_datasets.py book/results/other_datasets.csv",
                                     *(f"{each}=<folder>" for each in known["target"].unique())])  # fmt: skip
        text = f"# command: {command}\n" + known.to_csv(index=False, float_format="%.4g")
        with atomic_file(out) as temporary:
            temporary.write_text(text, encoding="utf-8")
        minutes = (time.perf_counter() - began) / 60
        print(f"{name}: {minutes:.1f} min, about {minutes * (len(todo) - number):.0f} min left", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--source", default="virtual")
    parser.add_argument("--data", help="folder of the source's records")
    parser.add_argument("--run", type=Path, help="a finished run on the source")
    parser.add_argument("--target", action="append", required=True, metavar="NAME=FOLDER")
    given = parser.parse_args()
    if not all("=" in text for text in given.target):
        sys.exit(f"--target {given.target}; expected NAME=FOLDER, for example ludb=/data/ludb")
    main(given.out, given.source, given.data, given.run, given.target)
