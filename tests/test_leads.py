"""Lead algebra: 8 ↔ 12, from the electrodes up, in NumPy and in PyTorch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglib.errors import InputError
from ecglib.signals import LEADS_8, LEADS_12, canonical_lead, einthoven_residual, to_eight_leads, to_twelve_leads
from ecglib.signals.leads import lead_order


def leads_from_electrodes(ra: np.ndarray, la: np.ndarray, ll: np.ndarray, chest: np.ndarray) -> np.ndarray:
    """The slow, obvious form: every lead is a difference of potentials; chest leads against Wilson's terminal."""
    terminal = (ra + la + ll) / 3
    limb = [la - ra, ll - ra, ll - la, ra - (la + ll) / 2, la - (ra + ll) / 2, ll - (ra + la) / 2]
    return np.stack([*limb, *(v - terminal for v in chest)])


potentials = st.lists(st.floats(-5, 5), min_size=9, max_size=9)


@given(st.lists(potentials, min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_eight_leads_hold_all_twelve(samples: list[list[float]]) -> None:
    ra, la, ll, *chest = np.array(samples).T
    twelve = leads_from_electrodes(ra, la, ll, np.array(chest))
    for x in (twelve, torch.tensor(twelve)):
        completed = to_twelve_leads(to_eight_leads(x))
        assert type(completed) is type(x) and completed.shape == x.shape
        assert float(abs(completed - x).max()) < 1e-6  # mV
        assert float(abs(einthoven_residual(x)).max()) < 1e-6


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_batch_axes_stay(dtype: type) -> None:
    x = np.random.default_rng(0).standard_normal((3, 2, 8, 50)).astype(dtype)
    twelve = to_twelve_leads(x)
    assert twelve.dtype == dtype and twelve.shape == (3, 2, 12, 50)
    np.testing.assert_array_equal(to_eight_leads(twelve), x)
    of_torch = to_twelve_leads(torch.from_numpy(x))
    np.testing.assert_allclose(of_torch.numpy(), twelve, atol=1e-6)
    assert np.abs(einthoven_residual(twelve)).max() < 1e-6


def test_scaled_leads_break_the_identities() -> None:
    x = to_twelve_leads(np.random.default_rng(0).standard_normal((8, 500)))
    z = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
    assert np.abs(einthoven_residual(z)).max() > 0.1


def test_the_eight_are_among_the_twelve_in_order() -> None:
    rows = np.arange(12.0)[:, None]
    assert [LEADS_12[int(k)] for k in to_eight_leads(rows)[:, 0]] == list(LEADS_8)


@pytest.mark.parametrize(("given_name", "usual"), [("AVR", "aVR"), ("avf", "aVF"), (" v1 ", "V1"), ("ii", "II")])
def test_spelling(given_name: str, usual: str) -> None:
    assert canonical_lead(given_name) == usual


def test_order_of_mimic() -> None:
    mimic = ["I", "II", "III", "aVR", "aVF", "aVL", *LEADS_12[6:]]
    assert [mimic[k] for k in lead_order(mimic, LEADS_12)] == list(LEADS_12)


def test_wrong_leads_are_errors() -> None:
    for call, words in (
        (lambda: canonical_lead("X"), "'X' is not one of the twelve"),
        (lambda: lead_order(["I", "i"], ["I"]), "twice"),
        (lambda: lead_order(["I"], ["I", "II"]), "leads II are wanted"),
        (lambda: to_twelve_leads(np.zeros((12, 5))), r"\(12, 5\)"),
        (lambda: to_eight_leads(np.zeros(8)), "shape"),
        (lambda: einthoven_residual(np.zeros((8, 5))), r"expected \(\.\.\., 12, L\)"),
    ):
        with pytest.raises(InputError, match=words):
            call()
