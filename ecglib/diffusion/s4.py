r"""The structured state space layer: a linear recurrence, equal to a long convolution, computed fast.

Each channel runs N/2 complex oscillators that decay:

.. math:: h_k = \bar A h_{k-1} + \bar B u_k, \quad y_k = 2\,\mathrm{Re}(C h_k) + D u_k
          \quad\Longleftrightarrow\quad y = K * u, \quad K_l = 2\,\mathrm{Re}(C \bar A^l \bar B) + D\,\delta_l

with :math:`\bar A = e^{\Delta A}` and :math:`\bar B = (\bar A - 1)/A` (zero-order hold, B = 1). As in SSSD-ECG, A, B
and the step Δ are constants; C and D are learnt. A second set of C runs the recurrence backwards in time.

Source: Gu, Goel & Ré, S4, 2022; Gu, Gupta, Goel & Ré, S4D, 2022 (diagonal A, "S4D-Lin").
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCK = 32  # the kernel's lags are laid out as rows of 32


def s4d_lin(state: int) -> Tensor:
    r"""Return the diagonal of A, :math:`A_n = -\tfrac12 + i \pi n`: complex128 (state / 2,) (equation s4d-lin)."""
    n = torch.arange(state // 2, dtype=torch.float64)
    return torch.complex(torch.full_like(n, -0.5), math.pi * n)


def discretise(a: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """Return (A_bar, B_bar), each complex128 (H, N/2), by zero-order hold (equation discretise).

    Parameters
    ----------
    a : complex128 (N/2,)
        Diagonal of A, in 1/unit of time.
    step : float (H,)
        Δ of each channel.
    """
    a_bar = torch.exp(step.to(torch.float64)[:, None] * a)
    return a_bar, (a_bar - 1) / a


def recurrence(a_bar: Tensor, b_bar: Tensor, c: Tensor, u: Tensor) -> Tensor:
    """Run the recurrence step by step: the slow, obvious form (equation ssm).

    Parameters
    ----------
    a_bar, b_bar, c : complex (H, N/2)
    u : float (B, H, L)

    Returns
    -------
    float (B, H, L)
        2 Re(C h_k), without D.
    """
    h = torch.zeros(u.shape[0], *a_bar.shape, dtype=a_bar.dtype)  # (B, H, N/2)
    y = []
    for k in range(u.shape[-1]):
        h = a_bar * h + b_bar * u[..., k, None]
        y.append(2 * (c * h).sum(-1).real)
    return torch.stack(y, dim=-1)


def kernel_slow(a_bar: Tensor, b_bar: Tensor, c: Tensor, length: int) -> Tensor:
    """Return K_l = 2 Re(C A_bar^l B_bar) for l < length, power by power: float (H, length) (equation ssm-kernel)."""
    powers = a_bar[..., None] ** torch.arange(length)  # (H, N/2, L)
    return 2 * torch.einsum("hn,hnl->hl", c * b_bar, powers).real


class S4Layer(nn.Module):
    r"""Bidirectional state space layer on sequences: norm(u + W·gelu(K * u)).

    Parameters
    ----------
    channels : int
        H, independent recurrences.
    state : int
        N; N/2 complex oscillators a channel.
    step_range : (float, float)
        Δ is drawn log-uniformly from it, so that channels remember between 2/Δ = 20 and 2,000 positions.

    Notes
    -----
    Source: the layer of SSSD-ECG. Differs: diagonal A (S4D) where SSSD-ECG has the NPLR form of HiPPO-LegS.
    """

    step: Tensor

    def __init__(self, channels: int, state: int = 64, step_range: tuple[float, float] = (1e-3, 1e-1)) -> None:
        super().__init__()
        low, high = (math.log(value) for value in step_range)
        self.register_buffer("step", torch.exp(torch.rand(channels) * (high - low) + low))  # (H,)
        self.state = state
        self.c = nn.Parameter(torch.randn(2, channels, state // 2, 2) * 0.5**0.5)  # direction, H, N/2, (re, im)
        self.d = nn.Parameter(torch.randn(channels))
        self.mix = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)
        self._basis: tuple[tuple, tuple[Tensor, ...]] | None = None
        self._spectrum: tuple[tuple, Tensor] | None = None

    def forward(self, u: Tensor) -> Tensor:
        """Map u, float (B, L, H), to float (B, L, H)."""
        y = self.convolve(u.transpose(1, 2)).transpose(1, 2).contiguous()  # FFTs run along time, products along H
        return self.norm(u + self.mix(F.gelu(y)))

    def convolve(self, u: Tensor) -> Tensor:
        """Return K * u + D u for u, float (B, H, L): the fast form, one product of spectra of length 2L."""
        length = u.shape[-1]
        with torch.autocast(u.device.type, enabled=False):
            spectrum = self._spectrum_of(length)  # (H, L + 1)
            y = torch.fft.irfft(torch.fft.rfft(u.float(), n=2 * length) * spectrum, n=2 * length)
        return y[..., :length]

    def recur(self, u: Tensor) -> Tensor:
        """Return the same as `convolve` by running both recurrences in float64: the slow, obvious form."""
        u = u.to(torch.float64)
        a_bar, b_bar = discretise(s4d_lin(self.state), self.step)
        forward, backward = torch.view_as_complex(self.c.detach().to(torch.float64))
        past = recurrence(a_bar, b_bar, forward, u)
        future = recurrence(a_bar, b_bar, backward, u.flip(-1)).flip(-1)
        future = F.pad(future[..., 1:], (0, 1))  # strictly the future: the present belongs to the forward direction
        return past + future + self.d.detach().to(torch.float64)[:, None] * u

    def kernels(self, length: int) -> Tensor:
        """Return both kernels without D, float (2, H, length), by the two-level product.

        With l = 32 i + j, :math:`\\bar A^l = \\bar A^{32i} \\bar A^{j}`: a (rows × N) by (N × 32) real product a
        channel takes the place of N·L complex exponentials (equation ssm-two-level).
        """
        row_re, row_im, column = self._basis_of(length)
        c_re, c_im = self.c.unbind(-1)  # (2, H, N/2)
        c_re, c_im = c_re[:, :, None], c_im[:, :, None]
        rows = torch.cat([c_re * row_re - c_im * row_im, -(c_re * row_im + c_im * row_re)], dim=-1)  # (2, H, I, N)
        return 2 * (rows @ column).flatten(-2)[..., :length]  # (2, H, I, 32) → (2, H, L)

    def _basis_of(self, length: int) -> tuple[Tensor, ...]:
        key = (length, *_identity(self.step))
        if self._basis is None or self._basis[0] != key:
            with torch.no_grad():
                step = self.step.to("cpu", torch.float64)
                a = s4d_lin(self.state)
                b_bar = discretise(a, step)[1]
                rate = step[:, None, None] * a  # (H, 1, N/2)
                row = b_bar[:, None] * torch.exp(rate * BLOCK * torch.arange(-(-length // BLOCK))[:, None])
                column = torch.exp(rate * torch.arange(BLOCK)[:, None]).transpose(1, 2)  # (H, N/2, 32)
                parts = row.real, row.imag, torch.cat([column.real, column.imag], dim=1)
                self._basis = key, tuple(part.to(self.step).contiguous() for part in parts)
        return self._basis[1]

    def _spectrum_of(self, length: int) -> Tensor:
        if torch.is_grad_enabled():
            self._spectrum = None
            return self._compute_spectrum(length)
        key = (length, *_identity(self.c), *_identity(self.d))
        if self._spectrum is None or self._spectrum[0] != key:
            self._spectrum = key, self._compute_spectrum(length)
        return self._spectrum[1]

    def _compute_spectrum(self, length: int) -> Tensor:
        forward, backward = self.kernels(length)
        lag_0 = forward[:, :1] + self.d[:, None]
        circular = torch.cat([lag_0, forward[:, 1:], backward.flip(-1)], dim=-1)  # lag −l is at index 2L − l
        return torch.fft.rfft(circular)


def _identity(tensor: Tensor) -> tuple:
    """Change whenever the tensor's values may have: written in place, loaded, or moved to another device or type."""
    return tensor._version, tensor.data_ptr(), tensor.device, tensor.dtype
