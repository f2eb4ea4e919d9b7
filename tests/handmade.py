"""What tests make by hand: a small cohort, and a sound WFDB record to break."""

import numpy as np
import pandas as pd

from ecglib.signals import LEADS_12, Cohort, to_twelve_leads


def make_cohort(n: int = 24, fs: int = 100, source: str = "synthetic by hand") -> Cohort:
    """Hand-made: `n` records of n/2 patients, a spike a second in eight leads and a wander, exact in microvolts."""
    time = np.arange(10 * fs) / fs
    rng = np.random.default_rng(5)
    beat = np.exp(-0.5 * (((time % 1) - 0.5) / 0.03) ** 2)
    wander = np.sin(2 * np.pi * 0.3 * time)
    gains = rng.uniform(-1.5, 1.5, (n, 8, 1))
    x = to_twelve_leads(gains * beat + 0.1 * rng.uniform(-1, 1, (n, 8, 1)) * wander)
    x = (np.rint(x * 1000) / 1000).astype(np.float32)
    ids = np.arange(1, n + 1)
    codes = [{"NORM": 100.0, "SR": 0.0}, {"IMI": 80.0, "SR": 0.0}, {"AFIB": 0.0}, {"LVH": 50.0, "SBRAD": 0.0}]
    patients = 100 + (ids - 1) // 2
    table = pd.DataFrame({
        "ecg_id": ids, "patient_id": patients, "age": 40.0 + ids % 50, "sex": ids % 2,
        "height": np.where(ids % 3 == 0, np.nan, 170.0), "weight": 70.0, "heart_rate": 60.0,
        "scp_codes": [codes[patient % 4] for patient in patients], "strat_fold": 1 + patients % 10,
    })  # fmt: skip
    waves = pd.DataFrame([{"ecg_id": k, "r": beat + 0.5, "qrs_on": beat + 0.46, "qrs_off": beat + 0.55, "p_on": np.nan}
                          for k in ids for beat in range(10)])  # fmt: skip
    return Cohort(x, fs, LEADS_12, table, waves, source)


def sound_counts() -> np.ndarray:
    """int64 (12, 1000): samples in microvolts that differ from lead to lead."""
    x = make_cohort(2).x[0]
    return np.rint(x * 1000).astype(np.int64) + np.arange(12)[:, None]


def header_of(counts: np.ndarray, name: str = "rec") -> str:
    """A right header for `counts` (int (12, L), µV) at 100 Hz."""
    lines = [f"{name} 12 100 {counts.shape[1]}"]
    for lead, row in zip(LEADS_12, counts, strict=True):
        total = (int(row.sum()) + 32768) % 65536 - 32768
        lines.append(f"{name}.dat 16 1000.0(0)/mV 16 0 {row[0]} {total} 0 {lead}")
    return "\n".join(lines) + "\n"
