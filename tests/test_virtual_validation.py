"""Virtual beside real: gaps are where cohorts differ and nowhere else; a classifier sees what is there, not more."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wasserstein_distance

from ecglib.errors import InputError
from ecglib.signals import Cohort, to_eight_leads
from ecglib.signals.leads import LEADS_8
from ecglib.signals.virtual import virtual_cohort
from ecglib.signals.virtual.measures import measure
from ecglib.signals.virtual.validation import _distances, beside, giveaways, twins

N = 160


@pytest.fixture(scope="module")
def patients() -> Cohort:
    return virtual_cohort(N, seed=8, population="teaching", workers=1)


def rows_above_floor(table: pd.DataFrame) -> set[str]:
    """The measures that have a gap above the floor, among all records."""
    return set(table[(table["group"] == "all") & (table["gap"] > table["floor"])]["measure"])


def test_a_cohort_beside_itself_has_no_gap(patients: Cohort) -> None:
    table = beside(patients, patients)
    known = table.dropna(subset="gap")
    assert (known["gap"] == 0).all() and (known["shift"] == 0).all() and (known["floor"] > 0).all()
    assert set(table["group"]) == {"all", "NORM", "AFIB"}
    every = table[table["group"] == "all"]
    assert len(every) > 190 and not every["gap"].isna().any() and not every.duplicated(["measure", "lead"]).any()


def test_a_gain_of_two_raises_amplitudes_and_powers_only(patients: Cohort) -> None:
    table = beside(replace(patients, x=2 * patients.x), patients)
    raised = rows_above_floor(table)
    assert {"R", "S or Q", "T", "power 5–15 Hz", "residual in QRS"} <= raised
    assert not raised & {"RR CV", "heart rate", "correlation", "power share", "axis", "PR interval", "QRS interval"}
    power = table[(table["measure"] == "power 5–15 Hz") & (table["group"] == "all")]
    np.testing.assert_allclose(power["median_virtual"] - power["median_real"], 20 * np.log10(2), atol=0.01)


def test_a_longer_pr_raises_the_pr_interval_only(patients: Cohort) -> None:
    assert patients.waves is not None
    late = patients.waves.assign(p_on=patients.waves["p_on"] - 0.04, p_off=patients.waves["p_off"] - 0.04)
    table = beside(replace(patients, waves=late), patients)
    assert rows_above_floor(table) == {"PR interval"}
    pr = table[(table["measure"] == "PR interval") & (table["group"] == "all")].iloc[0]
    assert pr["median_virtual"] - pr["median_real"] == pytest.approx(40, abs=0.1)


def test_shuffled_chest_leads_raise_correlations_and_no_rhythm(patients: Cohort) -> None:
    mixed = np.asarray(patients.x).copy()
    mixed[:, 6:] = mixed[:, [9, 11, 7, 6, 10, 8]]
    raised = rows_above_floor(beside(replace(patients, x=mixed), patients))
    assert {"correlation", "R", "S or Q"} <= raised
    assert not raised & {"RR CV", "heart rate", "axis", "PR interval", "power share", "template SNR"}


def test_the_distance_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    x = np.round(rng.standard_normal(50), 1)  # with ties
    splits = rng.random((20, 50)) < 0.4
    expected = [wasserstein_distance(x[split], x[~split]) for split in splits]
    np.testing.assert_allclose(_distances(x, splits), expected, rtol=1e-12)


def test_the_floor_is_the_gap_of_two_halves(patients: Cohort) -> None:
    whole = virtual_cohort(2 * N, seed=9, population="teaching", workers=1)
    table = beside(patients, whole).query("group == 'all'")
    assert (table["gap"] < table["floor"]).mean() > 0.7  # 95 %, but for who is in which sample
    assert table["floor"].median() == pytest.approx(0.2, rel=0.3)  # about 1.8 sqrt(1/160 + 1/160)


def test_twins_are_alike_and_chosen_once(patients: Cohort) -> None:
    real = patients.select(patients.has("AFIB") | (patients.table["age"] > 75).to_numpy())
    others = virtual_cohort(5 * N, seed=10, population="teaching", workers=1)
    rows = twins(others, real)
    assert len(set(rows)) == len(rows) == 2 * len(real)
    chosen = others.select(rows)
    assert abs(chosen.has("AFIB").mean() - real.has("AFIB").mean()) < 0.1 < abs(
        others.has("AFIB").mean() - real.has("AFIB").mean())  # fmt: skip
    assert abs(chosen.table["age"].mean() - real.table["age"].mean()) < 3
    assert len(twins(real, others)) == len(real)  # too few to go round


def test_unmeasurable_records_are_missing_not_zero(patients: Cohort) -> None:
    x = np.asarray(patients.x).copy()
    x[0] = 0
    values = measure(replace(patients, x=x, waves=None))
    assert values.drop(columns="age", level="measure").iloc[0].isna().all()
    assert not values["R"].iloc[1:].isna().any(axis=None)
    assert "PR interval" not in values.columns.get_level_values("measure")


def test_groups_too_small_for_a_distribution_are_said(patients: Cohort) -> None:
    sinus = patients.select(~patients.has("AFIB"))
    table = beside(patients, sinus).query("group == 'AFIB'")
    assert (table["n_real"] == 0).all() and table[["gap", "floor", "shift"]].isna().all(axis=None)


def test_a_classifier_finds_nothing_between_halves_of_one_cohort() -> None:
    whole = virtual_cohort(260, seed=11, population="teaching", workers=1)
    odd = (whole.table["patient_id"] % 2 == 1).to_numpy()
    summary, table = giveaways(whole.select(odd), whole.select(~odd))
    assert (summary["auc"] - 0.5).abs().max() < 0.15
    assert (summary["ci_low"] < summary["auc"]).all() and (summary["auc"] < summary["ci_high"]).all()
    assert table["auc_lost"].abs().max() < 0.15 and summary["n_real"].tolist() == [(~odd).sum()] * 2


def test_a_classifier_finds_a_gross_distortion_and_names_it(patients: Cohort) -> None:
    some = patients.select(range(70))
    hum = 0.3 * np.sin(2 * np.pi * 30 * np.arange(1000) / 100).astype(np.float32)
    summary, table = giveaways(replace(some, x=some.x + hum), some)
    assert (summary["auc"] > 0.95).all()
    alone = table.set_index("measure")["auc_alone"]
    assert alone["power 15–40 Hz"] > 0.99 and abs(alone["heart rate"] - 0.5) < 0.1 and len(table) > 20
    named = replace(some, table=some.table.assign(patient_id="p" + some.table["patient_id"].astype(str)))
    again, _ = giveaways(replace(some, x=some.x + hum), named)  # a folder's patients may have names
    assert again["n_real"].equals(summary["n_real"]) and (again["auc"] > 0.95).all()
    again, _ = giveaways(replace(some, x=some.x + hum), some)
    assert again.equals(summary)


def test_what_cannot_be_compared_is_refused(patients: Cohort) -> None:
    eight = replace(patients, x=to_eight_leads(np.asarray(patients.x)), leads=LEADS_8)
    few = patients.select(range(8))
    with pytest.raises(InputError, match="real has the leads I, aVF"):
        beside(patients, eight)
    with pytest.raises(InputError, match="fs=100 Hz, real fs=500 Hz"):
        giveaways(patients, replace(patients, fs=500))
    with pytest.raises(InputError, match="virtual has 7 patients; expected at least 10"):
        beside(few, patients)
    with pytest.raises(InputError, match="real has 7 patients; expected at least 30"):
        giveaways(patients, few)


def test_real_records_beside_virtual_ones(ludb_500: Cohort) -> None:
    real = ludb_500.select(range(50))
    table = beside(virtual_cohort(100, seed=1, fs=500, workers=1), real).query("group == 'all'")
    assert table["n_real"].max() == 50 and table["n_virtual"].max() == 100
    halves = beside(ludb_500.select(range(1, 200, 2)), ludb_500.select(range(0, 200, 2))).query("group == 'all'")
    assert halves["gap"].mean() < table["gap"].mean()  # real records are more like real ones
    assert halves["gap"].median() < 1.2 * halves["floor"].median()
