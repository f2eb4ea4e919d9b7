"""Samplers against a Gaussian whose denoiser, distribution and probability-flow path are all known exactly."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglib.diffusion import (
    SAMPLERS,
    Schedule,
    ddim,
    ddpm,
    dpmpp_2m,
    posterior_mean,
    predict_eps,
    predict_x0,
    target_of,
)
from ecglib.diffusion.process import SCHEDULES
from ecglib.diffusion.samplers import spaced_steps
from ecglib.errors import InputError

MEAN = torch.tensor([2.0, 0.0, -1.0, 0.3], dtype=torch.float64)
SPREAD = torch.tensor([4.0, 1.0, 0.5, 0.1], dtype=torch.float64)  # standard deviations along the axes below
AXES = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]


def normal(n: int, seed: int = 0, dtype: torch.dtype = torch.float64):
    """A function that draws (n, 4) standard normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(n, 4, generator=generator, dtype=dtype)


def noised_spread(schedule: Schedule, t: int) -> torch.Tensor:
    return (schedule.alpha_bar[t] * SPREAD**2 + 1 - schedule.alpha_bar[t]).sqrt()


def gaussian(schedule: Schedule):
    """E[x0 | x_t] for x0 ~ N(MEAN, AXES diag(SPREAD²) AXESᵀ)."""

    def denoise(x_t, t):
        signal = schedule.alpha_bar[t].sqrt()
        gain = AXES @ torch.diag(signal * SPREAD**2 / noised_spread(schedule, t) ** 2) @ AXES.T
        return (MEAN + (x_t.double() - signal * MEAN) @ gain).to(x_t)

    return denoise


def exact_flow(schedule: Schedule, x: torch.Tensor) -> torch.Tensor:
    """Follow the probability-flow ODE from x_{T−1} to x_0, where marginals are Gaussian at each t; then denoise."""
    last, first = schedule.alpha_bar[-1].sqrt(), schedule.alpha_bar[0].sqrt()
    stretch = noised_spread(schedule, 0) / noised_spread(schedule, len(schedule) - 1)
    return gaussian(schedule)(first * MEAN + (x - last * MEAN) @ AXES @ torch.diag(stretch) @ AXES.T, 0)


