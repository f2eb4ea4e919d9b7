"""The state space layer: the fast convolution equals both slow recurrences, forwards and backwards, cached or not."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from ecglib.diffusion.s4 import STEP_RANGE, S4Layer, spectra, steps_of
from ecglib.diffusion.state_space import KERNELS, TAPS
from ecglib.errors import InputError

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
        assert torch.allclose(s4.spectrum(50), torch.view_as_complex(spectrum), atol=1e-5)


@each_kernel
def test_spectrum_is_the_transform_of_one_circular_kernel(kernel):
    s4 = layer(kernel).double()
    forward, backward = s4.kernels(50)
    circular = torch.cat([forward, backward.flip(-1)], dim=-1)  # lag −l lies at 2L − l
    circular[:, 0] += s4.d
    assert (s4.spectrum(50) - torch.fft.rfft(circular)).abs().max() < 1e-9


def test_a_half_precise_signal_is_transformed_in_float32():
    s4, u = layer(), torch.randn(2, 6, 40).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert s4.spectrum(40).dtype == torch.complex64
        y = s4.convolve(u)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, s4.convolve(u.float()).bfloat16())


def change_in_place(s4: S4Layer) -> None:
    with torch.no_grad():
        s4.c.mul_(2)


def change_d(s4: S4Layer) -> None:
    with torch.no_grad():
        s4.d.add_(1)


def load_others(s4: S4Layer) -> None:
    s4.load_state_dict(layer(seed=1).state_dict())


def swap(s4: S4Layer) -> None:
    s4.c.data = layer(seed=1).c.data


def average(s4: S4Layer) -> None:
    torch.optim.swa_utils.get_ema_multi_avg_fn(0.5)(list(s4.parameters()), list(layer(seed=1).parameters()), 0)


def one_step(s4: S4Layer, fused: bool = False) -> None:
    optimiser = torch.optim.AdamW(s4.parameters(), lr=0.1, fused=fused)
    with torch.enable_grad():
        s4(torch.randn(1, 40, 6)).square().sum().backward()
    optimiser.step()


def one_fused_step(s4: S4Layer) -> None:
    one_step(s4, fused=True)  # which does not say that it wrote


@pytest.mark.parametrize("change", [change_in_place, change_d, load_others, swap, average, one_step, one_fused_step])
def test_a_kept_spectrum_follows_the_weights(change):
    s4, u = layer(), torch.randn(2, 6, 40)
    with torch.no_grad():
        before, kept = s4.convolve(u), spectra([s4], 40)[0]
        assert spectra([s4], 40)[0] is kept
        change(s4)
        after = s4.convolve(u)
        assert spectra([s4], 40)[0] is not kept
        assert (after - before).abs().max() > 1e-3
        assert (after - s4.recur(u)).abs().max() < 1e-4 * float(after.abs().max())


def test_a_kept_spectrum_goes_where_the_layer_goes():
    s4 = layer()
    with torch.no_grad():
        assert s4.spectrum(40).dtype == torch.complex64
        s4.double()  # another device is told in the same way
        assert s4.spectrum(40).dtype == torch.complex128


def test_nothing_is_kept_while_gradients_are_wanted():
    s4 = layer()
    with torch.no_grad():
        kept = spectra([s4], 40)[0]
    s4(torch.randn(1, 40, 6))
    with torch.no_grad():
        again = spectra([s4], 40)[0]
    assert again is not kept and torch.equal(again, kept)


def test_what_was_made_in_inference_mode_serves_training():
    s4, u = layer(), torch.randn(1, 6, 37)  # a length no other test has: its table is made here
    with torch.inference_mode():
        y = s4.convolve(u)
    with torch.no_grad():
        assert torch.equal(s4.convolve(u), y)
    s4.convolve(u).sum().backward()
    assert s4.c.grad is not None


def test_threads_that_ask_for_different_lengths_get_their_own():
    s4 = layer()
    signals = [torch.randn(1, 6, length) for length in (30, 40, 50, 60)]
    expected = [s4.convolve(u).detach() for u in signals]

    def often(k: int) -> bool:
        with torch.no_grad():  # each thread has its own mode
            return all(torch.equal(s4.convolve(signals[k]), expected[k]) for _ in range(50))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(often, range(4)))


def test_a_kept_spectrum_is_of_its_length():
    s4, u = layer(), torch.randn(2, 6, 40)
    with torch.no_grad():
        for length in (40, 20, 40):
            assert torch.allclose(s4.convolve(u[..., :length]), s4.recur(u[..., :length]).float(), atol=1e-4)


def test_records_one_by_one_give_the_same_as_all_at_once(monkeypatch):
    s4, u = layer(), torch.randn(3, 6, 40, requires_grad=True)
    answers = []
    for cache in (0, 10**6):
        monkeypatch.setattr("ecglib.diffusion.s4.CACHE", cache)
        y = s4.convolve(u)
        answers.append([y.detach(), *torch.autograd.grad(y.square().sum(), [u, s4.c, s4.d])])
    for one_by_one, at_once in zip(*answers, strict=True):
        assert torch.allclose(one_by_one, at_once, rtol=1e-5, atol=1e-5)


@each_kernel
@pytest.mark.parametrize("cache", [0, 10**6])
def test_gradients_equal_those_of_the_recurrence(kernel, cache, monkeypatch):
    monkeypatch.setattr("ecglib.diffusion.s4.CACHE", cache)
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


@pytest.mark.parametrize("length", [40, 100])
def test_the_dilated_kernel_is_torchs_dilated_convolution(length):
    s4 = layer("dilated", 8, 8).double()  # eight different Δ: one dilation a channel, then the cycle again
    u = torch.randn(2, 8, length, dtype=torch.float64)
    cycle = int(math.log2(length // TAPS)) + 1
    c = s4.c.detach().flatten(2)
    for channel in range(8):
        dilation = 2 ** (channel % cycle)
        past, future = c[0, channel, :TAPS], c[1, channel, :TAPS]
        taps = torch.zeros(2 * dilation * (TAPS - 1) + 3)  # lags −(TAPS − 1)·d − 1 … (TAPS − 1)·d + 1
        middle = dilation * (TAPS - 1) + 1
        for k in range(TAPS):
            taps[middle + k * dilation] += past[k]
            taps[middle - k * dilation - 1] += future[k]
        taps[middle] += s4.d[channel].detach()
        expected = F.conv1d(u[:, channel : channel + 1], taps.flip(0)[None, None].double(), padding=middle)
        assert s4.convolve(u)[:, channel].detach() == pytest.approx(expected[:, 0].numpy(), abs=1e-6)


def test_the_dilated_kernel_has_no_recurrence():
    with pytest.raises(InputError, match="kernel='dilated'"):
        S4Layer(8, 8, "dilated").recur(torch.zeros(1, 8, 10))
