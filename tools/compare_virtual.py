"""Lay 2,000 virtual patients beside real records: python tools/compare_virtual.py <LUDB> <Challenge 2021>.

Writes book/results/virtual_beside_ludb.csv (`beside`) and virtual_giveaways_ludb.csv (`giveaways`, and the same
classifier asked to tell two real cohorts apart, which says what its figures are worth). About two minutes on two cores.
"""

import datetime
import platform
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn

from ecglib.runs import atomic_file, commit
from ecglib.signals import Cohort, read_challenge, read_ludb
from ecglib.signals.virtual import virtual_cohort
from ecglib.signals.virtual.validation import beside, giveaways

ROOT = Path(__file__).parents[1]
N, SEED, FS = 2000, 1, 500


def main(ludb: str, challenge: str) -> None:
    """Compare and write both tables."""
    virtual, real = virtual_cohort(N, seed=SEED, fs=FS), read_ludb(ludb, fs=FS)
    others = read_challenge(challenge, fs=FS)
    write("virtual_beside_ludb", beside(virtual, real))
    half = np.random.default_rng(SEED).permutation(len(real)) < len(real) // 2
    normal = [cohort.select(cohort.has("NORM")) for cohort in (virtual, real)]
    pairs = {"virtual from LUDB": (virtual, real), "virtual from LUDB, normal records": normal,
             "virtual from the Challenge": (virtual, others),
             "LUDB from the Challenge (both real)": (real, others),
             "LUDB from LUDB (two halves)": (real.select(half), real.select(~half))}  # fmt: skip
    write("virtual_giveaways_ludb", pd.concat([telling(what, *pair) for what, pair in pairs.items()]))


def telling(what: str, virtual: Cohort, real: Cohort) -> pd.DataFrame:
    """Return both tables of `giveaways` as one."""
    summary, measures = giveaways(virtual, real)
    both = pd.concat([summary.rename(columns={"features": "by"}), measures.rename(columns={"measure": "by"})])
    return both.assign(telling=what)[["telling", *both.columns]]


def write(name: str, table: pd.DataFrame) -> None:
    """Write a table with its command, commit, date and versions in its head."""
    head = ["command: python tools/compare_virtual.py <folder of LUDB 1.0.1> <folder of Challenge 2021 records>",
            f"virtual_cohort({N}, seed={SEED}, fs={FS}); commit {commit()}; {datetime.date.today()}; Python "
            f"{platform.python_version()}, numpy {np.__version__}, scikit-learn {sklearn.__version__}"]  # fmt: skip
    text = "".join(f"# {line}\n" for line in head) + table.to_csv(index=False, float_format="%.4g")
    with atomic_file(ROOT / "book" / "results" / f"{name}.csv") as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
