"""Kernels of state space systems: every fast form equals a recurrence, in float64, written as plainly as possible."""

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from scipy.signal import cont2discrete
from scipy.special import eval_legendre

from ecglib.diffusion.s4 import S4Layer, steps_of
from ecglib.diffusion.state_space import (
    KERNELS,
    basis,
    discretise,
    hippo_legs,
    kernel_cauchy,
    nplr,
    recurrence,
    s4d_lin,
)
from ecglib.errors import InputError

N, L, H = 64, 1000, 3
each_kernel = pytest.mark.parametrize("kernel", KERNELS)
each_step = pytest.mark.parametrize("step", [1e-3, 1e-2, 1e-1])


def weights(state: int = N, seed: int = 0) -> torch.Tensor:
    """C, complex128 (H, N/2)."""
    return torch.randn(H, state // 2, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def system(kernel: str, step: float, state: int = N) -> tuple[torch.Tensor, torch.Tensor]:
    a_bar, b_bar = discretise(kernel, state, torch.tensor([step], dtype=torch.float64))
    return a_bar[0], b_bar[0]


def product(c: torch.Tensor, kernel: str, step: float, length: int = L) -> np.ndarray:
    """The fast form: C · X."""
    return (torch.view_as_real(c).flatten(1) @ basis(kernel, 2 * c.shape[-1], (step,), length)[0]).numpy()


def real_hippo(c: torch.Tensor, step: float, length: int = L) -> np.ndarray:
    """Answers to one click of the real, lower triangular HiPPO-LegS system in numpy; C is turned back by V."""
    n = np.arange(N)
    a = -np.tril(np.sqrt(np.outer(2 * n + 1, 2 * n + 1)), -1) - np.diag(n + 1.0)
    behind = np.linalg.inv(np.eye(N) - step / 2 * a)
    a_bar, h = behind @ (np.eye(N) + step / 2 * a), behind @ np.sqrt(2 * n + 1) * step
    c_real = 2 * (c @ nplr(N)[3][:, : N // 2].conj().T).real.numpy()
    answers = []
    for _ in range(length):
        answers.append(c_real @ h)
        h = a_bar @ h
    return np.stack(answers, axis=1)


def one_by_one(c: torch.Tensor, step: float, length: int = L) -> np.ndarray:
    """Answers to one click of each S4D oscillator in numpy, with the sum over both conjugate halves written out."""
    a = -0.5 + 1j * np.pi * np.arange(N // 2)
    a, c_all = np.concatenate([a, a.conj()]), np.concatenate([c.numpy(), c.numpy().conj()], axis=1)
    answers = np.stack([c_all @ (np.exp(a * step * k) * (np.exp(a * step) - 1) / a) for k in range(length)], axis=1)
    assert np.abs(answers.imag).max() < 1e-12
    return answers.real


PLAIN = {"nplr": real_hippo, "s4d": one_by_one}


def assert_equal_to_1e_6(fast: np.ndarray, slow: np.ndarray) -> None:
    assert np.abs(fast - slow).max() <= 1e-6
    assert np.abs(fast - slow).max() <= 1e-6 * np.abs(slow).max()
    assert np.abs(slow).max() > 1e-3


# ---- HiPPO-LegS and its normal-plus-low-rank form


@pytest.mark.parametrize("state", [2, 4, 64, 256])
def test_normal_plus_low_rank_form_is_hippo_legs(state):
    a, b = hippo_legs(state)
    eigenvalues, p, b_in_v, v = nplr(state)
    assert (v.conj().T @ v - torch.eye(state)).abs().max() < 1e-10, "V is unitary"
    assert (v @ (torch.diag(eigenvalues) - torch.outer(p, p.conj())) @ v.conj().T - a).abs().max() < 1e-10
    assert (v @ b_in_v - b).abs().max() < 1e-10


def test_second_half_is_the_conjugate_of_the_first():
    for part in nplr(N):
        first, second = part.chunk(2, dim=-1)
        assert (first.conj() - second).abs().max() < 1e-12
    eigenvalues = nplr(N)[0][: N // 2]
    assert (eigenvalues.imag > 0.1).all() and (eigenvalues.real == -0.5).all()


@pytest.mark.parametrize("t", [0.01, 0.3, 1.0, 5.0])
def test_hippo_remembers_in_legendre_polynomials_of_exp_minus_t(t):
    a, b = hippo_legs(N)
    n, x = np.arange(N), np.exp(-t)
    legendre = np.sqrt(2 * n + 1) * x * eval_legendre(n, 2 * x - 1)
    assert np.abs(expm(t * a.numpy()) @ b.numpy() - legendre).max() < 1e-10


@pytest.mark.parametrize("family", [s4d_lin, nplr])
@pytest.mark.parametrize("state", [63, 0, -2])
def test_states_come_in_pairs(family, state):
    with pytest.raises(InputError, match=f"state={state}"):
        family(state)


# ---- discretisation


def test_zero_order_hold_is_the_limit_of_many_small_steps():
    """h' = A h + u over one Δ by Euler's method in 200,000 steps: from h = 1 with u = 0, and from h = 0 with u = 1."""
    step, fine = 0.05, 200_000
    grown = (1 + s4d_lin(8).numpy() * step / fine) ** np.arange(fine + 1)[:, None]
    a_bar, b_bar = system("s4d", step, state=8)
    assert np.abs(a_bar.diagonal().numpy() - grown[-1]).max() < 1e-6
    assert np.abs(b_bar.numpy() - grown[:-1].sum(0) * step / fine).max() < 1e-6


@each_step
def test_bilinear_is_that_of_scipy(step):
    v, (a, b) = nplr(N)[3], hippo_legs(N)
    a_scipy, b_scipy, *_ = cont2discrete((a.numpy(), b[:, None].numpy(), np.eye(N), np.zeros((N, 1))), step, "bilinear")
    a_bar, b_bar = system("nplr", step)
    assert np.abs((v @ a_bar @ v.conj().T).numpy() - a_scipy).max() < 1e-10
    assert np.abs((v @ b_bar).numpy() - b_scipy[:, 0]).max() < 1e-10


def test_half_the_step_is_a_quarter_of_the_bilinear_error():
    """A click of length Δ is heard Δ/2 later on average: at lag l the time is (l + ½)Δ."""
    v, n, errors = nplr(8)[3], np.arange(8), []
    for step in (0.02, 0.01):
        t = (np.arange(round(1 / step)) + 0.5)[:, None] * step
        exact = np.sqrt(2 * n + 1) * np.exp(-t) * eval_legendre(n, 2 * np.exp(-t) - 1)
        a_bar, h = system("nplr", step, state=8)
        table = np.stack([(v @ torch.matrix_power(a_bar, k) @ h).real.numpy() for k in range(len(t))])
        errors.append(np.abs(table[len(t) // 4 :] / step - exact[len(t) // 4 :]).max())
    assert 3.5 < errors[0] / errors[1] < 4.5


def test_an_unknown_kernel_names_the_nearest():
    with pytest.raises(InputError, match=r"kernel='nplrs'.*did you mean nplr"):
        discretise("nplrs", N, torch.ones(1))


# ---- one table for all kernels


@each_kernel
@each_step
def test_product_with_the_table_equals_its_own_recurrence(kernel, step):
    a_bar, b_bar = system(kernel, step)
    click = torch.nn.functional.one_hot(torch.tensor(0), L).expand(1, H, L).double()
    slow = recurrence(a_bar.expand(H, -1, -1), b_bar.expand(H, -1), weights(), click)[0]
    assert_equal_to_1e_6(product(weights(), kernel, step), slow.numpy())


@each_kernel
@each_step
def test_product_with_the_table_equals_the_plain_system(kernel, step):
    assert_equal_to_1e_6(product(weights(), kernel, step), PLAIN[kernel](weights(), step))


@each_kernel
def test_recurrence_is_a_convolution_with_the_kernel(kernel):
    a_bar, b_bar = system(kernel, 0.01, state=16)
    c, u = weights(state=16), torch.randn(2, H, 60, dtype=torch.float64)
    kernels = product(c, kernel, 0.01, 60)
    by_hand = [[np.convolve(u[k, h], kernels[h])[:60] for h in range(H)] for k in range(2)]
    slow = recurrence(a_bar.expand(H, -1, -1), b_bar.expand(H, -1), c, u)
    assert np.abs(slow.numpy() - np.array(by_hand)).max() < 1e-10


@each_kernel
@pytest.mark.parametrize("length", [1, 2, 3, 64, 65])
def test_a_shorter_table_is_the_beginning_of_a_longer_one(kernel, length):
    steps = steps_of(64)
    table = basis(kernel, 16, steps, length)
    assert table.shape == (32, 16, length)
    assert torch.allclose(table, basis(kernel, 16, steps, 100)[..., :length], atol=1e-12)


@each_kernel
def test_a_float32_table_costs_a_millionth(kernel):
    s4 = S4Layer(32, N, kernel)
    exact = S4Layer(32, N, kernel).double()
    exact.load_state_dict(s4.state_dict())
    single, double = s4.kernels(L).detach().double(), exact.kernels(L).detach()
    assert (single - double).norm() < 1e-6 * double.norm()
    assert (single - double).abs().max() > 0, "nothing was compared"


@each_kernel
def test_layer_equals_a_dense_product_in_both_directions(kernel):
    """y = T u with T[i, j] = K(i − j): C→ and D for the past and the present, C← for the future."""
    torch.manual_seed(0)
    s4, u = S4Layer(H, N, kernel).double(), torch.randn(2, H, 300, dtype=torch.float64)
    past, future = torch.view_as_complex(s4.c.detach())
    lag = np.subtract.outer(np.arange(300), np.arange(300))
    for h, step in enumerate(steps_of(H)):
        k_past, k_future = (PLAIN[kernel](c, step, 300)[h] for c in (past, future))
        dense = np.where(lag >= 0, k_past[lag.clip(0)], k_future[(-lag - 1).clip(0)]) + s4.d[h].item() * np.eye(300)
        expected = u[:, h].numpy() @ dense.T
        for y in (s4.recur(u), s4.convolve(u)):
            assert np.abs(y[:, h].detach().numpy() - expected).max() < 1e-10 * np.abs(expected).max()


# ---- the form S4 was published with


@each_step
@pytest.mark.parametrize("length", [999, 1000])
def test_sums_of_fractions_equal_the_recurrence(step, length):
    assert_equal_to_1e_6(fractions(step, length, N), PLAIN["nplr"](weights(), step, length))


@each_step
def test_half_of_the_fractions_is_wrong(step):
    """The baseline's CPU path leaves out the conjugate half."""
    slow = PLAIN["nplr"](weights(), step)
    assert np.linalg.norm(fractions(step, L, N // 2) - slow) > 0.5 * np.linalg.norm(slow)


def fractions(step: float, length: int, terms: int) -> np.ndarray:
    a_bar, _ = system("nplr", step)
    whole = torch.cat([weights(), weights().conj()], dim=1) @ (torch.eye(N) - torch.matrix_power(a_bar, length))
    eigenvalues, p, b, _ = nplr(N)
    parts = (part[..., :terms] for part in (whole, eigenvalues, p, b))
    return kernel_cauchy(*parts, step, length).numpy()