@pytest.mark.parametrize("spacing", ["even", "log-snr"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_many_steps_draw_the_known_distribution(sampler, spacing):
    n, schedule = 6_000, Schedule.cosine(500)
    noise = normal(n)
    steps = 500 if spacing == "even" else 200
    y = SAMPLERS[sampler](gaussian(schedule), noise(), schedule, steps=steps, spacing=spacing, noise=noise)
    white = (y - MEAN) @ AXES / SPREAD
    assert white.mean(dim=0).abs().max() < 4 / n**0.5
    assert (torch.cov(white.T) - torch.eye(4)).abs().max() < 4 * (2 / n) ** 0.5 + 0.02  # statistics + discretisation


def order(sampler, schedule: Schedule, few: int = 16, many: int = 121) -> float:
    """The power of the step's length that the distance to the exact path falls with."""
    x = normal(500)()
    runs = [sampler(gaussian(schedule), x, schedule, steps=k, spacing="log-snr") for k in (few, many)]
    error, less = (float(((y - exact_flow(schedule, x)) @ AXES / SPREAD).square().mean().sqrt()) for y in runs)
    return math.log(error / less) / math.log((many - 1) / (few - 1))


@pytest.mark.parametrize("name", SCHEDULES)
def test_ddim_is_of_first_order_and_dpmpp_of_second(name):
    schedule = Schedule.named(name, 1000)
    assert order(ddim, schedule) == pytest.approx(1, abs=0.12)
    assert order(dpmpp_2m, schedule) == pytest.approx(2, abs=0.25)


@pytest.mark.parametrize("name", SCHEDULES)
def test_from_the_last_step_on_the_deterministic_samplers_find_the_exact_path(name):
    schedule, x = Schedule.named(name, 1000), normal(500)()
    for sampler, tolerance in ((ddim, 0.05), (dpmpp_2m, 0.005)):
        y = sampler(gaussian(schedule), x, schedule, steps=100, spacing="log-snr")
        assert ((y - exact_flow(schedule, x)) @ AXES / SPREAD).abs().mean() < tolerance


def test_ancestral_sampling_is_the_textbooks():
    schedule = Schedule.linear(200)
    noise, same = normal(5), normal(5)
    x = same()
    for t in reversed(range(200)):
        alpha_bar, before = schedule.alpha_bar[t], schedule.alpha_bar[t - 1] if t else 1.0
        mean = posterior_mean(schedule, x, torch.full((5,), t), gaussian(schedule)(x, t))
        variance = schedule.betas[t] * (1 - before) / (1 - alpha_bar)
        x = mean + variance**0.5 * same() if t else mean
    assert torch.allclose(ddpm(gaussian(schedule), noise(), schedule, noise=noise), x, atol=1e-10)


def test_eta_is_the_share_of_the_ancestral_noise():
    schedule, x, start = Schedule.cosine(200), {}, normal(5)()
    for eta in (0.0, 0.5, 1.0):
        ddim(lambda x, t: torch.zeros_like(x), start, schedule, steps=3, eta=eta, noise=lambda: torch.ones(5, 4),
             on_step=lambda t, x_t, _, eta=eta: x.update({eta: x_t}) if t == 100 else None)  # fmt: skip
    alpha_bar, before = schedule.alpha_bar[199], schedule.alpha_bar[100]
    variance = (1 - before) / (1 - alpha_bar) * (1 - alpha_bar / before)
    for eta in x:
        kept = (1 - before - eta**2 * variance) / (1 - alpha_bar)
        assert torch.allclose(x[eta], kept**0.5 * start + eta * variance**0.5)


@pytest.mark.parametrize("spacing", ["even", "log-snr"])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_dpmpp_is_the_published_recursion(eta, spacing):
    """DPM-Solver++(2M) and SDE-DPM-Solver++(2M) in α, σ and λ = log α/σ, as their authors write them."""
    schedule = Schedule.cosine(200)
    alpha, sigma = schedule.alpha_bar.sqrt(), (1 - schedule.alpha_bar).sqrt()
    lam = (alpha / sigma).log()
    noise, same = normal(5), normal(5)
    x, times, before, h_before = same(), spaced_steps(schedule, 12, spacing), None, None
    for t, s in pairwise(times):
        h, estimate = lam[s] - lam[t], gaussian(schedule)(x, t)
        d = estimate
        if before is not None and s > 0:
            d = (1 + h / h_before / 2) * estimate - h / h_before / 2 * before
        x = sigma[s] / sigma[t] * torch.exp(-eta * h) * x - alpha[s] * torch.expm1(-(1 + eta) * h) * d
        x = x + eta * sigma[s] * (-torch.expm1(-2 * h)) ** 0.5 * same() if eta else x
        before, h_before = estimate, h
    x = gaussian(schedule)(x, 0)
    y = dpmpp_2m(gaussian(schedule), noise(), schedule, steps=12, spacing=spacing, eta=eta, noise=noise)
    assert torch.allclose(y, x, atol=1e-9)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_a_perfect_network_gives_the_same_samples_with_each_target(sampler, name):
    schedule = Schedule.named(name, 200)

    def through(target):
        def denoise(x_t, t):
            steps, best = torch.full((len(x_t),), t), gaussian(schedule)(x_t, t)
            output = target_of(schedule, target, best, steps, predict_eps(schedule, x_t, steps, best))
            return predict_x0(schedule, target, x_t, steps, output)

        noise = normal(50)
        return SAMPLERS[sampler](denoise, noise(), schedule, steps=40, noise=noise)

    assert torch.allclose(through("eps"), through("x0"), atol=1e-8)
    assert torch.allclose(through("v"), through("x0"), atol=1e-8)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_with_the_true_signal_the_last_estimate_is_returned_exactly(sampler, steps):
    truth, noise = torch.randn(2, 4), normal(2, dtype=torch.float32)
    made = SAMPLERS[sampler](lambda x, t: truth, noise(), Schedule.linear(200), steps=steps, noise=noise)
    assert torch.equal(made, truth)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_gives_finite_samples_in_single_precision(sampler, name):
    schedule, noise = Schedule.named(name, 200), normal(200, dtype=torch.float32)
    for steps in (1, 2, 3, 50, 200):
        y = SAMPLERS[sampler](gaussian(schedule), noise(), schedule, steps=steps, noise=noise)
        assert y.dtype == torch.float32 and y.isfinite().all() and y.abs().max() < 30


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_are_pure(sampler):
    """Same noise, same samples; the start stays as it was; the global generator is left alone."""
    schedule, state = Schedule.cosine(50), torch.get_rng_state()
    start = normal(3)()
    first, again = (SAMPLERS[sampler](gaussian(schedule), start, schedule, steps=10, noise=normal(3)) for _ in "ab")
    assert torch.equal(first, again) and torch.equal(start, normal(3)())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_step_is_shown_once_from_noisy_to_clean(sampler):
    seen, schedule = [], Schedule.cosine(50)
    y = SAMPLERS[sampler](gaussian(schedule), normal(3)(), schedule, steps=5, noise=normal(3),
                          on_step=lambda t, x, x0_hat: seen.append((t, x, x0_hat)))  # fmt: skip
    assert [t for t, _, _ in seen] == [49, 37, 24, 12, 0]
    assert torch.equal(seen[0][1], normal(3)()) and torch.equal(seen[-1][2], y)


@given(data=st.data(), name=st.sampled_from(sorted(SCHEDULES)), timesteps=st.integers(2, 300),
       spacing=st.sampled_from(["even", "log-snr"]))  # fmt: skip
@settings(max_examples=60)
def test_spaced_steps_are_distinct_and_hold_both_ends(data, name, timesteps, spacing):
    steps = data.draw(st.integers(1, timesteps))
    times = spaced_steps(Schedule.named(name, timesteps), steps, spacing)
    assert len(times) == steps and times[0] == timesteps - 1 and all(type(t) is int for t in times)
    assert (np.diff(times) < 0).all() and times[-1] == (0 if steps > 1 else timesteps - 1)


def test_steps_are_as_even_as_asked():
    schedule = Schedule.linear(1000)
    in_t = -np.diff(spaced_steps(schedule, 24, "even"))
    in_log_snr = schedule.log_snr[spaced_steps(schedule, 24, "log-snr")].diff()
    assert in_t.max() - in_t.min() <= 1
    assert in_log_snr.min() > 0.8 * in_log_snr.mean() and in_log_snr.max() < 1.2 * in_log_snr.mean()
    assert schedule.log_snr[spaced_steps(schedule, 24, "even")].diff().max() > 4 * in_log_snr.max()


def test_steps_that_a_coarse_end_cannot_give_are_shared_by_the_rest():
    """Between the last two steps of the cosine schedule lie 30 dB, and nothing to evaluate."""
    schedule = Schedule.cosine(200)
    times = spaced_steps(schedule, 25, "log-snr")
    gaps = schedule.log_snr[times].diff()
    assert times[:2] == [199, 198] and gaps[0] > 4 * gaps[1:].max() and gaps[3:].max() < 1.6 * gaps[3:].min()


@pytest.mark.parametrize("spacing", ["even", "log-snr"])
@pytest.mark.parametrize("steps", [0, -1, 51, 10**12, 2.5, math.nan, "5"])
def test_an_impossible_number_of_steps_is_refused(steps, spacing):
    with pytest.raises(InputError, match=r"steps=.*expected a whole number from 1 to 50"):
        spaced_steps(Schedule.cosine(50), steps, spacing)


@pytest.mark.parametrize("eta", [-0.1, 1.1, math.nan])
def test_an_impossible_eta_is_refused(eta):
    with pytest.raises(InputError, match="eta="):
        ddim(gaussian(Schedule.cosine(5)), normal(1)(), Schedule.cosine(5), steps=2, eta=eta, noise=normal(1))


def test_what_a_sampler_lacks_is_named():
    schedule, x = Schedule.cosine(50), normal(1)()
    for sampler in (ddpm, SAMPLERS["dpmpp-sde"]):
        with pytest.raises(InputError, match="noise is None"):
            sampler(gaussian(schedule), x, schedule, steps=5, noise=None)
    with pytest.raises(InputError, match="did you mean log-snr"):
        ddim(gaussian(schedule), x, schedule, steps=5, spacing="logsnr")
