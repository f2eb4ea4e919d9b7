r"""The diffusion process: how a signal is noised, and what follows from an estimate of it.

.. math:: x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon, \qquad
          \bar\alpha_t = \prod_{s \le t} (1 - \beta_s)

Time steps t are 0-based: t = 0 is the least noisy. A schedule knows no network, and a network no schedule.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ecglib.config import DiffusionConfig
from ecglib.errors import InputError, choose

TARGETS = ("eps", "v", "x0")
GAMMA = 5.0  # of min-SNR


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
    def linear_zero(timesteps: int = 200) -> "Schedule":
        r"""`linear` with :math:`\sqrt{\bar\alpha}` shifted and scaled to end at zero (equation schedule-linear-zero).

        The first step keeps its noise. The last beta, which would be 1, is cut to 0.999 as in `cosine`: the signal to
        noise ratio ends at −75 dB instead of −∞ (200 steps), and its logarithm stays finite.
        Source: Lin et al., Common diffusion noise schedules and sample steps are flawed, 2023.
        """
        root = Schedule.linear(timesteps).alpha_bar.sqrt()
        alpha_bar = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
        return Schedule((1 - alpha_bar / torch.cat([torch.ones(1), alpha_bar[:-1]])).clamp(max=0.999))

    @staticmethod
    def named(name: str, timesteps: int) -> "Schedule":
        """Return the schedule called ``linear``, ``linear-zero`` or ``cosine``; `InputError` for any other name."""
        return SCHEDULES[choose("schedule", name, SCHEDULES)](timesteps)

    def __len__(self) -> int:
        return len(self.betas)

    @property
    def alpha_bar(self) -> Tensor:
        """float64 (T,): share of the signal's variance left after step t."""
        return torch.cumprod(1 - self.betas, dim=0)

    @property
    def log_snr(self) -> Tensor:
        r"""float64 (T,): log signal-to-noise ratio, :math:`\log \bar\alpha_t / (1 - \bar\alpha_t)`; falls with t."""
        alpha_bar = self.alpha_bar
        return alpha_bar.log() - (1 - alpha_bar).log()

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


SCHEDULES: dict[str, Callable[[int], Schedule]] = {
    "linear": Schedule.linear, "cosine": Schedule.cosine, "linear-zero": Schedule.linear_zero
}  # fmt: skip


def draw_steps(config: DiffusionConfig, schedule: Schedule, n: int, generator: torch.Generator) -> Tensor:
    r"""Draw the steps that a training batch is noised to, int64 (n,), as ``config.draw`` says (equation draw-steps).

    ``uniform``: each of the T steps equally often. ``logit-normal``: the log signal-to-noise ratio is normal with mean
    0 and standard deviation 2, whatever the schedule; both ends, where little is to be learnt, become rare.

    Source: Esser et al., Scaling rectified flow transformers, 2024: there the share of noise t is sigmoid(normal), and
    the log signal-to-noise ratio −2 logit t. Karras et al. 2022 draw it from a normal distribution too.
    """
    if config.draw == "uniform":
        return torch.randint(len(schedule), (n,), generator=generator)
    choose("draw", config.draw, ("uniform", "logit-normal"))
    log_snr = schedule.log_snr
    density = torch.exp(-((log_snr / 2) ** 2) / 2) * torch.gradient(log_snr)[0].abs()  # per step, not per unit of log
    return torch.multinomial(density, n, replacement=True, generator=generator)


def loss_weight(config: DiffusionConfig, schedule: Schedule, t: Tensor) -> Tensor:
    r"""Return each record's weight in the loss, float32 (n,), with mean 1 over the T steps (equation min-snr).

    ``min-snr`` lets a squared error of x0_hat count :math:`\min(\mathrm{SNR}_t, 5)`, whatever the target: that of v is
    :math:`\mathrm{SNR}_t + 1` times as large, and that of eps :math:`\mathrm{SNR}_t` times.

    Parameters
    ----------
    config : DiffusionConfig
        ``weighting`` and ``target``.
    schedule : Schedule
    t : int64 tensor (n,)

    Notes
    -----
    Source: Hang et al., Efficient diffusion training via min-SNR weighting strategy, 2023. The mean of 1 is this
    project's: the loss keeps its scale, so that a learning rate and a mel weight mean much the same with either.
    """
    if choose("weighting", config.weighting, ("none", "min-snr")) == "none":
        return torch.ones(len(t), device=t.device)
    snr = schedule.log_snr.exp()
    per_square = {"x0": torch.ones_like(snr), "v": snr + 1, "eps": snr}[choose("target", config.target, TARGETS)]
    weight = snr.clamp(max=GAMMA) / per_square
    return (weight / weight.mean()).to(torch.float32)[t.cpu()].to(t.device)


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

    Source: v from Salimans & Ho, Progressive distillation, 2022. −v is also what the preconditioned network of EDM
    (Karras et al. 2022) predicts if the data's standard deviation is 1: x_t is its scaled input, and its
    c_skip x + c_out F is :math:`\sqrt{\bar\alpha_t}\,x_t + \sqrt{1-\bar\alpha_t}\,F`, the formula of `predict_x0`.
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
