r"""Copies: synthetic records that follow a training record through all ten seconds, perhaps shifted in time.

.. math:: \rho(x, y) = \max_\tau \frac{\sum_{leads} \sum_t x(t)\, y(t + \tau)}{\lVert x \rVert\, \lVert y \rVert}

of the eight independent leads together, 0.5–15 Hz, with time running in a circle. Two hearts of equal rate correlate
too, so what counts as too much is read off real patients who cannot have been copied: those never seen.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import fft

from ecglib.evaluation.comparison import Comparison
from ecglib.evaluation.privacy.scores import clopper_pearson
from ecglib.evaluation.records import twelve_leads
from ecglib.parallel import cores
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_8, LEADS_12, lead_order

BAND_HZ = (0.5, 15.0)
LAGS_HZ, FINE_HZ = 50, 400  # how finely records are shifted: all of them, and then the likeliest
LIKELIEST = 16
SHARES = {"share 1%": 0.01, "share 0.1%": 0.001}  # of patients never seen that lie above the threshold, by its making
DOUBLES_NEED = 100  # patients never seen, for the best of them to say anything
MEGABYTES = 64


def spectra(cohort: Cohort) -> np.ndarray:
    """Return the spectra of records of norm 1, complex64 (n_records, F, 8): their products are correlations.

    A flat record is 0 everywhere, and correlates with nothing.
    """
    hz = np.fft.rfftfreq(cohort.x.shape[2], 1 / cohort.fs)
    kept = (hz >= BAND_HZ[0]) & (hz <= BAND_HZ[1])
    result = np.empty((len(cohort), int(kept.sum()), len(LEADS_8)), np.complex64)
    order = lead_order(LEADS_12, LEADS_8)
    for block, x in twelve_leads(cohort):
        spectrum = fft.rfft(x[:, order], axis=-1)[..., kept].swapaxes(1, 2)  # (B, F, 8)
        norm = np.sqrt(2 * (np.abs(spectrum) ** 2).sum(axis=(1, 2), keepdims=True))
        result[block] = spectrum / np.where(norm > 0, norm, 1)
    return result


def best_match(a: np.ndarray, b: np.ndarray, seconds: float = 10.0) -> np.ndarray:
    """Find for each record of a the record of b that follows it best, over all shifts (equation copy-correlation).

    Parameters
    ----------
    a, b : complex64 (n, F, 8), (m, F, 8)
        As `spectra` returns them.
    seconds : float
        Length of a record.

    Returns
    -------
    float64 (n, 3)
        The correlation, the row of b, and by how many seconds b's record is to be delayed to fit.
    """
    first, result = int(np.ceil(BAND_HZ[0] * seconds - 1e-9)), np.full((len(a), 3), np.nan)
    other = np.ascontiguousarray(b.transpose(1, 2, 0).conj())  # (F, 8, m)
    size = max(1, MEGABYTES * 2**20 // (8 * max(len(b), 1) * round(seconds * LAGS_HZ)))
    for start in range(0, len(a), size):
        some = a[start : start + size]
        cross = (np.ascontiguousarray(some.transpose(1, 0, 2)) @ other).transpose(1, 2, 0)  # (B, m, F)
        coarse = _over_lags(cross, first, round(seconds * LAGS_HZ)).max(axis=-1)
        kept = min(LIKELIEST, len(b))
        likely = np.sort(np.argpartition(-coarse, kept - 1, axis=1)[:, :kept], axis=1)
        fine = _over_lags(np.take_along_axis(cross, likely[..., None], axis=1), first, round(seconds * FINE_HZ))
        at, best = np.arange(len(some)), fine.max(axis=-1).argmax(axis=1)
        lag = fine[at, best].argmax(axis=1) / FINE_HZ
        result[start : start + size] = np.stack([fine[at, best].max(axis=1), likely[at, best],
                                                 np.where(lag > seconds / 2, lag - seconds, lag)], axis=1)  # fmt: skip
    return result


def _over_lags(cross: np.ndarray, first: int, n_lags: int) -> np.ndarray:
    """(B, m, F) cross spectra, whose first frequency is number `first` → correlations (B, m, n_lags)."""
    whole = np.zeros((*cross.shape[:2], n_lags // 2 + 1), np.complex64)
    whole[..., first : first + cross.shape[2]] = cross
    return fft.irfft(whole, n_lags, axis=-1, workers=cores()) * n_lags


def copies(c: Comparison) -> dict[str, float]:
    """Copies: how many synthetic records follow a training record more closely than patients never seen do?

    Parameters
    ----------
    c : Comparison
        ``train`` are members, ``real`` patients that the generator never saw.

    Returns
    -------
    dict
        ``share 1%`` and ``share 0.1%``: synthetic records whose best correlation with a training record exceeds that of
        all but one record in a hundred (in a thousand) of `real`: 0.01 (0.001) best; the interval is for this
        threshold, which is an estimate, too (as in `attack`). ``doubles``, those that come twice as close to 1 as
        anyone in `real` does: 0 best, and with so little chance in it that a few copies stand out. ``largest``, the
        best correlation of all.

    Raises
    ------
    NotComputable
        If a role is missing. A share is refused where fewer than one record of `real` would lie above the threshold: it
        needs 100 (1,000), and ``doubles`` 100.

    Notes
    -----
    Source: this project; the shape of the test is that of Somepalli et al., Diffusion art or digital forgery?, 2023,
    who compare samples' and training pictures' own similarities. Equation: copy-correlation.
    """
    c.n("train")
    synthetic = c.once(matches, "train", "synthetic")["synthetic"][:, 0]
    real = c.once(own_matches, "train", "real")["real"][:, 0]
    values = {"largest": float(synthetic.max())}
    highest = np.sort(real)[::-1]
    least_of = {key: round(1 / share) for key, share in SHARES.items()} | {"doubles": DOUBLES_NEED}
    for key, least in least_of.items():
        if c.whole and len(real) < least:
            why = f"it needs {least:,} records that the generator never saw, and there are {len(real):,}"
            c.note(refused={key: why})
            values[key] = np.nan
            continue
        rank = max(1, len(real) // least)
        above = synthetic > (1 - (1 - highest[0]) / 2 if key == "doubles" else highest[rank - 1])
        values[key] = float(above.mean())
        if c.whole:
            c.note(exact={key: clopper_pearson(int(above.sum()), len(above))})
    c.note(n=len(synthetic))
    return values


copies.interval = "subsample"  # type: ignore[attr-defined]


def suspects(c: Comparison, most: int = 5) -> pd.DataFrame:
    """Return the synthetic records that follow a training record most closely.

    Returns
    -------
    DataFrame
        ``synthetic`` and ``train``, rows; ``correlation``; ``delay_s``, of the training record; ``above``, the share of
        records never seen that follow a training record more closely still: 0 for what no real patient does.
    """
    c.n("train")
    found = c.once(matches, "train", "synthetic")["synthetic"]
    real = np.sort(c.once(own_matches, "train", "real")["real"][:, 0])
    order = np.argsort(-found[:, 0], kind="stable")[:most]
    above = 1 - np.searchsorted(real, found[order, 0], side="left") / len(real)
    return pd.DataFrame({"synthetic": order, "train": found[order, 1].astype(int), "correlation": found[order, 0],
                         "delay_s": found[order, 2], "above": above})  # fmt: skip


def matches(c: Comparison) -> dict[str, np.ndarray]:
    """Return `best_match` of synthetic among training records."""
    return {"synthetic": _matches(c, "synthetic")}


def own_matches(c: Comparison) -> dict[str, np.ndarray]:
    """Return `best_match` of patients never seen among training records."""
    return {"real": _matches(c, "real")}


def _matches(c: Comparison, role: str) -> np.ndarray:
    return best_match(c.terms(role, spectra), c.terms("train", spectra), c.real.x.shape[2] / c.real.fs)
