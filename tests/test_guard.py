"""Plausibility and its guard: limits by hand, bounds against quantiles, rejection and resampling."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from ecglib.errors import InputError
from ecglib.evaluation import delineate
from ecglib.evaluation.guard import Guard, guarded_sample
from ecglib.evaluation.measurements import MEASURES, measured
from ecglib.evaluation.plausibility import HARD, PROMISES, SOFT, hard_violations, soft_violations
from ecglib.signals import STATEMENTS, Cohort, load_cohort

NORMAL = {
    "n_beats": 12, "heart_rate": 70, "rr_cv": 0.02, "rmssd_ms": 20, "template_snr_db": 15, "p_ms": 110, "p_mv": 0.1,
    "pr_ms": 160, "qrs_ms": 90, "qt_ms": 390, "qtcb_ms": 410, "qtcf_ms": 405, "st_mv": 0.05, "r_mv": 1.5, "s_mv": -1.2,
    "axis_deg": 40, "sokolow_mv": 2.5, "cornell_mv": 1.2,
}  # fmt: skip


@cache
def virtual() -> Cohort:
    return load_cohort("virtual", n=400, seed=11, fs=100)


def measures(**changes) -> pd.DataFrame:
    return pd.DataFrame([{**NORMAL, **changes}], columns=list(MEASURES))


class TestLimits:
    def test_a_normal_record_breaks_none(self):
        assert not hard_violations(measures(), [{"NORM"}]).any(axis=None)
        assert not soft_violations(measures(), [{"NORM"}]).any(axis=None)

    @pytest.mark.parametrize("name", HARD)
    def test_each_hard_limit_is_broken_on_both_sides(self, name):
        low, high = HARD[name]
        for value, broken in ((low, False), (high, False), (high + abs(high) * 0.01 + 1e-6, True), (low - 0.01, True)):
            assert hard_violations(measures(**{name: value}), [{"NORM"}])[name].item() is broken, (value, broken)

    @pytest.mark.parametrize("name", SOFT)
    def test_each_soft_limit_is_broken_on_both_sides(self, name):
        low, high = SOFT[name]
        for value, broken in ((low, False), (high, False), (high + 1, True), (low - 1, True)):
            assert soft_violations(measures(**{name: value}), [{"NORM"}])[name].item() is broken

    def test_statements_explain(self):
        assert not hard_violations(measures(pr_ms=450), [{"1AVB"}])["pr_ms"].item()
        assert not soft_violations(measures(qrs_ms=150), [{"CLBBB"}])["qrs_ms"].item()
        assert soft_violations(measures(qrs_ms=150), [{"NORM"}])["qrs_ms"].item()

    def test_what_is_absent_breaks_nothing(self):
        nothing = pd.DataFrame([dict.fromkeys(MEASURES, np.nan)])
        assert not hard_violations(nothing, [{"AFIB"}]).any(axis=None)
        assert not soft_violations(nothing, [{"AFIB"}]).any(axis=None)

    def test_promises_name_statements_and_tell_both_ways(self):
        assert set(PROMISES) <= set(STATEMENTS.index)
        odd = {"SR": {"p_ms": np.nan}, "SBRAD": {"heart_rate": 50}, "STACH": {"heart_rate": 120},
               "AFIB": {"p_ms": np.nan, "rr_cv": 0.2}, "1AVB": {"pr_ms": 240}, "CLBBB": {"qrs_ms": 150},
               "CRBBB": {"qrs_ms": 140}, "PACE": {"qrs_ms": 160}, "LAFB": {"axis_deg": -50},
               "LVH": {"sokolow_mv": 4.0}, "LNGQT": {"qtcb_ms": 480}}  # fmt: skip
        for statement, change in odd.items():
            assert PROMISES[statement](measures(**change)).item() is (statement != "SR")
            assert PROMISES[statement](measures()).item() is (statement == "SR")


class TestGuard:
    def test_bounds_leave_about_a_hundredth_of_the_training_records(self):
        guard = Guard.fit(virtual(), level=0.95)
        share = (guard.reasons(virtual()).str.contains("QRS for age")).mean()
        assert 0.02 <= share <= 0.08

    def test_a_bound_is_the_quantile_line(self):
        guard = Guard.fit(virtual(), level=0.9)
        a, b = guard.bounds[False, -1]
        table = virtual().table
        qrs = measured(virtual())[:, MEASURES.index("qrs_ms")]
        narrow = np.array([not {"CLBBB", "CRBBB", "IVCD", "ILBBB", "IRBBB", "PACE", "WPW"} & set(codes)
                           for codes in table["scp_codes"]])  # fmt: skip
        rows = narrow & np.isfinite(qrs) & table["age"].notna().to_numpy()
        below = (qrs[rows] <= a + b * table["age"][rows] + 1e-6).mean()
        assert below == pytest.approx(0.9, abs=0.03)

    def test_unknown_age_has_no_bound_and_unknown_sex_that_of_both(self):
        guard = Guard({(False, -1): (100.0, 0.5), (False, 0): (110.0, 0.0)}, 0.99)
        bound = guard.bound_ms(np.array([40.0, 40.0, np.nan]), np.array([0.0, np.nan, 0.0]), np.zeros(3, bool))
        assert bound[:2].tolist() == [110.0, 120.0] and np.isnan(bound[2])

    def test_wide_qrs_in_the_young_is_flagged_and_explained_width_is_not(self):
        cohort = virtual()
        wide = cohort.has("CLBBB") | cohort.has("CRBBB")
        block = cohort.select(np.flatnonzero(wide)[:3])
        guard = Guard.fit(cohort)
        as_asked = guard.reasons(block)
        healthy = replace(block, table=block.table.assign(scp_codes=[{"NORM": 100.0}] * 3, age=19.0))
        assert not as_asked.str.contains("QRS for age").all()
        assert guard.reasons(healthy).str.contains("QRS for age").all()

    def test_flat_records_have_no_measure(self):
        cohort = virtual().select(np.arange(4))
        flat = replace(cohort, x=np.zeros_like(np.asarray(cohort.x[:])))
        assert (Guard.fit(virtual()).reasons(flat) == "no measure").all()

    @pytest.mark.parametrize("level", [0.2, 1.0, -1])
    def test_levels_that_are_none_are_refused(self, level):
        with pytest.raises(InputError, match="level="):
            Guard.fit(virtual(), level=level)

    def test_too_few_records_are_refused(self):
        with pytest.raises(InputError, match="expected at least 50"):
            Guard.fit(virtual().select(np.arange(20)))


class Redrawing:
    """A generator without a network: it answers with other virtual patients' records, drawn anew for each seed."""

    def sample(self, table, *, seed=0, **_):
        rng = np.random.default_rng(seed)
        rows = rng.choice(len(virtual()), len(table), replace=False)
        drawn = virtual().select(rows)
        answer = table.assign(source_ecg_id=table["ecg_id"], copy=0, ecg_id=np.arange(1, len(table) + 1))
        return Cohort(np.asarray(drawn.x[:]), 100, drawn.leads, answer.reset_index(drop=True), source="redrawn")


