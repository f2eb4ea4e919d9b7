"""Nearest neighbours against every distance there is; typical beats stand still when a record is shifted."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from ecglib.evaluation.privacy import spaces
from ecglib.evaluation.privacy.spaces import bound, evenly, nearest, typical_beats
from ecglib.signals import load_cohort


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(1, 30), st.integers(1, 4), st.integers(1, 4))
def test_nearest_is_the_sorted_matrix_of_distances(seed, n, m, d, k):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, d)), 5 + rng.standard_normal((m, d))
    distances, rows = nearest(x, y, k)
    expected = np.sort(cdist(x, y), axis=1)[:, :k]
    np.testing.assert_allclose(distances[:, : expected.shape[1]], expected, rtol=1e-5)
    assert np.isinf(distances[:, m:]).all() and (rows[:, m:] == -1).all()
    near = cdist(x, y)[np.arange(n)[:, None], rows[:, : min(k, m)]]
    np.testing.assert_allclose(distances[:, : min(k, m)], near, rtol=1e-12)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((57, 6)), rng.standard_normal((40, 6))
    whole = nearest(x, y, 3)
    monkeypatch.setattr(spaces, "MEGABYTES", 1e-4)
    np.testing.assert_array_equal(nearest(x, y, 3)[0], whole[0])


def test_a_copy_far_from_the_origin_is_at_distance_0():
    x = 1000 + np.random.default_rng(0).standard_normal((20, 50))
    distances, rows = nearest(x, x[::-1])
    assert (distances == 0).all() and (rows[:, 0] == np.arange(20)[::-1]).all()


def test_no_row_is_its_own_neighbour_where_that_is_said():
    x = np.array([[0.0], [1.0], [3.0], [3.0]])
    distances, rows = nearest(x, x, itself=True)
    assert distances[:, 0].tolist() == [1, 1, 0, 0] and rows[2:, 0].tolist() == [3, 2]
    assert np.isinf(nearest(x[:1], x[:1], itself=True)[0]).all()


def test_rows_without_a_place_have_no_neighbours_and_are_none():
    x = np.array([[0.0], [np.nan], [2.0]])
    distances, rows = nearest(x, x[:2])
    assert distances[[0, 2], 0].tolist() == [0, 2] and np.isnan(distances[1, 0]) and rows[1, 0] == -1


def test_evenly():
    assert evenly(5, 9).tolist() == [0, 1, 2, 3, 4] and evenly(9, 3).tolist() == [0, 4, 8] and len(evenly(0, 3)) == 0


def test_a_bound_function_is_the_same_object():
    assert bound(nearest, spaces.BEATS) is bound(nearest, spaces.BEATS)


def test_typical_beats_of_a_shifted_record_are_nearly_its_own():
    cohort = load_cohort("virtual", n=12, seed=3, population="teaching", workers=1)
    shifted = replace(cohort, x=np.roll(cohort.x[:], 73, axis=-1))
    a, b = typical_beats(cohort), typical_beats(shifted)
    assert a.shape == (12, 992) and a.dtype == np.float32
    own = np.linalg.norm(a - b, axis=1)
    assert np.nanmedian(own) < 0.25 * np.nanmedian(nearest(a, a, itself=True)[0])
    found = nearest(b, a)[1][:, 0]
    assert (found == np.arange(12)).mean() >= 0.9


def test_a_flat_record_has_no_place():
    cohort = load_cohort("virtual", n=2, seed=3, workers=1)
    x = np.array(cohort.x[:])
    x[1] = 0
    beats = typical_beats(replace(cohort, x=x))
    assert np.isfinite(beats[0]).all() and np.isnan(beats[1]).all()


def test_other_processes_change_nothing(monkeypatch):
    cohort = load_cohort("virtual", n=6, seed=4, workers=1)
    alone = typical_beats(cohort)
    monkeypatch.setattr(spaces, "PARALLEL_FROM", 1)
    monkeypatch.setattr(spaces, "AT_ONCE", 4)
    np.testing.assert_array_equal(typical_beats(cohort), alone)


def test_memory_of_the_largest_task_is_bounded():
    """2,198 × 17,000 records would be 300 MB of distances in float64; a block is 32 MB, its order 64."""
    tracemalloc = pytest.importorskip("tracemalloc")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2198, 30)).astype(np.float32), rng.standard_normal((17_000, 30)).astype(np.float32)
    tracemalloc.start()
    nearest(x, y, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6
