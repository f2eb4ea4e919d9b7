"""The audit: every attack on the released records, and on three generators of which the answer is known, in one table.

An attack that stays silent says nothing unless it is known to speak where there is something to say. So a verdict is
never a number's alone: it reads the value beside the same attack's on copies, on five per cent copies, and on fresh
records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglib.errors import InputError
from ecglib.evaluation.comparison import Comparison, NotComputable
from ecglib.evaluation.measure import Metric, evaluate, name_of
from ecglib.evaluation.privacy.controls import CONTROLS, CopyMachine, control_sets
from ecglib.runs import atomic_file, reopened
from ecglib.signals.cohort import Cohort

# metric → what its key begins with → its value where nothing leaks; a leak raises it. Other keys are context: a
# generator that is merely smooth is near everybody, so only what compares members with others can tell a leak.
NO_LEAK = {
    "mir": {"f1 beats": 0.5, "f1 features": 0.5},
    "distance_attack": {"auc": 0.5, "tpr 1%": 0.01, "tpr 0.1%": 0.001},
    "white_box": {"auc": 0.5, "tpr 1%": 0.01, "tpr 0.1%": 0.001},
    "nnaa": {"privacy loss": 0.0},
    "dcr": {"distinct": 0.5},
    "copies": {"share 1%": 0.01, "share 0.1%": 0.001, "doubles": 0.0},
    "attribute_inference": {"sex": 0.0, "age": 0.0, "superclasses": 0.0},
    "linkage": {"gap": 0.0},
}
OF_FEATURES = "_of_features"
FOUND = "leak found by this attack"
SILENT = "silent; would notice 5 % copies"
DULL = "silent; would notice copies, not 5 %"
BLIND = "silent; would not notice copies"
NOTHING = "no controls, no verdict"
UNSURE = "no interval, no verdict"
CONTEXT, REFUSED = "context", "not computed"


def audit(comparison: Comparison, metrics: Sequence[Metric], *, seed: int = 0, resamples: int = 100,
          folder: Path | str | None = None) -> pd.DataFrame:  # fmt: skip
    """Attack a generator and its released records, and the controls beside them.

    Parameters
    ----------
    comparison : Comparison
        ``train``: members. ``real``: patients of the same source that the generator never saw, nor chose its weights
        by. ``held_out``: yet other patients, of whom one half is the attacks' reference, and the other the fresh
        control. ``synthetic``: what is released, best asked for with conditions of members and of others alike.
        ``generator`` for white-box attacks.
    metrics : sequence of metrics
        Such as ``privacy.METRICS``.
    seed, resamples : int
        As in `evaluate`.
    folder : path, optional
        Where to write ``audit.csv`` and what `evaluate` writes.

    Returns
    -------
    DataFrame, one row a metric and key
        ``metric``, ``key``, ``value``, ``ci_low``, ``ci_high``, ``n``; the same key's value for the controls
        ``copies``, ``copies_5_percent`` and ``fresh``; ``verdict`` and ``reason``. The verdict is about empirical risk
        under the named attacks, and never that something is private; without an interval, of the value or of a
        control's, there is none.

    Raises
    ------
    InputError
        If a role is missing, or two of train, real and held_out share a patient.

    Notes
    -----
    An attack *alarms* if its interval lies wholly farther above its value without a leak than fresh records strayed
    from it: see `alarms`. Source: this project.
    """
    reference, fresh = _roles(comparison)
    base = comparison.instead(held_out=reference)  # what was measured before is kept
    how: dict[str, Any] = {"seed": seed, "resamples": resamples, "floor": False}
    table = evaluate(base, metrics, folder=folder, **how).drop(columns="floor")
    try:
        sets = control_sets(base, fresh, seed)
    except NotComputable as error:
        sets, why = {}, str(error)
    tables = {}
    for name in CONTROLS:
        if name in sets:
            tables[name] = _control(base, name, sets[name], fresh, metrics, how)
        else:
            tables[name] = table.assign(value=np.nan, ci_low=np.nan, ci_high=np.nan)
    keys = ["metric", "key"]
    for name in CONTROLS:
        table = table.merge(tables[name][[*keys, "value"]].rename(columns={"value": name}), on=keys, how="left")
    table["verdict"] = _verdicts(table, tables)
    if not sets:
        table["reason"] = [f"{reason}; no controls: {why}".removeprefix("; ") for reason in table["reason"]]
    table = table[[*keys, "value", "ci_low", "ci_high", "n", *CONTROLS, "verdict", "reason"]]
    if folder is not None:
        with reopened(folder), atomic_file(Path(folder) / "audit.csv") as path:
            table.to_csv(path, index=False)
    return table


def _control(base: Comparison, name: str, records: Cohort, fresh: Cohort, metrics: Sequence[Metric],
             how: Mapping[str, Any]) -> pd.DataFrame:  # fmt: skip
    """Evaluate a control: its records as the released ones, its copy machine as the generator.

    Fresh, to a white-box attack, are patients in the members' place: they are asked of the generator itself.
    """
    machine = None if base.generator is None else CopyMachine.of(records, base.generator)
    inside = [metric for metric in metrics if name_of(metric) == "white_box"]
    if name != "fresh" or not inside:
        return evaluate(base.instead(synthetic=records, generator=machine), metrics, **how)
    outside = [metric for metric in metrics if metric not in inside]
    tables = [evaluate(base.instead(train=fresh), inside, **how)]
    tables += [evaluate(base.instead(synthetic=records, generator=None), outside, **how)] if outside else []
    return pd.concat(tables, ignore_index=True)


def no_leak(metric: str, key: str) -> float:
    """Return a value's size where nothing leaks; NaN if the value is context, which no leak need raise."""
    starts = NO_LEAK.get(metric.removesuffix(OF_FEATURES), {})
    return next((value for start, value in starts.items() if key.startswith(start)), np.nan)


