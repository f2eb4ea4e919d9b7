"""The diffusion process: fast closed forms against slow obvious ones, targets that agree, known values."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ecglib.diffusion import Schedule, posterior_mean, predict_eps, predict_x0, q_sample, target_of
from ecglib.errors import InputError

SCHEDULES = [Schedule.linear(200), Schedule.cosine(200), Schedule.linear(1000), Schedule.cosine(20)]


def noised(schedule: Schedule, t: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    x0 = torch.randn(3, 8, 40, generator=generator, dtype=torch.float64)
    eps = torch.randn(3, 8, 40, generator=generator, dtype=torch.float64)
    steps = torch.full((3,), t)
    return x0, eps, steps, q_sample(schedule, x0, steps, eps)


def test_the_papers_schedule_leaves_a_share_of_the_signal():
    schedule = Schedule.linear(200, 1e-4, 0.02)
    assert float(schedule.alpha_bar[-1]) == pytest.approx(0.132, abs=5e-4)
    assert float(schedule.alpha_bar[-1].sqrt()) == pytest.approx(0.363, abs=1e-3)


def test_cosine_ends_in_noise():
    assert float(Schedule.cosine(200).alpha_bar[-1]) < 1e-5


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_alpha_bar_is_the_product_of_alphas(schedule):
    product, slow = 1.0, []
    for beta in schedule.betas.tolist():
        product *= 1 - beta
        slow.append(product)
    assert torch.allclose(schedule.alpha_bar, torch.tensor(slow, dtype=torch.float64), rtol=1e-12)


def test_q_sample_is_what_step_by_step_noising_gives_in_mean_and_variance():
    schedule = Schedule.linear(50)
    generator = torch.Generator().manual_seed(0)
    x = torch.full((200_000, 1), 2.0)
    for beta in schedule.betas[:30].tolist():
        x = (1 - beta) ** 0.5 * x + beta**0.5 * torch.randn(x.shape, generator=generator)
    alpha_bar = float(schedule.alpha_bar[29])
    assert float(x.mean()) == pytest.approx(2 * alpha_bar**0.5, abs=0.01)
    assert float(x.var()) == pytest.approx(1 - alpha_bar, abs=0.01)


@pytest.mark.parametrize("target", ["eps", "v", "x0"])
@pytest.mark.parametrize("t", [0, 50, 199])
def test_an_oracle_gives_the_exact_signal(target, t):
    schedule = Schedule.linear(200)
    x0, eps, steps, x_t = noised(schedule, t)
    oracle = target_of(schedule, target, x0, steps, eps)
    assert torch.allclose(predict_x0(schedule, target, x_t, steps, oracle), x0, atol=1e-10)


@given(t=st.integers(0, 199), seed=st.integers(0, 1000))
def test_eps_and_x0_are_inverses(t, seed):
    schedule = Schedule.cosine(200)
    x0, eps, steps, x_t = noised(schedule, t, seed)
    assert torch.allclose(predict_eps(schedule, x_t, steps, x0), eps, atol=1e-6)


@pytest.mark.parametrize("t", [1, 50, 150])
def test_posterior_mean_is_the_papers_formula(t):
    schedule = Schedule.linear(200)
    x0, eps, steps, x_t = noised(schedule, t)
    beta, alpha_bar = schedule.betas[t], schedule.alpha_bar[t]
    paper = (x_t - beta / (1 - alpha_bar).sqrt() * eps) / (1 - beta).sqrt()
    assert torch.allclose(posterior_mean(schedule, x_t, steps, x0), paper, atol=1e-10)


@pytest.mark.parametrize(("t", "left"), [(50, 0.34), (100, 0.62), (150, 0.82)])
def test_posterior_mean_still_holds_noise(t, left):
    """Even from the true signal: it estimates x_{t−1}, not x0."""
    schedule = Schedule.linear(200)
    zero, eps = torch.zeros(1, 1, 200_000), torch.randn(1, 1, 200_000, generator=torch.Generator().manual_seed(0))
    steps = torch.tensor([t])
    mean = posterior_mean(schedule, q_sample(schedule, zero, steps, eps), steps, zero)
    assert float(mean.std()) == pytest.approx(left, abs=0.01)


def test_posterior_mean_at_the_first_step_is_the_estimate():
    schedule = Schedule.cosine(20)
    x0, _, steps, x_t = noised(schedule, 0)
    assert torch.allclose(posterior_mean(schedule, x_t, steps, x0), x0)


@pytest.mark.parametrize("t", [torch.tensor([-1]), torch.tensor([200]), torch.tensor([0.5])])
def test_a_step_out_of_range_is_refused(t):
    with pytest.raises(InputError, match="expected whole numbers from 0 to 199"):
        q_sample(Schedule.linear(200), torch.zeros(1, 2), t, torch.zeros(1, 2))


@pytest.mark.parametrize("betas", [[], [0.1, 1.0], [0.0], [math.nan], [[0.1]]])
def test_impossible_betas_are_refused(betas):
    with pytest.raises(InputError, match="betas"):
        Schedule(torch.tensor(betas, dtype=torch.float64))


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(InputError, match="did you mean cosine"):
        Schedule.named("cosin", 10)
    with pytest.raises(InputError, match="target='epsilon'"):
        target_of(Schedule.linear(5), "epsilon", torch.zeros(1, 1), torch.tensor([0]), torch.zeros(1, 1))
