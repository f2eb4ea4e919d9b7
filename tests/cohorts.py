"""Small cohorts for tests: random leads that hang together, and LUDB where it is at hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecglib.signals import LEADS_8, LEADS_12, Cohort, to_twelve_leads
from ecglib.signals.resample import resample
from ecglib.signals.wfdb_io import read_record

SHARED = Path(__file__).resolve().parents[2] / "shared"
LUDB = SHARED / "data" / "ludb" / "data"


def random_cohort(n: int, *, seed: int = 0, fs: int = 100, n_times: int = 500, per_patient: int = 1,
                  first_id: int = 1, leads: tuple[str, ...] = LEADS_12, **columns: object) -> Cohort:  # fmt: skip
    """Eight leads mixed from three smooth random sources (and so correlated), completed to twelve; about 0.3 mV."""
    rng = np.random.default_rng(seed)
    sources = np.cumsum(rng.standard_normal((n, 3, n_times)), axis=-1)
    sources = sources / sources.std(axis=-1, keepdims=True)
    mixing = np.array([1, 0.5, 0.2]) * rng.standard_normal((n, 8, 3)) + 0.6
    x = 0.2 * (mixing @ sources + 0.1 * rng.standard_normal((n, 8, n_times)))
    ids = first_id + np.arange(n)
    table = {"ecg_id": ids, "patient_id": first_id + np.arange(n) // per_patient, "sex": np.arange(n) % 2,
             "age": rng.integers(20, 80, n), "scp_codes": [{"NORM": 100.0} if k % 3 else {"IMI": 80.0} for k in ids],
             **columns}  # fmt: skip
    x = to_twelve_leads(x) if leads == LEADS_12 else x
    assert leads in (LEADS_8, LEADS_12)
    return Cohort(x.astype(np.float32), fs, leads, pd.DataFrame(table), source="random")


def ludb(n: int, fs: int = 500) -> Cohort:
    """The first n records of LUDB; skips the test where it is absent."""
    if not LUDB.is_dir():
        pytest.skip(f"{LUDB} is not at hand: real records are read where they stand, and none are committed")
    x = [read_record(LUDB, str(k), fs=500, seconds=10, gain=1000)[0] for k in range(1, n + 1)]
    table = pd.DataFrame({"ecg_id": np.arange(1, n + 1), "scp_codes": [{} for _ in range(n)]})
    return Cohort(resample(np.stack(x), 500, fs), fs, LEADS_12, table, source="LUDB 1.0.1")
