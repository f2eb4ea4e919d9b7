r"""Two families of linear state space systems whose A, B and step are constants, and what they have in common: a basis.

.. math:: h_k = \bar A h_{k-1} + \bar B u_k, \quad y_k = 2\,\mathrm{Re}(C h_k)
          \quad\Longleftrightarrow\quad y = K * u, \quad K_l = 2\,\mathrm{Re}(C X_l), \quad X_l = \bar A^l \bar B

``s4d`` has a diagonal A (S4D-Lin), discretised by zero-order hold. ``nplr`` is HiPPO-LegS in its normal-plus-low-rank
form, discretised bilinearly, as SSSD-ECG uses it. Only C is learnt, so X never changes: all kernels of a network are
products of their C with one table.

Source: Gu, Goel & Ré, S4, 2022 (NPLR, HiPPO-LegS); Gu, Gupta, Goel & Ré, S4D, 2022 (diagonal).
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from ecglib.errors import InputError, choose

KERNELS = ("s4d", "nplr")
TAPS = 3  # of a dilated convolution, in each direction


def s4d_lin(state: int) -> Tensor:
    r"""Return the diagonal of A, :math:`A_n = -\tfrac12 + i \pi n`: complex128 (N/2,) (equation s4d-lin)."""
    n = torch.arange(_pairs(state), dtype=torch.float64)
    return torch.complex(torch.full_like(n, -0.5), math.pi * n)


def hippo_legs(state: int) -> tuple[Tensor, Tensor]:
    r"""Return HiPPO-LegS's (A, B), float64 (N, N) and (N,) (equation hippo-legs).

    .. math:: A_{nk} = -\begin{cases} \sqrt{2n+1}\sqrt{2k+1} & n > k \\ n + 1 & n = k \\ 0 & n < k \end{cases},
              \qquad B_n = \sqrt{2n+1}

    The state holds the past as Legendre coefficients over x = exp(−t), the recent past most finely:
    :math:`(e^{tA}B)_n = \sqrt{2n+1}\, P_n(2x - 1)\, x`.
    """
    n = torch.arange(state, dtype=torch.float64)
    b = (2 * n + 1).sqrt()
    return -(torch.outer(b, b).tril(-1) + torch.diag(n + 1)), b


def nplr(state: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Write HiPPO-LegS as a normal matrix less a low-rank one, in the normal one's eigenbasis (equation nplr).

    .. math:: A = V (\Lambda - P P^*) V^*, \quad A + p p^\top = S - \tfrac12 I, \quad p_n = \sqrt{n + \tfrac12}

    with S skew-symmetric: its eigenvalues are imaginary and come in conjugate pairs.

    Returns
    -------
    Λ : complex128 (N,)
        The N/2 eigenvalues with positive imaginary part, then their conjugates.
    P, B : complex128 (N,)
        :math:`V^* p` and :math:`V^* b`.
    V : complex128 (N, N)
        Unitary; its second half of columns is the conjugate of the first.
    """
    half, (a, b) = _pairs(state), hippo_legs(state)
    p = (torch.arange(state, dtype=torch.float64) + 0.5).sqrt()
    skew = a + torch.outer(p, p) + 0.5 * torch.eye(state, dtype=torch.float64)
    frequency, v = torch.linalg.eigh(-1j * skew)  # −iS is Hermitian; frequencies rise from −ω to ω
    frequency, v = frequency[half:], v[:, half:]
    eigenvalues = torch.complex(torch.full_like(frequency, -0.5), frequency)
    eigenvalues, v = torch.cat([eigenvalues, eigenvalues.conj()]), torch.cat([v, v.conj()], dim=1)
    return eigenvalues, v.conj().T @ p.to(v.dtype), v.conj().T @ b.to(v.dtype), v


