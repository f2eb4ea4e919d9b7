"""Correlations between leads: do synthetic records have the structure of real ones? Blind to gain, time and phase."""

from __future__ import annotations

import numpy as np
from scipy.stats import wasserstein_distance

from ecglib.evaluation.comparison import Comparison, NotComputable
from ecglib.evaluation.records import LEAST_RECORDS, twelve_leads
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_8, LEADS_12
from ecglib.signals.statements import superclasses

FLAT_MV = 1e-3  # a lead whose standard deviation is below one microvolt has no correlation
SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")

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
    for rows, x in twelve_leads(cohort):
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
    real, synthetic, enough = _both(c)
    error = np.abs(np.nanmean(real[:, enough], axis=0) - np.nanmean(synthetic[:, enough], axis=0))
    return {**_means(error, enough), "max": float(error.max())}


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


def ilce_distributional(c: Comparison) -> dict[str, float]:
    r"""Inter-lead correlation error of distributions: records may differ in how they spread, not only in their mean.

    Parameters
    ----------
    c : Comparison
        At least 8 records each.

    Returns
    -------
    dict
        ``mean`` over the 66 pairs of leads, ``independent``: over the 28 pairs of the eight independent leads (0 best).

    Raises
    ------
    NotComputable
        If there are fewer records, or no pair of leads is defined in 8 records of each.

    Notes
    -----
    .. math:: \operatorname{mean}_{i<j} W_1\bigl(\{C^x_{kij}\}_k, \{C^y_{kij}\}_k\bigr)

    It is at least the error of the means, `ilce`. A generator that gives everybody the average heart has a small
    `ilce` and a large one here. Equation: ilce-distributional.
    """
    c.at_least(LEAST_RECORDS)
    real, synthetic, enough = _both(c)
    gaps = [wasserstein_distance(a[np.isfinite(a)], b[np.isfinite(b)])
            for a, b in zip(real[:, enough].T, synthetic[:, enough].T, strict=True)]  # fmt: skip
    return _means(np.array(gaps), enough)


def ilce_by_class(c: Comparison) -> dict[str, float]:
    """Inter-lead correlation error of each diagnostic superclass: `ilce` among its records, where each side has 8.

    Returns
    -------
    dict
        Superclass → mean over the 66 pairs. Its floor rises as n falls: compare a class with its floor only.

    Raises
    ------
    NotComputable
        If no superclass has 8 records on both sides.
    """
    real, synthetic = c.terms("real", correlations), c.terms("synthetic", correlations)
    of_real, of_synthetic = c.table("real")["scp_codes"], c.table("synthetic")["scp_codes"]
    result, counts = {}, {}
    for name in SUPERCLASSES:
        a = real[[name in superclasses(codes) for codes in of_real]]
        b = synthetic[[name in superclasses(codes) for codes in of_synthetic]]
        enough = np.minimum(_defined(a), _defined(b)) >= LEAST_RECORDS
        if enough.any():
            result[name] = float(np.abs(np.nanmean(a[:, enough], axis=0) - np.nanmean(b[:, enough], axis=0)).mean())
            counts[name] = min(len(a), len(b))
    if not result:
        raise NotComputable(f"no superclass is on at least {LEAST_RECORDS} records of each side")
    c.note(n=counts)
    return result


def _both(c: Comparison) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return both sides' correlations, (n, 66), and which pairs of leads are defined in enough records, (66,)."""
    real, synthetic = c.terms("real", correlations), c.terms("synthetic", correlations)
    _note_flat(c, real, synthetic)
    enough = np.minimum(_defined(real), _defined(synthetic)) >= LEAST_RECORDS
    if not enough.any():
        raise NotComputable(f"no pair of leads is other than flat in {LEAST_RECORDS} records of each")
    if not enough.all():
        c.note(f"{np.sum(~enough)} of 66 pairs left out: too few records with both leads")
    return real, synthetic, enough


def _means(error: np.ndarray, enough: np.ndarray) -> dict[str, float]:
    independent = error[INDEPENDENT[enough]]
    return {"mean": float(error.mean()), "independent": float(independent.mean()) if len(independent) else np.nan}


def _defined(values: np.ndarray) -> np.ndarray:
    return np.isfinite(values).sum(axis=0)


def _note_flat(c: Comparison, real: np.ndarray, synthetic: np.ndarray) -> None:
    flat = [int(np.isnan(values).any(axis=1).sum()) for values in (real, synthetic)]
    if any(flat):
        c.note(f"flat leads left out in {flat[0]} of {len(real)} real and {flat[1]} of {len(synthetic)} synthetic "
               "records")  # fmt: skip
