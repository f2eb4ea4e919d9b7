r"""Fidelity: do synthetic records have the structure between leads, and the spectrum, of real ones?

Both families compare what is *shared* by records, so each has blind spots, shown by its response card
(`ecglib.evaluation.response`): correlations see neither gain nor time; spectra see neither phase nor leads.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.signal import welch

from ecglib.evaluation.comparison import Comparison, NotComputable
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_8, LEADS_12, lead_order, to_twelve_leads

LEAST_RECORDS = 8  # fewer say nothing: the floor of the inter-lead correlation error is 0.12–0.17 at n = 11 already
FLAT_MV = 1e-3  # a lead whose standard deviation is below one microvolt has no correlation
NPERSEG = 256
BAND_HZ = (0.5, 40.0)
BLOCK = 256  # records at once

PAIRS: tuple[tuple[str, str], ...] = tuple((a, b) for i, a in enumerate(LEADS_12) for b in LEADS_12[i + 1 :])
"""The 66 pairs of the twelve leads."""
INDEPENDENT: np.ndarray = np.array([a in LEADS_8 and b in LEADS_8 for a, b in PAIRS])
"""Which of `PAIRS` are among the eight independent leads: 28 of them."""


def correlations(cohort: Cohort) -> np.ndarray:
    r"""Correlate each record's leads in pairs.

    Parameters
    ----------
    cohort : Cohort
        Of the twelve leads, in any order, or of the eight independent ones, which are completed to twelve.

    Returns
    -------
    float64 (n_records, 66)
        Pearson's r of the pairs in `PAIRS`, −1 to 1; NaN where a lead is flat.

    Raises
    ------
    NotComputable
        If the cohort has other leads.

    Notes
    -----
    .. math:: C_{ij} = \frac{\sum_t (x_{it} - \bar x_i)(x_{jt} - \bar x_j)}
              {\sqrt{\sum_t (x_{it} - \bar x_i)^2} \sqrt{\sum_t (x_{jt} - \bar x_j)^2}}

    Equation: lead-correlation.
    """
    first, second = np.triu_indices(len(LEADS_12), k=1)  # (66,) each, in the order of PAIRS
    result = np.empty((len(cohort), len(PAIRS)))
    for rows, x in _twelve_leads(cohort):
        x = x - x.mean(axis=-1, keepdims=True)
        norm = np.linalg.norm(x, axis=-1, keepdims=True)  # (B, 12, 1)
        flat = norm < FLAT_MV * np.sqrt(x.shape[-1])
        unit = np.divide(x, norm, out=np.full_like(x, np.nan), where=~flat)
        result[rows] = (unit @ unit.swapaxes(1, 2))[:, first, second].clip(-1, 1)  # (B, 12, 12) → (B, 66)
    return result


def ilce(c: Comparison) -> dict[str, float]:
    r"""Inter-lead correlation error of populations: how far apart the mean correlations of two leads are.

    Parameters
    ----------
    c : Comparison
        At least 8 records each.

    Returns
    -------
    dict
        ``mean`` over the 66 pairs of leads (0 best, 2 worst), ``independent``: mean over the 28 pairs of the eight
        independent leads, ``max`` over the 66 pairs.

    Raises
    ------
    NotComputable
        If there are fewer records, or no pair of leads is defined in 8 records of each.

    Notes
    -----
    .. math:: \mathrm{ILCE} = \frac1{66} \sum_{i<j} \Bigl| \frac1n \sum_{k} \mathrm{corr}(x_{ki}, x_{kj})
              - \frac1m \sum_{k} \mathrm{corr}(y_{ki}, y_{kj}) \Bigr|

    Blind to gain, time reversal and phase. Its floor depends on n. A flat lead has no correlation: the record is left
    out for that lead's pairs, and counted in ``reason``.

    Source: the inter-lead correlation error is MIDT-ECG's; whether theirs is taken by pairs of records or pooled is
    not known to us, so both are here. Equation: ilce.
    """
    c.at_least(LEAST_RECORDS)
    real, synthetic = c.terms("real", correlations), c.terms("synthetic", correlations)
    _note_flat(c, real, synthetic)
    enough = np.minimum(_defined(real), _defined(synthetic)) >= LEAST_RECORDS  # (66,)
    if not enough.any():
        raise NotComputable(f"no pair of leads is other than flat in {LEAST_RECORDS} records of each")
    if not enough.all():
        c.note(f"{np.sum(~enough)} of 66 pairs left out: too few records with both leads")
    error = np.abs(np.nanmean(real[:, enough], axis=0) - np.nanmean(synthetic[:, enough], axis=0))
    independent = error[INDEPENDENT[enough]]
    return {"mean": float(error.mean()), "independent": float(independent.mean()) if len(independent) else np.nan,
            "max": float(error.max())}  # fmt: skip


def ilce_paired(c: Comparison) -> dict[str, float]:
    r"""Inter-lead correlation error of pairs: a real record against the synthetic one made from its conditions.

    Parameters
    ----------
    c : Comparison
        ``synthetic.table["source_ecg_id"]`` names each one's real partner; at least 8 pairs.

    Returns
    -------
    dict
        ``mean`` and ``max`` over the 66 pairs of leads, each averaged over pairs of records.

    Raises
    ------
    NotComputable
        If there are no partners, or fewer than 8 pairs of records with defined correlations.

    Notes
    -----
    .. math:: \frac1n \sum_k \operatorname{mean}_{i<j} |C^x_{kij} - C^y_{kij}|
              \quad\text{and}\quad \frac1n \sum_k \max_{i<j} |C^x_{kij} - C^y_{kij}|

    Large even between two real records of the same statements, age and sex: read it beside its floor, never beside 0.

    Source: MIDT-ECG compares one synthetic record with each real one, paired by label and demographics.
    Equation: ilce-paired.
    """
    real, synthetic = c.paired_terms(correlations)
    error = np.abs(real - synthetic)  # (n_pairs, 66)
    defined = np.isfinite(error).any(axis=1)
    if defined.sum() < LEAST_RECORDS:
        raise NotComputable(f"it needs at least {LEAST_RECORDS} pairs of records with defined correlations and there "
                            f"are {defined.sum()}")  # fmt: skip
    _note_flat(c, real, synthetic)
    without = c.n("synthetic") - len(error)
    c.note(f"{without} synthetic records left out: no partner in real" if without else "", n=int(defined.sum()))
    error = error[defined]
    return {"mean": float(np.nanmean(error, axis=1).mean()), "max": float(np.nanmax(error, axis=1).mean())}


def power_spectra(cohort: Cohort) -> np.ndarray:
    """Estimate each record's power spectral density, lead by lead, in the band of `BAND_HZ`.

    Parameters
    ----------
    cohort : Cohort
        Records of at least 256 samples, sampled at 80 Hz or faster.

    Returns
    -------
    float64 (n_records, n_leads, n_frequencies)
        mV²/Hz: Welch's estimate, Hann windows of 256 samples, half overlapping, each less its mean.

    Raises
    ------
    NotComputable
        If the records are too short or sampled too slowly.
    """
    n_times = cohort.x.shape[2]
    if n_times < NPERSEG or cohort.fs < 2 * BAND_HZ[1]:
        raise NotComputable(f"it needs {NPERSEG} samples at {2 * BAND_HZ[1]:g} Hz or faster, and a record has "
                            f"{n_times} at {cohort.fs} Hz")  # fmt: skip
    blocks = []
    for rows in _blocks(len(cohort)):
        hz, power = welch(np.asarray(cohort.x[rows], dtype=np.float64), cohort.fs, nperseg=NPERSEG, axis=-1)
        blocks.append(power[..., (hz >= BAND_HZ[0]) & (hz <= BAND_HZ[1])])
    return np.concatenate(blocks)


def log_spectral_distance(c: Comparison) -> dict[str, float]:
    r"""Log-spectral distance of populations: how many decibels apart the leads' mean power spectra are.

    Parameters
    ----------
    c : Comparison
        At least 8 records each.

    Returns
    -------
    dict
        Decibels (0 best): ``mean`` over the leads, and each lead by its name.

    Raises
    ------
    NotComputable
        If there are fewer records, they are too short or sampled too slowly, or every lead is flat throughout.

    Notes
    -----
    With :math:`P(f)` the mean over records of Welch's estimate (256 samples) of one lead,

    .. math:: \mathrm{LSD} = \sqrt{\operatorname{mean}_{0.5 \le f \le 40\,\mathrm{Hz}}
              \bigl(10 \lg P_x(f) - 10 \lg P_y(f)\bigr)^2}

    The spectra are averaged over records before the logarithm. A gain of 2 gives 6.02 dB; time reversal and leads
    mixed across records give (nearly) nothing. A lead that is flat in all records of one side is left out, and said.

    Source: the definition is this project's; the log-spectral distance itself is common in speech processing.
    Equation: log-spectral-distance.
    """
    c.at_least(LEAST_RECORDS)
    real = c.terms("real", power_spectra).mean(axis=0)  # (n_leads, n_frequencies)
    synthetic = c.terms("synthetic", power_spectra).mean(axis=0)
    live = (np.minimum(real, synthetic) > 0).all(axis=-1)
    leads = [lead for lead, on in zip(c.real.leads, live, strict=True) if on]
    if not leads:
        raise NotComputable("every lead is flat in all records of one side")
    if not live.all():
        c.note(f"{np.sum(~live)} of {len(live)} leads left out: flat in all records of one side")
    gap = 10 * np.log10(real[live] / synthetic[live])  # dB
    distance = np.sqrt((gap**2).mean(axis=-1))
    return {"mean": float(distance.mean()), **dict(zip(leads, distance.tolist(), strict=True))}


METRICS = (ilce, ilce_paired, log_spectral_distance)


def _blocks(n_records: int) -> Iterator[slice]:
    for start in range(0, n_records, BLOCK):
        yield slice(start, start + BLOCK)


def _twelve_leads(cohort: Cohort) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows and their signals, float64 (B, 12, L) in the order of `LEADS_12`."""
    eight = set(cohort.leads) == set(LEADS_8)
    if not eight and set(cohort.leads) != set(LEADS_12):
        raise NotComputable(f"it needs the twelve leads or the eight independent ones, not {', '.join(cohort.leads)}")
    order = lead_order(cohort.leads, LEADS_8 if eight else LEADS_12)
    for rows in _blocks(len(cohort)):
        x = np.asarray(cohort.x[rows], dtype=np.float64)[:, order]
        yield rows, to_twelve_leads(x) if eight else x


def _defined(values: np.ndarray) -> np.ndarray:
    return np.isfinite(values).sum(axis=0)


def _note_flat(c: Comparison, real: np.ndarray, synthetic: np.ndarray) -> None:
    flat = [int(np.isnan(values).any(axis=1).sum()) for values in (real, synthetic)]
    if any(flat):
        c.note(f"flat leads left out in {flat[0]} of {len(real)} real and {flat[1]} of {len(synthetic)} synthetic "
               "records")  # fmt: skip
