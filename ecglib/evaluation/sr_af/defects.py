"""Four faults of published pipelines, each beside the right way, so that its damage can be measured.

Source: all four were read in the second paper's public code (Hegde et al. 2025). What they did to its results is not
known; what they do to records at hand is what these functions are for.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score
from sklearn.preprocessing import MinMaxScaler

from ecglib.errors import InputError
from ecglib.evaluation.sr_af.transfer import model_named
from ecglib.signals.leads import LEADS_12, einthoven_residual

MIMIC_LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
"""MIMIC-IV-ECG's own order: aVF stands before aVL."""


def read_by_position(x: np.ndarray, order: tuple[str, ...] = MIMIC_LEADS) -> np.ndarray:
    """Return what a reader gets who takes leads stored in `order` for the usual order.

    Parameters
    ----------
    x : float (n_records, 12, L)
        Leads in the usual order, `LEADS_12`.
    order : tuple of str
        In which they are stored.

    Returns
    -------
    float (n_records, 12, L)
        Leads as stored: aVL's place holds aVF, and the reverse.
    """
    return x[:, [LEADS_12.index(name) for name in order]]


def min_max(x: np.ndarray) -> np.ndarray:
    r"""Scale each lead of each record to [0, 1], as the second paper does before it trains.

    Parameters
    ----------
    x : float (n_records, n_leads, L)
        In mV.

    Returns
    -------
    float (n_records, n_leads, L)
        Without unit; 0 throughout where a lead is flat.

    Notes
    -----
    .. math:: x' = (x - \min_t x) / (\max_t x - \min_t x)

    Each lead is divided by a number of its own, so that III = II − I is no longer true of it. Equation: min-max.
    """
    low, high = x.min(axis=-1, keepdims=True), x.max(axis=-1, keepdims=True)
    return (x - low) / np.where(high > low, high - low, 1.0)


def limb_lead_error(x: np.ndarray) -> float:
    """Return how far limb leads are from what leads I and II say, as a share of their own size.

    Parameters
    ----------
    x : float (n_records, 12, L)
        Leads in the order of `LEADS_12`, each around its own mean.

    Returns
    -------
    float
        Root mean square of III, aVR, aVL and aVF less their value from I and II, over that of the four leads.
    """
    x = x - x.mean(axis=-1, keepdims=True)
    residual = einthoven_residual(x)
    return float(np.sqrt(np.mean(residual**2) / np.mean(x[:, 2:6] ** 2)))


def at_wrong_rate(features: pd.DataFrame, fs: float, taken: float) -> pd.DataFrame:
    """Return features of time as they come out where records at `fs` Hz are taken for records at `taken` Hz.

    Parameters
    ----------
    features : DataFrame
        Columns in ms (``…_ms``), and ``heart_rate``; others are left as they are.
    fs, taken : float
        In Hz.

    Returns
    -------
    DataFrame
        Milliseconds times fs / taken, heart rates over it: 400 ms of Q–T at 100 Hz become 80 if it is taken for 500.
    """
    wrong, factor = features.copy(), fs / taken
    times = [name for name in wrong if str(name).endswith("_ms")]
    wrong[times] = wrong[times] * factor
    if "heart_rate" in wrong:
        wrong["heart_rate"] = wrong["heart_rate"] / factor
    return wrong


def leak_of_scaling(values: np.ndarray, truth: np.ndarray, patients: np.ndarray, *, n_train: int, rounds: int = 50,
                    seed: int = 0) -> np.ndarray:  # fmt: skip
    """Measure what fitting the scaler before the split does to a nearest-neighbour classifier's macro F1.

    Parameters
    ----------
    values : float (n_records, n_features)
        Without NaN.
    truth : int64 (n_records,)
        1 fibrillation, 0 sinus rhythm.
    patients : (n_records,)
        Whose record each is: splits are by patient.
    n_train : int
        Patients to train on, 5 at least, whom the classifier takes for neighbours; the rest is tested.
    rounds : int
        Random splits.
    seed : int

    Returns
    -------
    float64 (rounds, 2)
        Macro F1 with the scaler fitted on all records (the fault), and on the training records only; NaN where all
        who were drawn for training are of one class.

    Raises
    ------
    InputError
        If `n_train` is below 5, or there are not more patients.
    """
    names = np.unique(patients)
    if not 5 <= n_train < len(names):
        raise InputError(f"n_train={n_train} of {len(names)} patients; expected at least 5, and some left to test")
    rng, result = np.random.default_rng([seed, 6]), np.full((rounds, 2), np.nan)
    for row in result:
        train = np.isin(patients, rng.permutation(names)[:n_train])
        if len(np.unique(truth[train])) < 2:
            continue
        for k, known in enumerate((np.ones_like(train), train)):
            scaled = MinMaxScaler().fit(values[known]).transform(values)
            model = model_named("5 nearest neighbours").steps[-1][1].fit(scaled[train], truth[train])
            row[k] = f1_score(truth[~train], model.predict(scaled[~train]), average="macro")
    return result
