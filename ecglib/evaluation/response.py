"""Response card: what each metric says about known corruptions of real records; what it sees, and what it cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.ndimage import uniform_filter1d

from ecglib.evaluation.comparison import Comparison
from ecglib.evaluation.measure import Metric, evaluate
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_8, LEADS_12, lead_order, to_eight_leads, to_twelve_leads

NOISE_MV = 0.1
SMOOTHING_S = 0.09

Corruption = Callable[[np.ndarray, int, tuple[str, ...], np.random.Generator], np.ndarray]


def exact_copies(x: np.ndarray, fs: int, leads: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """The real records themselves."""
    return x


def white_noise(x: np.ndarray, fs: int, leads: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """White noise of 0.1 mV added to each lead by itself."""
    return x + NOISE_MV * rng.standard_normal(x.shape)


def smoothing_90_ms(x: np.ndarray, fs: int, leads: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Moving average over 90 ms."""
    return uniform_filter1d(x, max(2, round(SMOOTHING_S * fs)), axis=-1, mode="nearest")


def time_reversal(x: np.ndarray, fs: int, leads: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Each record played backwards."""
    return x[..., ::-1]


def phase_randomisation(x: np.ndarray, fs: int, leads: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Random phases, the same for all leads of a record: every power and cross spectrum stays, every beat goes."""
    spectrum = np.fft.rfft(x, axis=-1)
    phase = rng.uniform(0, 2 * np.pi, (len(x), 1, spectrum.shape[-1]))
    phase[..., 0] = 0  # the mean; irfft keeps only the real part of the last one, so that stays too
    phase[..., -1] = 0
    return np.fft.irfft(spectrum * np.exp(1j * phase), n=x.shape[-1], axis=-1)


def gain_2(x: np.ndarray, fs: int, leads: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Twice the amplitude."""
    return 2 * x


def leads_mixed(x: np.ndarray, fs: int, leads: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Each lead taken from another record: every lead is real, no record is."""
    return np.stack([x[rng.permutation(len(x)), lead] for lead in range(x.shape[1])], axis=1)


def ra_la_swap(x: np.ndarray, fs: int, leads: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Arm electrodes exchanged: I turns over, II and III change places, and so do aVR and aVL."""
    eight = set(leads) == set(LEADS_8)
    known = LEADS_8 if eight else LEADS_12
    x = x[:, lead_order(leads, known)]
    twelve = to_twelve_leads(x) if eight else x.copy()
    twelve[:, :6] = twelve[:, [0, 2, 1, 4, 3, 5]]
    twelve[:, 0] *= -1
    return (to_eight_leads(twelve) if eight else twelve)[:, lead_order(known, leads)]


def mode_collapse(x: np.ndarray, fs: int, leads: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """One record over and over."""
    return np.repeat(x[rng.integers(len(x))][None], len(x), axis=0)


def near_zeros(x: np.ndarray, fs: int, leads: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Hardly any signal: one per cent of the amplitude."""
    return 0.01 * x


CORRUPTIONS: tuple[Corruption, ...] = (
    exact_copies, white_noise, smoothing_90_ms, time_reversal, phase_randomisation, gain_2, leads_mixed, ra_la_swap,
    mode_collapse, near_zeros,
)  # fmt: skip


def response_card(cohort: Cohort, metrics: Sequence[Metric], *, seed: int = 0, floor: bool = True,
                  corruptions: Sequence[Corruption] = CORRUPTIONS) -> pd.DataFrame:  # fmt: skip
    """Compute metrics on real records against corrupted copies of themselves.

    Parameters
    ----------
    cohort : Cohort
        Real records, of the twelve or the eight standard leads.
    metrics : sequence of functions Comparison → dict
        As in `evaluate`.
    seed : int
        Seed of noise, mixing and floors.
    floor : bool
        Whether to measure the floor, which is the same for every corruption.
    corruptions : sequence of functions (x, fs, leads, rng) → x, optional
        float (n_records, n_leads, n_times) in mV each; all of `CORRUPTIONS` unless given.

    Returns
    -------
    DataFrame, one row a corruption, metric and key
        ``corruption`` and `evaluate`'s columns without the interval. ``exact_copies`` is the positive control of
        fidelity; a value at or below ``floor`` means that the metric does not see the corruption.
    """
    cards = []
    for k, corrupt in enumerate(corruptions):
        rng = np.random.default_rng([seed, 3, k])
        x = corrupt(np.asarray(cohort.x[:], dtype=np.float64), cohort.fs, cohort.leads, rng)
        table = cohort.table.assign(source_ecg_id=cohort.table["ecg_id"])
        spoiled = replace(cohort, x=np.ascontiguousarray(x, dtype=np.float32), table=table)
        card = evaluate(Comparison(cohort, spoiled), metrics, seed=seed, resamples=0, floor=floor and k == 0)
        cards.append(card.drop(columns=["ci_low", "ci_high"]).assign(corruption=corrupt.__name__))
    result = pd.concat(cards, ignore_index=True)
    result["floor"] = result.groupby(["metric", "key"])["floor"].transform("first")
    return result[["corruption", *result.columns.drop("corruption")]]
