"""Make the generator that comes with the package: ``python tools/ship.py``.

Preset `small`, seed 0, is trained on virtual patients with PTB-XL's mix of statements, for about an hour: a stopped
training goes on, a finished one is taken as it is. What it draws for the test patients is judged, and weights,
description and evaluation go to ``ecglib/shipped/``.
"""

import shutil
import time
from importlib.metadata import version

import numpy as np
import pandas as pd

from ecglib.diffusion import Generator, train
from ecglib.evaluation import Comparison, evaluate
from ecglib.evaluation.headlines import METRICS
from ecglib.runs import MANIFEST, atomic_file, atomic_folder
from ecglib.study import SHIPPED, Study

LARGEST = 10e6  # bytes
PARTS = ("config.json", "model.json", "model.safetensors", "log.csv", MANIFEST)


def as_markdown(table: pd.DataFrame) -> str:
    """Return the table for the page of cards: what could be measured, with interval and floor."""
    lines = ["| metric | key | value | 95 % interval | real against real | n |", "|---|---|---|---|---|---|"]
    for row in table[table["value"].notna()].itertuples():
        interval = f"{row.ci_low:.3g} … {row.ci_high:.3g}" if np.isfinite(row.ci_low) else ""
        floor = f"{row.floor:.3g}" if np.isfinite(row.floor) else ""
        lines.append(f"| {row.metric} | {row.key} | {row.value:.3g} | {interval} | {floor} | {row.n:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train, judge, copy."""
    study = Study("virtual", "small", 0)
    if not (study.folder / "cohort" / MANIFEST).exists():
        study.prepare()
    cohort = study.open_cohort()
    run = train(study.config, cohort, study.run_folder())
    training, _, test = cohort.split()
    real = test.select(np.arange(min(len(test), study.config.cohort.n_evaluate)))
    began = time.perf_counter()
    samples = Generator.load(run).sample(real.table, seed=study.seed)
    seconds = (time.perf_counter() - began) / len(samples)
    table = evaluate(Comparison(real, samples, train=training), METRICS, seed=study.seed)
    table = pd.concat([table, pd.DataFrame([{"metric": "sampling", "key": "seconds a record", "value": seconds,
                                             "n": len(samples)}])])  # fmt: skip
    size = sum((run / name).stat().st_size for name in PARTS)
    if size > LARGEST:
        raise SystemExit(f"the run has {size / 1e6:.1f} MB; at most {LARGEST / 1e6:.0f} MB are shipped")
    with atomic_folder(SHIPPED) as folder:
        for name in PARTS:
            shutil.copy(run / name, folder / name)
        with atomic_file(folder / "evaluation.csv") as temporary:
            head = f"# command: python tools/ship.py, with torch {version('torch')}; {len(real)} test patients\n"
            temporary.write_text(head + table.to_csv(index=False, float_format="%.4g"), encoding="utf-8")
        (folder / "evaluation.md").write_text(as_markdown(table), encoding="utf-8")
    print(table.to_string(), f"\n{size / 1e6:.1f} MB in {SHIPPED}")


if __name__ == "__main__":
    main()
