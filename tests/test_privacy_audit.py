"""The audit: copies alarm, five per cent alarm in the tail, fresh records do not; a set equal to train is fault 49."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from toys import TEN, at

from ecglib.errors import InputError
from ecglib.evaluation import Comparison, privacy
from ecglib.evaluation.privacy import alarms, audit
from ecglib.evaluation.privacy.auditing import (
    BLIND,
    CONTEXT,
    FOUND,
    NO_LEAK,
    NOTHING,
    REFUSED,
    SILENT,
    UNSURE,
    no_leak,
)  # fmt: skip
from ecglib.signals import load_cohort

N = 800


def gauss(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 10))


def in_ten(metric):
    def bound(c):
        return metric(c, space=TEN)

    bound.__name__, bound.__doc__, bound.interval = metric.__name__, metric.__doc__, metric.interval
    return bound


TOY = [in_ten(metric) for metric in (privacy.mir, privacy.nnaa, privacy.dcr, privacy.distance_attack)]


def toy(released: np.ndarray, **roles) -> Comparison:
    sets = {"real": at(gauss(1000, 1)), "train": at(gauss(N, 0), first_id=10_001),
            "held_out": at(gauss(3 * N, 3), first_id=20_001)} | roles  # fmt: skip
    return Comparison(synthetic=at(released, first_id=5001), **sets)


@pytest.fixture(scope="module")
def equal_to_train() -> pd.DataFrame:
    return audit(toy(gauss(N, 0)), TOY, resamples=40)


@pytest.fixture(scope="module")
def fresh() -> pd.DataFrame:
    return audit(toy(gauss(N, 2)), TOY, resamples=40)


def test_a_set_equal_to_the_training_set_alarms_in_every_metric(equal_to_train):  # fault 49
    known = equal_to_train[equal_to_train["value"].notna()]
    judged = known[[np.isfinite(no_leak(*row)) for row in zip(known["metric"], known["key"], strict=True)]]
    assert len(judged) == 6 and (judged["verdict"] == FOUND).all()


def test_fresh_records_do_not_alarm(fresh):
    assert FOUND not in set(fresh["verdict"])


def test_controls_stand_beside_every_value(fresh):
    rows = fresh.set_index(["metric", "key"])
    area, rate = rows.loc[("distance_attack", "auc beats")], rows.loc[("distance_attack", "tpr 1% beats")]
    assert area["copies"] > 0.95 > 0.6 > area["copies_5_percent"] and abs(area["fresh"] - 0.5) < 0.06
    assert rate["copies_5_percent"] > 0.04 > rate["fresh"]
    assert (rows.columns == ["value", "ci_low", "ci_high", "n", *privacy.CONTROLS, "verdict", "reason"]).all()


def test_the_tail_notices_five_per_cent_of_copies_and_the_averages_do_not(fresh):
    verdicts = fresh.set_index(["metric", "key"])["verdict"]
    assert verdicts["distance_attack", "tpr 1% beats"] == SILENT
    assert verdicts["nnaa", "privacy loss beats"] != SILENT and verdicts["dcr", "distinct beats"] != SILENT


def test_five_per_cent_of_copies_alarm_in_the_tail():
    few = np.concatenate([gauss(N, 0)[: N // 20], gauss(N, 2)[N // 20 :]])
    verdicts = audit(toy(few), TOY, resamples=40).set_index(["metric", "key"])["verdict"]
    assert verdicts["distance_attack", "tpr 1% beats"] == FOUND
    assert verdicts["nnaa", "privacy loss beats"] != FOUND


def test_what_is_no_verdict_says_so(fresh):
    verdicts = fresh.set_index(["metric", "key"])["verdict"]
    assert verdicts["mir", "f1 naive"] == CONTEXT and verdicts["distance_attack", "tpr 0.1% beats"] == REFUSED
    words = " ".join(fresh["verdict"].unique())
    assert "privacy-preserving" not in words and "private" not in words and "safe" not in words


def test_an_attack_that_notices_not_even_copies_is_called_blind():
    def deaf(c):
        """A constant."""
        return {"sex": 0.1 + 1e-9 * c.n("train")}

    deaf.__name__ = "attribute_inference"
    assert audit(toy(gauss(N, 2)), [deaf], resamples=20)["verdict"].tolist() == [BLIND]


def test_without_an_interval_there_is_no_verdict():
    """A full leak, measured without draws: its value alone is compared with nothing."""
    table = audit(toy(gauss(N, 0)), TOY[:2], resamples=0).set_index(["metric", "key"])
    leaks = [("mir", "f1 beats"), ("nnaa", "privacy loss beats")]
    assert table.loc[leaks, "ci_low"].isna().all() and (table.loc[leaks, "verdict"] == UNSURE).all()


def test_without_enough_fresh_records_there_are_no_controls_and_it_is_said():
    table = audit(toy(gauss(N, 2), held_out=at(gauss(60, 3), first_id=20_001)), TOY[:1], resamples=10)
    assert table[list(privacy.CONTROLS)].isna().all(axis=None)
    assert table["reason"].str.contains("no controls: controls as large as the synthetic set").all()
    assert set(table["verdict"]) == {CONTEXT, NOTHING}


def test_roles_that_share_a_patient_are_refused():
    with pytest.raises(InputError, match="train and real share 800 patients"):
        audit(toy(gauss(N, 2), train=at(gauss(N, 0), first_id=1)), TOY)
    with pytest.raises(InputError, match="an audit needs both"):
        audit(toy(gauss(N, 2), held_out=None), TOY)


def test_alarm_is_an_interval_farther_out_than_fresh_records_strayed():
    columns = ["metric", "key", "ci_low", "ci_high"]
    fresh = pd.DataFrame([["white_box", "auc loss", 0.45, 0.55], ["mir", "f1 naive", 0.6, 0.7]], columns=columns)
    rows = fresh.assign(ci_low=[0.551, 0.8], ci_high=[0.6, 0.9])
    assert alarms(rows, fresh).tolist() == [True, False]
    assert alarms(rows.assign(ci_low=[0.549, 0.8]), fresh).tolist() == [False, False]
    below = fresh.assign(ci_low=[0.38, 0.6], ci_high=[0.45, 0.7])  # strayed by 0.12: what lies so far above is no news
    assert alarms(rows, below).tolist() == [False, False]
    assert alarms(rows.assign(ci_low=0.63, ci_high=0.7), below).tolist() == [True, False]
    assert not alarms(rows.assign(ci_low=np.nan, ci_high=np.nan), fresh).any()


def test_every_metric_has_a_reading():
    assert set(NO_LEAK) == {metric.__name__ for metric in privacy.METRICS}


def test_the_table_is_written(tmp_path):
    table = audit(toy(gauss(40, 2)), TOY[:2], resamples=5, folder=tmp_path / "audit")
    assert (pd.read_csv(tmp_path / "audit" / "audit.csv")["key"] == table["key"]).all()
    assert (tmp_path / "audit" / "manifest.json").exists()


def test_real_beats_equal_to_train_alarm_and_others_do_not():  # fault 49, on ECGs
    cohort = load_cohort("virtual", n=90, seed=21, population="teaching", workers=1)
    real = privacy.more_patients(cohort, 100, 22, first_id=10_000)
    held_out = privacy.more_patients(cohort, 180, 23, first_id=20_000)
    some = np.arange(80)
    metrics = (privacy.nnaa, privacy.dcr, privacy.copies, privacy.distance_attack)
    released = cohort.select(some)
    copied = replace(released, table=released.table.assign(source_ecg_id=released.table["ecg_id"], ecg_id=some + 1))
    verdicts = audit(Comparison(real, copied, cohort, held_out), metrics, resamples=30).set_index(["metric", "key"])
    for key in (("nnaa", "privacy loss beats"), ("dcr", "distinct beats"), ("copies", "share 1%"),
                ("distance_attack", "auc beats")):  # fmt: skip
        assert verdicts.loc[key, "verdict"] == FOUND, key
