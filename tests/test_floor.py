"""The real-against-real floor: equal n, no shared patient, partners that are alike."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cohorts import random_cohort
from test_comparison import amplitude_gap, with_source

from ecglib.evaluation import Comparison, evaluate
from ecglib.evaluation.clinical import age_and_sex
from ecglib.evaluation.floor import STAND_INS, floor_comparisons, match


@pytest.fixture(scope="module")
def real():
    return random_cohort(40)


@pytest.fixture(scope="module")
def synthetic(real):
    return with_source(random_cohort(40, seed=1, first_id=1001), real.table["ecg_id"])


def test_from_train_at_equal_n(real, synthetic):
    train = random_cohort(100, seed=2, first_id=501)
    (floor, second), note = floor_comparisons(Comparison(real, synthetic, train=train), 0)  # 100 records, 40 a set
    assert not set(floor.table("synthetic")["ecg_id"]) & set(second.table("synthetic")["ecg_id"])
    assert note == "" and floor.n("real") == floor.n("synthetic") == 40
    stand_in = floor.table("synthetic")
    assert set(stand_in["patient_id"]) <= set(train.table["patient_id"])
    assert stand_in["source_ecg_id"].tolist() == real.table["ecg_id"].tolist()
    assert (stand_in["scp_codes"].map(list) == synthetic.table["scp_codes"].map(list)).all()


def test_patients_of_real_are_no_stand_in(real, synthetic):
    train = random_cohort(50, seed=2, first_id=16)  # patients 16–40 are also in real
    (floor,), note = floor_comparisons(Comparison(real, synthetic, train=train), 0)
    assert not set(floor.table("synthetic")["patient_id"]) & set(real.table["patient_id"])
    assert floor.n("synthetic") == 25 and "floor at n = 25" in note


def test_halves_share_no_patient(synthetic):
    real = random_cohort(40, per_patient=3)
    halves, note = floor_comparisons(Comparison(real, synthetic), 0)
    assert "floor at n/2 = 20" in note
    for half in halves:
        a, b = half.table("real"), half.table("synthetic")
        assert not set(a["patient_id"]) & set(b["patient_id"])
        assert len(a) + len(b) == 40 and abs(len(a) - len(b)) <= 6
        pd.testing.assert_frame_equal(half.real.table, a)  # a metric may also read the cohorts themselves


def test_one_patient_has_no_floor():
    row = evaluate(Comparison(*[random_cohort(10, per_patient=10)] * 2), [amplitude_gap]).iloc[0]
    assert np.isnan(row.floor) and "single patient" in row.reason


def test_floor_shrinks_with_n():
    def distance(c):
        return {"mean": abs(amplitude_gap(c)["mean"])}

    floors = []
    for n in (16, 400):
        real = random_cohort(n, n_times=50)
        floors.append(evaluate(Comparison(real, real), [distance], resamples=0).floor[0])
    assert floors[1] < floors[0] / 2


def test_match_prefers_statements_then_sex_then_age():
    def table(*rows):
        return pd.DataFrame(rows, columns=["scp_codes", "sex", "age"])

    wanted = table(({"IMI": 100.0, "SR": 0.0}, 1, 60))
    rng = np.random.default_rng(0)
    nearer_age, same_sex = ({"SR": 0.0, "IMI": 50.0}, 1, 50), ({"SR": 0.0, "IMI": 50.0}, 1, 30)
    same_set, same_class, other = ({"SR": 0.0, "IMI": 50.0}, 0, 60), ({"AMI": 100.0}, 1, 60), ({"NORM": 9.0}, 1, 60)
    ranked = [nearer_age, same_sex, same_set, same_class, other]
    for k in range(len(ranked)):
        assert match(wanted, table(*ranked[k:][::-1]), rng)[0] == len(ranked[k:]) - 1
    assert match(table(nearer_age, other, same_sex), table(same_sex), rng).tolist() == [0, -1, -1]
    assert match(table(({}, np.nan, np.nan)), table(({}, np.nan, np.nan)), rng).tolist() == [0]


def test_floor_that_cannot_be_computed(real, synthetic):
    def needs_many(c):
        c.at_least(30)
        return amplitude_gap(c)

    row = evaluate(Comparison(real, synthetic), [needs_many], resamples=0).iloc[0]
    assert np.isfinite(row.value) and np.isnan(row.floor)
    assert "floor not computed because it needs at least 30 records and real has 20" in row.reason


def test_halves_are_read_by_trees_that_did_not_learn_from_them(monkeypatch):
    """Measures of noise tell neither age nor sex: in halves of real records, too, trees must guess."""
    def noise(cohort):
        return np.random.default_rng(0).normal(size=(1000, 22))[cohort.table["ecg_id"].to_numpy() % 1000]

    monkeypatch.setattr("ecglib.evaluation.clinical.measured", noise)
    real = random_cohort(240, n_times=100)
    rng = np.random.default_rng(1)
    real = replace(real, table=real.table.assign(age=rng.uniform(20, 90, 240), sex=rng.integers(0, 2, 240) * 1.0))
    synthetic = with_source(replace(real, table=real.table.assign(ecg_id=2000 + np.arange(240))), real.table["ecg_id"])
    table = evaluate(Comparison(real, synthetic), [age_and_sex], resamples=0).set_index("key")
    assert 0.35 < table.loc["sex_auc", "floor"] < 0.65 and table.loc["age_mae", "floor"] > 12


def test_a_floor_is_the_mean_over_disjoint_sets_of_training_records(real, synthetic):
    train = random_cohort(400, seed=2, first_id=501)
    sets, note = floor_comparisons(Comparison(real, synthetic, train=train), 0)
    ids = np.concatenate([one.table("synthetic")["ecg_id"] for one in sets])
    assert len(sets) == STAND_INS and note == "" and len(np.unique(ids)) == len(ids) == 40 * STAND_INS
    row = evaluate(Comparison(real, synthetic, train=train), [amplitude_gap], resamples=0).iloc[0]
    assert row.floor == pytest.approx(np.mean([amplitude_gap(one)["mean"] for one in sets]))
