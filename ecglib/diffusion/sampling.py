r"""Sampling: from noise to ECGs. Samplers are pure functions of any ``denoise(x_t, t) -> x0_hat``.

Noise for a record is drawn from (seed, source_ecg_id, copy), so that its samples are the same whatever the batch.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from ecglib.config import Config
from ecglib.diffusion.conditions import Conditions
from ecglib.diffusion.model import (
    WEIGHTS,
    Denoiser,
    SignalInfo,
    load_description,
    load_tensors,
    load_weights,
    network_of,
)
from ecglib.diffusion.network import SSSD
from ecglib.diffusion.process import Schedule, posterior_mean, predict_eps
from ecglib.diffusion.training import checked_device
from ecglib.errors import InputError, choose
from ecglib.runs import read_manifest
from ecglib.signals import LEADS_12, Cohort, to_twelve_leads

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
              \quad \sigma^2 = \eta^2 \frac{1-\bar\alpha_s}{1-\bar\alpha_t}\Big(1 - \frac{\bar\alpha_t}{\bar\alpha_s}\Big)

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
    r"""DPM-Solver++(2M): second order in :math:`\lambda = \log(\sqrt{\bar\alpha}/\sqrt{1-\bar\alpha})` (equation dpmpp).

    .. math:: x_s = \frac{\sigma_s}{\sigma_t} x_t + \sqrt{\bar\alpha_s}\,(1 - e^{-h})\, D, \quad h = \lambda_s-\lambda_t

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
        second_order = before is not None and t != times[-2]  # the last interval is long in λ: extrapolating overshoots
        direction = x0_hat + (x0_hat - before) * (h / h_before) / 2 if second_order else x0_hat
        now, then = float(alpha_bar[t]), float(alpha_bar[after])
        x = ((1 - then) / (1 - now)) ** 0.5 * x - then**0.5 * np.expm1(-h) * direction
        before, h_before = x0_hat, h
    raise AssertionError("unreachable: the last step returns")


SAMPLERS: dict[str, Callable[..., Tensor]] = {"ddpm": ddpm, "ddim": ddim, "dpmpp": dpmpp_2m}


class RecordNoise:
    """Standard noise drawn record by record, so that a record's noise depends on nothing but its own key.

    Parameters
    ----------
    keys : sequence of tuples of int
        (seed, source_ecg_id, copy) of each record.
    shape : tuple of int
        (C, L) of one record.
    device : torch.device
    """

    def __init__(self, keys: list[tuple[int, int, int]], shape: tuple[int, int], device: torch.device) -> None:
        self.shape, self.device = shape, device
        states = [np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1 for key in keys]
        self.generators = [torch.Generator().manual_seed(int(state)) for state in states]

    def __call__(self) -> Tensor:
        """Return the next draw: float32 (B, C, L)."""
        return torch.stack([torch.randn(self.shape, generator=g) for g in self.generators]).to(self.device)


