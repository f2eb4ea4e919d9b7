"""A small tree in MIMIC-IV-ECG's layout, written from any cohort of 12 leads, 10 s at 500 Hz."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglib.signals import Cohort

LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")  # aVF before aVL
COUNTS_PER_MV = 200
NOT_MEASURED = 29999
LINES = {  # statement of the cohort → what a machine would print
    "SR": "Sinus rhythm",
    "SBRAD": "Sinus bradycardia",
    "STACH": "Sinus tachycardia",
    "SARRH": "Sinus arrhythmia",
    "AFIB": "Atrial fibrillation with rapid ventricular response",
    "AFLT": "Atrial flutter with 4:1 A-V block",
    "PACE": "Ventricular pacing",
    "1AVB": "with 1st degree A-V block",
    "CLBBB": "Left bundle branch block",
    "CRBBB": "Right bundle branch block",
    "LAFB": "Left anterior fascicular block",
    "IMI": "Inferior infarct - age undetermined",
    "AMI": "Anterior infarct - age undetermined",
    "ASMI": "Anteroseptal infarct - age undetermined",
    "LVH": "Left ventricular hypertrophy",
    "LNGQT": "Prolonged QT interval",
    "PVC": "with PVC(s)",
    "PAC": "with PAC(s)",
    "LVOLT": "Low QRS voltages in precordial leads",
    "ISCLA": "Lateral T wave changes may be due to myocardial ischemia",
    "NST_": "Lateral ST-T changes are nonspecific",
}


def write_mimic(root: Path, cohort: Cohort, reports: Mapping[int, Sequence[str]] | None = None) -> pd.DataFrame:
    """Write the tree and return record_list.csv's rows, one a record of the cohort, in its order.

    Subjects are 10,000,000 + patient_id, studies 40,000,000 + ecg_id. `reports` replaces the lines of records by
    ecg_id; otherwise they follow the statements, `LINES`.
    """
    assert (cohort.fs, cohort.x.shape[1:], len(cohort.leads)) == (500, (12, 5000), 12)
    listed, measured = [], []
    for x, row in zip(cohort.x, cohort.table.to_dict("records"), strict=True):
        subject, study = 10_000_000 + int(row["patient_id"]), 40_000_000 + int(row["ecg_id"])
        name = f"files/p{str(subject)[:4]}/p{subject}/s{study}/{study}"
        by_lead = dict(zip(cohort.leads, x, strict=True))
        write_record(root / name, np.rint(np.stack([by_lead[lead] for lead in LEADS]) * COUNTS_PER_MV), subject)
        ids = {"subject_id": subject, "study_id": study}
        listed.append({**ids, "file_name": study, "ecg_time": "2180-07-23 08:44:00", "path": name})
        lines = (reports or {}).get(row["ecg_id"], lines_of(row["scp_codes"]))
        measured.append({**ids, "cart_id": 6848296, "ecg_time": "2180-07-23 08:44:00",
                         **{f"report_{k}": lines[k] if k < len(lines) else "" for k in range(18)},
                         "bandwidth": "0.005-150 Hz", "filtering": "60 Hz notch Baseline filter",
                         **measurements(row)})  # fmt: skip
    for name, rows in (("record_list.csv", listed), ("machine_measurements.csv", measured)):
        pd.DataFrame(rows).to_csv(root / name, index=False)
    return pd.DataFrame(listed)


def lines_of(codes: Mapping[str, float]) -> list[str]:
    """A report as the machine would print it, its summary last."""
    lines = [LINES[code] for code in codes if code in LINES]
    return [*lines, "Normal ECG" if "NORM" in codes else "Abnormal ECG"]


def measurements(row: Mapping[str, Any]) -> dict[str, int]:
    """The nine measurements: an ordinary beat at the record's heart rate; no P wave in atrial fibrillation."""
    rate, fibrillates = row["heart_rate"], "AFIB" in row["scp_codes"]
    p_onset, p_end, p_axis = (NOT_MEASURED, NOT_MEASURED, 32767) if fibrillates else (40, 150, 50)
    rr = round(60_000 / rate) if rate == rate else NOT_MEASURED
    return {"rr_interval": rr, "p_onset": p_onset, "p_end": p_end, "qrs_onset": 200, "qrs_end": 294, "t_end": 596,
            "p_axis": p_axis, "qrs_axis": -16, "t_axis": 40}  # fmt: skip


def write_record(path: Path, counts: np.ndarray, subject: int) -> None:
    """Write counts (12, 5000), in the order of `LEADS`, as MIMIC-IV-ECG has them: format 16, unsigned checksums."""
    path.parent.mkdir(parents=True)
    counts = counts.astype("<i2")
    path.with_suffix(".dat").write_bytes(counts.T.tobytes())
    lines = [f"{path.name} 12 500 {counts.shape[1]} 08:44:00 23/07/2180"]
    lines += [f"{path.name}.dat 16 200.0(0)/mV 16 0 {samples[0]} {int(samples.sum(dtype=np.int64)) % 65536} 0 {lead}"
              for lead, samples in zip(LEADS, counts, strict=True)]  # fmt: skip
    path.with_suffix(".hea").write_text("\n".join([*lines, f"# <subject_id>: {subject}", ""]))
