"""Virtual patients: records a second, in one process and over the cores."""

from ecglib.parallel import cores
from ecglib.signals.virtual import virtual_cohort
from tests.bench.timing import medians

FEW, MANY = 300, 2000


def main() -> None:
    """Run all."""
    virtual_cohort(cores() * 64, workers=cores())  # the other processes start once
    times = medians({
        "one": lambda: virtual_cohort(FEW, workers=1),
        "500 Hz": lambda: virtual_cohort(FEW, fs=500, workers=1),
        "all": lambda: virtual_cohort(MANY, workers=cores()),
    }, rounds=3)  # fmt: skip
    print(f"virtual patients: {FEW / times['one']:.0f} records/s in one process, {FEW / times['500 Hz']:.0f} at 500 Hz")
    print(f"virtual patients: {MANY / times['all']:.0f} records/s in {cores()} processes")


if __name__ == "__main__":
    main()
