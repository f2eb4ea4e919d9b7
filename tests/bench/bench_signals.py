"""Virtual patients, memory-mapped reading."""

import tempfile
from pathlib import Path

import numpy as np

from ecglib.signals import Cohort, load_cohort
from tests.bench.timing import medians


def main() -> None:
    """Run all."""
    times = medians({"virtual": lambda: load_cohort("virtual", n=300, seed=0)}, rounds=3)
    print(f"virtual patients: {300 / times['virtual']:.0f} records/s in one process")
    with tempfile.TemporaryDirectory() as folder:
        load_cohort("virtual", n=300, seed=0).save(Path(folder) / "cohort")
        cohort = Cohort.load(Path(folder) / "cohort")
        rows = np.random.default_rng(0).integers(0, 300, 64)
        times = medians({"read": lambda: cohort.x[rows]})
        print(f"memory-mapped reading: {64 / times['read']:.0f} records/s in random order")
