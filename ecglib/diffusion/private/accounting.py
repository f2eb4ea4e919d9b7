r"""What a run of noisy steps is worth: (ε, δ), by the accountant of Opacus, and what it means for an attacker.

.. math:: P[M(D) \in A] \le e^{\varepsilon}\, P[M(D') \in A] + \delta

for every set A of outcomes, and every two cohorts D, D' that differ in one patient, added or removed with all records.

Source: Dwork & Roth, The algorithmic foundations of differential privacy, 2014; Mironov, Rényi differential privacy,
2017; Yousefpour et al., Opacus, 2021.
"""

import json
import math
import warnings
from dataclasses import asdict, dataclass
from functools import lru_cache
from numbers import Real
from types import ModuleType

import numpy as np

from ecglib.errors import LARGEST_SEED, InputError, whole

LEAST_NOISE = 0.3  # σ; below it the accountant's orders do not reach
RANGES = {"epsilon": (1e-12, math.inf), "delta": (1e-12, 1e-2), "clip": (1e-6, 1e6)}
WHOLE = {"patients": (1, 1_000_000), "draws": (1, 1000), "records": (1, 1000), "seed": (0, LARGEST_SEED)}
NARROW = 1e-3  # width to which σ is searched


@dataclass(frozen=True)
class Privacy:
    """What a private run promises, and how its steps are made.

    Parameters
    ----------
    epsilon : float
        ε that all steps together may spend; ``inf``: no noise and no promise, but all else the same.
    delta : float
        δ: how likely the promise may fail. Well below one over the number of patients: see `check_delta`.
    clip : float
        C, the longest gradient of a patient.
    patients : int
        Patients in a step, on average.
    draws : int
        Noise draws (step t and noise) of each record in a step, before clipping.
    records : int
        Records of a patient in a step, at most; drawn at random where there are more.
    seed : int or None
        None: patients and noise are drawn from the operating system's randomness and written nowhere. A number makes a
        run repeatable, and the promise void against everybody who knows it: for teaching and tests.

    Raises
    ------
    InputError
        If a value is out of range, or no number (no whole number, where patients, draws, records or the seed is none).
    """

    epsilon: float = 3.0
    delta: float = 1e-5
    clip: float = 1.0
    patients: int = 64
    draws: int = 4
    records: int = 2
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real) or not low <= float(value) <= high:
                raise InputError(f"privacy.{name}={value!r}; expected a number from {low:g} to {high:g}")
            object.__setattr__(self, name, float(value))
        for name, (least, most) in WHOLE.items():
            if (name, self.seed) != ("seed", None):
                object.__setattr__(self, name, whole(f"privacy.{name}", getattr(self, name), least, most))

    def to_json(self) -> str:
        """Return JSON text with sorted keys; an infinite ε is the text ``inf``."""
        values = asdict(self) | ({"epsilon": "inf"} if math.isinf(self.epsilon) else {})
        return json.dumps(values, indent=2, sort_keys=True) + "\n"


def check_delta(privacy: Privacy, n_patients: int) -> None:
    """Raise `InputError` unless δ is below one over the number of patients.

    From there on (ε, δ) promises nothing: to publish all records of one patient, drawn by chance, would keep it.
    """
    if privacy.delta * n_patients >= 1:
        raise InputError(f"privacy.delta={privacy.delta:g} with {n_patients} training patients would let one of them "
                         f"be published whole; expected far below 1/{n_patients} = {1 / n_patients:.3g}")  # fmt: skip


