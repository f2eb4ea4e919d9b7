"""Does a classifier of rhythm learn from synthetic records what it needs for real ones, and the reverse?

TRTR: trained on real, tested on real; TSTR: trained on synthetic, tested on real; TRTS: trained on real, tested on
synthetic. TSTR misses what the generator does not make, TRTS what it makes too much of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from ecglib.errors import InputError, choose
from ecglib.evaluation.sr_af.groups import af_of
from ecglib.signals.cohort import Cohort

Features = Callable[[Cohort], pd.DataFrame]
MODELS: Mapping[str, Callable[[int], ClassifierMixin]] = {
    "random forest": lambda seed: RandomForestClassifier(200, class_weight="balanced", random_state=seed),
    "logistic regression": lambda seed: LogisticRegression(class_weight="balanced", random_state=seed),
    "linear SVM": lambda seed: LinearSVC(class_weight="balanced", random_state=seed),
    "5 nearest neighbours": lambda seed: KNeighborsClassifier(5),
}
DIRECTIONS = {"TRTR": ("real_train", "real_test"), "TSTR": ("synthetic", "real_test"),
              "TRTS": ("real_train", "synthetic")}  # fmt: skip
RESAMPLES = 1000
LEVEL = 0.95
LEAST_PER_GROUP = 5


def model_named(name: str, seed: int = 0) -> ClassifierMixin:
    """Return a classifier of `MODELS` behind an imputer and a scaler, which are fitted with it and never before.

    A missing measure gets the training records' median *and* a column of its own that says it was missing: no P wave
    found is a finding.
    """
    model = MODELS[choose("model", name, MODELS)](seed)
    return make_pipeline(SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
                         StandardScaler(), model)  # fmt: skip


def transfer_table(sets: Mapping[str, Cohort], features: Mapping[str, Features], *, seed: int = 0,
                   asked: Cohort | None = None) -> pd.DataFrame:  # fmt: skip
    """Train and test in each direction, with each kind of features and each classifier.

    Parameters
    ----------
    sets : mapping
        ``real_train`` and ``real_test``, which share no patient, and ``synthetic``; each with the column ``af``.
    features : mapping
        Name → function Cohort → DataFrame, one row a record.
    seed : int
        Of the forest and of the intervals.
    asked : Cohort, optional
        The records that were asked for: ``synthetic.table["source_ecg_id"]`` are its ecg_ids, and intervals of TRTS are
        over its patients. Over its records where it is not given.

    Returns
    -------
    DataFrame
        ``features``, ``direction``, ``model``; ``macro_f1``, ``af_f1``, each with ``_low`` and ``_high``: 95 % of 1,000
        draws of the test set's patients; ``n_train`` and ``n_test`` records, ``n_test_af``.

    Raises
    ------
    InputError
        If a set is missing, has fewer than five records of a group, or real sets share a patient.

    Notes
    -----
    Source: Hegde et al. 2025 trained a random forest both ways on nine features of lead II and published macro F1
    0.80 (TSTR) and 0.91 (TRTS), on records of MIMIC-IV-ECG.
    """
    _check(sets)
    patients = {name: cohort.table["patient_id"].to_numpy() for name, cohort in sets.items()}
    patients["synthetic"] = source_patients(sets["synthetic"], asked)
    rows = []
    for of_features, measure in features.items():
        values = {name: measure(cohort).to_numpy(np.float64) for name, cohort in sets.items()}
        for direction, (train, test) in DIRECTIONS.items():
            for name in MODELS:
                fitted = model_named(name, seed).fit(values[train], af_of(sets[train]))
                found = fitted.predict(values[test])
                rows.append({"features": of_features, "direction": direction, "model": name,
                             **scores(af_of(sets[test]), found, patients[test], seed),
                             "n_train": len(sets[train]), "n_test": len(sets[test]),
                             "n_test_af": int(af_of(sets[test]).sum())})  # fmt: skip
    return pd.DataFrame(rows)


def scores(truth: np.ndarray, found: np.ndarray, patients: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Return macro F1 and F1 of fibrillation, each with an interval over patients.

    Parameters
    ----------
    truth, found : int64 (n_records,)
        1 fibrillation, 0 sinus rhythm.
    patients : (n_records,)
        Whose record each is; all records of a drawn patient go together.
    seed : int
        Of the draws.

    Returns
    -------
    dict
        ``macro_f1``, ``macro_f1_low``, ``macro_f1_high``, ``af_f1``, ``af_f1_low``, ``af_f1_high``.
    """
    codes, _ = pd.factorize(patients)
    counts = np.stack([truth & found, (1 - truth) & found, truth & (1 - found), (1 - truth) & (1 - found)])
    of_patient = np.stack([np.bincount(codes, weights=row) for row in counts])  # (4, n_patients)
    rng = np.random.default_rng([seed, 5])
    drawn = rng.multinomial(of_patient.shape[1], np.full(of_patient.shape[1], 1 / of_patient.shape[1]), RESAMPLES)
    draws = _f1(of_patient @ drawn.T)  # (2, RESAMPLES)
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    value = {"macro_f1": f1_score(truth, found, average="macro"), "af_f1": f1_score(truth, found)}
    return {key: float(number) for k, (name, at) in enumerate(value.items())
            for key, number in ((name, at), (f"{name}_low", low[k]), (f"{name}_high", high[k]))}  # fmt: skip


