"""The beat clock: whole numbers at beats, even in between, zeros where no interval is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ecglib.diffusion import beat_times, clock
from ecglib.diffusion.clock import HARMONICS, still
from ecglib.signals import load_cohort


def test_the_clock_of_a_regular_rhythm_is_sines_and_cosines_of_time():
    ticks = clock([np.arange(0.2, 10, 0.8)], 1000, 100)[0]
    phase = (torch.arange(1000, dtype=torch.float64) / 100 - 0.2) / 0.8
    for k in range(1, HARMONICS + 1):
        assert torch.allclose(ticks[k - 1], torch.sin(2 * np.pi * k * phase).float(), atol=1e-4)
        assert torch.allclose(ticks[HARMONICS + k - 1], torch.cos(2 * np.pi * k * phase).float(), atol=1e-4)
    assert torch.allclose(ticks[-1], torch.full((1000,), -np.log(0.8)).float(), atol=1e-6)


@given(st.lists(st.floats(0.25, 2.5), min_size=1, max_size=30), st.floats(-0.5, 0.5))
def test_beats_are_whole_numbers_and_the_rate_is_that_of_the_interval(intervals, first):
    beats = first + np.concatenate([[0.0], np.cumsum(intervals)])
    now = np.arange(1000) / 100
    phase = np.interp(now, beats, np.arange(len(beats)))
    inside = (now >= beats[0]) & (now <= beats[-1])
    ticks = clock([beats], 1000, 100)[0].numpy()
    np.testing.assert_allclose(ticks[HARMONICS][inside], np.cos(2 * np.pi * phase)[inside], atol=1e-4)
    shorter, longer = min(intervals), max(intervals)
    assert (ticks[-1] <= -np.log(shorter) + 1e-6).all() and (ticks[-1] >= -np.log(longer) - 1e-6).all()


@pytest.mark.parametrize("beats", [[], [3.0]])
def test_without_an_interval_the_clock_stands_still(beats):
    both = clock([np.array(beats), np.array([1.0, 2.0])], 300, 100)
    assert torch.equal(both[0], still(300)) and both[0].abs().max() == 0 and both[1].abs().max() > 0


def test_beats_found_in_the_signal_are_those_of_the_truth():
    cohort = load_cohort("virtual", n=40, seed=1)
    for true, found in zip(beat_times(cohort), beat_times(replace(cohort, waves=None)), strict=True):
        away = np.abs(true[:, None] - found).min(axis=1)
        assert np.median(away) < 0.05