def discretise(kernel: str, state: int, step: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return (Ā, B̄) of systems with steps Δ: complex128 (G, M, M) and (G, M).

    .. math:: \text{s4d, zero-order hold:}\quad \bar A = e^{\Delta A},\ \bar B = A^{-1} (\bar A - 1) B, \qquad
              \text{nplr, bilinear:}\quad \bar A = (1 - \tfrac\Delta2 A)^{-1} (1 + \tfrac\Delta2 A),\
              \bar B = (1 - \tfrac\Delta2 A)^{-1} \Delta B

    Parameters
    ----------
    kernel : {"s4d", "nplr"}
        M is N/2 for ``s4d``, whose conjugate half follows, and N for ``nplr``, whose low-rank term mixes both halves.
    state : int
        N.
    step : float64 (G,)
        Δ.

    Notes
    -----
    Equation: discretise.
    """
    choose("kernel", kernel, KERNELS)
    step = step.to(torch.float64)
    if kernel == "s4d":
        a = s4d_lin(state)
        a_bar = torch.exp(step[:, None] * a)
        return torch.diag_embed(a_bar), (a_bar - 1) / a
    eigenvalues, p, b, _ = nplr(state)
    half = step[:, None, None] / 2 * (torch.diag(eigenvalues) - torch.outer(p, p.conj()))  # (G, N, N)
    one = torch.eye(state, dtype=half.dtype)
    return torch.linalg.solve(one - half, one + half), torch.linalg.solve(one - half, step[:, None] * b)


def recurrence(a_bar: Tensor, b_bar: Tensor, c: Tensor, u: Tensor) -> Tensor:
    r"""Run the recurrence step by step: the slow, obvious form (equation ssm).

    Parameters
    ----------
    a_bar : complex128 (H, M, M)
    b_bar : complex128 (H, M)
    c : complex128 (H, N/2)
    u : float64 (B, H, L)

    Returns
    -------
    float64 (B, H, L)
        :math:`2\,\mathrm{Re}(C h_k)`, where C sees the first N/2 entries of h: the others are their conjugates.
    """
    h = torch.zeros(u.shape[0], *b_bar.shape, dtype=b_bar.dtype)  # (B, H, M)
    y = []
    for k in range(u.shape[-1]):
        h = (a_bar @ h[..., None])[..., 0] + b_bar * u[..., k, None]
        y.append(2 * (c * h[..., : c.shape[-1]]).sum(-1).real)
    return torch.stack(y, dim=-1)


@lru_cache(maxsize=4)
def basis(kernel: str, state: int, steps: tuple[float, ...], length: int) -> Tensor:
    r"""Return the table that turns C into kernels, :math:`(2\,\mathrm{Re} X_l, -2\,\mathrm{Im} X_l)`.

    Computed once by doubling, :math:`X_{l+m} = \bar A^m X_l`, and shared by all layers (equation ssm-basis). Ā is a
    contraction, so rounding errors do not grow.

    Parameters
    ----------
    kernel : {"s4d", "nplr", "dilated"}
        ``dilated`` is no state space: three free taps in each direction, 1, 2, 4, … apart, by Δ.
    state : int
        N, even.
    steps : tuple of float
        The G different Δ.
    length : int
        L.

    Returns
    -------
    float64 (G, N, L)
        Its rows alternate between what meets the real and the imaginary part of C: :math:`K = (\mathrm{Re}\,C_1,
        \mathrm{Im}\,C_1, \mathrm{Re}\,C_2, …) \cdot X`.
    """
    if kernel == "dilated":
        return _dilated(state, len(steps), length)
    power, b_bar = discretise(kernel, state, torch.tensor(steps, dtype=torch.float64))
    x = b_bar[..., None]  # (G, M, 1): X_0
    while x.shape[-1] < length:
        x = torch.cat([x, power @ x], dim=-1)
        power = power @ power
    x = x[:, : state // 2, :length]
    return torch.stack([2 * x.real, -2 * x.imag], dim=2).flatten(1, 2)


def _dilated(state: int, groups: int, length: int) -> Tensor:
    """Return shifted impulses, float64 (G, N, L), the basis of dilated convolutions: dilations 1, 2, 4, …, then again.

    In the same form as the others, so that networks differ in nothing but the kernel. Source: van den Oord et al.,
    WaveNet, 2016, whose blocks double the dilation; here channels do.
    """
    table = torch.zeros(groups, state, length, dtype=torch.float64)
    cycle = max(1, int(math.log2(max(1, length // TAPS))) + 1)
    for g in range(groups):
        for tap in range(min(TAPS, state, length)):
            table[g, tap, tap * 2 ** (g % cycle)] = 1
    return table


def kernel_cauchy(c: Tensor, eigenvalues: Tensor, p: Tensor, b: Tensor, step: float, length: int) -> Tensor:
    r"""Return NPLR kernels, float64 (H, L), as S4 computes them: from sums of fractions (equation ssm-cauchy).

    .. math:: \hat K(z) = 2 \Bigl(k_{CB} - \frac{(1 + z)\, k_{CP}\, k_{P^*B}}{1 + (1 + z)\, k_{P^*P}}\Bigr), \quad
              k_{UV} = \sum_n \frac{U_n V_n}{(1 - z)\, 2/\Delta - (1 + z)\, \Lambda_n}

    is :math:`\sum_l K_l z^l`, which at the roots of unity is the spectrum of K.

    Parameters
    ----------
    c : complex128 (H, N)
        :math:`C (1 - \bar A^L)`, of both conjugate halves; the sums run over both.
    eigenvalues, p, b : complex128 (N,)
        Λ, P and B of `nplr`.
    step, length : float, int
        Δ and L.
    """
    z = torch.exp(-2j * math.pi / length * torch.arange(length // 2 + 1, dtype=torch.float64))  # half of the circle
    fractions = 1 / ((1 - z)[:, None] * 2 / step - torch.outer(1 + z, eigenvalues))  # (L/2 + 1, N)
    cb, cp, pb, pp = ((u * v) @ fractions.T for u, v in ((c, b), (c, p), (p.conj(), b), (p.conj(), p)))
    return torch.fft.irfft(2 * (cb - (1 + z) * cp * pb / (1 + (1 + z) * pp)), n=length)


def _pairs(state: int) -> int:
    """Return N/2."""
    if state < 2 or state % 2:
        raise InputError(f"state={state!r} is no even number from 2; states come in conjugate pairs: take an even one")
    return state // 2
