"""Could another mel loss do more for SSSD-ECG? ``python tools/mel_settings.py OUT.csv SEED [SETTING …]``.

SSSD-ECG at the width of preset ``quick`` is trained for as many steps as the variant ``sssd-2x``, once with each
SETTING (default: all of `SETTINGS`), and draws the first `FEW` patients that the ablations ask for, so that a setting
costs ten minutes and not twenty-four. Rows ``sssd-2x`` and ``sssd-2x-mel-x0`` are read off the samples of
``make ablations``, which must have run these cells. What OUT.csv holds is not done again.
"""

import datetime
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ecglib.ablations import Cell
from ecglib.diffusion import Generator, train
from ecglib.errors import choose
from ecglib.evaluation import Comparison, evaluate, fidelity
from ecglib.runs import MANIFEST, atomic_file, commit, work_folder
from ecglib.signals import Cohort
from ecglib.study import Study
from ecglib.variants import variant

FEW = 64
BASE, WITH = "sssd-2x", "sssd-2x-mel-x0"
SHORT = {"mel.windows": (64,), "mel.n_mels": (16,)}
SETTINGS = {  # a mel loss of the variant's name, and what is changed of it
    "v5": ("mel-v5", {}),
    "v6": ("mel-v6", {}),
    "weighted": ("mel-weighted", {}),
    "x0, lambda 0.2": ("mel-x0", {"mel.weight": 0.2}),
    "x0, lambda 1": ("mel-x0", {"mel.weight": 1.0}),
    "x0, short window, lambda 0.2": ("mel-x0", {**SHORT, "mel.weight": 0.2}),
    "weighted, lambda 0.2": ("mel-weighted", {"mel.weight": 0.2}),
    "differences": ("mel-x0", {"mel.estimate": "differences"}),
    "differences, weighted, lambda 0.2": ("mel-weighted", {"mel.estimate": "differences", "mel.weight": 0.2}),
}
METRICS = (fidelity.ilce, fidelity.ilce_distributional, fidelity.log_spectral_distance)


def drawn(cell: Cell, cohort: Cohort, few: pd.DataFrame, setting: str) -> Cohort:
    """Train with a setting and draw; what is there already is not done again."""
    mel, changes = SETTINGS[choose("SETTING", setting, SETTINGS)]
    config = cell.config.override({key: value for key, value in variant(mel).items() if key.startswith("mel.")})
    config = config.override(changes)
    folder = work_folder() / "ablations" / "settings" / config.id
    train(config, cohort, folder / "run")
    if not (folder / "samples" / MANIFEST).exists():
        samples = Generator.load(folder / "run").sample(few, seed=cell.seed, progress=True, **vars(config.sampling))
        samples.save(folder / "samples")
    return Cohort.load(folder / "samples")


def measured(real: Cohort, samples: Cohort, training: Cohort) -> dict[str, float]:
    """Return correlation errors with their intervals and floor, spectra, and how loud and how rough samples are."""
    table = evaluate(Comparison(real, samples, train=training), METRICS)
    table.index = table["metric"] + " " + table["key"]
    ilce, step = table.loc["ilce mean"], np.abs(np.diff(samples.x, axis=-1)).mean()
    return {"ilce": ilce["value"], "ilce_low": ilce["ci_low"], "ilce_high": ilce["ci_high"], "floor": ilce["floor"],
            "ilce_independent": table.loc["ilce independent", "value"],
            "ilce_distributional": table.loc["ilce_distributional mean", "value"],
            "lsd_db": table.loc["log_spectral_distance mean", "value"],
            "sd_mv": float(np.std(samples.x)), "step_mv": float(step)}  # fmt: skip


def main(out: Path, seed: int, settings: list[str]) -> None:
    """Measure what `out` does not hold."""
    base = Cell(BASE, seed=seed)
    cohort = Study(base.cohort, base.preset, seed).open_cohort()
    training, _, test = cohort.split()
    real = test.select(np.arange(min(len(test), base.config.cohort.n_evaluate)))
    few = np.arange(FEW)
    table = pd.read_csv(out, comment="#") if out.exists() else pd.DataFrame(columns=["setting", "seed"])
    done = set(table[["setting", "seed"]].itertuples(index=False, name=None))
    for setting in (BASE, WITH, *(settings or SETTINGS)):
        if (setting, seed) in done:
            continue
        if setting in (BASE, WITH):
            samples = Cohort.load(Cell(setting, seed=seed).folder / "samples").select(few)
        else:
            samples = drawn(base, cohort, real.table.iloc[few], setting)
        new = {"setting": setting, "seed": seed, "n": FEW, **measured(real, samples, training), "commit": commit(),
               "torch": torch.__version__, "date": str(datetime.date.today())}  # fmt: skip
        table = pd.concat([table, pd.DataFrame([new])])
        with atomic_file(out) as temporary:
            head = f"# command: python tools/mel_settings.py {out} {seed}\n"
            temporary.write_text(head + table.to_csv(index=False, float_format="%.4g"), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
