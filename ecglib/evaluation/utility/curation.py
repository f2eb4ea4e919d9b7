r"""Faithfulness and curation: keep a synthetic record only if a classifier of real ones finds in it what was asked for.

.. math:: \text{keep } x \iff \{k : p_k(x) \ge \tau_k\} = \{k : \text{asked for}\},

with thresholds of fold 9. What is thrown away changes what is left: curated records agree better with the classifier by
construction, and a rule that keeps the typical may keep what is nearest to the training records. So utility and a
measure of privacy belong beside the acceptance rate, before and after.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from ecglib.errors import InputError
from ecglib.evaluation.classifier import CLASSES, Classifier, targets
from ecglib.evaluation.utility.linear import Linear
from ecglib.evaluation.utility.rocket import Rocket
from ecglib.signals.cohort import Cohort


@dataclass(frozen=True, eq=False)
class RocketClassifier:
    """MiniRocket's features and a linear model, as one classifier of superclasses.

    Parameters
    ----------
    rocket : Rocket
    linear : Linear
    """

    rocket: Rocket
    linear: Linear

    @staticmethod
    def train(train: Cohort, validation: Cohort, seed: int = 0) -> RocketClassifier:
        """Train on real records; kernels' thresholds, strength and Youden's points are those of `validation`, fold 9.

        Raises
        ------
        InputError
            If a set is empty, or sktime is not installed.
        """
        rocket = Rocket(validation, seed)
        x, x9 = rocket.features(train), rocket.features(validation)
        return RocketClassifier(rocket, Linear.fit(x, targets(train), x9, targets(validation)))

    def probabilities(self, cohort: Cohort) -> np.ndarray:
        """Return each record's probability of NORM, MI, STTC, CD and HYP: float64 (n_records, 5)."""
        return self.linear.probabilities(self.rocket.features(cohort))

    def found(self, cohort: Cohort) -> list[set[str]]:
        """Return the superclasses found in each record."""
        verdicts = self.linear.found(self.rocket.features(cohort))
        return [{name for name, on in zip(CLASSES, row, strict=True) if on} for row in verdicts]


def faithful(cohort: Cohort, classifier: Classifier | RocketClassifier) -> np.ndarray:
    """Tell in which records just those superclasses are found that they carry: bool (n_records,) (equation curation).

    Parameters
    ----------
    cohort : Cohort
        Synthetic records carry what they were asked for; real ones, for comparison, what a cardiologist said.
    classifier : Classifier or RocketClassifier
        Trained on real records, thresholds of fold 9.

    Notes
    -----
    Source: MIDT-ECG curates by a ResNet-18 that was trained on real records; ours is another classifier.
    """
    asked = targets(cohort).astype(bool)
    found = np.array([[name in each for name in CLASSES] for each in classifier.found(cohort)])
    return (asked == found).all(axis=1)


def nearest_auc(members: np.ndarray, others: np.ndarray, synthetic: np.ndarray) -> float:
    """Return how well nearness to a synthetic record betrays a training record: AUC, 0.5 if it does not.

    Parameters
    ----------
    members, others, synthetic : float (n, F)
        Features of training records, of real records that the generator never saw, and of synthetic ones. Scaled by
        the real records' mean and standard deviation; the distance is Euclidean.

    Returns
    -------
    float
        The empirical risk under this one attack, no guarantee: a leak of a few copies hides in an average.

    Raises
    ------
    InputError
        If a set is empty.
    """
    if not min(len(members), len(others), len(synthetic)):
        raise InputError(f"{len(members)} members, {len(others)} others, {len(synthetic)} synthetic records; expected "
                         "at least one of each")  # fmt: skip
    near = nearness(np.concatenate([members, others]), synthetic)
    return float(roc_auc_score(np.repeat([1, 0], [len(members), len(others)]), near))


def nearness(real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """Return less the distance from each real record to the nearest synthetic one: float64 (n_real,)."""
    mean, scale = real.mean(axis=0), real.std(axis=0).clip(1e-6)
    return -cdist((real - mean) / scale, (synthetic - mean) / scale).min(axis=1)
