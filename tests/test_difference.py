"""Paired differences: of a side with itself none; narrower than unpaired ones; refused where patients differ."""

from dataclasses import replace

import numpy as np
import pytest
from cohorts import random_cohort

from ecglib.errors import InputError
from ecglib.evaluation import Comparison, NotComputable
from ecglib.evaluation.difference import differences


def amplitude(cohort):
    return np.abs(cohort.x[:]).mean(axis=(1, 2))


def mean_amplitude(c):
    return {"mean": float(c.terms("synthetic", amplitude).mean())}


@pytest.fixture(scope="module")
def real():
    return random_cohort(60)


def comparison(real, gain, noise=0.0):
    rng = np.random.default_rng(0)
    x = (gain * real.x + noise * rng.standard_normal(real.x.shape)).astype(np.float32)
    table = real.table.assign(source_ecg_id=real.table["ecg_id"])
    return Comparison(real, replace(real, x=x, table=table))


def test_a_side_with_itself_differs_by_nothing(real):
    row = differences(comparison(real, 1.5), comparison(real, 1.5), [mean_amplitude]).iloc[0]
    assert (row["difference"], row["low"], row["high"]) == (0, 0, 0)


def test_value_and_sign_by_hand(real):
    row = differences(comparison(real, 1.0), comparison(real, 1.5), [mean_amplitude]).iloc[0]
    assert row["difference"] == pytest.approx(-0.5 * amplitude(real).mean(), rel=1e-5)
    assert row["low"] < row["difference"] < row["high"] < 0


def test_pairing_takes_out_what_both_owe_to_the_patients(real):
    a, b = comparison(real, 1.0), comparison(real, 1.02, noise=0.01)
    row = differences(a, b, [mean_amplitude]).iloc[0]
    alone = amplitude(real).std() / np.sqrt(len(real)) * 2 * 1.96 * np.sqrt(2)  # two independent intervals
    assert row["high"] - row["low"] < 0.2 * alone


def test_a_positive_difference_is_not_cut_at_nothing(real):
    rng = np.random.default_rng(1)
    shuffled = replace(real, x=real.x[rng.permutation(60)], table=real.table.assign(source_ecg_id=real.table["ecg_id"]))
    a, b = comparison(real, 1.001), Comparison(real, shuffled)
    row = differences(a, b, [mean_amplitude]).iloc[0]
    assert row["low"] < 0 < row["high"]


def test_other_patients_are_refused(real):
    with pytest.raises(InputError, match="ecg_id"):
        differences(comparison(real, 1.0), comparison(random_cohort(60, first_id=500), 1.0), [mean_amplitude])
    with pytest.raises(InputError, match="source_ecg_id"):
        differences(Comparison(real, real), Comparison(real, real), [mean_amplitude])


def test_other_roles_are_refused(real):
    a, b = comparison(real, 1.0), comparison(real, 1.5)
    train = random_cohort(20, seed=3, first_id=900)
    with pytest.raises(InputError, match="first has the roles real, synthetic, train, second real, synthetic"):
        differences(a.instead(train=train), b, [mean_amplitude])
    with pytest.raises(InputError, match="of the same patients"):
        differences(a.instead(train=train), b.instead(train=random_cohort(20, first_id=950)), [mean_amplitude])


def test_a_metric_that_reads_the_cohorts_themselves_has_an_interval(real):
    def whole(c):
        return {"mean": float(amplitude(c.synthetic).mean())}

    row = differences(comparison(real, 1.0), comparison(real, 1.5), [whole]).iloc[0]
    by_hand = differences(comparison(real, 1.0), comparison(real, 1.5), [mean_amplitude]).iloc[0]
    assert row["difference"] == pytest.approx(by_hand["difference"]) and row["low"] < row["difference"] < row["high"]


def test_what_a_side_lacks_is_a_row_without_a_value(real):
    def refused(c):
        raise NotComputable("there is no light")

    def sometimes(c):
        if c.terms("synthetic", amplitude).mean() > 1.2 * amplitude(real).mean():
            raise NotComputable("it is too loud")
        return {"mean": 1.0}

    table = differences(comparison(real, 1.0), comparison(real, 1.5), [refused, sometimes])
    assert table[["metric", "key"]].to_numpy().tolist() == [["refused", ""], ["sometimes", "mean"]]
    assert table[["difference", "low", "high"]].isna().all(axis=None)
