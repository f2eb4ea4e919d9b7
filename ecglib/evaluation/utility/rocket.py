r"""MiniRocket: an ECG as the shares of time during which each of many small filters answers more than a threshold.

.. math:: \mathrm{PPV}_{k,b} = \frac1L \sum_t \mathbb 1\bigl[(w_k * x)(t) > b\bigr]

Kernels have nine weights of two values, at many dilations; thresholds are quantiles of the answers to a few records.
Nothing is trained but the linear model that follows, which makes it the classifier of choice where there is no GPU.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ecglib.errors import InputError
from ecglib.evaluation.records import blocks
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_8, LEADS_12, lead_order

N_KERNELS = 1000  # rounded down to a multiple of 84: 924 features


class Rocket:
    """MiniRocket's features of the eight independent leads (equation minirocket).

    Parameters
    ----------
    cohort : Cohort
        Records, unlabelled, whose answers set the thresholds: some that may be known wherever the features are used.
    seed : int
        Of the leads that each kernel sees and the records that set its thresholds.
    n_kernels : int
        At least 84.

    Raises
    ------
    InputError
        If sktime is not installed, the cohort is empty or has other leads, or `n_kernels` is below 84.

    Notes
    -----
    Source: Dempster, Schmidt & Webb, MiniRocket, 2021; computed by sktime. The first use on a machine compiles for
    about half a minute.
    """

    def __init__(self, cohort: Cohort, seed: int = 0, n_kernels: int = N_KERNELS) -> None:
        if n_kernels < 84 or not len(cohort):
            raise InputError(f"n_kernels={n_kernels} and {len(cohort)} records; expected at least 84, and one record")
        self.fs = cohort.fs
        self._transform = _sktime()(num_kernels=n_kernels, random_state=seed, n_jobs=1)
        self._transform.fit(_eight(cohort, slice(0, len(cohort))))

    def features(self, cohort: Cohort) -> np.ndarray:
        """Return float32 (n_records, n_features), each feature a share from 0 to 1."""
        if cohort.fs != self.fs:
            raise InputError(f"cohort has fs={cohort.fs} Hz; the features were set at {self.fs} Hz: resample it")
        parts = [np.asarray(self._transform.transform(_eight(cohort, b)), np.float32) for b in blocks(len(cohort))]
        return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


def _eight(cohort: Cohort, block: slice) -> np.ndarray:
    """Return the eight independent leads less their means: float32 (B, 8, L)."""
    if set(cohort.leads) not in (set(LEADS_8), set(LEADS_12)):
        raise InputError(f"cohort has leads {', '.join(cohort.leads)}; expected the twelve, or the eight independent")
    x = np.asarray(cohort.x[block], np.float32)[:, lead_order(cohort.leads, LEADS_8)]
    return np.ascontiguousarray(x - x.mean(axis=-1, keepdims=True))


def _sktime() -> Any:
    """Import sktime's MiniRocket, on as many threads as torch would have."""
    try:
        os.environ.setdefault("NUMBA_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
        from sktime.transformations.rocket import MiniRocketMultivariate
    except ImportError as error:
        raise InputError(f"utility needs sktime and numba ({error}); run `make setup`, or pip install "
                         "'ecglib[utility]'") from None  # fmt: skip
    return MiniRocketMultivariate
