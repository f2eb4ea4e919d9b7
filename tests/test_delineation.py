"""Boundaries of a beat made by hand, then of LUDB against cardiologists, and of virtual patients against the truth."""

from functools import cache

import numpy as np
import pytest
from scipy.signal import resample_poly

from ecglib.evaluation import beat_marks
from ecglib.evaluation.agreement import detection, intervals, limits_of_agreement
from ecglib.evaluation.delineation import mark, p_likeness, speed
from ecglib.evaluation.typical_beat import AFTER_S, BEFORE_S, FS, TypicalBeat
from ecglib.signals import Cohort, load_cohort

TIME = np.arange(round((BEFORE_S + AFTER_S) * FS)) / FS - BEFORE_S
LEAD_GAINS = np.linspace(-1, 1, 12)[:, None] + 0.1


def bump(centre: float, sigma: float) -> np.ndarray:
    return np.exp(-0.5 * ((TIME - centre) / sigma) ** 2)


def by_hand(p=-0.17, qrs=0.012, t=0.28, gain=1.0, p_gain=0.15, rr=0.9, noise=0.0, seed=0) -> TypicalBeat:
    """A beat of three Gaussians; ten beats of it, each with noise of its own."""
    rng = np.random.default_rng(seed)
    shape = p_gain * bump(p, 0.02) + 1.2 * bump(0, qrs) + 0.35 * bump(t, 0.035)
    beats = gain * LEAD_GAINS * shape + noise * rng.standard_normal((10, 12, len(TIME)))
    r = 1 + rr * np.arange(10)
    return TypicalBeat(np.median(beats, axis=0), r, np.ones(10, bool), beats, np.ones(12, bool))


def test_gaussian_waves_end_where_two_to_four_standard_deviations_are():
    marks = mark(by_hand())
    assert -0.17 - 4 * 0.022 < marks.p_on < -0.17 - 1.5 * 0.022
    assert marks.p_peak == pytest.approx(-0.17, abs=0.004)
    assert -0.17 + 1.5 * 0.022 < marks.p_off < -0.17 + 4 * 0.022
    assert marks.qrs_on == pytest.approx(-marks.qrs_off, abs=0.006)
    assert 2 * 0.012 < marks.qrs_off < 5 * 0.012
    assert marks.t_peak == pytest.approx(0.28, abs=0.004)
    assert 0.28 + 1.5 * 0.04 < marks.t_off < 0.28 + 4 * 0.04


@pytest.mark.parametrize(("changed", "field", "by"), [
    ({"p": -0.21}, "p_on", -0.04), ({"p": -0.21}, "p_off", -0.04),
    ({"t": 0.33}, "t_off", 0.05), ({"t": 0.33}, "t_peak", 0.05),
])  # fmt: skip
def test_a_wave_moved_moves_its_marks_alone(changed, field, by):
    before, after = mark(by_hand())._asdict(), mark(by_hand(**changed))._asdict()
    assert after[field] - before[field] == pytest.approx(by, abs=0.006)
    assert after["qrs_on"] - before["qrs_on"] == pytest.approx(0, abs=0.003)


def test_a_wider_qrs_is_measured_wider():
    narrow, wide = mark(by_hand(qrs=0.012)), mark(by_hand(qrs=0.024, p=-0.22))
    assert (wide.qrs_off - wide.qrs_on) / (narrow.qrs_off - narrow.qrs_on) == pytest.approx(2, abs=0.25)


def test_twice_the_amplitude_changes_little():
    once, twice = np.array(mark(by_hand())), np.array(mark(by_hand(gain=2)))
    assert np.abs(once - twice).max() < 0.012


def test_noise_of_a_record_moves_marks_by_milliseconds():
    clean, noisy = np.array(mark(by_hand())), np.array(mark(by_hand(noise=0.01)))
    assert np.abs(clean - noisy).max() < 0.03


def test_without_a_p_wave_none_is_found_and_the_rest_stays():
    marks = mark(by_hand(p_gain=0.0, noise=0.03))
    assert np.isnan([marks.p_on, marks.p_peak, marks.p_off]).all()
    assert np.isfinite([marks.qrs_on, marks.qrs_off, marks.t_off]).all()