def alarms(rows: pd.DataFrame, fresh: pd.DataFrame) -> np.ndarray:
    """Return whether each row's interval lies wholly farther above its no-leak value than fresh records strayed.

    How far those did, to either side and to the far end of their interval, is what chance does here. Bool (n_rows,).

    Parameters
    ----------
    rows, fresh : DataFrame
        As `evaluate` returns them, of the same metrics. Without an interval or a control a row does not alarm.
    """
    both = rows[["metric", "key", "ci_low", "ci_high"]].merge(fresh[["metric", "key", "ci_low", "ci_high"]],
                                                              on=["metric", "key"], how="left", suffixes=("", "_f"))
    null = np.array([no_leak(metric, key) for metric, key in zip(both["metric"], both["key"], strict=True)])
    strayed = np.maximum(*(np.abs(both[end].to_numpy(float) - null) for end in ("ci_low_f", "ci_high_f")))
    return both["ci_low"].to_numpy(float) > null + strayed


def _verdicts(table: pd.DataFrame, controls: dict[str, pd.DataFrame]) -> list[str]:
    fresh, keys = controls["fresh"], table[["metric", "key"]]
    beside = {name: keys.merge(controls[name], on=["metric", "key"], how="left") for name in CONTROLS}
    found = alarms(table, fresh)
    heard = {name: alarms(beside[name], fresh) for name in ("copies", "copies_5_percent")}
    bare = np.any([rows["ci_low"].isna().to_numpy() for rows in (table, *beside.values())], axis=0)
    verdicts = []
    for k, row in enumerate(table.itertuples()):
        if not np.isfinite(row.value):
            verdicts.append(REFUSED)
        elif np.isnan(no_leak(row.metric, row.key)):
            verdicts.append(CONTEXT)
        elif fresh["value"].isna().all():
            verdicts.append(NOTHING)
        elif found[k] or bare[k]:
            verdicts.append(FOUND if found[k] else UNSURE)
        else:
            verdicts.append(SILENT if heard["copies_5_percent"][k] else DULL if heard["copies"][k] else BLIND)
    return verdicts


def _roles(c: Comparison) -> tuple[Cohort, Cohort]:
    """Return the halves of held_out, by patient: the reference, and the fresh control."""
    if c.train is None or c.held_out is None:
        raise InputError(f"comparison has train={c.train} and held_out={c.held_out}; an audit needs both: members, and "
                         "patients in no other role for the reference and the fresh control")  # fmt: skip
    people = {role: set(getattr(c, role).table["patient_id"]) for role in ("train", "real", "held_out")}
    for a, b in (("train", "real"), ("train", "held_out"), ("real", "held_out")):
        if people[a] & people[b]:
            raise InputError(f"{a} and {b} share {len(people[a] & people[b])} patients, first patient_id "
                             f"{min(people[a] & people[b])}; give each patient to one role")  # fmt: skip
    patients = c.held_out.table["patient_id"].to_numpy()
    first = np.isin(patients, np.unique(patients)[::2])
    if first.all():
        raise InputError("held_out holds a single patient; expected at least two, for a reference and a control")
    return c.held_out.select(first), c.held_out.select(~first)
