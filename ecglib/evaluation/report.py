"""The report of a generator: every metric with n, interval, floor and controls; a table, JSON, and a figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ecglib.evaluation.comparison import Comparison
from ecglib.evaluation.measure import Metric, definition, evaluate, name_of
from ecglib.evaluation.response import Corruption, exact_copies, leads_mixed, response_card, smoothing_90_ms
from ecglib.runs import atomic_file, read_manifest, reopened, write_text

CONTROLS: tuple[Corruption, ...] = (exact_copies, smoothing_90_ms, leads_mixed)
CONTROL_RECORDS = 256  # at most: controls are to be recognised, not measured finely


def report(comparison: Comparison, metrics: Sequence[Metric], folder: Path | str, *, seed: int = 0,
           resamples: int = 200, controls: Sequence[Corruption] = CONTROLS) -> pd.DataFrame:  # fmt: skip
    """Evaluate a generator, and the controls beside it, and write all of it down.

    Parameters
    ----------
    comparison, metrics, seed, resamples
        As in `evaluate`.
    folder : path
        ``evaluation.csv`` (without controls), ``report.csv``, ``report.json``, ``report.png`` and the manifest are
        written there.
    controls : sequence of corruptions
        What stands in the synthetic records' place: copies of the real ones, the positive control of fidelity, and real
        records spoiled in known ways, which a metric must notice that claims to see that kind of fault.

    Returns
    -------
    DataFrame
        The columns of `evaluate`, and one a control; NaN where the control could not be computed.
    """
    folder = Path(folder)
    table = evaluate(comparison, metrics, seed=seed, resamples=resamples, folder=folder)
    some = np.linspace(0, len(comparison.real) - 1, min(len(comparison.real), CONTROL_RECORDS)).astype(np.int64)
    if controls:
        card = response_card(comparison.real.select(some), metrics, seed=seed, floor=False, corruptions=controls)
        wide = card.pivot_table(index=["metric", "key"], columns="corruption", values="value", dropna=False)
        names = [control.__name__ for control in controls]
        table = table.merge(wide.reindex(columns=names).reset_index(), on=["metric", "key"], how="left")
    described = _described(table, metrics, folder, len(some))
    with reopened(folder):
        with atomic_file(folder / "report.csv") as path:
            table.to_csv(path, index=False)
        write_text(folder / "report.json", json.dumps(described, indent=2) + "\n")
        _draw(table, folder, [control.__name__ for control in controls])
    return table


def _described(table: pd.DataFrame, metrics: Sequence[Metric], folder: Path, n_controls: int) -> dict:
    """Return rows by metric, with definitions, and how they were made; what is not known is null, not NaN."""
    rows = json.loads(table.to_json(orient="records", double_precision=10))
    manifest = read_manifest(folder, "evaluation")
    by_metric = {name_of(metric): {"definition": definition(metric),
                                   "rows": [row for row in rows if row["metric"] == name_of(metric)]}
                 for metric in metrics}  # fmt: skip
    return {"metrics": by_metric, "control_records": n_controls, "made": manifest}


def _draw(table: pd.DataFrame, folder: Path, controls: Sequence[str]) -> None:
    from ecglib.figures import interval_plot

    known = table[table["value"].notna()]
    if len(known):
        with atomic_file(folder / "report.png") as path:
            interval_plot(known, controls=controls).savefig(path, metadata={"Software": "ecglib"}, format="png")
