"""The second paper's experiment on virtual patients, judged on them and on real ones: ``sr_af.py DATA OUT.csv [RUN]``.

A generator is trained on sinus rhythm first and then on both rhythms; beside it stands RUN, the default study's run
(the one that `make book` makes unless given), which saw all statements, in as many steps. Each makes one record for
each of a balanced choice of patients of folds 1–4; classifiers learn from these, or from patients of folds 5–8, and are
tested on patients of fold 10, and on real records (LUDB and Chapman–Ningbo below DATA). OUT.csv gets every direction,
kind of features and classifier; runs below ``work/sr_af/`` that are finished are not trained again.
"""

import datetime
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from ecglib.diffusion import Generator, train
from ecglib.evaluation.sr_af import balanced, betrayals, better_features, published_features, sr_or_af, transfer_table
from ecglib.runs import atomic_file, commit, work_folder
from ecglib.signals import Cohort, load_cohort
from ecglib.study import Study

SEED = 0
FEATURES = {"published": published_features, "better": better_features}


def real_records(data: Path) -> Cohort:
    """Return LUDB and Chapman–Ningbo together, with numbers of their own."""
    parts = [load_cohort("ludb", root=data / "ludb", fs=100),
             load_cohort("challenge-2021", root=data / "challenge-2021" / "chapman_ningbo", fs=100)]  # fmt: skip
    x = np.concatenate([part.x[:] for part in parts])
    patients = [f"{part.source} {name}" for part in parts for name in part.table["patient_id"]]
    codes = [codes for part in parts for codes in part.table["scp_codes"]]
    table = pd.DataFrame({"ecg_id": np.arange(len(x)), "patient_id": patients, "scp_codes": codes})
    return Cohort(x, 100, parts[0].leads, table, source="LUDB and Chapman–Ningbo")


def generators(study: Study, both: Cohort, runs: Path, default: Path) -> dict[str, Generator]:
    """Train, or take what is trained."""
    half = study.config.override({"training.steps": study.config.training.steps // 2})
    sinus = both.select(both.table["af"] == 0)
    first = train(half, sinus, runs / "sinus-first")
    return {"sinus rhythm first, then both": Generator.load(train(half, both, runs / "then-both", start_from=first)),
            "all statements at once": Generator.load(default)}  # fmt: skip


def main(data: Path, out: Path, default: Path | None = None) -> None:
    """Train, sample, measure, write."""
    study = Study("virtual", "quick", SEED)
    both = sr_or_af(study.open_cohort())
    train_part, _, test = both.split()
    asked, other = (balanced(part, SEED) for part in (train_part.folds(1, 2, 3, 4), train_part.folds(5, 6, 7, 8)))
    tests = {"virtual patients, fold 10": test, "LUDB and Chapman–Ningbo": sr_or_af(real_records(data))}
    made = generators(study, both, work_folder() / "sr_af", default or study.finished_run())
    tables = []
    for name, generator in made.items():
        synthetic = generator.sample(asked.table, seed=SEED)
        synthetic = replace(synthetic, table=synthetic.table.assign(af=asked.table["af"].to_numpy()))
        for of_test, cohort in tests.items():
            sets = {"real_train": other, "real_test": cohort, "synthetic": synthetic}
            tables.append(transfer_table(sets, FEATURES, seed=SEED, asked=asked).assign(generator=name, test=of_test))
        for of_features, measure in FEATURES.items():
            auroc, importance = betrayals(other, synthetic, measure, seed=SEED)
            tables.append(pd.DataFrame([{"features": of_features, "direction": "real or synthetic", "generator": name,
                                         "model": "random forest", "auroc": auroc, "betrays": importance.index[0],
                                         "n_train": len(other) + len(synthetic)}]))  # fmt: skip
        write(pd.concat(tables), out)


def write(table: pd.DataFrame, out: Path) -> None:
    """Write what there is, its command, commit, date and versions first."""
    about = f"commit {commit()}, {datetime.date.today()}, seed {SEED}, preset quick"
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "scikit-learn", "neurokit2"))
    head = f"# command: python tools/sr_af.py <DATA> book/results/sr_af.csv\n# {about}; {versions}\n"
    with atomic_file(out) as temporary:
        temporary.write_text(head + table.to_csv(index=False, float_format="%.4g"), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
