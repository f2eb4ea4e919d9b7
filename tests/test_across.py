"""From one cohort to another: shared statements, halves that share no patient, and who stands in for whom."""

import numpy as np
import pytest
from cohorts import random_cohort
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglib.errors import InputError
from ecglib.evaluation import Comparison, evaluate
from ecglib.evaluation.across import described_by, halves, shared_statements, stand_in
from ecglib.evaluation.fidelity import ilce


def cohort_of(*codes: str, seed: int = 0, first_id: int = 1):
    """A cohort whose k-th record carries the statements of the k-th text."""
    named = [{name: 100.0 for name in text.split()} for text in codes]
    return random_cohort(len(codes), seed=seed, first_id=first_id, scp_codes=named)


def test_shared_statements_are_frequent_at_the_source_and_known_at_the_target():
    source = cohort_of(*["NORM SR"] * 8, *["AFIB"] * 7, "LVH")
    target = cohort_of("SR AFIB", "LVH", "IMI")
    assert shared_statements(source, target) == ("SR",)
    assert shared_statements(source, target, 7) == ("AFIB", "SR")
    assert shared_statements(source, target, 1) == ("AFIB", "LVH", "SR")
    assert shared_statements(source, cohort_of("IMI")) == ()


def test_records_are_described_by_what_is_shared_and_keep_their_signals():
    target = cohort_of("SR IMI", "IMI", "NORM SR", "")
    kept = described_by(target, ("NORM", "SR"))
    assert kept.table["scp_codes"].tolist() == [{"SR": 100.0}, {"NORM": 100.0, "SR": 100.0}]
    assert kept.table["ecg_id"].tolist() == [1, 3] and np.array_equal(kept.x, target.x[[0, 2]])
    assert target.table["scp_codes"].iloc[0] == {"SR": 100.0, "IMI": 100.0}, "the cohort given was changed"
    with pytest.raises(InputError, match="none of the 4 records of 'random' carries one of the 1 statements"):
        described_by(target, ("AFIB",))


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 40), st.integers(1, 5), st.integers(0, 5))
def test_halves_divide_the_patients(n, per_patient, seed):
    cohort = random_cohort(n, n_times=10, per_patient=per_patient)
    patients = cohort.table["patient_id"].nunique()
    if patients < 2:
        with pytest.raises(InputError, match="two halves need two"):
            halves(cohort, seed)
        return
    a, b = halves(cohort, seed)
    assert sorted([*a.table["ecg_id"], *b.table["ecg_id"]]) == cohort.table["ecg_id"].tolist()
    assert len(a) and len(b) and not set(a.table["patient_id"]) & set(b.table["patient_id"])
    assert abs(len(a) - len(b)) <= 2 * per_patient


def test_who_stands_in_is_alike_and_used_once():
    wanted = cohort_of("AFIB", "NORM", "NORM", seed=1, first_id=100)
    offered = cohort_of("IMI", "NORM", "AFIB", "NORM", "LVH")
    chosen = stand_in(wanted, offered)
    assert chosen.table["source_ecg_id"].tolist() == [100, 101, 102]
    assert chosen.table["scp_codes"].tolist() == wanted.table["scp_codes"].tolist()
    assert chosen.table["ecg_id"].is_unique and set(chosen.table["ecg_id"]) == {2, 3, 4}
    assert len(stand_in(offered, wanted)) == 3, "no more than are offered"


def test_floor_and_value_stand_at_equal_n():
    a, b = halves(random_cohort(60))
    other = stand_in(a, random_cohort(200, seed=2, first_id=1000))
    table = evaluate(Comparison(a, other, train=b), [ilce], resamples=0)
    assert table["floor"].notna().all() and (table["n"] == len(a)).all()
    assert "n/2" not in "".join(table["reason"])
