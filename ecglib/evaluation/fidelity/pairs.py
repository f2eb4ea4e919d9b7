r"""MIDT-ECG's own measures: a synthetic record against the real one whose statements, age and sex it was asked for.

Two hearts never beat at the same moments, so a measure that compares sample with sample finds two *real* records of one
diagnosis unlike each other too, and a flat line more like either: all zeros score 0 dB. They are here so that a reader
can compare with the paper, and see why template SNR (`ecglib.evaluation.fidelity.beats`) is the useful one.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter

from ecglib.config import Config
from ecglib.evaluation.comparison import Comparison, NotComputable
from ecglib.evaluation.records import LEAST_RECORDS, twelve_leads
from ecglib.signals.cohort import Cohort

WINDOW = 64  # samples, of spectrograms
SSIM_WINDOW = 7  # time frames and frequencies
NAMES = ("snr_db", "rmse_mv", "abs_pearson", "ssim", "mel_l1")


def paired_measures(c: Comparison) -> dict[str, float]:
    r"""MIDT-ECG's measures of pairs, each averaged over pairs and leads: for comparison with the paper only.

    Parameters
    ----------
    c : Comparison
        ``synthetic.table["source_ecg_id"]`` names each one's real partner; at least 8 pairs.

    Returns
    -------
    dict
        ``snr_db``, :math:`10 \lg \sum x^2 / \sum (x - y)^2` (all zeros score 0); ``rmse_mv``; ``abs_pearson``;
        ``ssim`` of magnitude spectrograms; ``mel_l1`` (window 64, 16 mels, equation mel-l1).

    Raises
    ------
    NotComputable
        If there are no partners, or fewer than 8.

    Notes
    -----
    Source: MIDT-ECG, formulas from the authors' metrics file. SSIM is Wang et al. 2004, with a 7 × 7 window.
    Equation: paired-snr.
    """
    terms = c.pair_terms(_measures)  # (n_pairs, 5)
    if len(terms) < LEAST_RECORDS:
        raise NotComputable(f"it needs at least {LEAST_RECORDS} pairs of records and there are {len(terms)}")
    flat = int(np.isnan(terms).any(axis=1).sum())
    c.note(f"{flat} pairs with a flat lead left out of abs_pearson" if flat else "", n=len(terms))
    with np.errstate(invalid="ignore"):
        means = [np.nanmean(column) if np.isfinite(column).any() else np.nan for column in terms.T]
    return dict(zip(NAMES, map(float, means), strict=True))


def _measures(real: Cohort, of_real: np.ndarray, synthetic: Cohort, of_synthetic: np.ndarray) -> np.ndarray:
    """Measure pairs, given as rows of both: float64 (n_pairs, 5), in the order of `NAMES`."""
    import torch  # only here: other metrics need none

    from ecglib.diffusion.mel import MelLoss
    from ecglib.variants import variant

    mel = MelLoss(Config().override(variant("mel-v6")).mel, real.fs)
    rows = []
    for (_, x), (_, y) in zip(twelve_leads(real, of_real), twelve_leads(synthetic, of_synthetic), strict=True):
        error = ((x - y) ** 2).sum(axis=-1)  # (B, 12)
        power = (x**2).sum(axis=-1)
        with np.errstate(divide="ignore"):
            snr = np.clip(10 * np.log10(power.clip(1e-12) / error.clip(1e-12)), -100, 100)
        a, b = (z - z.mean(axis=-1, keepdims=True) for z in (x, y))
        norm = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
        pearson = np.divide((a * b).sum(axis=-1), norm, out=np.full_like(norm, np.nan), where=norm > 1e-9)
        mels = mel.per_record(torch.from_numpy(y).float(), torch.from_numpy(x).float()).numpy()
        rmse = np.sqrt(error / x.shape[-1])
        alike = ssim(_magnitudes(x), _magnitudes(y))
        rows.append(np.column_stack([snr.mean(axis=1), rmse.mean(axis=1), np.abs(pearson).mean(axis=1), alike, mels]))
    return np.concatenate(rows)


def _magnitudes(x: np.ndarray) -> np.ndarray:
    """(B, 12, L) → magnitude spectrograms (B, 12, frequencies, frames), float32."""
    import torch

    from ecglib.diffusion.mel import spectrogram

    return spectrogram(torch.from_numpy(x).float(), WINDOW).numpy()


def ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    r"""Return the structural similarity of images, averaged over each record's leads: float64 (B,).

    .. math:: \frac{(2 \mu_a \mu_b + C_1)(2 \sigma_{ab} + C_2)}
              {(\mu_a^2 + \mu_b^2 + C_1)(\sigma_a^2 + \sigma_b^2 + C_2)}

    Parameters
    ----------
    a, b : float (B, C, F, T)
        The range that C1 and C2 are relative to is a's, the real one's.
    """
    span = a.max(axis=(-2, -1), keepdims=True) - a.min(axis=(-2, -1), keepdims=True)
    c1, c2 = (0.01 * span) ** 2 + 1e-12, (0.03 * span) ** 2 + 1e-12
    mean = {name: _local(z) for name, z in (("a", a), ("b", b))}
    var_a, var_b = _local(a * a) - mean["a"] ** 2, _local(b * b) - mean["b"] ** 2
    both = _local(a * b) - mean["a"] * mean["b"]
    top = (2 * mean["a"] * mean["b"] + c1) * (2 * both + c2)
    return np.asarray((top / ((mean["a"] ** 2 + mean["b"] ** 2 + c1) * (var_a + var_b + c2))).mean(axis=(1, 2, 3)))


def _local(z: np.ndarray) -> np.ndarray:
    return uniform_filter(z.astype(np.float64), size=(1, 1, SSIM_WINDOW, SSIM_WINDOW), mode="nearest")
