"""Flat, clipped, inconsistent and swapped leads: found where they are, and not where they are not."""

import numpy as np
import pytest

from ecglib.signals import LEADS_12, Cohort, to_eight_leads, to_twelve_leads
from ecglib.signals.quality import arms_swapped, breaks_einthoven, clipped_leads, flat_leads
from ecglib.signals.virtual.noise import electrode_matrix
from ecglib.signals.virtual.torso import lead_field


@pytest.fixture(scope="module")
def real(ludb_500: Cohort) -> np.ndarray:
    """LUDB, float32 (200, 12, 5000), mV."""
    return np.asarray(ludb_500.x)


def exchange_arms(x: np.ndarray) -> np.ndarray:
    """What (..., 12, L) becomes when the electrodes of left and right arm change places."""
    turned = x[..., [0, 2, 1, 4, 3, 5, 6, 7, 8, 9, 10, 11], :].copy()
    turned[..., 0, :] *= -1
    return turned


def test_exchanged_arms_by_the_definition_of_leads() -> None:
    electrodes = np.random.default_rng(0).standard_normal((9, 50))
    right = to_twelve_leads(electrode_matrix() @ electrodes)
    wrong = to_twelve_leads(electrode_matrix() @ electrodes[[1, 0, *range(2, 9)]])
    np.testing.assert_allclose(exchange_arms(right), wrong, atol=1e-12)


def test_real_records_are_sound(real: np.ndarray) -> None:
    assert not any(flat_leads(x, 500) or clipped_leads(x, 500) or breaks_einthoven(x) for x in real)


def test_cut_peaks_are_found(real: np.ndarray) -> None:
    cut = [bool(clipped_leads(np.clip(x, -0.8, 0.8), 500)) for x in real]
    print(f"clipped at 0.8 mV: {sum(cut)} of {len(cut)} found")
    assert np.mean(cut) > 0.8
    one = real[0].copy()
    one[9] = np.minimum(one[9], 0.3 * one[9].max())
    assert clipped_leads(one, 500) == ["V4"]


def test_a_plateau_near_zero_is_not_clipped() -> None:
    x = np.zeros((12, 1000))
    x[:, ::100] = -0.4  # as if rounded: the rest of the record lies on one level
    assert clipped_leads(x, 100) == []


def test_gains_of_single_leads_break_einthoven(real: np.ndarray) -> None:
    wrong = real.copy()
    wrong[:, 0] *= 1.5
    shifted = real + np.linspace(-1, 1, 12, dtype=np.float32)[:, None]
    print(f"lead I by 1.5: {sum(map(breaks_einthoven, wrong))} of 200 found")
    assert np.mean([breaks_einthoven(x) for x in wrong]) > 0.8
    assert not any(breaks_einthoven(x) for x in shifted)  # a constant offset is another matter
    assert not any(breaks_einthoven(x) for x in exchange_arms(real))  # which is why the swap needs a look at the shape


def test_exchanged_arms(real: np.ndarray) -> None:
    false_alarms = sum(arms_swapped(x, 500) for x in real)
    hits = sum(arms_swapped(x, 500) for x in exchange_arms(real))
    print(f"arms exchanged: {hits} of {len(real)} found, {false_alarms} false alarms")
    assert hits >= 0.94 * len(real) and false_alarms == 2  # both paced


def test_a_heart_on_the_right_is_no_swap(real: np.ndarray) -> None:
    vector = np.linalg.pinv(lead_field()) @ to_eight_leads(real[:, :, ::5]).astype(np.float64)
    vector[:, 0] *= -1  # left becomes right
    mirrored = to_twelve_leads(lead_field() @ vector)
    assert sum(arms_swapped(x, 100) for x in mirrored) == 0


def test_too_few_beats_and_flat_records_are_not_judged() -> None:
    assert not arms_swapped(np.zeros((12, 1000)), 100)
    assert flat_leads(np.zeros((12, 1000)), 100) == list(LEADS_12)


def test_leads_that_are_flat_for_a_while_or_a_thousand_times_too_small(real: np.ndarray) -> None:
    x = real[3].copy()
    x[6, 100:900] = 0.1  # 1.6 s
    assert flat_leads(x, 500) == []
    x[6, 100:1099] = 0.1  # 999 samples
    assert flat_leads(x, 500) == []
    for start in (0, 1, 2500, 4000):  # 2 s, the first and the last two among them
        one = real[3].copy()
        one[6, start : start + 1000] = 0.1
        assert flat_leads(one, 500) == ["V1"], start
    x[6, 100:1200] = 0.1
    x[9, 1:] = 0.0  # but for one sample
    assert flat_leads(x, 500) == ["V1", "V4"]
    assert flat_leads(real[3] / 1000, 500) == list(LEADS_12)
