"""The delineator's time a record, and the whole evaluation of as many records as PTB-XL's test fold has."""

import resource
import time

import numpy as np

from ecglib.evaluation import Comparison, clinical, delineate, evaluate, fidelity, rhythm
from ecglib.evaluation.classifier import train_classifier
from ecglib.signals import load_cohort
from tests.bench.timing import medians

N = 2198


def delineation() -> None:
    """Milliseconds a record in one process, at two sampling rates."""
    for fs in (100, 500):
        x = load_cohort("virtual", n=100, seed=0, fs=fs).x[:]
        times = medians({"delineate": lambda x=x, fs=fs: delineate(x, fs)}, rounds=5)
        print(f"delineate at {fs} Hz: {1000 * times['delineate'] / len(x):.1f} ms a 10 s record (goal 8)")


def whole() -> None:
    """Every metric with intervals and floors; gigabytes are the largest of this process and of each worker."""
    cohort = load_cohort("virtual", n=3 * N + 300, seed=0)
    rows = np.arange(N)
    real, synthetic, train = (cohort.select(k * N + rows) for k in range(3))
    synthetic.table["source_ecg_id"] = real.table["ecg_id"].to_numpy()
    classifier = train_classifier(train, cohort.select(3 * N + np.arange(300)), epochs=1, progress=False)
    metrics = (*fidelity.METRICS, *fidelity.feature_metrics(classifier), *rhythm.METRICS, *clinical.METRICS)
    began = time.perf_counter()
    evaluate(Comparison(real, synthetic, train=train), metrics)
    seconds = time.perf_counter() - began
    memory = [resource.getrusage(who).ru_maxrss / 1e6 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(f"{len(metrics)} metrics, {N} real against {N} synthetic records, 200 draws, floors: {seconds:.0f} s (goal "
          f"180), {memory[0]:.1f} GB here and at most {memory[1]:.1f} GB in a worker (goal 3 in all)")  # fmt: skip


def main() -> None:
    """Run both."""
    delineation()
    whole()


if __name__ == "__main__":
    main()
