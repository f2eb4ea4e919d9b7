"""Rare classes: ``python tools/rare_classes.py --help``.

Second-degree AV block is added to the study's virtual cohort as a rare class (50 records, 40 of them in the training
folds), and the study's generator learns on, a few hundred steps, with each way of drawing records: as they come
(natural), every set of superclasses equally often (balanced; root: in between), and with each record of the rare class
ten times (repeated). Each is asked for the rare class and for the common ones, with and without guidance; what is
measured on the samples is written to book/results/rare_classes.csv. What is in the table is not done again.
"""

import argparse
import datetime
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ecglib.diffusion import Generator, train
from ecglib.errors import InputError
from ecglib.evaluation.av_block import drops_beats
from ecglib.evaluation.measurements import MEASURES, measured
from ecglib.evaluation.plausibility import PROMISES
from ecglib.runs import atomic_file, versions
from ecglib.signals import Cohort, join
from ecglib.signals.virtual import virtual_cases
from ecglib.study import ROOT, Study

RARE = {"2AVB": 100.0, "SR": 0.0}
N_RARE, N_ASKED, N_OTHERS = 50, 48, 10
WAYS = {"natural": {}, "root": {"training.classes": "root"}, "balanced": {"training.classes": "balanced"},
        "repeated": {}}  # fmt: skip
TIMES, FIRST_REPEATED, FIRST_ASKED = 10, 3_000_001, 2_000_001
COMMAND = "python tools/rare_classes.py"


def with_rare(study: Study, way: str) -> Cohort:
    """Return the study's cohort with the rare class, each of whose training records comes ten times if `repeated`."""
    cases = virtual_cases(RARE, N_RARE, seed=study.seed)
    parts = [replace(study.open_cohort(), waves=None), replace(cases, waves=None)]
    if way == "repeated":
        again = parts[1].folds(*range(1, 9))
        for k in range(TIMES - 1):
            ids = FIRST_REPEATED + 1000 * k + np.arange(len(again))
            parts.append(replace(again, table=again.table.assign(ecg_id=ids)))
    return join(*parts)


def shares(cohort: Cohort) -> dict[str, tuple[int, int]]:
    """Return statement → (records that show what it promises, records that carry it), of those measurable."""
    measures = pd.DataFrame(measured(cohort), columns=list(MEASURES))
    drops, rare = drops_beats(cohort), cohort.has("2AVB")
    known = measures["heart_rate"].notna().to_numpy() & ~rare  # a dropped beat breaks other statements' promises
    found = {}
    for statement, kept in PROMISES.items():
        rows = known & cohort.has(statement)
        found[statement] = int(kept(measures[rows]).sum()), int(rows.sum())
    found["2AVB"] = int(drops[rare].sum()), int(rare.sum())
    found["no 2AVB"] = int(drops[~rare].sum()), int((~rare).sum())
    return {name: pair for name, pair in found.items() if pair[1] >= 8}


def wilson(k: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share."""
    z = 1.96
    middle, half = (k + z**2 / 2) / (n + z**2), z * np.sqrt(k * (n - k) / n + z**2 / 4) / (n + z**2)
    return middle - half, middle + half


def asked(study: Study) -> Cohort:
    """Return real records to imitate: new patients with the rare class, and some of fold 10 for each common one."""
    test = study.open_cohort().split()[2]
    rows = {k for name in PROMISES for k in np.flatnonzero(test.has(name))[:N_OTHERS]}
    cases = virtual_cases(RARE, N_ASKED, seed=study.seed, first=FIRST_ASKED)
    return join(replace(cases, waves=None), replace(test.select(sorted(rows)), waves=None))


def main() -> None:
    """Parse arguments, and do what the table lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--guidance", nargs="+", type=float, default=[1.0, 3.0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "book" / "results" / "rare_classes.csv")
    args = parser.parse_args()
    study = Study("virtual", args.preset, args.seed)
    real, found = asked(study), versions()
    made = {"steps": args.steps, "study": study.folder.name, "date": str(datetime.date.today()),
            "commit": found["commit"], "torch": found["torch"]}  # fmt: skip
    table = pd.read_csv(args.out, comment="#") if args.out.exists() else pd.DataFrame(columns=["way", "guidance"])
    other = table[(table["study"] != study.folder.name) | (table["steps"] != args.steps)] if len(table) else table
    if len(other):
        raise InputError(f"{args.out} holds rows of {other['study'].iloc[0]}, {other['steps'].iloc[0]} steps; give "
                         f"--out another file for {study.folder.name}, {args.steps} steps")  # fmt: skip
    reference = shares(real)
    for way in args.ways:
        todo = [g for g in args.guidance if not ((table["way"] == way) & (table["guidance"] == g)).any()]
        if not todo:
            continue
        cohort = with_rare(study, way)
        changes = {**WAYS[way], "training.steps": args.steps, "training.validate_every": 100,
                   "training.save_every": 100}  # fmt: skip
        config, run = study.config.override(changes), study.folder / "rare" / f"{way}-{args.steps}"
        run = train(config, cohort, run, start_from=study.finished_run())
        generator, members = Generator.load(run), cohort.split()[0]
        for guidance in todo:
            samples = generator.sample(real.table, guidance=guidance, seed=args.seed, progress=True)
            rows = []
            for name, (k, n) in shares(samples).items():
                low, high = wilson(k, n)
                carriers = ~members.has("2AVB") if name == "no 2AVB" else members.has(name)
                support = members.table.loc[carriers, "patient_id"].nunique()
                rows.append({"way": way, "guidance": guidance, "statement": name, "support": support,
                             "few": support < 50, "share": k / n, "ci_low": low, "ci_high": high,
                             "n": n, "real": reference[name][0] / reference[name][1], **made})  # fmt: skip
            table = pd.concat([table, pd.DataFrame(rows)], ignore_index=True) if len(table) else pd.DataFrame(rows)
            with atomic_file(args.out) as temporary:
                head = (f"# command: {COMMAND}; share of samples that show what their statement promises (2AVB: a "
                        "dropped beat; no 2AVB: a dropped beat where none was asked for), Wilson 95 %\n")  # fmt: skip
                temporary.write_text(head + table.to_csv(index=False, float_format="%.4f"), encoding="utf-8")
            print(pd.DataFrame(rows).drop(columns=list(made)).to_string(index=False), flush=True)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
