"""Every metric on real records of two hospitals: ``python tools/real_against_real.py DATA OUT.csv``.

DATA holds LUDB below ``ludb/`` and Chapman–Ningbo records in the 2021 challenge's format below
``challenge-2021/chapman_ningbo/``. Neither is synthetic: the table shows what fidelity and coherence give between real
hospitals, and between two halves of each (the floor).
"""

import datetime
import sys
from pathlib import Path

import pandas as pd

from ecglib.evaluation import Comparison, clinical, evaluate, fidelity, rhythm
from ecglib.runs import atomic_file
from ecglib.signals import load_cohort

METRICS = (*fidelity.METRICS, *rhythm.METRICS, *clinical.METRICS)


def main(data: Path, out: Path) -> None:
    """Write one table of both directions."""
    ludb = load_cohort("ludb", root=data / "ludb", fs=100)
    other = load_cohort("challenge-2021", root=data / "challenge-2021" / "chapman_ningbo", fs=100)
    names = {"LUDB": ludb, "Chapman–Ningbo": other}
    tables = []
    for a, b in (("LUDB", "Chapman–Ningbo"), ("Chapman–Ningbo", "LUDB")):
        table = evaluate(Comparison(names[a], names[b]), METRICS, seed=0, resamples=200)
        tables.append(table.assign(real=a, synthetic=b, n_real=len(names[a]), n_synthetic=len(names[b])))
    table = pd.concat(tables).assign(date=str(datetime.date.today()))
    with atomic_file(out) as temporary:
        head = "# command: python tools/real_against_real.py <DATA> book/results/real_against_real.csv\n"
        temporary.write_text(head + table.to_csv(index=False, float_format="%.4g"), encoding="utf-8")
    print(table.drop(columns="reason").to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
