"""The typical beat: records made of one shape, with extrasystoles, noise and flat leads."""

import numpy as np
import pytest

from ecglib.evaluation.typical_beat import BEFORE_S, FS, Unmeasurable, at_500_hz, typical_beat

GAINS = np.linspace(-1, 1, 12)[:, None] + 0.1


def record(r: list[float] | np.ndarray, seconds: float = 10, odd: tuple[int, ...] = (), noise: float = 0.0, seed=0):
    """Beats at `r`; those in `odd` are wide and turned over."""
    time = np.arange(round(seconds * FS)) / FS
    x = np.zeros((12, len(time)))
    for k, at in enumerate(r):
        wide = k in odd
        x += GAINS[:: -1 if wide else 1] * np.exp(-0.5 * ((time - at) / (0.022 if wide else 0.012)) ** 2)
        x += 0.3 * GAINS * np.exp(-0.5 * ((time - at - 0.3) / 0.04) ** 2)
    return x + noise * np.random.default_rng(seed).standard_normal(x.shape)


REGULAR = 0.7 + 0.85 * np.arange(11)


def test_beats_are_lined_up_within_two_samples():
    irregular = REGULAR + np.random.default_rng(0).uniform(-0.05, 0.05, 11)
    beat = typical_beat(record(irregular, noise=0.02))
    shift = beat.r - irregular
    assert np.ptp(shift) <= 0.004
    assert beat.alike.all()


def test_the_median_is_the_shape_and_noise_shrinks():
    clean, noisy = typical_beat(record(REGULAR)), typical_beat(record(REGULAR, noise=0.1))
    late = clean.r[0] - REGULAR[0]  # R is where the heart vector is fastest, beside the peak
    assert np.abs(clean.x - record([BEFORE_S - late], seconds=clean.x.shape[1] / FS)).max() < 0.1
    assert (noisy.x - clean.x).std() < 0.1 * 1.4 / np.sqrt(8)


def test_extrasystoles_are_beats_and_not_in_the_median():
    beat = typical_beat(record(REGULAR, odd=(3, 7)))
    assert len(beat.r) == 11
    assert np.flatnonzero(~beat.alike).tolist() == [3, 7]
    assert np.abs(beat.x - typical_beat(record(REGULAR)).x).max() < 0.02


def test_beats_at_the_ends_count():
    times = np.array([0.05, *REGULAR[1:-1], 9.95])
    assert len(typical_beat(record(times)).r) == len(times)


@pytest.mark.parametrize(("x", "reason"), [
    (np.zeros((12, 5000)), "flat"),
    (np.vstack([record(REGULAR)[:1], np.zeros((11, 5000))]), "flat"),
    (np.full((12, 5000), np.nan), "not finite"),
    (np.full((12, 5000), np.inf), "not finite"),
    (record(REGULAR)[:, :900], "shorter than 2 s"),
    (record([0.5, 1.4], seconds=2.2), "fewer than 3 beats"),
    (0.1 * np.random.default_rng(1).standard_normal((12, 5000)), "noise"),
    (record([0.1, 0.4, 1.3, 1.7], seconds=2.0), "no whole beat"),
])  # fmt: skip
def test_what_cannot_be_measured_says_why(x, reason):
    with pytest.raises(Unmeasurable, match=reason):
        typical_beat(x)


def test_one_flat_lead_is_no_reason():
    x = record(REGULAR)
    x[7] = 0
    beat = typical_beat(x)
    assert np.flatnonzero(~beat.live).tolist() == [7]
    assert np.isfinite(beat.x).all()


@pytest.mark.parametrize("fs", [100, 250, 360, 500, 1000])
def test_any_sampling_rate_becomes_500_hz_without_a_shift(fs):
    time = np.arange(10 * fs) / fs
    x = np.exp(-0.5 * ((time - 5.0) / 0.03) ** 2)[None]
    y = at_500_hz(x, fs)
    assert y.shape == (1, 5000)
    assert y[0].argmax() / FS == pytest.approx(5.0, abs=0.002)
    assert y[0].max() == pytest.approx(1.0, abs=0.15)
