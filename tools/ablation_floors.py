"""Measure the floors of the committed ablations anew: ``python tools/ablation_floors.py``.

A floor is of real records alone: it depends on cohort, preset and seed, not on what was trained. Where the way it is
measured has changed, the column ``floor`` of book/results/ablations.csv is written anew, without a training; cohorts
that are not there are made (that of ``folder`` by tools/real_records.py).
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from ecglib import ablations
from ecglib.config import Config
from ecglib.evaluation import Comparison, NotComputable
from ecglib.evaluation.floor import floor_comparisons
from ecglib.evaluation.headlines import METRICS
from ecglib.evaluation.measure import name_of
from ecglib.runs import MANIFEST, atomic_file
from ecglib.study import Study


def floors(cohort: str, preset: str, seed: int) -> dict[tuple[str, str], float]:
    """Return the floor of each metric and key, as `ablations.run` measures it."""
    study = Study(cohort, preset, seed)
    if not (study.folder / "cohort" / MANIFEST).exists():
        study.prepare()
    training, _, test = study.open_cohort().split()
    asked = test.select(range(min(len(test), Config.preset(preset).cohort.n_evaluate)))
    itself = asked.table.assign(source_ecg_id=asked.table["ecg_id"])
    comparison = Comparison(asked, replace(asked, table=itself), train=training)
    found: dict[tuple[str, str], list[float]] = {}
    for stand_in in floor_comparisons(comparison, seed)[0]:
        for metric in METRICS:
            try:
                for key, value in metric(stand_in).items():
                    found.setdefault((name_of(metric), key), []).append(value)
            except NotComputable:  # what asks for members has no floor
                continue
    return {key: float(np.mean(values)) for key, values in found.items()}


def main() -> None:
    """Write the table with its floors."""
    path = ablations.RESULTS
    head = path.read_text(encoding="utf-8").splitlines()[0]
    table = pd.read_csv(path, comment="#")
    for study, rows in table.groupby(ablations.KEY[1:]):
        new = floors(*study)
        keys = list(zip(rows["metric"], rows["key"].fillna(""), strict=True))
        table.loc[rows.index, "floor"] = [new.get(key, np.nan) if np.isfinite(old) else old
                                          for key, old in zip(keys, rows["floor"], strict=True)]  # fmt: skip
        print(*study, {" ".join(key): round(new[key], 4) for key in (("ilce", "mean"), ("two_sample", "auc"))})
    with atomic_file(path) as temporary:
        temporary.write_text(f"{head}\n{table.to_csv(index=False, float_format='%.5g')}", encoding="utf-8")


if __name__ == "__main__":
    main()
