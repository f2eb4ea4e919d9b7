"""The Wiener filter: exact for Gaussian signals, a linear part of the estimate, saved with the weights."""

import pytest
import torch

from ecglib.diffusion import Schedule, q_sample
from ecglib.diffusion.wiener import WienerFilter
from ecglib.errors import InputError

N, LEADS, LENGTH, FS = 4000, 3, 40, 10


def gaussian_records(seed: int = 0) -> torch.Tensor:
    """Two leads that move together and one by itself, each smoothed around a circle: stationary, not white."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(N, LEADS, LENGTH, generator=generator)
    mixed = torch.stack([noise[:, 0], 0.8 * noise[:, 0] + 0.6 * noise[:, 1], 2 * noise[:, 2]], dim=1)
    return sum(mixed.roll(k, dims=-1) for k in range(4)) / 2


def fitted(cutoff: float = FS, groups: int = 1) -> WienerFilter:
    wiener = WienerFilter(LEADS, LENGTH, FS, cutoff, groups)
    wiener.fit(gaussian_records())
    return wiener


def noised(t: int, seed: int = 1):
    schedule = Schedule.cosine()
    x0 = gaussian_records(seed)
    steps = torch.full((N,), t)
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(2))
    return x0, q_sample(schedule, x0, steps, eps), schedule.alpha_bar[steps]


@pytest.mark.parametrize("t", [20, 100, 170])
def test_it_equals_the_least_squares_regression_of_x0_on_x_t(t):
    x0, x_t, alpha_bar = noised(t)
    rows = torch.cat([x_t.roll(k, dims=-1).flatten(1) for k in range(0, LENGTH, 4)]).double()
    wanted = torch.cat([x0.roll(k, dims=-1).flatten(1) for k in range(0, LENGTH, 4)]).double()
    by_hand = (rows @ torch.linalg.lstsq(rows, wanted).solution)[:N].reshape(x0.shape)
    ours = fitted()(x_t, alpha_bar)
    apart = (ours - by_hand).square().mean() / by_hand.square().mean()
    assert apart < 0.02
    assert (ours - x0).square().mean() < 1.02 * (by_hand - x0).square().mean()


def test_at_the_ends_it_keeps_all_or_nothing():
    x0, x_t, _ = noised(0)
    assert (fitted()(x0, torch.full((N,), 1 - 1e-6)) - x0).abs().max() < 2e-2
    assert fitted()(x_t, torch.full((N,), 1e-9)).abs().max() < 1e-2


def test_only_what_is_slower_than_the_cutoff_is_estimated():
    _, x_t, alpha_bar = noised(50)
    spectrum = torch.fft.rfft(fitted(cutoff=1.0)(x_t, alpha_bar)).abs().mean(dim=(0, 1))
    frequency = torch.fft.rfftfreq(LENGTH, 1 / FS)
    assert spectrum[frequency < 1.0].min() > 0.1
    assert spectrum[frequency >= 1.0].max() < 1e-4


def test_it_knows_which_leads_move_together():
    _, x_t, alpha_bar = noised(120)
    alone = x_t.clone()
    alone[:, 0] = 0
    heard = fitted()(x_t, alpha_bar)[:, 1] - fitted()(alone, alpha_bar)[:, 1]
    assert heard.abs().mean() > 0.05
    assert (fitted()(x_t, alpha_bar)[:, 2] - fitted()(alone, alpha_bar)[:, 2]).abs().mean() < 0.05


def test_for_white_signals_it_is_edms_skip_connection():
    wiener = WienerFilter(LEADS, LENGTH, FS, FS)
    wiener.fit(torch.randn(20_000, LEADS, LENGTH, generator=torch.Generator().manual_seed(3)))
    _, x_t, alpha_bar = noised(80)
    sigma = ((1 - alpha_bar) / alpha_bar).sqrt()[:, None, None].float()
    skip = 1 / (sigma**2 + 1)  # c_skip with sigma_data = 1, on x_t / sqrt(alpha_bar)
    expected = skip * x_t / alpha_bar.sqrt()[:, None, None].float()
    assert (wiener(x_t, alpha_bar) - expected).abs().max() < 0.15


def test_the_fit_is_saved_with_the_weights():
    other = WienerFilter(LEADS, LENGTH, FS, FS)
    other.load_state_dict(fitted().state_dict())
    _, x_t, alpha_bar = noised(60)
    assert torch.equal(other(x_t, alpha_bar), fitted()(x_t, alpha_bar))


@pytest.mark.parametrize("t", [60, 120])
def test_quiet_and_loud_records_are_told_apart(t):
    loudness = torch.where(torch.arange(N) % 2 == 0, 0.2, 1.4)[:, None, None]
    loud = torch.arange(N) % 2 == 1
    x0, _, alpha_bar = noised(t)
    x0 = x0 * loudness
    x_t = q_sample(Schedule.cosine(), x0, torch.full((N,), t), torch.randn(x0.shape, generator=torch.Generator()))

    def error(groups: int, records: torch.Tensor, rows: torch.Tensor) -> float:
        wiener = WienerFilter(LEADS, LENGTH, FS, FS, groups)
        wiener.fit(records)
        return float((wiener(x_t[rows], alpha_bar[rows]) - x0[rows]).square().mean())

    records, all_rows = gaussian_records() * loudness, torch.ones(N, dtype=torch.bool)
    oracle = (error(1, records[loud], loud) + error(1, records[~loud], ~loud)) / 2
    assert error(2, records, all_rows) < 1.05 * oracle
    assert error(1, records, all_rows) > 1.2 * oracle


@pytest.mark.parametrize(("length", "cutoff"), [(8, 99.0), (9, 99.0), (8, 2.0)])
def test_which_group_a_record_is_of_is_bayess_rule(length, cutoff):
    """One lead; in the time domain a group's covariance is a circulant matrix of its spectrum."""
    wiener = WienerFilter(1, length, length, cutoff, groups=2).double()
    bins = wiener.power.shape[1]
    generator = torch.Generator().manual_seed(0)
    wiener.power[:, :, 0] = 0.1 + 2 * torch.rand(2, bins, generator=generator, dtype=torch.float64)
    wiener.directions[..., 0] = 1.0
    share, x_t = 0.6, torch.randn(5, 1, length, generator=generator, dtype=torch.float64)
    means, fits = [], []
    for power in wiener.power[:, :, 0]:
        spectrum = torch.zeros(length // 2 + 1, dtype=torch.float64)
        spectrum[:bins] = power  # beyond the cutoff x0 is nothing, for either group
        row = torch.fft.irfft(spectrum.to(torch.complex128), n=length)
        covariance = torch.stack([row.roll(k) for k in range(length)])
        seen = share * covariance + (1 - share) * torch.eye(length, dtype=torch.float64)
        means.append(share**0.5 * x_t[:, 0] @ torch.linalg.inv(seen) @ covariance)
        zero = torch.zeros(length, dtype=torch.float64)
        fits.append(torch.distributions.MultivariateNormal(zero, seen).log_prob(x_t[:, 0]))
    chance = torch.softmax(torch.stack(fits), dim=0)
    by_hand = sum(c[:, None] * mean for c, mean in zip(chance, means, strict=True))
    ours = wiener(x_t, torch.full((5,), share, dtype=torch.float64))[:, 0]
    assert 0.02 < chance[0].min() and chance[0].max() < 0.98, "both groups must count"
    torch.testing.assert_close(ours, by_hand)


def test_fewer_records_than_groups_are_refused():
    with pytest.raises(InputError, match=r"network\.wiener_groups=64 for 32 training records"):
        WienerFilter(2, 100, 100, 5.0, groups=64).fit(torch.randn(32, 2, 100))
