"""Measurements of records: designed hearts, invariances, virtual patients of known rhythm, and what is refused."""

from functools import cache

import numpy as np
import pytest
from cohorts import random_cohort

from ecglib.errors import InputError
from ecglib.evaluation import Comparison, beat_marks, delineate, evaluate
from ecglib.evaluation.fidelity import ilce
from ecglib.evaluation.measurements import BEAT_MARKS, MEASURES
from ecglib.evaluation.rhythm import rr_coherence
from ecglib.signals import LEADS_8, LEADS_12, Cohort, load_cohort, to_eight_leads, to_twelve_leads

FS = 500


def heart(axis_deg: float = 40.0, rr: float = 0.8, st: float = 0.0) -> np.ndarray:
    """float (12, 5000): QRS of 1 mV along `axis_deg` in the frontal plane, an R in V5 and V6, an S in V1–V3."""
    time = np.arange(10 * FS) / FS
    eight = np.zeros((8, len(time)))
    angle = np.radians(axis_deg)
    gains = np.array([np.cos(angle), np.sin(angle) * np.sqrt(3) / 2, -0.9, -1.1, -0.5, 0.4, 1.5, 1.2])[:, None]
    for at in np.arange(0.6, 9.8, rr):
        since = time - at
        eight += gains * (np.exp(-0.5 * (since / 0.014) ** 2) + 0.25 * np.exp(-0.5 * ((since - 0.28) / 0.04) ** 2))
        eight += 0.15 * np.exp(-0.5 * ((since + 0.17) / 0.022) ** 2)
        eight += st * ((since > 0.045) & (since < 0.2))
    return to_twelve_leads(eight)


@cache
def virtual() -> Cohort:
    return load_cohort("virtual", n=400, fs=100, seed=2)


def of(x: np.ndarray, fs: int = FS):
    return delineate(x[None], fs).iloc[0]


class TestByDesign:
    @pytest.mark.parametrize("axis", [-80, -30, 0, 40, 90, 120, 170])
    def test_axis(self, axis):
        assert of(heart(axis)).axis_deg == pytest.approx(axis, abs=3)

    @pytest.mark.parametrize("rr", [0.5, 0.8, 1.2])
    def test_rate_and_corrections(self, rr):
        row = of(heart(rr=rr))
        assert row.heart_rate == pytest.approx(60 / rr, rel=0.01)
        assert row.rr_cv < 0.005 and row.rmssd_ms < 5
        assert row.qtcb_ms == pytest.approx(row.qt_ms / np.sqrt(rr), rel=0.01)
        assert row.qtcf_ms == pytest.approx(row.qt_ms / np.cbrt(rr), rel=0.01)

    def test_amplitudes(self):
        row = of(heart())
        assert row.r_mv == pytest.approx(1.5, rel=0.12)
        assert row.s_mv == pytest.approx(-1.1, rel=0.12)
        assert row.sokolow_mv == pytest.approx(1.5 + 0.9, rel=0.12)
        twelve = dict(zip(LEADS_12, heart(), strict=True))
        assert row.cornell_mv == pytest.approx(twelve["aVL"].max() + 0.5, rel=0.12)

    def test_st_elevation_is_seen_with_its_sign(self):
        base, raised, lowered = of(heart()), of(heart(st=0.3)), of(heart(st=-0.3))
        assert raised.st_mv - max(base.st_mv, 0) > 0.15
        assert lowered.st_mv < -0.15

    def test_twice_the_gain_doubles_amplitudes_and_keeps_intervals(self):
        once, twice = of(heart()), of(2 * heart())
        for name in MEASURES:
            expected = once[name] * (2 if name.endswith("_mv") else 1)
            assert twice[name] == pytest.approx(expected, abs=12 if name.endswith("_ms") else 0.02), name


class TestInvariance:
    def test_eight_leads_and_twelve_are_the_same_heart(self):
        x = np.stack([heart(), heart(90)]).astype(np.float64)
        twelve, eight = delineate(x, FS), delineate(to_eight_leads(x), FS, LEADS_8)
        assert np.allclose(twelve[list(MEASURES)].astype(float), eight[list(MEASURES)].astype(float), equal_nan=True)

    def test_order_of_leads_is_nothing(self):
        order = np.random.default_rng(0).permutation(12)
        x = heart()[None]
        shuffled = delineate(x[:, order], FS, tuple(LEADS_12[k] for k in order))
        assert shuffled.equals(delineate(x, FS))

    def test_records_do_not_depend_on_their_neighbours(self):
        x = np.asarray(virtual().x[:40])
        together = delineate(x, 100)
        alone = delineate(x[33:34], 100).iloc[0]
        assert alone[list(MEASURES)].astype(float).to_numpy() == pytest.approx(
            together.iloc[33][list(MEASURES)].astype(float).to_numpy(), nan_ok=True)  # fmt: skip


