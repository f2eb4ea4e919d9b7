"""The mel loss: filters against an independent formula, gradients that are right, empty filters refused."""

import numpy as np
import pytest
import torch

from ecglib.config import Config, MelConfig
from ecglib.diffusion import MelLoss, mel_filters, spectrogram
from ecglib.errors import InputError


def slaney_by_hand(window: int, n_mels: int, fs: int) -> np.ndarray:
    """Triangles between evenly spaced edges: below 1 kHz the Slaney scale is linear (3 mel per 200 Hz)."""
    frequencies = np.arange(window // 2 + 1) * fs / window
    edges = np.linspace(0, fs / 2, n_mels + 2)
    filters = np.zeros((len(frequencies), n_mels))
    for k in range(n_mels):
        low, centre, high = edges[k : k + 3]
        up, down = (frequencies - low) / (centre - low), (high - frequencies) / (high - centre)
        filters[:, k] = np.maximum(0, np.minimum(up, down)) * 2 / (high - low)
    return filters


@pytest.mark.parametrize(("window", "n_mels"), [(512, 128), (256, 64), (64, 16), (32, 10)])
def test_filters_are_even_triangles_at_ecg_frequencies(window, n_mels):
    ours = mel_filters(window, n_mels, 100).numpy()
    assert np.abs(ours - slaney_by_hand(window, n_mels, 100)).max() < 1e-4 * ours.max()
    assert (ours.sum(axis=0) > 0).all()


def test_empty_filters_are_refused():
    with pytest.raises(InputError, match="n_mels=64 with window=64: 2 filters are empty"):
        mel_filters(64, 64, 100)


def test_spectrogram_is_the_transform_of_each_frame():
    x = np.random.default_rng(0).normal(size=300)
    window, hop = 64, 16
    padded = np.pad(x, window // 2, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    slow = np.stack([np.abs(np.fft.rfft(hann * padded[k : k + window])) for k in range(0, 300 + 1, hop)], axis=1)
    fast = spectrogram(torch.tensor(x), window)
    assert fast.shape == slow.shape
    assert np.abs(fast.numpy() - slow).max() < 1e-4


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
    for name in ("smoke", "quick", "small", "paper"):
        MelLoss(Config.preset(name).mel, 100)
