"""How much of a measure is the luck of the draw: ``python tools/draws.py OUT.csv SEED [SEED …]``.

A network of preset ``quick``, trained with each SEED on virtual patients as `trials.py` does it (and not again if that
or ``make ablations`` has trained it), is asked for the same patients time after time, each time with noise of another
seed; OUT.csv has the columns of `trials.py` and ``noise``, and what it holds is not done again.
"""

import datetime
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from trials import THREE, cohort_of, measure  # beside this file

from ecglib.ablations import training_of
from ecglib.config import Config
from ecglib.diffusion import Generator, train
from ecglib.runs import atomic_file, commit

NOISE = (100, 101)  # none of them a seed of training; with the draw of trials.py there are three


def main(out: Path, seeds: list[int]) -> None:
    """Draw with each sampler and seed of noise what `out` does not hold."""
    made = {"commit": commit(), "torch": torch.__version__, "date": str(datetime.date.today())}
    table = pd.read_csv(out, comment="#") if out.exists() else pd.DataFrame()
    done = set(table[["seed", "noise", "sampler"]].itertuples(index=False, name=None)) if len(table) else set()
    for seed in seeds:
        config = Config.preset("quick").override({"seed": seed})
        study, cohort = cohort_of(config)
        test = cohort.split()[2]
        real = test.select(np.arange(min(len(test), config.cohort.n_evaluate)))
        learnt, run = training_of(study, config)
        train(learnt, cohort, run)
        generator = Generator.load(run)
        ways = [(noise, *way) for noise in NOISE for way in THREE]
        for noise, sampler, steps, spacing in ways:
            name = f"{sampler}-{steps}-{spacing}"
            if (seed, noise, name) in done:
                continue
            samples = generator.sample(real.table, sampler=sampler, steps=steps, spacing=spacing, seed=noise)
            new = pd.DataFrame([{"seed": seed, "noise": noise, "sampler": name, **measure(real, samples), **made}])
            table = pd.concat([table, new])
            with atomic_file(out) as temporary:
                head = f"# command: python tools/draws.py {out} {' '.join(map(str, seeds))}\n"
                temporary.write_text(head + table.to_csv(index=False, float_format="%.4g"), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]])
