"""Dropped beats: against virtual patients, whose blocked P waves are known; and rare cases made in any number."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from handmade import make_cohort

from ecglib.errors import InputError
from ecglib.evaluation.av_block import av_conduction, drops_beats
from ecglib.signals import Cohort, join, load_cohort, to_eight_leads
from ecglib.signals.export import is_synthetic
from ecglib.signals.leads import LEADS_8
from ecglib.signals.virtual import patients_by_statement, virtual_cases, virtual_cohort

BLOCK = {"2AVB": 100.0, "SR": 0.0}


@cache
def cases() -> Cohort:
    return virtual_cases(BLOCK, 40, seed=5)


@cache
def others() -> Cohort:
    return load_cohort("virtual", n=100, seed=5, population="teaching", workers=1)


class TestDroppedBeats:
    def test_most_cases_are_found_and_few_others(self):
        assert (cases().table["n_blocked"] > 0).all()
        assert drops_beats(cases()).mean() > 0.8
        regular = others().has("SR") | others().has("SBRAD") | others().has("STACH")
        assert drops_beats(others())[regular].mean() < 0.05

    def test_counts_follow_the_truth(self):
        found = av_conduction(cases())
        assert (found["n_qrs"] - cases().table["n_beats"]).abs().max() <= 1
        gap = found["n_blocked"] - cases().table["n_blocked"]
        assert gap.max() <= 2 and abs(gap.median()) <= 2
        assert np.corrcoef(found["n_blocked"], cases().table["n_blocked"])[0, 1] > 0.3
        assert found["p_per_qrs"].tolist() == (1 + found["n_blocked"] / found["n_qrs"]).tolist()

    def test_a_beat_taken_out_of_sinus_rhythm_is_missed(self):
        """What the measure is for, by hand: a normal record, one QRS and T wave of which are cut out."""
        calm = others().select(np.flatnonzero(others().has("SR") & others().has("NORM"))[:12])
        before = av_conduction(calm)["n_blocked"]
        x = np.array(calm.x[:])
        for k, ecg_id in enumerate(calm.table["ecg_id"]):
            beats = calm.waves[calm.waves["ecg_id"] == ecg_id]
            beat = beats.iloc[len(beats) // 2]
            a, b = round((beat["qrs_on"] - 0.02) * 100), round((beat["t_off"] + 0.02) * 100)
            x[k, :, a:b] = np.linspace(x[k, :, a], x[k, :, b], b - a, axis=-1)
        after = av_conduction(replace(calm, x=x))["n_blocked"]
        assert before.sum() <= 1 and (after - before >= 1).mean() > 0.7

    def test_eight_leads_are_enough(self):
        some = cases().select(np.arange(8))
        eight = replace(some, x=np.ascontiguousarray(to_eight_leads(np.asarray(some.x[:]))), leads=LEADS_8)
        assert av_conduction(eight)["n_blocked"].tolist() == av_conduction(some)["n_blocked"].tolist()

    def test_noise_and_flat_lines_have_a_reason_and_show_nothing(self):
        some = cases().select(np.arange(2))
        x = np.zeros(some.x.shape, np.float32)
        x[0] = np.random.default_rng(0).standard_normal(x[0].shape)
        found = av_conduction(replace(some, x=x))
        assert found["n_blocked"].isna().all() and (found["reason"] != "").all()
        assert not drops_beats(replace(some, x=x)).any()


class TestCases:
    def test_they_are_what_was_asked_for_and_repeat(self):
        assert all(codes == BLOCK for codes in cases().table["scp_codes"])
        assert cases().table["patient_id"].nunique() == 40 and set(cases().table["strat_fold"]) == set(range(1, 11))
        fewer = virtual_cases(BLOCK, 3, seed=5)
        assert np.array_equal(fewer.x[:], cases().x[:3])

    @pytest.mark.parametrize(("codes", "n"), [({"2AVBB": 100.0}, 3), (BLOCK, 0), (BLOCK, -1)])
    def test_bad_requests_are_refused(self, codes, n):
        with pytest.raises(InputError):
            virtual_cases(codes, n)

    def test_counts_without_signals_are_the_cohorts(self):
        count = patients_by_statement(100, seed=5, population="teaching")
        table = others().table
        assert count.sum() > 100
        for name in ("SR", "AFIB", "2AVB", "LVH"):
            assert count[name] == table.loc[others().has(name), "patient_id"].nunique()

    def test_cohorts_are_as_before(self):
        """Record k of a population does not depend on whether cases exist."""
        assert np.array_equal(virtual_cohort(4, seed=5, population="teaching").x[:], others().x[:4])


class TestJoin:
    def test_records_follow_each_other(self):
        both = join(others(), cases())
        assert len(both) == 140 and np.array_equal(both.x[100:], cases().x[:])
        assert both.table["ecg_id"].tolist() == [*others().table["ecg_id"], *cases().table["ecg_id"]]
        assert len(both.waves) == len(others().waves) + len(cases().waves)
        assert join(others(), replace(cases(), waves=None)).waves is None

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_real_and_synthetic_are_told_apart(self, order, tmp_path):
        parts = [replace(others(), source="ptb-xl"), replace(cases(), source="synthetic")]
        join(*(parts[k] for k in order)).save(tmp_path / "both")
        both = Cohort.load(tmp_path / "both")
        assert both.table["synthetic"].tolist() == [k for k in order for _ in range(len(parts[k]))]
        with pytest.raises(InputError, match="marks 40 of 140 records"):
            is_synthetic(both)
        assert is_synthetic(both.select(both.table["synthetic"])) is True
        with pytest.raises(InputError, match="does not tell"):
            is_synthetic(both.select(~both.table["synthetic"]))

    def test_what_differs_is_refused(self):
        with pytest.raises(InputError, match="no cohort"):
            join()
        with pytest.raises(InputError, match="fs"):
            join(others(), replace(cases(), fs=200))
        with pytest.raises(InputError):
            join(make_cohort(), make_cohort())
