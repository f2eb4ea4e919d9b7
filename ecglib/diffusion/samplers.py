r"""Samplers: from noise to signals, as pure functions of any ``denoise(x_t, t) -> x0_hat``.

They know no network and no ECG: a Gaussian whose best denoiser is known exactly tests them. All take the same step

.. math:: x_s = \sqrt{\bar\alpha_s}\,D + \sqrt{1 - \bar\alpha_s - \sigma^2}\,
          \frac{x_t - \sqrt{\bar\alpha_t}\,D}{\sqrt{1 - \bar\alpha_t}} + \sigma z

from step t to s < t, and differ in the fresh noise σ, in the estimate D, and in which steps they take.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ecglib.diffusion.process import Schedule, predict_eps
from ecglib.errors import InputError, choose, whole

Denoise = Callable[[Tensor, int], Tensor]
Noise = Callable[[], Tensor]
OnStep = Callable[[int, Tensor, Tensor], None]


def spaced_steps(schedule: Schedule, steps: int, spacing: str = "even") -> list[int]:
    """Return `steps` different time steps from T−1 down to 0 (equation spaced-steps).

    Parameters
    ----------
    schedule : Schedule
    steps : int
        1 to T; a single one is T−1.
    spacing : {"even", "log-snr"}
        Evenly in t, or evenly in the log signal-to-noise ratio; where its steps are too coarse for that, those left
        share what is left.

    Raises
    ------
    InputError
        If `steps` is no whole number from 1 to T, or `spacing` another word.
    """
    choose("spacing", spacing, ("even", "log-snr"))
    steps = whole("steps", steps, 1, len(schedule))
    if spacing == "even" and steps > 1:
        return np.linspace(len(schedule) - 1, 0, steps).round().astype(int).tolist()
    log_snr = schedule.log_snr.numpy()
    times = [len(schedule) - 1]
    for left in range(steps - 1, 0, -1):
        here = log_snr[times[-1]]
        nearest = np.abs(log_snr - here - (log_snr[0] - here) / left).argmin()
        times.append(int(np.clip(nearest, left - 1, times[-1] - 1)))
    return times


def ddim(denoise: Denoise, x: Tensor, schedule: Schedule, *, steps: int, spacing: str = "even", eta: float = 0.0,
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
    steps, spacing
        As in `spaced_steps`.
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
    return _walk(denoise, x, schedule, spaced_steps(schedule, steps, spacing), 1, eta, noise, on_step)


def ddpm(denoise: Denoise, x: Tensor, schedule: Schedule, *, noise: Noise, steps: int | None = None,
         spacing: str = "even", on_step: OnStep | None = None) -> Tensor:  # fmt: skip
    r"""Ancestral sampling: :math:`\mu + \sigma z`, the posterior mean plus noise of its variance (equation ancestral).

    Over every step, or over `steps` of them; it is `ddim` with eta = 1. Arguments as there.

    Source: Ho, Jain & Abbeel 2020, as SSSD-ECG uses it.
    """
    times = spaced_steps(schedule, len(schedule) if steps is None else steps, spacing)
    return _walk(denoise, x, schedule, times, 1, 1.0, noise, on_step)


def dpmpp_2m(denoise: Denoise, x: Tensor, schedule: Schedule, *, steps: int, spacing: str = "even", eta: float = 0.0,
             noise: Noise | None = None, on_step: OnStep | None = None) -> Tensor:  # fmt: skip
    r"""DPM-Solver++(2M), second order in the log signal-to-noise ratio λ (equation dpmpp).

    .. math:: D = \hat x_0(t) + \frac{h}{2 h'} \big(\hat x_0(t) - \hat x_0(t')\big), \quad
              h = \lambda_s - \lambda_t,\ h' = \lambda_t - \lambda_{t'}

    in place of DDIM's :math:`\hat x_0`, with t' the step before t. Arguments as in `ddim`; eta = 1 is the stochastic
    solver, SDE-DPM-Solver++(2M), called ``dpmpp-sde`` in `SAMPLERS`.

    Source: Lu et al., DPM-Solver++, 2022, which writes the same step as
    :math:`x_s = \frac{\sigma_s}{\sigma_t} x_t + \sqrt{\bar\alpha_s}\,(1 - e^{-h/2})\,D` with :math:`\sigma^2 =
    1-\bar\alpha` (their λ is half of ours).
    """
    return _walk(denoise, x, schedule, spaced_steps(schedule, steps, spacing), 2, eta, noise, on_step)


def _walk(denoise: Denoise, x: Tensor, schedule: Schedule, times: list[int], order: int, eta: float,
          noise: Noise | None, on_step: OnStep | None) -> Tensor:  # fmt: skip
    """Take the module's step from each of `times` to the next; the last estimate is the result."""
    if not 0 <= eta <= 1:
        raise InputError(f"eta={eta}; expected 0 (deterministic) to 1 (as noisy as the ancestral sampler)")
    if eta and noise is None:
        raise InputError("noise is None; a sampler with eta > 0 needs a callable that draws it")
    alpha_bar, log_snr = schedule.alpha_bar.tolist(), schedule.log_snr.tolist()
    before: tuple[Tensor, float] | None = None
    for t, s in zip(times, [*times[1:], None], strict=True):
        x0_hat = estimate = denoise(x, t)
        if on_step:
            on_step(t, x, x0_hat)
        if s is None:
            break
        h = log_snr[s] - log_snr[t]
        if order == 2 and before is not None and s > 0:  # the last stretch may be long in λ: it would overshoot
            estimate = x0_hat + h / (2 * before[1]) * (x0_hat - before[0])
        before = x0_hat, h
        eps_hat = predict_eps(schedule, x, torch.full((len(x),), t), estimate)
        variance = eta**2 * (1 - alpha_bar[s]) / (1 - alpha_bar[t]) * (1 - alpha_bar[t] / alpha_bar[s])
        x = alpha_bar[s] ** 0.5 * estimate + (1 - alpha_bar[s] - variance) ** 0.5 * eps_hat
        if variance and noise is not None:
            x = x + variance**0.5 * noise()
    return x0_hat


SAMPLERS: dict[str, Callable[..., Tensor]] = {
    "ddpm": ddpm, "ddim": ddim, "dpmpp": dpmpp_2m, "dpmpp-sde": partial(dpmpp_2m, eta=1.0)
}  # fmt: skip
