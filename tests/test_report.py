"""The report: table, JSON and figure say the same, controls stand beside the values, a NaN has its reason."""

import json

import numpy as np
import pandas as pd
import pytest
from cohorts import random_cohort

from ecglib.evaluation import Comparison, fidelity
from ecglib.evaluation.report import CONTROLS, report
from ecglib.runs import read_manifest

METRICS = [fidelity.ilce, fidelity.log_spectral_distance, fidelity.ilce_paired]


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    real, synthetic = random_cohort(24), random_cohort(24, seed=1, first_id=101)
    return Comparison(real, synthetic, train=random_cohort(60, seed=2, first_id=201))


def test_table_json_and_figure_are_written_and_agree(comparison, folder):
    table = report(comparison, METRICS, folder / "report", resamples=20)
    again = pd.read_csv(folder / "report" / "report.csv")
    assert again["value"].to_numpy() == pytest.approx(table["value"].to_numpy(), nan_ok=True)
    described = json.loads((folder / "report" / "report.json").read_text(encoding="utf-8"))
    assert list(described["metrics"]) == [metric.__name__ for metric in METRICS]
    for name, entry in described["metrics"].items():
        assert entry["definition"] and len(entry["rows"]) == (table["metric"] == name).sum()
    rows = described["metrics"]["ilce"]["rows"]
    assert rows[0]["value"] == pytest.approx(table.loc[table["metric"] == "ilce", "value"].iloc[0])
    assert (folder / "report" / "report.png").read_bytes()[:4] == b"\x89PNG"
    manifest = read_manifest(folder / "report", "evaluation")
    assert described["made"] == json.loads(json.dumps(manifest))


def test_json_has_null_and_a_reason_where_nothing_is_known(comparison, tmp_path):
    report(comparison, METRICS, tmp_path, resamples=0)
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    row = json.loads(text)["metrics"]["ilce_paired"]["rows"][0]
    assert row["value"] is None and row["reason"].startswith("not computed because")


def test_controls_stand_beside_the_values(comparison, tmp_path):
    table = report(comparison, METRICS, tmp_path, resamples=0).set_index(["metric", "key"])
    assert [control.__name__ for control in CONTROLS] == ["exact_copies", "smoothing_90_ms", "leads_mixed"]
    ilce, spectra = table.loc[("ilce", "mean")], table.loc[("log_spectral_distance", "mean")]
    assert ilce["exact_copies"] == 0 and ilce["leads_mixed"] > ilce["floor"]
    assert spectra["smoothing_90_ms"] > spectra["floor"]


def test_without_controls_the_columns_are_evaluates(comparison, tmp_path):
    table = report(comparison, METRICS[:1], tmp_path, resamples=0, controls=())
    assert table.columns.tolist() == ["metric", "key", "value", "ci_low", "ci_high", "n", "floor", "reason"]


def test_too_few_records_make_a_report_all_the_same(tmp_path):
    few = Comparison(random_cohort(4), random_cohort(4, seed=1))
    table = report(few, METRICS, tmp_path, resamples=0)
    assert np.isnan(table["value"]).all() and table["reason"].str.startswith("not computed because").all()
    assert (tmp_path / "report.json").exists() and not (tmp_path / "report.png").exists()
