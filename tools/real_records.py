"""Prepare LUDB and the Challenge's records as one cohort for ablations: ``python tools/real_records.py DATA SEED …``.

DATA holds the folders ``ludb`` and ``challenge-2021``. For each seed the cohort of the study ``folder``, preset quick,
is written, so that ``make ablations`` can train the grid's cells ``folder-quick-s<SEED>-…`` on it. The records are
few: three patients of ten are for the test (fold 10), one for the choice of weights (fold 9), six to learn from. The
split is the same for every seed. The Challenge hides whose a record is, so each of its records counts as a patient:
two of PTB-XL's among them may be of one person and on both sides of the split.
"""

import sys
from pathlib import Path

import numpy as np

from ecglib.signals import Cohort, assign_folds, join, load_cohort
from ecglib.study import Study

FS = 100  # Hz
SPLIT_SEED = 0
TO_TEST, TO_VALIDATION = (8, 9, 10), (7,)  # of ten folds drawn


def real_records(data: Path) -> Cohort:
    """Return all sound records below `data`, numbered anew, split by patient."""
    parts = [load_cohort(name, root=data / name, fs=FS) for name in ("ludb", "challenge-2021")]
    columns = [name for name in parts[0].table if name in parts[1].table]
    owners = [f"{part.source} {patient}" for part in parts for patient in part.table["patient_id"]]
    begin = np.cumsum([0, *(len(part) for part in parts[:-1])])
    tables = [part.table[columns].assign(ecg_id=np.arange(len(part)) + first)
              for part, first in zip(parts, begin, strict=True)]  # fmt: skip
    together = join(*(Cohort(part.x, FS, part.leads, table) for part, table in zip(parts, tables, strict=True)))
    table = together.table.assign(patient_id=owners)
    drawn = assign_folds(table, SPLIT_SEED)
    fold = [10 if number in TO_TEST else 9 if number in TO_VALIDATION else number for number in drawn]
    left_out = {part.source: part.notes["left_out"] for part in parts}
    return Cohort(together.x, FS, together.leads, table.assign(strat_fold=fold), source="LUDB and Challenge 2021",
                  notes={"left_out": left_out})  # fmt: skip


def main(data: Path, seeds: list[int]) -> None:
    """Write the cohort of each study."""
    cohort = real_records(data)
    print(cohort, "; records to learn from, choose by, test with:", *(len(part) for part in cohort.split()))
    for seed in seeds:
        study = Study("folder", "quick", seed)
        cohort.save(study.folder / "cohort", study=study.folder.name)
        print(study.folder / "cohort")


if __name__ == "__main__":
    if len(sys.argv) < 3 or not all(text.isdecimal() for text in sys.argv[2:]):
        sys.exit(f"usage: {sys.argv[0]} DATA SEED …")
    main(Path(sys.argv[1]), [int(text) for text in sys.argv[2:]])