def source_patients(synthetic: Cohort, asked: Cohort | None) -> np.ndarray:
    """Return who was asked for by each synthetic record: text (n_records,), the patient of its source in `asked`.

    A source that is not there stands for a patient of its own.
    """
    told = "source_ecg_id" in synthetic.table  # else a record's own number says nothing of real ones
    source = synthetic.table["source_ecg_id" if told else "ecg_id"]
    patient = pd.Series(np.nan, source.index, dtype=object)
    if asked is not None and told:
        patient = source.map(asked.table.set_index("ecg_id")["patient_id"].astype(str)).astype(object)
    return patient.where(patient.notna(), "source " + source.astype(str)).astype(str).to_numpy()


def betrayals(real: Cohort, synthetic: Cohort, measure: Features, *, seed: int = 0, folds: int = 5
              ) -> tuple[float, pd.Series]:  # fmt: skip
    """Tell real from synthetic by the same features, and say which of them betray.

    Parameters
    ----------
    real, synthetic : Cohort
    measure : function Cohort → DataFrame
    seed : int
        Of the forest and of the permutations.
    folds : int
        Patients are held out by folds.

    Returns
    -------
    auroc : float
        Of a random forest on held-out patients: 0.5 cannot tell, 1 always tells.
    importance : Series
        Feature → how much the area falls when it is permuted, mean over folds; the largest first.

    Raises
    ------
    InputError
        If a side has fewer records than folds, or both together fewer patients.
    """
    if min(len(real), len(synthetic)) < folds:
        raise InputError(f"folds={folds} with {len(real)} real and {len(synthetic)} synthetic records; expected at "
                         "least as many records on each side")  # fmt: skip
    groups = np.concatenate([real.table["patient_id"].astype(str), source_patients(synthetic, real)])
    if (people := len(np.unique(groups))) < folds:
        raise InputError(f"folds={folds} with records of {people} patients, sources of synthetic ones included; "
                         "expected at least as many patients, or give fewer folds")  # fmt: skip
    table = pd.concat([measure(real), measure(synthetic)], ignore_index=True)
    y = np.repeat([0, 1], [len(real), len(synthetic)])
    score, falls = np.zeros(len(y)), []
    for train, test in GroupKFold(folds, shuffle=True, random_state=seed).split(table, y, groups):
        fitted = model_named("random forest", seed).fit(table.iloc[train].to_numpy(), y[train])
        score[test] = fitted.predict_proba(table.iloc[test].to_numpy())[:, 1]
        falls.append(permutation_importance(fitted, table.iloc[test].to_numpy(), y[test], scoring="roc_auc",
                                            n_repeats=3, random_state=seed).importances_mean)  # fmt: skip
    importance = pd.Series(np.mean(falls, axis=0), index=table.columns).sort_values(ascending=False)
    return float(roc_auc_score(y, score)), importance


def _f1(counts: np.ndarray) -> np.ndarray:
    """Counts of (true AF, false AF, missed AF, true SR), (4, …) → macro F1 and F1 of AF, (2, …)."""
    hit, false, missed, right = counts
    with np.errstate(invalid="ignore"):  # a draw without either is NaN, and left out
        af, sr = (2 * k / (2 * k + false + missed) for k in (hit, right))
    return np.stack([(af + sr) / 2, af])


def _check(sets: Mapping[str, Cohort]) -> None:
    missing = sorted({"real_train", "real_test", "synthetic"} - set(sets))
    if missing:
        raise InputError(f"sets has no {', '.join(missing)}; expected real_train, real_test and synthetic")
    for name, cohort in sets.items():
        af = af_of(cohort)
        if min(af.sum(), (1 - af).sum()) < LEAST_PER_GROUP:
            raise InputError(f"{name} has {(1 - af).sum()} records of sinus rhythm and {af.sum()} of fibrillation; "
                             f"expected at least {LEAST_PER_GROUP} of each")  # fmt: skip
    shared = set(sets["real_train"].table["patient_id"]) & set(sets["real_test"].table["patient_id"])
    if shared:
        raise InputError(f"{len(shared)} patients are in real_train and in real_test; split by patient first")
