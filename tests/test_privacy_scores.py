"""Areas, rates and intervals against slow or analytic forms; a patient counts once; too few are refused."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, norm
from sklearn.metrics import roc_auc_score, roc_curve
from toys import at

from ecglib.evaluation import Comparison, NotComputable, evaluate
from ecglib.evaluation.privacy.scores import (
    attack,
    auc,
    by_patient,
    clopper_pearson,
    counted,
    fewest,
    roc,
    true_positives,
)  # fmt: skip

whole = st.lists(st.integers(0, 6), min_size=1, max_size=30)


@given(whole, whole)
def test_auc_and_roc_are_scikit_learns(members, others):
    truth, scores = np.repeat([1, 0], [len(members), len(others)]), np.array(members + others, float)
    assert auc(np.array(members), np.array(others)) == pytest.approx(roc_auc_score(truth, scores))
    false, true = roc(np.array(members, float), np.array(others, float))
    expected = roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(false, expected[0], atol=1e-12)
    np.testing.assert_allclose(true, expected[1], atol=1e-12)


def test_two_gaussians_have_the_area_of_theory():
    rng = np.random.default_rng(0)
    members, others = rng.normal(1, 1, 20_000), rng.normal(0, 1, 20_000)
    assert auc(members, others) == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=0.006)
    rate = true_positives(members, others, 0.01) / len(members)
    assert rate == pytest.approx(norm.sf(norm.isf(0.01) - 1), abs=0.01)


@given(whole, st.lists(st.integers(0, 6), min_size=2, max_size=60), st.sampled_from([0.0, 0.01, 0.1, 0.5]))
def test_the_rate_is_kept_and_no_lower_threshold_keeps_it(members, others, rate):
    members, others = np.array(members, float), np.array(others, float)
    counts = [(members > c).sum() for c in np.append(np.unique(others), -1) if (others > c).mean() <= rate]
    assert true_positives(members, others, rate) == max(counts)


@given(st.integers(0, 40), st.integers(1, 40))
def test_exact_interval_is_that_of_the_beta_distribution(k, n):
    k = min(k, n)
    low, high = clopper_pearson(k, n)
    assert low == pytest.approx(beta.ppf(0.025, k, n - k + 1) if k else 0, abs=1e-9)
    assert high == pytest.approx(beta.ppf(0.975, k + 1, n - k) if k < n else 1, abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 4), st.one_of(st.integers(-3, 3), st.just(np.nan))), max_size=20))
def test_a_patient_has_the_highest_score_once(records):
    patients, scores = np.array([p for p, _ in records], int), np.array([s for _, s in records], float)
    found = by_patient(scores, patients)
    for patient in np.unique(patients):
        own, kept = scores[patients == patient], found[patients == patient]
        assert np.isfinite(kept).sum() == np.isfinite(own).any()
        if np.isfinite(own).any():
            assert np.nanmax(kept) == np.nanmax(own)


def test_as_many_records_of_each_patient_count_as_each_has():
    members = pd.DataFrame({"patient_id": [7, 7, 8, 7, 8], "ecg_id": [5, 1, 2, 3, 4]})
    others = pd.DataFrame({"patient_id": [1, 2, 1, 2], "ecg_id": [10, 11, 12, 13]})
    assert fewest(members, others) == 2 and fewest(members, others.head(3)) == 1
    assert counted(members, 2).tolist() == [False, True, True, True, True], "the first two of each, by ecg_id"
    assert fewest(members.head(0), others.head(0)) == 1 and counted(members.head(0), 1).tolist() == []


def with_scores(n_members: int, n_others: int):
    """A metric of given scores, members' above those of others."""
    rng = np.random.default_rng(1)
    rank = {"train": rng.normal(1, 1, n_members), "real": rng.normal(0, 1, n_others)}

    def metric(c):
        """Toy."""
        return attack(c, "toy", {role: rank[role][c.table(role)["ecg_id"] % 100_000] for role in rank})

    metric.interval = "subsample"
    points = np.zeros((max(n_members, n_others), 1))
    comparison = Comparison(at(points[:n_others], first_id=0), at(points[:20], first_id=200_000),
                            train=at(points[:n_members], first_id=100_000))  # fmt: skip
    return comparison, metric


def test_rates_are_refused_below_1000_and_10000_others():
    comparison, metric = with_scores(50, 999)
    table = evaluate(comparison, [metric], resamples=0, floor=False).set_index("key")
    assert np.isfinite(table.loc["auc toy", "value"])
    why = table.loc["tpr 1% toy", "reason"]
    assert why.startswith("not computed because") and "at least 1,000 patients" in why and "there are 999" in why
    assert "at least 10,000" in table.loc["tpr 0.1% toy", "reason"]
    comparison, metric = with_scores(50, 1000)
    table = evaluate(comparison, [metric], resamples=0, floor=False).set_index("key")
    assert np.isfinite(table.loc["tpr 1% toy", "value"]) and np.isnan(table.loc["tpr 0.1% toy", "value"])


def test_a_rate_carries_its_exact_interval_and_the_area_one_over_patients():
    comparison, metric = with_scores(60, 1000)
    table = evaluate(comparison, [metric], resamples=40, floor=False).set_index("key")
    rate = table.loc["tpr 1% toy"]
    assert (rate.ci_low, rate.ci_high) == pytest.approx(clopper_pearson(round(rate.value * 60), 60))
    area = table.loc["auc toy"]
    assert area.ci_low < area.value < area.ci_high and area.n == 60


def test_few_patients_are_refused():
    comparison, metric = with_scores(7, 30)
    with pytest.raises(NotComputable, match="at least 8 patients on each side, and there are 7 members"):
        metric(comparison)