class Generator:
    """A trained generator of ECGs.

    Parameters
    ----------
    config : Config
    signals : SignalInfo
    network : SSSD
    device : torch.device
    """

    def __init__(self, config: Config, signals: SignalInfo, network: SSSD, device: torch.device | str = "cpu") -> None:
        self.config, self.signals = config, signals
        self.device = checked_device(str(device))
        self.network = network.to(self.device).eval().requires_grad_(False)
        self.conditions = Conditions(config.conditions.groups)
        self.schedule = Schedule.named(config.diffusion.schedule, config.diffusion.timesteps)

    @staticmethod
    def load(run: Path | str, *, device: str = "cpu") -> "Generator":
        """Load a finished run.

        Raises
        ------
        InputError
            If the run is absent, not finished, damaged, or its weights do not fit its configuration.
        """
        run = Path(run)
        read_manifest(run, "run", make="make book")
        config, signals = load_description(run)
        network = network_of(config, len(signals.leads))
        load_weights(network, load_tensors(run / WEIGHTS), run / WEIGHTS)
        return Generator(config, signals, network, device)

    def sample(self, table: pd.DataFrame, *, sampler: str | None = None, steps: int | None = None,
               guidance: float | None = None, seed: int = 0, copies: int = 1, batch: int | None = None,
               progress: bool = False, on_step: OnStep | None = None) -> Cohort:  # fmt: skip
        """Make synthetic ECGs for the patients a table describes.

        Parameters
        ----------
        table : DataFrame
            One row a patient to imitate, as in `Cohort.table`; ``ecg_id`` and ``scp_codes`` are needed, the rest may
            be absent or NaN, which means "unknown".
        sampler : {"ddpm", "ddim", "dpmpp"}, optional
            Default: the configuration's, like `steps`, `guidance` and `batch`.
        steps : int, optional
            Evaluations of the network, 1 to T.
        guidance : float, optional
            1 is none; above 1 exaggerates what was asked for.
        seed : int
        copies : int
            Synthetic records per row.
        batch : int, optional
            Records at once; changes speed and memory, not the samples (beyond 1e-5 mV).

        Returns
        -------
        Cohort
            Twelve leads in mV. ``ecg_id`` is new (1, 2, …); ``source_ecg_id`` and ``copy`` say which row it answers.

        Raises
        ------
        InputError
            If an argument is unknown or out of range, or a sample is not finite.
        """
        asked = asked_table(table, copies)
        batch = self.config.sampling.batch if batch is None else batch
        if not 1 <= batch <= 65_536:
            raise InputError(f"batch={batch}; expected 1 to 65536")
        sampler = choose("sampler", self.config.sampling.sampler if sampler is None else sampler, SAMPLERS)
        parts = []
        starts = range(0, len(asked), batch)
        for start in tqdm(starts, desc="sampling", unit="batch", disable=not progress):
            draw = self.sample_signals(asked.iloc[start : start + batch], sampler=sampler, steps=steps, guidance=guidance, seed=seed,
                                       on_step=on_step)  # fmt: skip
            parts.append(to_twelve_leads(self.signals.to_millivolts(draw)).cpu().numpy())
        x = np.concatenate(parts)
        bad = np.flatnonzero(~np.isfinite(x).all(axis=(1, 2)))
        if len(bad):
            raise InputError(f"{len(bad)} of {len(x)} samples hold NaN or inf: the run is not trained well enough, or "
                             f"guidance={guidance} is too strong")  # fmt: skip
        return Cohort(x.astype(np.float32), self.signals.fs, LEADS_12, asked, source="synthetic")

    def denoiser(self, encoded: Tensor, guidance: float = 1.0) -> Denoiser:
        """Return ``denoise(x_t, t) -> x0_hat`` for records with the given conditions, float (B, K)."""
        info = self.signals
        clock = self.conditions.clock(encoded, info.n_times, info.fs) if self.config.network.clock else None
        unknown = self.conditions.unknown(len(encoded)).to(encoded)
        return Denoiser(self.network, self.schedule, self.config.diffusion.target, encoded, unknown, guidance, clock)

    @torch.no_grad()
    def sample_signals(self, asked: pd.DataFrame, *, sampler: str, steps: int | None, guidance: float | None,
                       seed: int, on_step: OnStep | None = None) -> Tensor:  # fmt: skip
        """Sample one batch in the network's own unit: float32 (B, 8, L)."""
        settings = self.config.sampling
        guidance = settings.guidance if guidance is None else guidance
        if not 0 <= guidance <= 100:  # NaN fails too
            raise InputError(f"guidance={guidance}; expected 0 to 100, 1 for none")
        steps = min(settings.steps, len(self.schedule)) if steps is None else steps
        encoded = self.conditions.encode(asked).to(self.device)
        denoise = self.denoiser(encoded, guidance)
        keys = [(seed, int(i), int(copy)) for i, copy in zip(asked["source_ecg_id"], asked["copy"], strict=True)]
        noise = RecordNoise(keys, (len(self.signals.leads), self.signals.n_times), self.device)
        spaced_steps(len(self.schedule), steps)
        return SAMPLERS[sampler](denoise, noise(), self.schedule, steps=steps, noise=noise, on_step=on_step)


def asked_table(table: pd.DataFrame, copies: int) -> pd.DataFrame:
    """Return the table of a synthetic cohort: each row `copies` times, with ids of its own.

    Raises
    ------
    InputError
        If the table is empty or lacks ``ecg_id`` or ``scp_codes``, or copies is below 1.
    """
    absent = [name for name in ("ecg_id", "scp_codes") if name not in table]
    if absent or not len(table):
        raise InputError(f"table has {len(table)} rows and lacks {absent or 'nothing'}; expected at least one row with "
                         "ecg_id and scp_codes")  # fmt: skip
    if not 1 <= copies <= 10_000:
        raise InputError(f"copies={copies}; expected 1 to 10000")
    rows = np.repeat(np.arange(len(table)), copies)
    asked = table.iloc[rows].reset_index(drop=True)
    ids = np.arange(1, len(asked) + 1)
    return asked.assign(source_ecg_id=asked["ecg_id"], copy=np.tile(np.arange(copies), len(table)), ecg_id=ids,
                        patient_id=ids)  # fmt: skip


def _drawn(noise: Noise | None) -> Tensor:
    if noise is None:
        raise InputError("noise is None; a sampler with eta > 0 needs a callable that draws it")
    return noise()

