"""The state space layer: the fast convolution equals the slow recurrence, forwards and backwards, cached or not."""

import numpy as np
import pytest
import torch

from ecglib.diffusion.s4 import S4Layer, discretise, kernel_slow, recurrence, s4d_lin


def layer(channels: int = 6, state: int = 16, seed: int = 0) -> S4Layer:
    torch.manual_seed(seed)
    return S4Layer(channels, state)


@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 250, 1000])
def test_fast_form_equals_both_recurrences(length):
    s4 = layer()
    u = torch.randn(2, 6, length)
    slow = s4.recur(u)
    assert (s4.convolve(u) - slow).abs().max() < 2e-5 * max(1, float(slow.abs().max()))


def test_two_level_kernel_equals_powers_in_float64():
    s4 = layer(state=64).double()
    a_bar, b_bar = discretise(s4d_lin(64), s4.step)
    for direction, fast in zip(torch.view_as_complex(s4.c.detach()), s4.kernels(1000), strict=True):
        slow = kernel_slow(a_bar, b_bar, direction, 1000)
        assert (fast - slow).abs().max() < 1e-6 * slow.abs().max()


def test_recurrence_is_a_convolution_with_the_slow_kernel():
    s4 = layer()
    a_bar, b_bar = discretise(s4d_lin(16), s4.step)
    c = torch.view_as_complex(s4.c.detach())[0].to(torch.complex128)
    u = torch.randn(1, 6, 60, dtype=torch.float64)
    kernel = kernel_slow(a_bar, b_bar, c, 60)
    by_hand = np.stack([np.convolve(u[0, h], kernel[h])[:60] for h in range(6)])
    assert np.abs(recurrence(a_bar, b_bar, c, u)[0].numpy() - by_hand).max() < 1e-10


def test_discretisation_is_the_exact_solution_of_the_differential_equation():
    """h' = A h + u with u = 1 from h(0) = 0 has h(Δ) = (exp(AΔ) − 1)/A."""
    a, step = s4d_lin(8), torch.tensor([0.05])
    _, b_bar = discretise(a, step)
    h, fine = torch.zeros(4, dtype=torch.complex128), 200_000
    dt = 0.05 / fine
    grown = (1 + a * dt) ** fine  # Euler's method in closed form
    h = (grown - 1) / a
    assert (h - b_bar[0]).abs().max() < 1e-6


def test_impulse_in_the_middle_spreads_both_ways():
    s4 = layer()
    u = torch.zeros(1, 6, 100)
    u[..., 50] = 1
    y = s4.convolve(u).detach()
    forward, backward = s4.kernels(100).detach()
    assert torch.allclose(y[0, :, 51:], forward[:, 1:50], atol=1e-5)
    assert torch.allclose(y[0, :, :50].flip(-1), backward[:, :50], atol=1e-5)
    assert torch.allclose(y[0, :, 50], forward[:, 0] + s4.d, atol=1e-5)


def change_in_place(s4: S4Layer) -> None:
    with torch.no_grad():
        s4.c.mul_(2)


def load_others(s4: S4Layer) -> None:
    s4.load_state_dict(layer(seed=1).state_dict())


def one_step(s4: S4Layer) -> None:
    optimiser = torch.optim.AdamW(s4.parameters(), lr=0.1)
    s4(torch.randn(1, 40, 6)).square().sum().backward()
    optimiser.step()


@pytest.mark.parametrize("change", [change_in_place, load_others, one_step])
def test_a_cached_spectrum_follows_the_weights(change):
    s4, u = layer(), torch.randn(2, 6, 40)
    with torch.no_grad():
        before = s4.convolve(u)
        assert torch.equal(before, s4.convolve(u))
        cached = s4._spectrum
        change_ = torch.enable_grad()
        with change_:
            change(s4)
        after = s4.convolve(u)
        assert s4._spectrum is not cached
    assert (after - before).abs().max() > 1e-3
    assert (after - s4.recur(u)).abs().max() < 1e-4 * float(after.abs().max())


def test_gradients_reach_c_and_d_and_equal_those_of_the_recurrence():
    s4 = layer(channels=2, state=4).double()
    u = torch.randn(1, 2, 12, dtype=torch.float64)

    def slow(c, d):
        a_bar, b_bar = discretise(s4d_lin(4), s4.step)
        forward, backward = torch.view_as_complex(c)
        future = recurrence(a_bar, b_bar, backward, u.flip(-1)).flip(-1)
        future = torch.nn.functional.pad(future[..., 1:], (0, 1))
        return recurrence(a_bar, b_bar, forward, u) + future + d[:, None] * u

    target = torch.randn(1, 2, 12, dtype=torch.float64)
    expected = torch.autograd.grad((slow(s4.c, s4.d) * target).sum(), [s4.c, s4.d])
    got = torch.autograd.grad((s4.convolve(u) * target).sum(), [s4.c, s4.d])
    for e, g in zip(expected, got, strict=True):
        assert torch.allclose(e, g, atol=1e-4)


def test_save_and_load_keep_the_layer(tmp_path):
    from safetensors.torch import load_file, save_file

    s4, other, u = layer(), layer(seed=5), torch.randn(1, 6, 30)
    other.convolve(u)  # fills its caches
    save_file(s4.state_dict(), tmp_path / "s4.safetensors")
    other.load_state_dict(load_file(tmp_path / "s4.safetensors"))
    assert torch.equal(s4.convolve(u), other.convolve(u))