class TestReasons:
    def test_each_record_has_a_reason_or_values(self):
        rng = np.random.default_rng(0)
        noise = 0.1 * rng.standard_normal((12, 5000))
        bad = np.stack([np.zeros((12, 5000)), noise, np.full((12, 5000), np.nan), heart()])
        table = delineate(bad, FS)
        assert table["reason"].str.split(":").str[0].tolist() == ["flat", "noise", "not finite", ""]
        assert table[list(MEASURES)].isna().all(axis=1).tolist() == [True, True, True, False]
        assert beat_marks(bad, FS)["record"].unique().tolist() == [3]

    def test_one_nan_sample_is_enough(self):
        x = heart()
        x[3, 17] = np.nan
        assert of(x).reason == "not finite"

    def test_a_flat_lead_takes_its_amplitudes_with_it(self):
        x = heart()
        x[LEADS_12.index("V1")] = 0
        row = of(x)
        assert np.isnan(row.sokolow_mv) and np.isfinite([row.cornell_mv, row.qrs_ms, row.r_mv]).all()

    def test_no_records_give_an_empty_table(self):
        assert delineate(np.zeros((0, 12, 1000)), 100).columns.tolist() == [*MEASURES, "reason"]
        assert beat_marks(np.zeros((0, 12, 1000)), 100).columns.tolist() == ["record", *BEAT_MARKS]

    @pytest.mark.parametrize(("x", "fs", "leads", "says"), [
        (np.zeros((12, 1000)), 100, LEADS_12, r"x has shape \(12, 1000\)"),
        (np.zeros((1, 3, 1000)), 100, ("I", "II", "III"), "leads I, II, III"),
        (np.zeros((1, 8, 1000)), 100, LEADS_12, r"shape \(1, 8, 1000\)"),
        (np.zeros((1, 12, 1000)), 50, LEADS_12, "fs=50 Hz"),
    ])  # fmt: skip
    def test_what_is_no_ecg_is_refused(self, x, fs, leads, says):
        with pytest.raises(InputError, match=says):
            delineate(x, fs, leads)


class TestVirtualPatients:
    @staticmethod
    def carrying(code: str):
        cohort = virtual()
        rows = cohort.has(code)
        assert rows.sum() >= 3, f"too few virtual patients with {code}"
        return delineate(np.asarray(cohort.x[:])[rows], cohort.fs)

    def test_fibrillation_has_no_p_and_irregular_beats(self):
        table = self.carrying("AFIB")
        assert table["p_ms"].isna().mean() >= 0.7
        assert table["rr_cv"].median() > 0.1

    def test_sinus_rhythm_has_p_waves_and_regular_beats(self):
        table = self.carrying("SR")
        assert table["p_ms"].notna().mean() >= 0.9
        assert table["rr_cv"].median() < 0.06

    def test_bundle_branch_block_is_wide(self):
        assert self.carrying("CLBBB")["qrs_ms"].median() >= 120

    def test_paced_beats_are_measured_and_wide(self):
        table = self.carrying("PACE")
        assert (table["reason"] == "").all() and table["qrs_ms"].median() >= 120

    def test_long_pr_is_long(self):
        assert self.carrying("1AVB")["pr_ms"].median() > 200


@pytest.mark.parametrize("n_times", [5, 20, 999])
def test_records_too_short_to_measure_say_so(n_times):
    assert delineate(np.zeros((2, 12, n_times)), 500)["reason"].tolist() == ["shorter than 2 s"] * 2


def test_too_short_records_leave_the_other_metrics_alone():
    short = random_cohort(20, n_times=100)
    table = evaluate(Comparison(short, random_cohort(20, n_times=100, seed=1)), [rr_coherence, ilce], resamples=0)
    table = table.set_index("metric")
    assert table.loc["rr_coherence", "reason"].startswith("not computed because")
    assert (table.loc["ilce", "n"] == 20).all()
