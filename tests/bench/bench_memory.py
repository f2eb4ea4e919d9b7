"""Memory of reading, saving, opening and drawing batches, by number of records: ``python -m tests.bench.bench_memory``.

A process of its own, because what counts is its peak. "Own memory" leaves out pages of files (which the system takes
back at need); the signals of 200,000 records fill 4.8 GB, and as much again while they are saved.
"""

import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd

from ecglib.signals import LEADS_12, Cohort
from ecglib.signals.readers.records import LeftOut, Reading, read_all


def read(name: str) -> Reading:
    """Make a record that no other equals."""
    x = np.zeros((12, 1000), np.float32)
    x[:, 0], x[:, 1] = int(name) % 30_000 / 1000, int(name) // 30_000 / 1000
    return Reading(x)


def own_memory() -> int:
    """Return this process's memory without pages of files, in MB."""
    line = next(line for line in open("/proc/self/status") if line.startswith("RssAnon"))
    return int(line.split()[1]) // 1024


class Peak(threading.Thread):
    """Looks at the memory every 20 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.at_most, self.running = 0, True

    def run(self) -> None:
        while self.running:
            self.at_most = max(self.at_most, own_memory())
            time.sleep(0.02)


def main(n: int, folder: Path) -> None:
    """Read, save, open, draw: print what it took."""
    seconds, began = {}, time.perf_counter()

    def lap(name: str) -> None:
        seconds[name] = round(time.perf_counter() - began - sum(seconds.values()), 1)

    before, peak = own_memory(), Peak()
    peak.start()
    records = read_all([str(k) for k in range(n)], read, 100, LeftOut(True), "memory", workers=1, scratch=folder)
    lap("read")
    after_reading = own_memory()
    table = pd.DataFrame({"ecg_id": np.arange(1, n + 1), "scp_codes": [{"NORM": 100.0}] * n})
    Cohort(records.x, 100, LEADS_12, table).save(folder / "cohort")
    lap("save")
    del records
    cohort = Cohort.load(folder / "cohort")
    part = cohort.select(np.arange(0, n, 3))
    for rows in np.random.default_rng(0).integers(0, len(part), (200, 64)):
        assert part.x[rows].shape == (64, 12, 1000)
    assert np.allclose(part.x[5, :, 0], 0.015)
    lap("open and draw 200 batches")
    peak.running = False
    print(json.dumps({"records": n, "own memory before, MB": before, "after reading, MB": after_reading,
                      "own memory, peak, MB": peak.at_most, "seconds": seconds}))  # fmt: skip


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as place:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000, Path(place))
