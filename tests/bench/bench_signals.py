"""Reading records from PTB-XL's layout beside the plain wfdb loop, and memory-mapped batches."""

import tempfile
from pathlib import Path

import numpy as np
import wfdb

from ecglib.parallel import cores
from ecglib.signals import Cohort, load_cohort, read_ptbxl, save_ptbxl_layout
from tests.bench.timing import medians

N = 2000


def reading(root: Path) -> None:
    """The reader in one process and in several against the loop that PTB-XL's own example has."""
    names = (root / "RECORDS").read_text().split()

    def plain() -> np.ndarray:
        return np.stack([wfdb.rdsamp(str(root / name))[0] for name in names])

    workers = min(2, cores())
    times = medians({"wfdb": plain, "one": lambda: read_ptbxl(root, workers=1),
                     "several": lambda: read_ptbxl(root, workers=workers)}, rounds=3)  # fmt: skip
    difference = np.abs(read_ptbxl(root).x - plain().transpose(0, 2, 1)).max()
    print(f"PTB-XL's layout, 100 Hz, {N} records, all checks: {N / times['one']:.0f} records/s in one process, "
          f"{N / times['several']:.0f} in {workers}; plain wfdb loop {N / times['wfdb']:.0f} (none checked): "
          f"{times['wfdb'] / times['several']:.1f}×; largest difference {1000 * difference:.2g} µV")  # fmt: skip


def mapped(folder: Path) -> None:
    """Random batches of 64 from a saved cohort."""
    cohort = Cohort.load(folder)
    rows = np.random.default_rng(0).integers(0, N, 64)
    times = medians({"read": lambda: cohort.x[rows]})
    print(f"memory-mapped reading: {64 / times['read']:.0f} records/s in random order")


def main() -> None:
    """Run all."""
    with tempfile.TemporaryDirectory() as folder:
        cohort = load_cohort("virtual", n=N, seed=0)
        cohort.save(Path(folder) / "cohort")
        save_ptbxl_layout(cohort, Path(folder) / "layout")
        reading(Path(folder) / "layout")
        mapped(Path(folder) / "cohort")