def statement(privacy: Privacy, epsilon: float, start: str | None = None) -> str:
    """Return the sentence that stands in a run's manifest and on the card of every cohort that it made.

    Parameters
    ----------
    privacy : Privacy
    epsilon : float
        ε spent.
    start : str or None
        SHA-256 of the weights that the run started from, which the accounting takes to be public.
    """
    if math.isinf(epsilon):
        return "none: gradients were clipped, but without noise nothing is promised"
    seed = "" if privacy.seed is None else f"; void against who knows the noise's seed, {privacy.seed}"
    public = "" if start is None else f"the first weights (sha256 {start[:12]}…), assumed to be of public records, and "
    return (f"{epsilon:.3g} (delta {privacy.delta:g}) for each training patient with all records, by Rényi accounting "
            f"of the gradient steps{seed}. Outside of it: {public}whatever was chosen by looking at the patients"
            )  # fmt: skip


@lru_cache(maxsize=256)
def epsilon_of(noise: float, rate: float, steps: int, delta: float) -> float:
    """Return the ε that `steps` noisy steps spend (equation dp-epsilon).

    Parameters
    ----------
    noise : float
        σ, the noise's standard deviation over C; 0: none, and ε is infinite.
    rate : float
        q, the probability of a patient to be in a step.
    steps : int
        Gradient steps made; 0 spend nothing.
    delta : float

    Returns
    -------
    float
        By Opacus' Rényi accountant: an upper bound.

    Raises
    ------
    InputError
        If Opacus is not installed.
    """
    if not steps:
        return 0.0
    if not noise:
        return math.inf
    accountant = _opacus().RDPAccountant()
    accountant.history = [(noise, rate, steps)]
    with warnings.catch_warnings():  # that another order could give a smaller bound: this one holds all the same
        warnings.filterwarnings("ignore", message="Optimal order is the")
        return float(accountant.get_epsilon(delta=delta))


def noise_for(epsilon: float, rate: float, steps: int, delta: float) -> float:
    """Return the least σ whose steps spend at most `epsilon`; 0 for an infinite one.

    Parameters
    ----------
    epsilon, rate, steps, delta
        As in `epsilon_of`.

    Raises
    ------
    InputError
        If Opacus is not installed, or no noise below 10,000 times C is enough.
    """
    if math.isinf(epsilon):
        return 0.0
    low, high = LEAST_NOISE, LEAST_NOISE
    while epsilon_of(high, rate, steps, delta) > epsilon:
        low, high = high, 2 * high
        if high > 1e4:
            raise InputError(f"epsilon={epsilon} in {steps} steps with rate {rate:.3g} and delta={delta:g} needs more "
                             "noise than 10,000 times the bound; make fewer steps, or allow more")  # fmt: skip
    while high - low > NARROW:
        middle = (low + high) / 2
        low, high = (low, middle) if epsilon_of(middle, rate, steps, delta) <= epsilon else (middle, high)
    return high


def attack_bound(epsilon: float, delta: float, false_alarms: np.ndarray) -> np.ndarray:
    r"""Return the most members that *any* attack can find at a rate of false alarms (equation dp-bound).

    .. math:: \mathrm{TPR} \le \min\bigl(e^{\varepsilon}\, \mathrm{FPR} + \delta,\;
              1 - e^{-\varepsilon} (1 - \delta - \mathrm{FPR})\bigr)

    Parameters
    ----------
    epsilon, delta : float
    false_alarms : float64 (n,)
        Shares of non-members that the attack calls members, 0 to 1.

    Returns
    -------
    float64 (n,)
        Shares of members found, at most.

    Notes
    -----
    Source: the reading of differential privacy as a test of hypotheses is Wasserman & Zhou's, 2010.
    """
    fpr = np.asarray(false_alarms, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        first = np.where(fpr > 0, np.exp(epsilon) * fpr, 0.0) + delta
    return np.minimum(np.minimum(first, 1 - np.exp(-epsilon) * (1 - delta - fpr)), 1.0)


def _opacus() -> ModuleType:
    try:
        import opacus.accountants
    except ImportError:
        raise InputError("differential privacy is counted by Opacus, which is not installed; run: "
                         "pip install -c constraints.txt -e '.[dp]'") from None  # fmt: skip
    return opacus.accountants
