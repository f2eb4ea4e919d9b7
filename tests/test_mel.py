"""The mel loss: filters against an independent formula, gradients that are right, empty filters refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ecglib.config import Config, MelConfig
from ecglib.diffusion import MelLoss, Schedule, mel_filters, posterior_mean, q_sample, spectrogram
from ecglib.diffusion.mel import mel_estimate, with_differences
from ecglib.errors import InputError
from ecglib.presets import PRESETS
from ecglib.variants import VARIANTS

MEL_VARIANTS = [name for name in VARIANTS if name.startswith("mel-")]


def hertz(mel: np.ndarray) -> np.ndarray:
    """Slaney's scale: 3 mel per 200 Hz up to 1 kHz (15 mel), then 27 mel for each factor of 6.4."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


def slaney_by_hand(window: int, n_mels: int, fs: int) -> np.ndarray:
    """Triangles of equal area between edges that are evenly spaced in mel: (window/2 + 1, n_mels)."""
    frequencies = np.arange(window // 2 + 1) * fs / window
    highest = 3 * fs / 2 / 200 if fs <= 2000 else 15 + 27 * np.log(fs / 2000) / np.log(6.4)
    edges = hertz(np.linspace(0, highest, n_mels + 2))
    filters = np.zeros((len(frequencies), n_mels))
    for k in range(n_mels):
        low, centre, high = edges[k : k + 3]
        up, down = (frequencies - low) / (centre - low), (high - frequencies) / (high - centre)
        filters[:, k] = np.maximum(0, np.minimum(up, down)) * 2 / (high - low)
    return filters


@pytest.mark.parametrize(("window", "n_mels", "fs"),
                         [(512, 128, 100), (256, 64, 500), (64, 40, 100), (1024, 16, 16_000)])  # fmt: skip
def test_filters_are_slaneys_triangles(window, n_mels, fs):
    ours = mel_filters(window, n_mels, fs).numpy()
    assert np.abs(ours - slaney_by_hand(window, n_mels, fs)).max() < 1e-4 * ours.max()


def test_filters_are_evenly_spaced_at_ecg_frequencies_only():
    def spread(fs):
        centres = (mel_filters(1024, 16, fs).argmax(dim=0) * fs / 1024).numpy()
        return np.diff(centres).max() / np.diff(centres).min()

    assert spread(100) < 1.05 and spread(16_000) > 3  # up to one frequency of the transform


@pytest.mark.parametrize("name", MEL_VARIANTS)
def test_no_filter_of_a_published_variant_is_empty(name):
    mel = Config().override(VARIANTS[name]).mel
    for window, n_mels in zip(mel.windows, mel.n_mels, strict=True):
        assert (slaney_by_hand(window, n_mels, 100) > 0).any(axis=0).all()


def test_empty_filters_are_refused():
    with pytest.raises(InputError, match="n_mels=64 with window=64: 2 filters are empty"):
        mel_filters(64, 64, 100)


@pytest.mark.parametrize("window", [25, 64, 256])
def test_spectrogram_is_the_transform_of_each_frame(window):
    x = np.random.default_rng(0).normal(size=300)
    hop = window // 4
    padded = np.pad(x, window // 2, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    starts = range(0, len(padded) - window + 1, hop)
    slow = np.stack([np.abs(np.fft.rfft(hann * padded[k : k + window])) for k in starts], axis=1)
    fast = spectrogram(torch.tensor(x), window)
    assert fast.shape == slow.shape
    assert np.abs(fast.numpy() - slow).max() < 1e-4


def test_a_signal_shorter_than_its_reflection_is_refused():
    assert spectrogram(torch.zeros(33), 64).shape == (33, 3)
    with pytest.raises(InputError, match="a window of 64 samples needs more than 32; the signal has 32"):
        spectrogram(torch.zeros(1, 8, 32), 64)


def test_a_pure_tone_lights_its_own_filter():
    time = torch.arange(1000) / 100
    filters = mel_filters(64, 16, 100)
    for k in (3, 8, 12):
        tone = torch.sin(2 * np.pi * 50 / 17 * (k + 1) * time)
        mel = spectrogram(tone, 64).T @ filters
        assert int(mel.mean(dim=0).argmax()) == k


def loss(**changes) -> MelLoss:
    return MelLoss(MelConfig(**{"windows": (64, 32), "n_mels": (16, 8), **changes}), 100)


def test_zero_for_equal_signals_positive_otherwise_and_symmetric():
    a, b = torch.randn(2, 3, 8, 200, generator=torch.Generator().manual_seed(0))
    mel = loss()
    assert torch.equal(mel.per_record(a, a), torch.zeros(3))
    assert (mel.per_record(a, b) > 0).all()
    assert torch.allclose(mel.per_record(a, b), mel.per_record(b, a))


def test_the_formula_slowly():
    a, b = torch.randn(2, 1, 2, 200, generator=torch.Generator().manual_seed(0))
    mel = loss(windows=(64,), n_mels=(16,))
    m_a, m_b = (spectrogram(x, 64).transpose(-1, -2).double() @ mel_filters(64, 16, 100).double() for x in (a, b))
    floor = torch.tensor(1e-2)
    logs = (torch.maximum(m_a, floor) ** 2).log10() - (torch.maximum(m_b, floor) ** 2).log10()
    assert float(mel.per_record(a, b)) == pytest.approx(float(logs.abs().mean() + (m_a - m_b).abs().mean()), rel=1e-5)


def test_without_filters_each_frequency_is_a_band_of_the_same_area():
    a, b = torch.randn(2, 3, 2, 200, generator=torch.Generator().manual_seed(0))
    m_a, m_b = (spectrogram(x, 64) * 0.64 for x in (a, b))  # a band of 100/64 Hz
    logs = 2 * (m_a.clamp(min=1e-2).log10() - m_b.clamp(min=1e-2).log10())
    by_hand = logs.abs().mean(dim=(1, 2, 3)) + (m_a - m_b).abs().mean(dim=(1, 2, 3))
    assert torch.allclose(loss(windows=(64,), n_mels=(1,), filters="none").per_record(a, b), by_hand, rtol=1e-5)


def test_windows_add_up():
    a, b = torch.randn(2, 3, 8, 600, generator=torch.Generator().manual_seed(0))
    one_by_one = [loss(windows=(w,), n_mels=(n,)).per_record(a, b) for w, n in ((512, 64), (64, 16), (32, 10), (16, 4))]
    assert torch.allclose(loss(windows=(512, 64, 32, 16), n_mels=(64, 16, 10, 4)).per_record(a, b), sum(one_by_one))


def test_the_floor_silences_the_logarithm_only():
    a, b = 1e-4 * torch.randn(2, 1, 1, 200, generator=torch.Generator().manual_seed(0))
    m_a, m_b = (spectrogram(x, 64).transpose(-1, -2) @ mel_filters(64, 16, 100) for x in (a, b))
    heard = loss(windows=(64,), n_mels=(16,)).per_record(a, b)
    assert m_a.max() < 1e-2 and heard.item() == pytest.approx((m_a - m_b).abs().mean().item())
    assert loss(windows=(64,), n_mels=(16,), floor=1e-5).per_record(a, b) > 100 * heard


def test_a_high_r_wave_is_heard_whole():
    """Most ECGs exceed six standard deviations: the loss neither clamps them nor a wrong estimate of them."""
    true, low = torch.zeros(2, 1, 1, 400).unbind()
    true[..., 200], low[..., 200] = 12.0, 9.0
    assert loss().per_record(low, true) > 0.1


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_the_posterior_mean_of_a_perfect_network_is_noisy_and_its_x0_hat_is_not(name):
    schedule, config = Schedule.named(name, 200), MelConfig()
    t = torch.tensor([0, 50, 100, 150])
    x0, eps = torch.randn(2, 4, 8, 1000, generator=torch.Generator().manual_seed(0))
    x_t = q_sample(schedule, x0, t, eps)
    assert torch.equal(mel_estimate(config, schedule, x_t, t, x0), x0)
    mean = mel_estimate(replace(config, estimate="posterior"), schedule, x_t, t, x0)
    assert torch.equal(mean, posterior_mean(schedule, x_t, t, x0))
    before = torch.cat([torch.ones(1), schedule.alpha_bar])[t].float().sqrt()[:, None, None]
    noise = (mean - before * x0).std(dim=(1, 2))
    assert noise[0] < 1e-6
    if name == "linear":
        assert noise[1:].tolist() == pytest.approx([0.34, 0.62, 0.82], abs=0.01)


@pytest.mark.parametrize("field", ["estimate", "filters", "weighting"])
def test_unknown_words_are_refused(field):
    config = MelConfig(**{field: "magic"})
    with pytest.raises(InputError, match=f"mel.{field}='magic' is not known"):
        MelLoss(config, 100)
        mel_estimate(config, Schedule.linear(), *[torch.zeros(1, 1, 1)] * 3)


def test_weighting_by_alpha_bar():
    a, b = torch.randn(2, 3, 8, 200, generator=torch.Generator().manual_seed(0))
    weight = torch.tensor([1.0, 0.5, 0.0])
    each = loss().per_record(a, b)
    assert torch.allclose(loss()(a, b, weight), (each * weight).mean())
    assert torch.allclose(loss(weighting="none")(a, b, weight), each.mean())


def test_gradient_is_finite_at_silence_and_equals_differences():
    mel = loss()
    silent = torch.zeros(1, 1, 200, requires_grad=True)
    mel.per_record(silent, torch.randn(1, 1, 200)).sum().backward()
    assert torch.isfinite(silent.grad).all()
    a, b = torch.randn(2, 1, 1, 200, generator=torch.Generator().manual_seed(0))
    a.requires_grad_()
    direction = torch.randn(1, 1, 200, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad(mel.per_record(a, b).sum(), a)
    h = 1e-3
    with torch.no_grad():
        difference = (mel.per_record(a + h * direction, b) - mel.per_record(a - h * direction, b)) / (2 * h)
    assert float((gradient * direction).sum()) == pytest.approx(float(difference), rel=0.02)


def test_every_presets_filters_exist():
    for name in PRESETS:
        MelLoss(Config.preset(name).mel, 100)


class TestDifferences:
    def losses(self, estimate: str, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return MelLoss(replace(Config.preset("quick").mel, estimate=estimate), 100).per_record(y, x)

    def test_leads_alone_do_not_hear_one_that_is_upside_down_and_differences_do(self):
        x = torch.randn(3, 8, 500, generator=torch.Generator().manual_seed(0)).cumsum(dim=-1) / 10
        turned = x * torch.tensor([1.0, 1, 1, -1, 1, 1, 1, 1])[:, None]
        assert self.losses("x0", turned, x).max() < 1e-5
        assert self.losses("differences", turned, x).min() > 0.05
        assert self.losses("differences", -x, x).max() < 1e-5, "all upside down are alike still"

    def test_it_is_the_loss_of_all_signals_that_are_meant(self):
        generator = torch.Generator().manual_seed(1)
        x, y = (torch.randn(2, 3, 300, generator=generator) for _ in range(2))
        pairs = [(0, 1), (0, 2), (1, 2)]
        by_hand = [torch.cat([z, torch.stack([(z[:, i] - z[:, j]) / 2**0.5 for i, j in pairs], dim=1)], dim=1)
                   for z in (y, x)]  # fmt: skip
        torch.testing.assert_close(with_differences(x), by_hand[1])
        torch.testing.assert_close(self.losses("differences", y, x), self.losses("x0", *by_hand))

    def test_the_identity_it_rests_on(self):
        x = torch.randn(1, 2, 64, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        a, b, difference = torch.fft.rfft(torch.cat([x, with_differences(x)[:, 2:]], dim=1))[0]
        cross = (a * b.conj()).real
        torch.testing.assert_close(difference.abs().square(), (a.abs().square() + b.abs().square()) / 2 - cross)
