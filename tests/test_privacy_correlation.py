"""Copies: correlation over all shifts against the slow sum, shifted and scaled copies found, shares of known sets."""

from dataclasses import replace

import numpy as np
import pytest
from cohorts import random_cohort
from scipy.signal import butter, sosfiltfilt

from ecglib.evaluation import Comparison, NotComputable, evaluate
from ecglib.evaluation.privacy import copies, suspects
from ecglib.evaluation.privacy.correlation import BAND_HZ, best_match, spectra
from ecglib.signals.leads import LEADS_8, LEADS_12, lead_order


def slow(x: np.ndarray, y: np.ndarray) -> float:
    """The largest sum of products of two records (8, L) at 100 Hz, over all whole shifts in a circle."""

    def banded(z):
        spectrum, hz = np.fft.rfft(z), np.fft.rfftfreq(z.shape[1], 0.01)
        z = np.fft.irfft(spectrum * ((hz >= BAND_HZ[0]) & (hz <= BAND_HZ[1])), z.shape[1])
        return z / np.linalg.norm(z)

    x, y = banded(x.astype(np.float64)), banded(y.astype(np.float64))
    return max((x * np.roll(y, shift, axis=1)).sum() for shift in range(x.shape[1]))


def test_best_match_is_the_slow_one():
    a, b = random_cohort(5, n_times=1000), random_cohort(30, seed=1, n_times=1000, first_id=101)
    order = lead_order(LEADS_12, LEADS_8)
    expected = np.array([[slow(x[order], y[order]) for y in b.x] for x in a.x])
    found = best_match(spectra(a), spectra(b))
    np.testing.assert_allclose(found[:, 0], expected.max(axis=1), atol=2e-3)
    assert (found[:, 1] == expected.argmax(axis=1)).all()


@pytest.mark.parametrize("shift", [0, 1, 137, -250, 500])
def test_a_shifted_and_amplified_copy_is_a_copy(shift):
    cohort = random_cohort(40, n_times=1000)
    moved = replace(cohort, x=(1.7 * np.roll(cohort.x, shift, axis=-1)).astype(np.float32))
    found = best_match(spectra(moved), spectra(cohort))
    np.testing.assert_allclose(found[:, 0], 1, atol=1e-4)
    assert (found[:, 1] == np.arange(40)).all()
    assert np.allclose(np.abs(found[:, 2]), abs(shift) / 100, atol=0.003)


def test_a_flat_record_correlates_with_nothing():
    cohort = random_cohort(3, n_times=1000)
    flat = replace(cohort, x=np.zeros_like(cohort.x))
    assert (best_match(spectra(flat), spectra(cohort))[:, 0] == 0).all()


@pytest.fixture(scope="module")
def compared() -> Comparison:
    real, train = random_cohort(1000, n_times=500, first_id=1), random_cohort(100, seed=1, n_times=500, first_id=2001)
    fresh = random_cohort(200, seed=2, n_times=500, first_id=3001)
    x = np.array(fresh.x)
    x[:10] = np.roll(train.x[:10], 33, axis=-1)
    return Comparison(real, replace(fresh, x=x), train=train)


def test_five_per_cent_of_copies_are_found_and_named(compared):
    table = evaluate(compared, [copies], resamples=0, floor=False).set_index("key")
    assert table.loc["largest", "value"] == pytest.approx(1, abs=1e-3)
    assert table.loc["doubles", "value"] == 0.05 and table.loc["doubles", "ci_low"] > 0.02
    for key in ("share 1%", "share 0.1%"):
        assert 0.05 <= table.loc[key, "value"] <= 0.08 and table.loc[key, "ci_low"] > 0.02
    found = suspects(compared, 10)
    assert sorted(found["synthetic"]) == sorted(found["train"]) == list(range(10))
    assert (found["above"] == 0).all() and (found["delay_s"] - 0.33).abs().max() < 0.02


def test_fresh_records_are_above_as_often_as_the_threshold_says(compared):
    fresh = compared.instead(synthetic=random_cohort(300, seed=5, n_times=500, first_id=3001))
    assert copies(fresh)["share 1%"] < 0.04 and copies(fresh)["doubles"] == 0


def test_order_of_records_is_nothing(compared):
    rng = np.random.default_rng(0)
    mixed = {r: getattr(compared, r).select(rng.permutation(len(getattr(compared, r))))
             for r in ("real", "synthetic", "train")}  # fmt: skip
    assert copies(Comparison(**mixed)) == pytest.approx(copies(compared), abs=1e-5)


def test_refusals(compared):
    few = Comparison(compared.real.select(range(100)), compared.synthetic, train=compared.train)
    table = evaluate(few, [copies], resamples=0, floor=False).set_index("key")
    fewer = evaluate(few.instead(real=few.real.select(range(99))), [copies], resamples=0, floor=False)
    assert fewer.set_index("key")["value"].drop("largest").isna().all()
    assert np.isfinite(table.loc["share 1%", "value"]) and np.isnan(table.loc["share 0.1%", "value"])
    assert "it needs 1,000 records that the generator never saw, and there are 100" in table.loc["share 0.1%", "reason"]
    with pytest.raises(NotComputable, match="role train"):
        copies(Comparison(compared.real, compared.synthetic))


def test_the_band_is_what_a_filter_would_leave():
    cohort = random_cohort(2, n_times=1000)
    slow_drift = 5 * np.sin(2 * np.pi * 0.2 * np.arange(1000) / 100)
    drifting = replace(cohort, x=(cohort.x + slow_drift).astype(np.float32))
    assert best_match(spectra(drifting), spectra(cohort))[0, 0] > 0.98
    noise = np.random.default_rng(0).standard_normal(cohort.x.shape)
    fast = sosfiltfilt(butter(8, 25, "highpass", fs=100, output="sos"), noise, axis=-1)
    assert best_match(spectra(replace(cohort, x=(cohort.x + fast).astype(np.float32))), spectra(cohort))[0, 0] > 0.98
