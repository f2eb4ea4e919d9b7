"""The delineator's time a record, and the whole evaluation of as many records as PTB-XL's test fold has."""

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from ecglib.evaluation import Comparison, clinical, delineate, evaluate, fidelity, rhythm
from ecglib.evaluation.classifier import Classifier, train_classifier
from ecglib.signals import Cohort, load_cohort
from tests.bench.timing import medians

N = 2198


def delineation() -> None:
    """Milliseconds a record in one process, at two sampling rates."""
    for fs in (100, 500):
        x = load_cohort("virtual", n=100, seed=0, fs=fs).x[:]
        times = medians({"delineate": lambda x=x, fs=fs: delineate(x, fs)}, rounds=5)
        print(f"delineate at {fs} Hz: {1000 * times['delineate'] / len(x):.1f} ms a 10 s record (goal 8)")


def prepare(folder: Path) -> None:
    """Make the cohorts and the classifier; a process of its own, so that its memory is not counted."""
    cohort = load_cohort("virtual", n=3 * N + 300, seed=0)
    for k, role in enumerate(("real", "synthetic", "train")):
        cohort.select(k * N + np.arange(N)).save(folder / role)
    train_classifier(cohort.select(2 * N + np.arange(N)), cohort.select(3 * N + np.arange(300)), epochs=1,
                     progress=False).save(folder / "classifier")  # fmt: skip


def whole(folder: Path) -> None:
    """Every metric with intervals and floors; memory is this process's and its workers' own, without pages of files."""
    real, synthetic, train = (Cohort.load(folder / role) for role in ("real", "synthetic", "train"))
    synthetic.table["source_ecg_id"] = real.table["ecg_id"].to_numpy()
    classifier = Classifier.load(folder / "classifier")
    metrics = (*fidelity.METRICS, *fidelity.feature_metrics(classifier), *rhythm.METRICS, *clinical.METRICS)
    peak = Peak()
    peak.start()
    began = time.perf_counter()
    evaluate(Comparison(real, synthetic, train=train), metrics)
    seconds = time.perf_counter() - began
    processor = peak.processor_seconds()
    peak.running = False
    print(f"{len(metrics)} metrics, {N} real against {N} synthetic records, 200 draws, floors: {seconds:.0f} s (goal "
          f"180; {processor:.0f} s of processor time), {peak.at_most / 1e9:.1f} GB in all processes together (goal 3)")


class Peak(threading.Thread):
    """Looks every 0.2 s at the memory that this process and its children hold for themselves, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.at_most, self.running, self.here = 0, True, psutil.Process()
        self.before = sum(self.here.cpu_times()[:2])

    def processor_seconds(self) -> float:
        """Return what this process and its children have used since the thread was made."""
        used = [process.cpu_times() for process in [self.here, *self.here.children(recursive=True)]]
        return sum(times.user + times.system for times in used) - self.before

    def run(self) -> None:
        here = self.here
        while self.running:
            total = 0
            for process in [here, *here.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):  # it ended just now
                    total += process.memory_info().rss - process.memory_info().shared
            self.at_most = max(self.at_most, total)
            time.sleep(0.2)


def main() -> None:
    """Run both."""
    delineation()
    with tempfile.TemporaryDirectory() as name:
        code = f"from tests.bench.bench_evaluation import *; prepare(Path({name!r}))"
        subprocess.run([sys.executable, "-c", code], check=True)
        whole(Path(name))


if __name__ == "__main__":
    main()
