r"""Samplers: from noise to signals, as pure functions of any ``denoise(x_t, t) -> x0_hat``.

They know no network and no ECG: a Gaussian whose best denoiser is known exactly tests them.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ecglib.diffusion.process import Schedule, posterior_mean, predict_eps
from ecglib.errors import InputError

Denoise = Callable[[Tensor, int], Tensor]
Noise = Callable[[], Tensor]
OnStep = Callable[[int, Tensor, Tensor], None]


def spaced_steps(timesteps: int, steps: int) -> list[int]:
    """Return `steps` of the T time steps, evenly spaced from T−1 down to 0.

    Raises
    ------
    InputError
        If `steps` is not between 1 and T.
    """
    if not 1 <= steps <= timesteps:
        raise InputError(f"steps={steps}; expected 1 to {timesteps}, the steps of the schedule")
    return np.linspace(timesteps - 1, 0, steps).round().astype(int).tolist() if steps > 1 else [timesteps - 1]


def ddim(denoise: Denoise, x: Tensor, schedule: Schedule, *, steps: int, eta: float = 0.0,
         noise: Noise | None = None, on_step: OnStep | None = None) -> Tensor:  # fmt: skip
    r"""Denoise in `steps` evaluations, adding `eta` times the ancestral sampler's noise (equation ddim).

    .. math:: x_{s} = \sqrt{\bar\alpha_s}\,\hat x_0 + \sqrt{1 - \bar\alpha_s - \sigma^2}\,\hat\epsilon + \sigma z,
              \quad \sigma^2 = \eta^2 \frac{1-\bar\alpha_s}{1-\bar\alpha_t}
              \Big(1 - \frac{\bar\alpha_t}{\bar\alpha_s}\Big)

    Parameters
    ----------
    denoise : callable (x_t, t) -> x0_hat
    x : float tensor (B, ...)
        Pure noise.
    eta : float
        0 deterministic, 1 as noisy as the ancestral sampler.
    noise : callable () -> float tensor (B, ...)
        Fresh standard noise; needed when eta > 0.
    on_step : callable (t, x_t, x0_hat), optional
        Called after each evaluation, to watch.

    Returns
    -------
    float tensor (B, ...)

    Notes
    -----
    Source: Song, Meng & Ermon, Denoising diffusion implicit models, 2021.
    """
    times = spaced_steps(len(schedule), steps)
    alpha_bar = schedule.alpha_bar
    for t, after in zip(times, [*times[1:], -1], strict=True):
        x0_hat = denoise(x, t)
        if on_step:
            on_step(t, x, x0_hat)
        if after < 0:
            return x0_hat
        eps_hat = predict_eps(schedule, x, torch.full((len(x),), t), x0_hat)
        now, then = float(alpha_bar[t]), float(alpha_bar[after])
        variance = eta**2 * (1 - then) / (1 - now) * (1 - now / then)
        x = then**0.5 * x0_hat + (1 - then - variance) ** 0.5 * eps_hat
        if variance:
            x = x + variance**0.5 * _drawn(noise)
    raise AssertionError("unreachable: the last step returns")


def ddpm(denoise: Denoise, x: Tensor, schedule: Schedule, *, noise: Noise, steps: int | None = None,
         on_step: OnStep | None = None) -> Tensor:  # fmt: skip
    """Ancestral sampling with the posterior variance over every step; with fewer `steps`, over evenly spaced ones.

    Source: Ho, Jain & Abbeel 2020, as SSSD-ECG uses it. Arguments as in `ddim` (equation ancestral).
    """
    if steps is not None and steps < len(schedule):
        return ddim(denoise, x, schedule, steps=steps, eta=1.0, noise=noise, on_step=on_step)
    alpha_bar, betas = schedule.alpha_bar, schedule.betas
    for t in range(len(schedule) - 1, -1, -1):
        x0_hat = denoise(x, t)
        if on_step:
            on_step(t, x, x0_hat)
        x = posterior_mean(schedule, x, torch.full((len(x),), t), x0_hat)
        if t:
            variance = float(betas[t] * (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t]))
            x = x + variance**0.5 * _drawn(noise)
    return x


def dpmpp_2m(denoise: Denoise, x: Tensor, schedule: Schedule, *, steps: int, noise: Noise | None = None,
             on_step: OnStep | None = None) -> Tensor:  # fmt: skip
    r"""DPM-Solver++(2M), second order in the log signal-to-noise ratio (equation dpmpp).

    .. math:: \lambda = \log(\sqrt{\bar\alpha}/\sqrt{1-\bar\alpha}), \quad h = \lambda_s-\lambda_t, \\
              x_s = \frac{\sigma_s}{\sigma_t} x_t + \sqrt{\bar\alpha_s}\,(1 - e^{-h})\, D

    with D extrapolated from the last two estimates. Deterministic: `noise` is not used. Arguments as in `ddim`.

    Source: Lu et al., DPM-Solver++, 2022.
    """
    times = spaced_steps(len(schedule), steps)
    alpha_bar = schedule.alpha_bar
    lam = 0.5 * (alpha_bar.log() - (1 - alpha_bar).log())
    before: Tensor | None = None
    h_before = 0.0
    for t, after in zip(times, [*times[1:], -1], strict=True):
        x0_hat = denoise(x, t)
        if on_step:
            on_step(t, x, x0_hat)
        if after < 0:
            return x0_hat
        h = float(lam[after] - lam[t])
        direction = x0_hat
        if before is not None and after != 0:  # the last interval is long in λ: extrapolating there overshoots
            direction = x0_hat + (x0_hat - before) * (h / h_before) / 2
        now, then = float(alpha_bar[t]), float(alpha_bar[after])
        x = ((1 - then) / (1 - now)) ** 0.5 * x - then**0.5 * np.expm1(-h) * direction
        before, h_before = x0_hat, h
    raise AssertionError("unreachable: the last step returns")


SAMPLERS: dict[str, Callable[..., Tensor]] = {"ddpm": ddpm, "ddim": ddim, "dpmpp": dpmpp_2m}


def _drawn(noise: Noise | None) -> Tensor:
    if noise is None:
        raise InputError("noise is None; a sampler with eta > 0 needs a callable that draws it")
    return noise()
