"""Where is the inter-lead correlation error, in beats or in slow waves? ``python tools/correlation_bands.py OUT.csv``.

Samples of ``make ablations`` that lie in ``work/``, those of each variant in `VARIANTS` and of its baseline, are split
at 0.5 Hz: below is the wander of the baseline, above are the beats. The error is measured in each part by itself.
"""

import datetime
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.signal import butter, sosfiltfilt

from ecglib.ablations import Cell
from ecglib.evaluation import Comparison, evaluate, fidelity
from ecglib.evaluation.difference import differences
from ecglib.runs import MANIFEST, atomic_file, commit
from ecglib.signals import Cohort
from ecglib.study import Study

VARIANTS = ("sssd-2x-mel-x0", "sssd-4x-mel-x0", "plain-mel-short", "plain-mel-weighted", "mel-differences")
SPLIT_HZ, SEEDS = 0.5, (0, 1, 2)
PARTS = {"whole": None, "below 0.5 Hz": "lowpass", "above 0.5 Hz": "highpass"}


def part(cohort: Cohort, kind: str | None) -> Cohort:
    """Keep what lies below (lowpass) or above (highpass) `SPLIT_HZ`, without shifting it in time."""
    x = np.asarray(cohort.x[:], np.float64)
    if kind:
        x = sosfiltfilt(butter(3, SPLIT_HZ, kind, fs=cohort.fs, output="sos"), x, axis=-1)
    return replace(cohort, x=x.astype(np.float32))


def compared(cell: Cell, real: Cohort, training: Cohort, name: str) -> dict[str, object]:
    """Measure one part of a variant's samples beside its baseline's."""
    kind = PARTS[name]
    known = {"real": part(real, kind), "train": part(training, kind)}
    synthetic = [part(Cohort.load(one.folder / "samples"), kind) for one in (cell, cell.baseline)]
    mine, base = (Comparison(known["real"], one, train=known["train"]) for one in synthetic)
    value = evaluate(mine, [fidelity.ilce], seed=cell.seed).set_index("key").loc["mean"]
    paired = differences(mine, base, [fidelity.ilce], seed=cell.seed).set_index("key").loc["mean"]
    size = {f"sd_{who}_mv": float(np.std(one.x)) for who, one in
            zip(("real", "mel", "baseline"), (known["real"], *synthetic), strict=True)}  # fmt: skip
    return {"variant": cell.variant, "seed": cell.seed, "part": name, "ilce": value["value"],
            "baseline": value["value"] - paired["difference"], "floor": value["floor"],
            "difference": paired["difference"], "low": paired["low"], "high": paired["high"], **size,
            "n": value["n"], "commit": commit(), "date": str(datetime.date.today())}  # fmt: skip


def main(out: Path) -> None:
    """Measure all whose samples are there."""
    rows = []
    for seed in SEEDS:
        training, _, test = Study("virtual", "quick", seed).open_cohort().split()
        for cell in (Cell(variant, seed=seed) for variant in VARIANTS):
            if all((one.folder / "samples" / MANIFEST).exists() for one in (cell, cell.baseline)):
                real = test.select(np.arange(min(len(test), cell.config.cohort.n_evaluate)))
                rows += [compared(cell, real, training, name) for name in PARTS]
    with atomic_file(out) as temporary:
        head = f"# command: python tools/correlation_bands.py {out}\n"
        temporary.write_text(head + pd.DataFrame(rows).to_csv(index=False, float_format="%.5g"), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
