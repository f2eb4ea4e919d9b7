r"""The diffusion process: how a signal is noised, and what follows from an estimate of it.

.. math:: x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon, \qquad
          \bar\alpha_t = \prod_{s \le t} (1 - \beta_s)

Time steps t are 0-based: t = 0 is the least noisy. A schedule knows no network, and a network no schedule.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ecglib.errors import InputError, choose

TARGETS = ("eps", "v", "x0")


@dataclass(frozen=True)
class Schedule:
    """Noise added at each of T steps.

    Parameters
    ----------
    betas : float64 tensor (T,)
        Variance added at step t, each in (0, 1).

    Raises
    ------
    InputError
        If betas is not one-dimensional, is empty, or leaves (0, 1).
    """

    betas: Tensor

    def __post_init__(self) -> None:
        betas = self.betas
        if betas.ndim != 1 or len(betas) < 1 or not bool(((betas > 0) & (betas < 1)).all()):
            raise InputError(f"betas has shape {tuple(betas.shape)}; expected (T,) with every value in (0, 1)")
        object.__setattr__(self, "betas", betas.to(torch.float64))

    @staticmethod
    def linear(timesteps: int = 200, first: float = 1e-4, last: float = 0.02) -> "Schedule":
        r"""Betas from `first` to `last` in equal steps (equation schedule-linear).

        With the defaults, :math:`\bar\alpha_T = 0.132`: the last step still holds 36 % of the signal's amplitude,
        while sampling starts from pure noise. Source: SSSD-ECG's setting.
        """
        return Schedule(torch.linspace(first, last, timesteps, dtype=torch.float64))

    @staticmethod
    def cosine(timesteps: int = 200, offset: float = 0.008) -> "Schedule":
        r""":math:`\bar\alpha_t \propto \cos^2` of time, betas at most 0.999 (equation schedule-cosine).

        Source: Nichol & Dhariwal, Improved denoising diffusion probabilistic models, 2021.
        """
        time = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
        alpha_bar = torch.cos((time + offset) / (1 + offset) * math.pi / 2) ** 2
        return Schedule((1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=0.999))

    @staticmethod
    def named(name: str, timesteps: int) -> "Schedule":
        """Return the schedule called ``linear`` or ``cosine``; `InputError` for any other name."""
        choose("schedule", name, ("linear", "cosine"))
        return Schedule.linear(timesteps) if name == "linear" else Schedule.cosine(timesteps)

    def __len__(self) -> int:
        return len(self.betas)

    @property
    def alpha_bar(self) -> Tensor:
        """float64 (T,): share of the signal's variance left after step t."""
        return torch.cumprod(1 - self.betas, dim=0)

    def signal_and_noise(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return :math:`\sqrt{\bar\alpha_t}` and :math:`\sqrt{1-\bar\alpha_t}`, shaped to multiply `like`.

        Parameters
        ----------
        t : int64 tensor (B,)
            Steps in 0 … T−1.
        like : float tensor (B, ...)
        """
        if t.dtype not in (torch.int64, torch.int32) or int(t.min()) < 0 or int(t.max()) >= len(self):
            raise InputError(f"t={t} ({t.dtype}); expected whole numbers from 0 to {len(self) - 1}")
        alpha_bar = self.alpha_bar[t.cpu()].reshape(-1, *[1] * (like.ndim - 1))
        return alpha_bar.sqrt().to(like), (1 - alpha_bar).sqrt().to(like)


def q_sample(schedule: Schedule, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    r"""Noise a signal: :math:`x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1-\bar\alpha_t}\,\epsilon` (equation q-sample).

    Parameters
    ----------
    x0, eps : float tensor (B, ...)
        Signal and standard normal noise.
    t : int64 tensor (B,)
        Steps, 0-based.

    Returns
    -------
    float tensor (B, ...)

    Notes
    -----
    Source: Ho, Jain & Abbeel, Denoising diffusion probabilistic models, 2020.
    """
    signal, noise = schedule.signal_and_noise(t, x0)
    return signal * x0 + noise * eps


def target_of(schedule: Schedule, target: str, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    r"""Return what the network is to predict: eps, x0, or :math:`v = \sqrt{\bar\alpha_t}\epsilon -
    \sqrt{1-\bar\alpha_t} x_0` (equation targets).

    Source: v from Salimans & Ho, Progressive distillation, 2022.
    """
    choose("target", target, TARGETS)
    if target == "eps":
        return eps
    if target == "x0":
        return x0
    signal, noise = schedule.signal_and_noise(t, x0)
    return signal * eps - noise * x0


def predict_x0(schedule: Schedule, target: str, x_t: Tensor, t: Tensor, output: Tensor) -> Tensor:
    r"""Estimate the signal from the network's output (equation x0-hat).

    .. math:: \hat x_0 = (x_t - \sqrt{1-\bar\alpha_t}\,\hat\epsilon) / \sqrt{\bar\alpha_t}
              = \sqrt{\bar\alpha_t}\, x_t - \sqrt{1-\bar\alpha_t}\,\hat v

    Parameters
    ----------
    target : {"eps", "v", "x0"}
        What `output` is an estimate of.
    x_t, output : float tensor (B, ...)
    t : int64 tensor (B,)

    Returns
    -------
    float tensor (B, ...)
    """
    choose("target", target, TARGETS)
    if target == "x0":
        return output
    signal, noise = schedule.signal_and_noise(t, x_t)
    if target == "v":
        return signal * x_t - noise * output
    return (x_t - noise * output) / signal


def predict_eps(schedule: Schedule, x_t: Tensor, t: Tensor, x0_hat: Tensor) -> Tensor:
    """Return the noise that, added to `x0_hat`, gives `x_t`: the inverse of `q_sample` in eps."""
    signal, noise = schedule.signal_and_noise(t, x_t)
    return (x_t - signal * x0_hat) / noise


def posterior_mean(schedule: Schedule, x_t: Tensor, t: Tensor, x0_hat: Tensor) -> Tensor:
    r"""Mean of :math:`q(x_{t-1} \mid x_t, x_0 = \hat x_0)` (equation posterior-mean).

    .. math:: \mu = \frac{\sqrt{\bar\alpha_{t-1}}\,\beta_t}{1-\bar\alpha_t} \hat x_0
              + \frac{\sqrt{\alpha_t}\,(1-\bar\alpha_{t-1})}{1-\bar\alpha_t} x_t
              = \frac{1}{\sqrt{\alpha_t}} \Big(x_t - \frac{\beta_t}{\sqrt{1-\bar\alpha_t}} \hat\epsilon\Big)

    Parameters
    ----------
    x_t, x0_hat : float tensor (B, ...)
    t : int64 tensor (B,)

    Returns
    -------
    float tensor (B, ...)
        An estimate of x_{t−1}, *not* of x0: even with a perfect x0_hat it holds noise of standard deviation
        √α_t (1 − ᾱ_{t−1}) / √(1 − ᾱ_t). At t = 0 it is x0_hat itself.

    Notes
    -----
    Source: Ho, Jain & Abbeel 2020. MIDT-ECG's presets v5 and v6 (from the authors' code) take their mel loss here.
    """
    schedule.signal_and_noise(t, x_t)  # refuses t out of range
    shape = (-1, *[1] * (x_t.ndim - 1))
    alpha_bar = schedule.alpha_bar
    before = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])[t.cpu()]
    now, beta = alpha_bar[t.cpu()], schedule.betas[t.cpu()]
    on_x0 = before.sqrt() * beta / (1 - now)
    on_xt = (1 - beta).sqrt() * (1 - before) / (1 - now)
    return on_x0.reshape(shape).to(x_t) * x0_hat + on_xt.reshape(shape).to(x_t) * x_t
