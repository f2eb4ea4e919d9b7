"""Little data: some of the real patients, with and without synthetic records, and what else one would try.

A cell of the grid is one training of the linear classifier. All cells are tested on the real records of fold 10 and use
fold 9, real too, for every choice; only what is trained on differs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ecglib.diffusion.batches import class_chance
from ecglib.errors import InputError, choose
from ecglib.evaluation.classifier import CLASSES, targets
from ecglib.evaluation.utility.linear import Linear
from ecglib.evaluation.utility.rocket import Rocket
from ecglib.evaluation.utility.scores import scores
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_8, lead_order

FRACTIONS = (0.01, 0.02, 0.05, 0.10, 0.25, 0.50, 1.00)
RATIOS = (1, 2, 5)
SETTINGS = {"all": "the generator saw all real training records", "fraction": "it saw the fraction only"}
METHODS = {"real": False, "class weights": False, "oversampling": False, "augmentation": True, "synthetic": True,
           "synthetic only": True}  # fmt: skip
"""Method → whether it takes a ratio: of added records to real ones."""

GAIN, SHIFT_S, NOISE_MV, WANDER_MV, WANDER_HZ = 0.2, 0.5, 0.02, 0.1, (0.1, 0.5)  # of classical augmentation


@dataclass(frozen=True)
class Cell:
    """One training: how much of the real data, what is added to it, and the seed that draws the patients.

    Parameters
    ----------
    setting : {"all", "fraction"}
        What the generator saw.
    fraction : float
        Of the training patients, above 0 and at most 1.
    method : str
        One of `METHODS`.
    ratio : int
        Added records for each real one; 0 where the method adds none.
    seed : int
    """

    setting: str
    fraction: float
    method: str
    ratio: int
    seed: int

    def __post_init__(self) -> None:
        choose("setting", self.setting, SETTINGS)
        choose("method", self.method, METHODS)
        if not 0 < self.fraction <= 1 or (self.ratio > 0) != METHODS[self.method]:
            raise InputError(f"fraction={self.fraction}, method={self.method!r}, ratio={self.ratio}; expected a share "
                             "above 0, and a ratio of 1 or more just where the method adds records")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Features:
    """Features and classes of everything that cells draw from; computed once for all of them.

    Parameters
    ----------
    train, fold9, test : float32 (n, F)
        Of the real records.
    y_train, y_fold9, y_test : float32 (n, 5)
    table : DataFrame (n_train)
        Of the training records: ``patient_id`` and ``scp_codes``.
    patients_test : array (n_test,)
    synthetic, augmented : list of float32 (n_train, F)
        Copies of the training records: copy c of record i was made with its statements, age and sex, or from its
        signal. NaN where it was not made.
    """

    train: np.ndarray
    fold9: np.ndarray
    test: np.ndarray
    y_train: np.ndarray
    y_fold9: np.ndarray
    y_test: np.ndarray
    table: pd.DataFrame
    patients_test: np.ndarray
    synthetic: list[np.ndarray]
    augmented: list[np.ndarray]


def features_of(cohort: Cohort, rocket: Rocket, *, synthetic: list[Cohort], augment: int = 0,
                seed: int = 0) -> Features:  # fmt: skip
    """Compute the features of a cohort's folds, of synthetic copies of its training records, and of augmented ones.

    Parameters
    ----------
    cohort : Cohort
        With folds 1–10; its parts share no patient, or an error says so.
    rocket : Rocket
        Set on fold 9, which every cell may use: no test record takes part, and no training record left out of a cell.
    synthetic : list of Cohort
        Each a copy: records whose ``source_ecg_id`` is a training record's.
    augment : int
        Copies to make by `augmented`.
    seed : int

    Raises
    ------
    InputError
        If a synthetic record's source is no training record: its statements would come from another fold.
    """
    train, fold9, test = cohort.split()
    copies = [copy_features(rocket, copy, train) for copy in synthetic]
    more = [rocket.features(augmented(train, seed + k)) for k in range(augment)]
    columns = train.table[["patient_id", "scp_codes"]]
    return Features(rocket.features(train), rocket.features(fold9), rocket.features(test), targets(train),
                    targets(fold9), targets(test), columns, test.table["patient_id"].to_numpy(), copies, more)


def draw_fraction(table: pd.DataFrame, fraction: float, seed: int) -> np.ndarray:
    """Draw patients: return the rows of their records, int64, in order.

    Parameters
    ----------
    table : DataFrame
        With ``patient_id``.
    fraction : float
        Of the patients, rounded up to a whole one. With one seed, smaller fractions are parts of larger ones.
    seed : int
    """
    patients = np.unique(table["patient_id"])
    order = np.random.default_rng([seed, 5]).permutation(len(patients))
    chosen = patients[order[: int(np.ceil(round(fraction * len(patients), 6)))]]
    return np.flatnonzero(table["patient_id"].isin(chosen))


def run_cell(cell: Cell, data: Features) -> tuple[dict[str, object], np.ndarray]:
    """Train and test one cell.

    Returns
    -------
    dict
        The cell, ``n_real``, ``n_added``, ``n_patients``, ``strength`` chosen, and `scores` on fold 10.
    float64 (n_test, 5)
        Probabilities on fold 10.

    Raises
    ------
    InputError
        If the cell wants more copies than there are, or one that was not made.
    """
    rows = draw_fraction(data.table, cell.fraction, cell.seed)
    x, y = [data.train[rows]], [data.y_train[rows]]
    if cell.ratio:
        copies = data.augmented if cell.method == "augmentation" else data.synthetic
        if cell.ratio > len(copies):
            raise InputError(f"ratio={cell.ratio}, and there are {len(copies)} copies of each record; make more")
        for k in range(cell.ratio):
            x.append(copies[k][rows])
            y.append(data.y_train[rows])
    if cell.method == "synthetic only":
        x, y = x[1:], y[1:]
    if cell.method == "oversampling":
        again = oversampled(data.table.iloc[rows], cell.seed)
        x, y = [x[0][again]], [y[0][again]]
    x_all, y_all = np.concatenate(x), np.concatenate(y)
    if np.isnan(x_all).any():
        raise InputError(f"{cell}: some of its records have no copy; sample them first")
    model = Linear.fit(x_all, y_all, data.fold9, data.y_fold9, balanced=cell.method == "class weights")
    chance = model.probabilities(data.test)
    n_real = 0 if cell.method == "synthetic only" else len(rows)
    row: dict[str, object] = {**cell.__dict__, "n_real": n_real, "n_added": len(x_all) - n_real,
                              "n_patients": data.table.iloc[rows]["patient_id"].nunique(), "strength": model.strength}
    return row | scores(data.y_test, chance, chance >= model.thresholds, CLASSES), chance


def oversampled(table: pd.DataFrame, seed: int) -> np.ndarray:
    """Draw as many rows as there are, with replacement, every set of superclasses equally often: int64 (n,)."""
    chance = class_chance(table, "balanced")
    return np.random.default_rng([seed, 6]).choice(len(table), len(table), p=chance)


def augmented(cohort: Cohort, seed: int) -> Cohort:
    """Return the records changed in ways that change no diagnosis: gain, shift in time, noise, wandering baseline.

    Parameters
    ----------
    cohort : Cohort
    seed : int

    Returns
    -------
    Cohort
        Of the eight independent leads: gain ± 20 %, shift ± 0.5 s (what leaves at one end enters at the other), white
        noise of 20 µV, and a sine wave of at most 0.1 mV and 0.1–0.5 Hz in each lead. ``source_ecg_id`` is the
        record's own.
    """
    rng = np.random.default_rng([seed, 7])
    x = np.asarray(cohort.x[:], np.float32)[:, lead_order(cohort.leads, LEADS_8)]
    n, leads, length = x.shape
    t = np.arange(length, dtype=np.float32) / cohort.fs
    reach = round(SHIFT_S * cohort.fs)
    y = np.empty_like(x)
    for k in range(n):
        hz, turn = rng.uniform(*WANDER_HZ), rng.uniform(0, 2 * np.pi)
        wander = rng.uniform(0, WANDER_MV, (leads, 1)) * np.sin(2 * np.pi * hz * t + turn)
        noise = NOISE_MV * rng.standard_normal((leads, length))
        shifted = np.roll(x[k], rng.integers(-reach, reach + 1), axis=-1)
        y[k] = rng.uniform(1 - GAIN, 1 + GAIN) * shifted + noise + wander
    table = cohort.table.assign(source_ecg_id=cohort.table["ecg_id"])
    return replace(cohort, x=y, leads=LEADS_8, table=table, waves=None)


def copy_features(rocket: Rocket, copy: Cohort, train: Cohort) -> np.ndarray:
    """Return a copy's features in the order of the training records: float32 (n_train, F), NaN where none was made.

    Parameters
    ----------
    rocket : Rocket
    copy : Cohort
        Synthetic records; ``source_ecg_id`` names the training record whose statements each was asked for with.
    train : Cohort

    Raises
    ------
    InputError
        If sources are not told, a source is no training record, or two records share one.
    """
    if "source_ecg_id" not in copy.table:
        raise InputError("copy.table has no column source_ecg_id; expected records that a generator made for those of "
                         "folds 1–8, which the column names")  # fmt: skip
    place = pd.Series(np.arange(len(train)), index=train.table["ecg_id"]).reindex(copy.table["source_ecg_id"])
    if place.isna().any() or place.duplicated().any():
        raise InputError(f"{int(place.isna().sum())} synthetic records have a source that is no training record, and "
                         f"{int(place.duplicated().sum())} share one; expected one record for each of folds 1–8")
    features = rocket.features(copy)
    result = np.full((len(train), features.shape[1]), np.nan, np.float32)
    result[place.to_numpy(np.int64)] = features
    return result
