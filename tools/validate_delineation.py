"""Delineation against cardiologists and against truth: ``python tools/validate_delineation.py LUDB OUT.csv [N]``.

LUDB is that database's folder; its marks, by cardiologists, are joined over twelve leads. Thresholds were chosen on
every second record (two of them, P_ALIKE and QRS_STILL_S, on all), so the others have rows of their own. N virtual
patients (400) have exact marks. Each cohort is measured at 500 Hz and at 100 Hz, by ecglib from all leads, and by
NeuroKit2's ``dwt`` on lead II, beat by beat, and on all twelve leads, whose marks are joined as LUDB's are
(``pip install -c constraints.txt -e '.[second-paper]'``).
"""

import datetime
import importlib.metadata
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from ecglib.evaluation import beat_marks
from ecglib.evaluation.agreement import detection, intervals, limits_of_agreement
from ecglib.parallel import chunked, in_order
from ecglib.runs import atomic_file
from ecglib.signals import LEADS_12, Cohort, load_cohort
from ecglib.signals.readers.ludb_waves import _beat, _join_leads

MARKS = {"p_on": "ECG_P_Onsets", "p_peak": "ECG_P_Peaks", "p_off": "ECG_P_Offsets", "qrs_on": "ECG_R_Onsets",
         "qrs_off": "ECG_R_Offsets", "t_peak": "ECG_T_Peaks", "t_off": "ECG_T_Offsets"}  # fmt: skip


def by_ecglib(cohort: Cohort) -> pd.DataFrame:
    """Return a table of waves."""
    found = beat_marks(cohort.x[:], cohort.fs, cohort.leads)
    return found.assign(ecg_id=cohort.table["ecg_id"].to_numpy()[found["record"]]).drop(columns="record")


def one_lead(x: np.ndarray, fs: int) -> pd.DataFrame | None:
    """Return NeuroKit2's marks of one lead; None where it gives up."""
    import neurokit2 as nk

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            clean = nk.ecg_clean(x, sampling_rate=fs)
            r = nk.ecg_peaks(clean, sampling_rate=fs)[1]["ECG_R_Peaks"]
            found = nk.ecg_delineate(clean, r, sampling_rate=fs, method="dwt")[1]
        except Exception:  # of many kinds, on flat and short signals: counted by the caller
            return None
    n = min(len(r), *(len(found[theirs]) for theirs in MARKS.values()))
    ours = {name: np.asarray(found[theirs][:n], float) / fs for name, theirs in MARKS.items()}
    return pd.DataFrame({**ours, "r": np.asarray(r[:n]) / fs})


def on_lead_ii(records: list[tuple[int, np.ndarray, int]]) -> list[pd.DataFrame]:
    """Return tables of waves of records (ecg_id, x, fs) from lead II."""
    tables = [(ecg_id, one_lead(x[LEADS_12.index("II")], fs)) for ecg_id, x, fs in records]
    return [table.assign(ecg_id=ecg_id) for ecg_id, table in tables if table is not None]


def on_all_leads(records: list[tuple[int, np.ndarray, int]]) -> list[pd.DataFrame]:
    """Return tables of waves from all leads, joined as LUDB's marks are."""
    tables = []
    for ecg_id, x, fs in records:
        leads = [table for lead in x if (table := one_lead(lead, fs)) is not None]
        marks = pd.concat(leads) if leads else pd.DataFrame(columns=["r", *MARKS])
        joined = []
        for on, peak, off in (("p_on", "p_peak", "p_off"), ("qrs_on", "r", "qrs_off"), ("t_peak", "t_peak", "t_off")):
            wave = marks[[on, peak, off]].dropna().to_numpy(float)
            joined.append(_join_leads([("", *row) for row in wave], 1))
        p, qrs, t = joined
        names = ["p_on", "p_peak", "p_off", "qrs_on", "r", "qrs_off", "t_peak", "t_off"]
        tables.append(pd.DataFrame([_beat(k, qrs, p, t) for k in range(len(qrs))], columns=names).assign(ecg_id=ecg_id))
    return tables


def by_neurokit(cohort: Cohort, function) -> pd.DataFrame:
    """Return a table of waves."""
    records = [(ecg_id, np.asarray(x, np.float64), cohort.fs)
               for ecg_id, x in zip(cohort.table["ecg_id"], cohort.x, strict=True)]  # fmt: skip
    done = in_order(function, chunked(records, 10), label=function.__name__, progress=True)
    return pd.concat([table for tables in done for table in tables], ignore_index=True)


def compare(method: str, found: pd.DataFrame, cohort: Cohort, name: str) -> list[dict]:
    """Return rows: sensitivity and PPV of waves, bias, SD and limits of agreement of intervals."""
    about = {"cohort": name, "fs": cohort.fs, "method": method}
    waves = detection(found, cohort.waves)
    rows = [{**about, "what": wave, "n": values["n_true"], "sensitivity": values["sensitivity"], "ppv": values["ppv"]}
            for wave, values in waves.iterrows()]  # fmt: skip
    ours, true = intervals(found), intervals(cohort.waves)
    return rows + [{**about, "what": what, **limits_of_agreement(ours[what], true[what])} for what in true]


def main(ludb: Path, out: Path, n: int) -> None:
    """Write one table of all cohorts, sampling rates and methods."""
    rows = []
    for fs in (500, 100):
        for name, cohort in (("ludb", load_cohort("ludb", root=ludb, fs=fs)),
                             ("virtual", load_cohort("virtual", n=n, fs=fs, seed=0))):  # fmt: skip
            found = by_ecglib(cohort)
            rows += compare("ecglib", found, cohort, name)
            if name == "ludb":
                unseen = cohort.select(np.arange(1, len(cohort), 2))
                of_unseen = found[found["ecg_id"].isin(unseen.table["ecg_id"])]
                rows += compare("ecglib", of_unseen, unseen, "ludb, not chosen on")
            rows += compare("neurokit2 dwt, lead II", by_neurokit(cohort, on_lead_ii), cohort, name)
            if name == "ludb":
                rows += compare("neurokit2 dwt, 12 leads", by_neurokit(cohort, on_all_leads), cohort, name)
            print(pd.DataFrame(rows).round(3).to_string(), flush=True)
    neurokit = importlib.metadata.version("neurokit2")
    table = pd.DataFrame(rows).assign(neurokit2=neurokit, date=str(datetime.date.today()))
    with atomic_file(out) as temporary:
        head = "# command: python tools/validate_delineation.py <LUDB> book/results/delineation.csv\n"
        temporary.write_text(head + table.to_csv(index=False, float_format="%.4g"), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 400)
