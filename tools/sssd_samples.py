"""What SSSD-ECG draws after few steps, to be looked at: ``python tools/sssd_samples.py OUT.csv SEED``.

Reads the samples of ``make ablations``, which must have run the cells in `CELLS` with this SEED, and writes four
seconds of the first patient who was asked for in sinus rhythm: a row a sample and lead, columns in microvolts.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from ecglib.ablations import Cell
from ecglib.runs import atomic_file, commit
from ecglib.signals import LEADS_12, Cohort
from ecglib.study import Study

CELLS = ("sssd-ecg", "sssd-mel-x0", "sssd-2x", "sssd-2x-mel-x0", "sssd-4x", "sssd-4x-mel-x0")
LEADS, SECONDS = ("II", "V2"), 4


def main(out: Path, seed: int) -> None:
    """Write the patient's own record and what each cell drew for this patient."""
    cell = Cell(CELLS[0], seed=seed)
    test = Study(cell.cohort, cell.preset, seed).open_cohort().split()[2]
    which = next(k for k, codes in enumerate(test.table["scp_codes"]) if "SR" in codes)
    cohorts = {"patient": test} | {name: Cohort.load(Cell(name, seed=seed).folder / "samples") for name in CELLS}
    n = SECONDS * test.fs
    columns = {name: np.concatenate([cohort.x[which, LEADS_12.index(lead), :n] for lead in LEADS])
               for name, cohort in cohorts.items()}  # fmt: skip
    table = pd.DataFrame({name: np.round(1000 * x).astype(int) for name, x in columns.items()})
    table.insert(0, "time_s", np.tile(np.arange(n) / test.fs, len(LEADS)))
    table.insert(0, "lead", np.repeat(LEADS, n))
    with atomic_file(out) as temporary:
        head = f"# command: python tools/sssd_samples.py {out} {seed}, commit {commit()}, in microvolts\n"
        temporary.write_text(head + table.to_csv(index=False), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
