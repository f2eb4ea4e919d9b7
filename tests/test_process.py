"""The diffusion process: fast closed forms against slow obvious ones, targets that agree, known values."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ecglib.config import Config, DiffusionConfig
from ecglib.diffusion import Schedule, posterior_mean, predict_eps, predict_x0, q_sample, target_of
from ecglib.diffusion.process import SCHEDULES, draw_steps, loss_weight
from ecglib.errors import InputError

SOME = [Schedule.linear(200), Schedule.cosine(200), Schedule.linear(1000), Schedule.cosine(20), Schedule.linear_zero(9)]


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


@pytest.mark.parametrize("name", ["cosine", "linear-zero"])
def test_other_schedules_end_in_noise(name):
    assert float(Schedule.named(name, 200).alpha_bar[-1]) < 1e-6


def test_linear_zero_is_the_authors_rescaling():
    """Shift the square roots so that the last is 0, scale them so that the first is as it was."""
    root = [float(a) ** 0.5 for a in Schedule.linear(200).alpha_bar]
    moved = [(r - root[-1]) * root[0] / (root[0] - root[-1]) for r in root]
    found = Schedule.linear_zero(200).alpha_bar.sqrt()
    assert torch.allclose(found, torch.tensor(moved, dtype=torch.float64), atol=2e-4)
    assert float(found[0]) == pytest.approx(root[0], abs=1e-12)
    assert float(Schedule.linear_zero(200).betas[-1]) == pytest.approx(0.999, abs=1e-12)


@given(name=st.sampled_from(sorted(SCHEDULES)), timesteps=st.integers(2, 2000))
def test_the_log_signal_to_noise_ratio_is_finite_and_falls(name, timesteps):
    log_snr = Schedule.named(name, timesteps).log_snr
    assert log_snr.isfinite().all() and (log_snr.diff() < 0).all()


@pytest.mark.parametrize("target", ["v", "x0"])
@pytest.mark.parametrize("timesteps", [2, 200, 1000])
def test_the_signal_is_told_where_none_is_left(target, timesteps):
    schedule = Schedule.linear_zero(timesteps)
    x0, eps = torch.randn(2, 3, 8, 40)
    last = torch.full((3,), timesteps - 1)
    x_t = q_sample(schedule, x0, last, eps)
    output = target_of(schedule, target, x0, last, eps)
    assert (x_t - eps).abs().max() < (0.3 if timesteps == 2 else 0.01)
    assert torch.allclose(predict_x0(schedule, target, x_t, last, output), x0, atol=1e-5)


def test_eps_is_refused_where_no_signal_is_left():
    with pytest.raises(InputError, match="linear-zero"):
        Config.preset("paper").override({"diffusion.schedule": "linear-zero"})


def test_velocity_is_edms_preconditioning():
    """Karras et al. 2022, with data of standard deviation 1: D = c_skip x + c_out F, of x = x0 + σ ε."""
    schedule = Schedule.linear(200)
    _, _, steps, x_t = noised(schedule, 120)
    output = torch.randn(x_t.shape, dtype=torch.float64)
    alpha_bar = schedule.alpha_bar[120]
    sigma = ((1 - alpha_bar) / alpha_bar).sqrt()
    c_skip, c_out, c_in = 1 / (sigma**2 + 1), sigma / (sigma**2 + 1).sqrt(), 1 / (sigma**2 + 1).sqrt()
    edm = c_skip * (x_t / c_in) + c_out * output
    assert torch.allclose(predict_x0(schedule, "v", x_t, steps, -output), edm, atol=1e-12)


def drawn(draw: str, schedule: Schedule, n: int = 100_000, seed: int = 0) -> torch.Tensor:
    return draw_steps(DiffusionConfig(draw=draw), schedule, n, torch.Generator().manual_seed(seed))


def test_uniform_steps_are_drawn_equally_often():
    counts = torch.bincount(drawn("uniform", Schedule.cosine(20)), minlength=20)
    assert len(counts) == 20 and (counts / 5000 - 1).abs().max() < 0.06


@pytest.mark.parametrize("name", ["cosine", "linear-zero"])
def test_logit_normal_steps_have_a_normal_log_signal_to_noise_ratio(name):
    """That of Esser et al.: −2 logit(t) with t = sigmoid(normal), so N(0, 2²) whatever the schedule."""
    schedule = Schedule.named(name, 1000)
    log_snr = schedule.log_snr[drawn("logit-normal", schedule)]
    for share, quantile in ((0.05, -1.645), (0.25, -0.674), (0.5, 0.0), (0.75, 0.674), (0.95, 1.645)):
        assert float(log_snr.quantile(share)) == pytest.approx(2 * quantile, abs=0.06)


@pytest.mark.parametrize("draw", ["uniform", "logit-normal"])
def test_drawn_steps_depend_on_the_generator_alone_and_fit_the_schedule(draw):
    schedule = Schedule.linear(7)
    t = drawn(draw, schedule, 50)
    assert t.dtype == torch.int64 and t.shape == (50,) and 0 <= int(t.min()) and int(t.max()) < 7
    assert torch.equal(t, drawn(draw, schedule, 50)) and not torch.equal(t, drawn(draw, schedule, 50, seed=1))


@pytest.mark.parametrize("schedule", SOME)
def test_min_snr_weighs_the_same_error_alike_whatever_the_target(schedule):
    """An estimate 0.1 off the signal: its squared error in each target, weighted, is c · min(SNR, 5) · 0.1²."""
    t = torch.arange(len(schedule)).flip(0)
    x0, eps = torch.randn(2, len(schedule), 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x_t, snr = q_sample(schedule, x0, t, eps), (schedule.alpha_bar / (1 - schedule.alpha_bar))[t]
    for target in ("x0", "v", "eps"):
        off = target_of(schedule, target, x0 + 0.1, t, predict_eps(schedule, x_t, t, x0 + 0.1))
        error = (off - target_of(schedule, target, x0, t, eps)).square()[:, 0]
        weight = loss_weight(DiffusionConfig(weighting="min-snr", target=target), schedule, t)
        ratio = weight * error / snr.clamp(max=5.0)
        assert torch.allclose(ratio, ratio[0], rtol=1e-4)
        assert weight.dtype == torch.float32 and float(weight.mean()) == pytest.approx(1, abs=1e-5)


def test_without_weighting_every_step_weighs_one():
    assert loss_weight(DiffusionConfig(), Schedule.cosine(9), torch.tensor([8, 0, 3])).tolist() == [1, 1, 1]


@pytest.mark.parametrize("schedule", SOME)
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


def test_one_step_cannot_end_at_zero():
    with pytest.raises(InputError, match="betas"):
        Schedule.linear_zero(1)


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(InputError, match="did you mean cosine"):
        Schedule.named("cosin", 10)
    with pytest.raises(InputError, match="target='epsilon'"):
        target_of(Schedule.linear(5), "epsilon", torch.zeros(1, 1), torch.tensor([0]), torch.zeros(1, 1))
    with pytest.raises(InputError, match="draw='normal'"):
        drawn("normal", Schedule.linear(5))
    with pytest.raises(InputError, match="did you mean min-snr"):
        loss_weight(DiffusionConfig(weighting="minsnr"), Schedule.linear(5), torch.tensor([0]))