class TestGuardedSample:
    def test_rejected_rows_are_drawn_again_and_order_stays(self):
        asked = virtual().table.iloc[:60]
        guard = Guard({(False, -1): (100.0, 0.0)}, 0.99)
        cohort, log = guarded_sample(Redrawing(), asked, guard, tries=4, seed=1)
        assert log["asked"].iloc[0] == 60
        assert (log["asked"].iloc[1:].to_numpy() == (log["asked"] - log["accepted"]).iloc[:-1].to_numpy()).all()
        assert log["accepted"].sum() == len(cohort) > log["accepted"].iloc[0]
        assert (guard.reasons(cohort) == "").all()
        place = {ecg_id: k for k, ecg_id in enumerate(asked["ecg_id"])}
        order = [place[source] for source in cohort.table["source_ecg_id"]]
        assert order == sorted(order)
        assert cohort.table["ecg_id"].tolist() == list(range(1, len(cohort) + 1))

    def test_a_guard_that_passes_all_draws_once(self):
        cohort, log = guarded_sample(Redrawing(), virtual().table.iloc[:10], Guard({}, 0.99), tries=3)
        assert len(log) == 1 and len(cohort) == 10 and log["rate"].item() == 1

    def test_a_guard_that_passes_none_says_so(self):
        nothing = Guard({(False, -1): (1.0, 0), (True, -1): (1.0, 0)}, 0.9)
        with pytest.raises(InputError, match="none of 10 records passed"):
            guarded_sample(Redrawing(), virtual().table.iloc[:10], nothing)

    def test_an_id_that_is_there_twice_is_refused_before_sampling(self):
        twice = virtual().table.iloc[[0, 1, 1]].assign(age=[40.0, 50.0, 60.0])
        with pytest.raises(InputError, match="is in table twice"):
            guarded_sample(Redrawing(), twice, Guard({}, 0.99))

    def test_no_tries_are_refused(self):
        with pytest.raises(InputError, match="tries=0"):
            guarded_sample(Redrawing(), virtual().table.iloc[:10], Guard({}, 0.99), tries=0)


def test_measured_is_delineates_table():
    cohort = virtual().select(np.arange(5))
    table = delineate(np.asarray(cohort.x[:]), 100)
    assert np.array_equal(measured(cohort), table[list(MEASURES)].to_numpy(float), equal_nan=True)
