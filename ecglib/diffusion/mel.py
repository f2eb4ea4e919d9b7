r"""The mel-spectrogram loss of MIDT-ECG: compare two signals in time and frequency at once.

.. math:: \mathrm{MelL1}(\hat x, x) = \sum_w \operatorname{mean} \big|\lg \max(\hat M_w, f)^2 - \lg \max(M_w, f)^2\big|
          + \operatorname{mean} \big|\hat M_w - M_w\big|

M is a magnitude short-time Fourier transform of window w and hop w/4 seen through mel filters. Below 1 kHz the Slaney
mel scale is exactly linear, so for an ECG (0–50 Hz) these are evenly spaced triangular filters; ``mel.filters="none"``
leaves them out, to ask whether they matter.

Source: MIDT-ECG (loss); descriptinc/audiotools (its form). This is the only module that imports torchaudio.
"""

import sys
import warnings
from types import ModuleType, SimpleNamespace

import torch
from torch import Tensor, nn

from ecglib.config import MelConfig
from ecglib.diffusion.process import Schedule, posterior_mean
from ecglib.errors import InputError, choose

ESTIMATES = ("x0", "posterior", "differences")
ROUNDING = 1e-5  # what a transform of float32 makes of zeros; no more than the floor of any variant


def _torchaudio_functional() -> ModuleType:
    """Import torchaudio's filters, also where its compiled extension does not fit this torch (a CPU-only one)."""
    try:
        import torchaudio.functional as functional
    except (OSError, RuntimeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
            del sys.modules[name]
        stub = ModuleType("torchaudio._extension")
        stub.__dict__.update(_IS_TORCHAUDIO_EXT_AVAILABLE=False, _IS_RIR_AVAILABLE=False, _IS_ALIGN_AVAILABLE=False,
                             fail_if_no_align=lambda f: f, lazy_import_sox_ext=lambda: SimpleNamespace())  # fmt: skip
        sys.modules["torchaudio._extension"] = stub
        import torchaudio.functional as functional
    return functional


def mel_filters(window: int, n_mels: int, fs: int) -> Tensor:
    """Return triangular mel filters, Slaney-normalised, from 0 Hz to fs/2: float32 (window/2 + 1, n_mels).

    (Equation mel-filters.) Source: descriptinc/audiotools, as MIDT-ECG uses it.

    Parameters
    ----------
    window : int
        Length of the Fourier transform in samples.
    n_mels : int
        Filters.
    fs : int
        Sampling rate in Hz.

    Raises
    ------
    InputError
        If a filter lies between two frequencies and is empty: it would compare nothing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torchaudio warns of empty filters; here they are an error
        filters = _torchaudio_functional().melscale_fbanks(
            window // 2 + 1, 0.0, fs / 2, n_mels, fs, norm="slaney", mel_scale="slaney"
        )
    empty = int((filters.sum(dim=0) == 0).sum())
    if empty:
        raise InputError(f"n_mels={n_mels} with window={window}: {empty} filters are empty at fs={fs} Hz; "
                         f"use fewer mels or a longer window")  # fmt: skip
    return filters


def spectrogram(x: Tensor, window: int) -> Tensor:
    """Return the magnitude of the centred short-time Fourier transform, hop window/4, Hann, reflected at the ends.

    Parameters
    ----------
    x : float tensor (..., L)
        L greater than window / 2.

    Returns
    -------
    float32 tensor (..., window/2 + 1, n_frames)
        √(|z|² + 10⁻¹⁰), so that where z is no more than rounding its gradient is small, and not of a random direction.

    Raises
    ------
    InputError
        If the signal is too short to be reflected.
    """
    if x.shape[-1] <= window // 2:
        raise InputError(f"a window of {window} samples needs more than {window // 2}; the signal has {x.shape[-1]}: "
                         "take shorter mel.windows or longer records")  # fmt: skip
    flat = x.float().reshape(-1, x.shape[-1])
    around = nn.functional.pad(flat, (window // 2, window // 2), mode="reflect")
    frames = around.unfold(-1, window, window // 4) * torch.hann_window(window, device=x.device)
    z = torch.view_as_real(torch.fft.rfft(frames))  # (signals, n_frames, window/2 + 1, 2)
    magnitude = (z.square().sum(dim=-1) + ROUNDING**2).sqrt()
    return magnitude.reshape(*x.shape[:-1], *magnitude.shape[1:]).transpose(-1, -2)


def mel_estimate(config: MelConfig, schedule: Schedule, x_t: Tensor, t: Tensor, x0_hat: Tensor) -> Tensor:
    r"""Return what the mel loss compares with x0 (equation mel-estimate).

    ``x0`` is x0_hat itself; so it is for ``differences``, of which `MelLoss` takes the leads' differences as well.
    ``posterior`` is the posterior mean μ, an estimate of x_{t−1}: its loss asks even a perfect network to remove noise
    that the schedule keeps.

    Parameters
    ----------
    config : MelConfig
    schedule : Schedule
    x_t, x0_hat : float tensor (B, C, L)
    t : int64 tensor (B,)

    Returns
    -------
    float tensor (B, C, L)

    Notes
    -----
    Source: MIDT-ECG, from the authors' code: μ in the presets v5 and v6, x0_hat in x0. Neither is clamped: R waves of
    most ECGs exceed ±6 standard deviations, and a clamped estimate would miss a perfect network's.
    """
    if choose("mel.estimate", config.estimate, ESTIMATES) == "posterior":
        return posterior_mean(schedule, x_t, t, x0_hat)
    return x0_hat


def with_differences(x: Tensor) -> Tensor:
    r"""Return signals (B, C, L) and, after them, the difference of any two leads, (B, C (C + 1) / 2, L).

    .. math:: \tfrac12 |X_i - X_j|^2 = \tfrac12 |X_i|^2 + \tfrac12 |X_j|^2 - \mathrm{Re}\, X_i \bar X_j

    Magnitudes of leads alone say nothing of what leads share; those of their differences do (equation mel-differences).

    Notes
    -----
    Source: this project.
    """
    i, j = torch.triu_indices(x.shape[1], x.shape[1], offset=1, device=x.device)
    return torch.cat([x, (x[:, i] - x[:, j]) / 2**0.5], dim=1)


class MelLoss(nn.Module):
    """Mel L1 between an estimate of the signal and the signal, averaged over leads, summed over windows.

    Parameters
    ----------
    config : MelConfig
        Windows, mels, the floor f under the logarithm, and the weighting over time steps: ``alpha_bar`` multiplies a
        record's loss by ᾱ_t, so that steps at which x0 cannot be known do not dominate; ``none`` is the paper's. With
        filters ``none`` each frequency is a band by itself, of the same area as a mel filter: λ and f keep their sense.
    fs : int
        Sampling rate in Hz.

    Notes
    -----
    Source: MIDT-ECG; its settings are in `ecglib.variants`. Differs by default: windows, a floor of 1e-2 rather than
    1e-5, and the weighting: their reasons are in the chapter on the mel loss.
    """

    def __init__(self, config: MelConfig, fs: int) -> None:
        super().__init__()
        self.windows, self.floor, self.pairs = config.windows, config.floor, config.estimate == "differences"
        self.weighting = choose("mel.weighting", config.weighting, ("none", "alpha_bar"))
        plain = choose("mel.filters", config.filters, ("mel", "none")) == "none"
        self.filters = nn.ParameterList(
            nn.Parameter(torch.eye(w // 2 + 1) * w / fs if plain else mel_filters(w, n, fs), requires_grad=False)
            for w, n in zip(config.windows, config.n_mels, strict=True)
        )

    def per_record(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """Return MelL1 of each record (equation mel-l1).

        Parameters
        ----------
        x_hat, x : float tensor (B, C, L)
            In the unit the model works in.

        Returns
        -------
        float32 tensor (B,)
        """
        total = torch.zeros(len(x), device=x.device)
        if self.pairs:
            x_hat, x = with_differences(x_hat), with_differences(x)
        for window, filters in zip(self.windows, self.filters, strict=True):
            estimated = self._mel(x_hat, window, filters)
            with torch.no_grad():
                true = self._mel(x, window, filters)
                log_true = true.clamp(min=self.floor).log10()
            logs = 2 * (estimated.clamp(min=self.floor).log10() - log_true)
            total = total + logs.abs().mean(dim=(1, 2, 3)) + (estimated - true).abs().mean(dim=(1, 2, 3))
        return total

    def forward(self, x_hat: Tensor, x: Tensor, alpha_bar: Tensor) -> Tensor:
        """Return the weighted mean over the batch, a float32 scalar (equation mel-weighted).

        Parameters
        ----------
        x_hat, x : float tensor (B, C, L)
            `mel_estimate`, and the signal x0.
        alpha_bar : float tensor (B,)
            ᾱ_t of each record.
        """
        with torch.autocast(x.device.type, enabled=False):
            loss = self.per_record(x_hat.float(), x.float())
        return (loss * alpha_bar.to(loss)).mean() if self.weighting == "alpha_bar" else loss.mean()

    def _mel(self, x: Tensor, window: int, filters: Tensor) -> Tensor:
        """(B, C, L) → (B, C, n_frames, n_bands)."""
        return spectrogram(x, window).transpose(-1, -2) @ filters