def test_fast_hearts_do_not_lend_their_next_beat_as_a_t_wave():
    beat = by_hand(t=0.2, rr=0.38)
    next_beat = LEAD_GAINS * 1.2 * bump(0.38, 0.012)
    crowded = TypicalBeat(beat.x + next_beat, beat.r, beat.alike, beat.beats + next_beat, beat.live)
    assert mark(crowded).t_peak == pytest.approx(0.2, abs=0.02)
    assert mark(crowded).t_off < 0.31


def test_flat_signals_have_no_marks():
    flat = np.zeros((12, len(TIME)))
    beat = TypicalBeat(flat, np.arange(5.0), np.ones(5, bool), np.stack([flat] * 5), np.ones(12, bool))
    assert np.isnan(np.array(mark(beat))[:3]).all()


def test_speed_is_the_slope_of_a_ramp():
    ramp = np.stack([3 * TIME, 4 * TIME])  # mV: 5 mV/s in all
    assert speed(ramp, 0.004)[50:-50] == pytest.approx(5, rel=1e-3)


def test_likeness_of_p_waves_is_a_correlation():
    beat = by_hand(noise=0.02)
    likeness = p_likeness(beat.beats, 80, 180)
    wave = beat.beats[3, :, 80:181]
    wave = wave - wave.mean(axis=-1, keepdims=True)
    others = beat.beats[:, :, 80:181]
    typical = np.median(others - others.mean(axis=-1, keepdims=True), axis=0)
    by_numpy = (wave * typical).sum() / np.linalg.norm(wave) / np.linalg.norm(typical)
    assert likeness[3] == pytest.approx(by_numpy)


class TestAgainstCardiologists:
    """LUDB: 200 records, marked by cardiologists in every lead. The goals are the issue's."""

    @staticmethod
    def measured(cohort: Cohort, fs: int):
        x = np.asarray(cohort.x[:], np.float64)
        x = x if fs == cohort.fs else resample_poly(x, fs, cohort.fs, axis=-1)
        found = beat_marks(x, fs, cohort.leads)
        return found.assign(ecg_id=cohort.table["ecg_id"].to_numpy()[found["record"]])

    @pytest.mark.parametrize("fs", [500, 100])
    def test_waves_are_found_and_intervals_agree(self, ludb_500, fs):
        found = self.measured(ludb_500, fs)
        waves = detection(found, ludb_500.waves)
        assert waves.loc["QRS", ["sensitivity", "ppv"]].min() >= 0.995
        assert waves.loc["P", "sensitivity"] >= 0.99 and waves.loc["P", "ppv"] >= 0.95
        assert waves.loc["T", ["sensitivity", "ppv"]].min() >= 0.97
        ours, true = intervals(found), intervals(ludb_500.waves)
        for name, bias, sd in (("qrs_ms", 5, 15), ("qt_ms", 10, 30), ("pr_ms", 5, 20), ("p_ms", 5, 20)):
            agreement = limits_of_agreement(ours[name], true[name])
            assert abs(agreement["bias"]) <= bias and agreement["sd"] <= sd, (name, agreement)
            assert agreement["n"] >= 175


@cache
def virtual() -> Cohort:
    return load_cohort("virtual", n=120, fs=500, seed=3)


def test_virtual_patients_truth_is_met():
    cohort = virtual()
    found = beat_marks(cohort.x[:], cohort.fs, cohort.leads)
    found = found.assign(ecg_id=cohort.table["ecg_id"].to_numpy()[found["record"]])
    waves = detection(found, cohort.waves)
    assert waves.loc["QRS", ["sensitivity", "ppv"]].min() >= 0.97
    ours, true = intervals(found), intervals(cohort.waves)
    for name, sd in (("qrs_ms", 15), ("qt_ms", 30), ("pr_ms", 20)):
        assert limits_of_agreement(ours[name], true[name])["sd"] <= sd, name
