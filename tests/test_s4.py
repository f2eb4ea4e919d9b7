"""The state space layer: the fast convolution equals both slow recurrences, forwards and backwards, cached or not."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from ecglib.diffusion.s4 import STEP_RANGE, S4Layer, spectra, steps_of
from ecglib.diffusion.state_space import KERNELS

each_kernel = pytest.mark.parametrize("kernel", KERNELS)


def layer(kernel: str = "s4d", channels: int = 6, state: int = 16, seed: int = 0) -> S4Layer:
    torch.manual_seed(seed)
    return S4Layer(channels, state, kernel)


@each_kernel
@pytest.mark.parametrize("length", [1, 2, 31, 250, 1000])
def test_fast_form_equals_both_recurrences(kernel, length):
    s4, u = layer(kernel), torch.randn(2, 6, length)
    slow = s4.recur(u).detach()
    assert (s4.convolve(u) - slow).abs().max() < 2e-5 * max(1, float(slow.abs().max()))


@each_kernel
def test_impulse_in_the_middle_spreads_both_ways(kernel):
    s4, u = layer(kernel), torch.zeros(1, 6, 100)
    u[..., 50] = 1
    y = s4.convolve(u).detach()
    forward, backward = s4.kernels(100).detach()
    assert torch.allclose(y[0, :, 51:], forward[:, 1:50], atol=1e-5)
    assert torch.allclose(y[0, :, :50].flip(-1), backward[:, :50], atol=1e-5)
    assert torch.allclose(y[0, :, 50], forward[:, 0] + s4.d, atol=1e-5)


@pytest.mark.parametrize(("channels", "different"), [(1, 1), (6, 6), (37, 1), (64, 32), (256, 32)])
def test_neighbours_share_at_most_32_steps_over_the_whole_range(channels, different):
    steps = steps_of(channels)
    assert len(steps) == different and list(steps) == sorted(steps)
    assert STEP_RANGE[0] < steps[0] and steps[-1] < STEP_RANGE[1]


@each_kernel
def test_spectra_of_several_layers_are_those_of_each(kernel):
    layers = [layer(kernel, channels=64, state=8, seed=seed) for seed in range(3)]
    together = spectra(layers, 50)
    for s4, spectrum in zip(layers, together, strict=True):
        assert torch.allclose(s4.spectrum(50), spectrum, atol=1e-5)


def change_in_place(s4: S4Layer) -> None:
    with torch.no_grad():
        s4.c.mul_(2)


def change_d(s4: S4Layer) -> None:
    with torch.no_grad():
        s4.d.add_(1)


def load_others(s4: S4Layer) -> None:
    s4.load_state_dict(layer(seed=1).state_dict())


def one_step(s4: S4Layer) -> None:
    optimiser = torch.optim.AdamW(s4.parameters(), lr=0.1)
    with torch.enable_grad():
        s4(torch.randn(1, 40, 6)).square().sum().backward()
    optimiser.step()


@pytest.mark.parametrize("change", [change_in_place, change_d, load_others, one_step])
def test_a_kept_spectrum_follows_the_weights(change):
    s4, u = layer(), torch.randn(2, 6, 40)
    with torch.no_grad():
        before, kept = s4.convolve(u), s4.spectrum(40)
        assert s4.spectrum(40) is kept
        change(s4)
        after = s4.convolve(u)
        assert s4.spectrum(40) is not kept
        assert (after - before).abs().max() > 1e-3
        assert (after - s4.recur(u)).abs().max() < 1e-4 * float(after.abs().max())


def test_a_kept_spectrum_is_of_its_length():
    s4, u = layer(), torch.randn(2, 6, 40)
    with torch.no_grad():
        for length in (40, 20, 40):
            assert torch.allclose(s4.convolve(u[..., :length]), s4.recur(u[..., :length]).float(), atol=1e-4)


@each_kernel
def test_gradients_equal_those_of_the_recurrence(kernel):
    s4 = layer(kernel, channels=2, state=4).double()
    u, target = torch.randn(2, 1, 2, 12, dtype=torch.float64)
    u.requires_grad_()
    of = [s4.c, s4.d, u]
    expected = torch.autograd.grad((s4.recur(u) * target).sum(), of)
    got = torch.autograd.grad((s4.convolve(u) * target).sum(), of)
    for e, g in zip(expected, got, strict=True):
        assert torch.allclose(e, g, atol=1e-5 * float(e.abs().max()))


def test_save_and_load_keep_the_layer(tmp_path):
    s4, other, u = layer(), layer(seed=5), torch.randn(1, 6, 30)
    with torch.no_grad():
        other.convolve(u)  # keeps a spectrum
        save_file(s4.state_dict(), tmp_path / "s4.safetensors")
        other.load_state_dict(load_file(tmp_path / "s4.safetensors"))
        assert torch.equal(s4.convolve(u), other.convolve(u))
