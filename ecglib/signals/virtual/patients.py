"""Who the virtual patients are, and which of PTB-XL's statements they and their records carry.

Statements are drawn one after the other along a chain: lasting ones (infarcts, blocks, hypertrophies) once for a
patient, the rhythm, ST, T and form for each record. A statement s follows with the log odds

    intercept_s + age_s (age − 60)/10 + female_s + sum of log_odds_rs over the statements r drawn before it
    + open_s while none of them has a superclass (neither NORM nor a diagnosis: something is still to be found),

and the rules of ``tables/virtual_rules.csv`` are log odds of −∞ (never) and +30 (always).

Source: ``tools/fit_population.py``, which fits the coefficients to PTB-XL's table (Wagner et al., Sci Data 7:154, 2020)
and says how the rows at hand, enriched in atrial fibrillation, were weighted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from ecglib.errors import InputError
from ecglib.signals.statements import STATEMENTS
from ecglib.signals.virtual.coefficients import read_table

PATIENT, ANATOMY, RECORD, NOISE = range(4)  # the purposes of random streams
POPULATIONS = ("ptb-xl", "teaching")
COLUMNS = ("intercept", "age", "female", "open", "certain", "lasts")
ALWAYS = 30.0  # log odds
ANOTHER_RECORD = 1 - 18_869 / 21_799  # PTB-XL 1.0.3 has 21,799 records of 18,869 patients
DAYS, DAYS_LOG_SD = 8.0, 2.3  # from record to record: 1, 8, 128 days are PTB-XL's 10, 50, 90 % (342 pairs of its rows)
ERA_YEARS = 7.0  # within which first records are made: assumption
UNSURE = (80.0, 50.0, 35.0, 15.0)  # likelihoods below 100, and their shares in PTB-XL's rows
UNSURE_NORM, UNSURE_DIAGNOSIS = (0.73, 0.23, 0.03, 0.01), (0.12, 0.50, 0.08, 0.30)


@dataclass(frozen=True)
class Patient:
    """One virtual patient, the same in all of their records.

    Parameters
    ----------
    patient_id : int
        From 1.
    n_records : int
        How many records there are, 1 to 10.
    age : float
        Age in years at the first record, 18–95.
    sex : int
        0 male, 1 female.
    height, weight : float
        In cm and kg. Known of every patient, as everything about them; PTB-XL lacks them in half of its rows or more.
    statements : frozenset of str
        Lasting statements; NORM is one, of patients whose every record is normal. AFIB stands for a patient who has
        it now and then: 66 % of the records state it (`draw_statements`).
    tempo : float (4,)
        Where the patient stands among others (standard normal): rate, PR, QRS, QTc.
    years : float (n_records,)
        When each record is made, in years from the first day of the virtual era; ascending.
    """

    patient_id: int
    n_records: int
    age: float
    sex: int
    height: float
    weight: float
    statements: frozenset[str]
    tempo: tuple[float, float, float, float]
    years: tuple[float, ...]

    def age_at(self, visit: int) -> float:
        """Return the age in years, at most 95, at record number `visit`, from 0."""
        return min(self.age + self.years[visit] - self.years[0], 95.0)


@dataclass(frozen=True)
class Chain:
    """The coefficients of a population: K statements in the order in which they are drawn, the lasting ones first.

    All are float64 (K,) but ``settles``, bool (K,): which have a superclass; and ``pull``, float64 (K, K): log odds
    that statement i gives statement j. ``certain`` is the share of likelihood 100, ``lasts`` the share of a patient's
    records that show the statement.
    """

    names: tuple[str, ...]
    intercept: np.ndarray
    age: np.ndarray
    female: np.ndarray
    open: np.ndarray
    certain: np.ndarray
    lasts: np.ndarray
    settles: np.ndarray
    pull: np.ndarray

    @property
    def n_lasting(self) -> int:
        """How many statements, from the first, belong to the patient and not to the record."""
        return int((self.lasts > 0).sum())


def stream(seed: int, number: int, purpose: int) -> np.random.Generator:
    """Return the random stream of one patient or record: the same whatever else is drawn."""
    return np.random.default_rng([seed, number, purpose])


def draw_patients(n_records: int, seed: int, population: str) -> Iterator[Patient]:
    """Yield patients 1, 2, … until their records number at least `n_records`.

    Patient k of a seed and population is the same whatever `n_records` is.

    Raises
    ------
    InputError
        If `population` is none of `POPULATIONS`.
    """
    count = patient_id = 0
    while count < n_records:
        patient_id += 1
        patient = draw_patient(seed, patient_id, population)
        count += patient.n_records
        yield patient


def draw_patient(seed: int, patient_id: int, population: str) -> Patient:
    """Draw one patient from the stream of (seed, patient_id).

    Source: ages and sexes as PTB-XL's adults; number of records geometric with PTB-XL's mean, which also gives the
    number of pairs of records that share a patient in the sample of its table (3,385 against 3,440 ± 680).
    """
    chain = load_chain(population)
    rng = stream(seed, patient_id, PATIENT)
    age, sex = _draw_age_and_sex(rng)
    height, weight = _draw_body(rng, age, sex)
    n_records = min(int(rng.geometric(1 - ANOTHER_RECORD)), 10)
    lasting = _draw(chain, rng, age, sex, frozenset(), range(chain.n_lasting))
    tempo = tuple(rng.standard_normal(4).tolist())
    gaps = np.minimum(DAYS * np.exp(DAYS_LOG_SD * rng.standard_normal(n_records - 1)), 3650) / 365.25
    years = tuple(np.cumsum([rng.uniform(0, ERA_YEARS), *gaps]).tolist())
    return Patient(patient_id, n_records, age, sex, height, weight, frozenset(lasting), tempo, years)


def draw_statements(rng: np.random.Generator, patient: Patient, age: float, population: str) -> dict[str, float]:
    """Draw the statements of one record of `patient` at `age` (years) → likelihood (0, 15, 35, 50, 80 or 100).

    The lasting ones are there (AFIB in 66 % of the records, as beside PTB-XL's records with AFIB), the rest is drawn
    anew. At most one basic rhythm is stated; where none is, as in 4 % of PTB-XL, it is sinus rhythm. A likelihood of 0
    says "stated, likelihood unknown", PTB-XL's habit with rhythm and form.

    Differs: in PTB-XL a scar or hypertrophy is stated in only 60 to 80 % of a patient's other records.

    Raises
    ------
    InputError
        If `population` is none of `POPULATIONS`.
    """
    chain = load_chain(population)
    chance = rng.random(len(chain.names))
    shown = {name for k, name in enumerate(chain.names) if name in patient.statements and chance[k] < chain.lasts[k]}
    drawn = _draw(chain, rng, age, patient.sex, shown, range(chain.n_lasting, len(chain.names)))
    return {name: _likelihood(chain, rng, k) for k, name in enumerate(chain.names) if name in drawn}


@cache
def load_chain(population: str) -> Chain:
    """Read a population's tables.

    Raises
    ------
    InputError
        If `population` is none of `POPULATIONS`.
    """
    if population not in POPULATIONS:
        raise InputError(f"population={population!r}; expected one of {', '.join(POPULATIONS)}")
    table = read_table(f"population_{population}").set_index("statement")
    names = tuple(table.index)
    pull = rules(names)
    if population == "ptb-xl":
        for first, then, log_odds in read_table("pairs").itertuples(index=False):
            pull[names.index(first), names.index(then)] += log_odds
    columns = {name: table[name].to_numpy(float) for name in COLUMNS}
    return Chain(names, settles=settling(names), pull=pull, **columns)


def settling(names: tuple[str, ...]) -> np.ndarray:
    """Return which statements have a superclass: bool (K,)."""
    return (STATEMENTS["superclass"].reindex(list(names)) != "").to_numpy()


def rules(names: tuple[str, ...]) -> np.ndarray:
    """Return the rules among statements `names` as log odds (K, K): −∞ for never, `ALWAYS` for always, else 0."""
    diagnoses = " ".join(names[k] for k in np.flatnonzero(settling(names)) if names[k] != "NORM")
    pull = np.zeros((len(names), len(names)))
    for first, effect, then, _ in read_table("rules").itertuples(index=False):
        for i in (names.index(name) for name in first.replace("DIAGNOSES", diagnoses).split() if name in names):
            for j in (names.index(name) for name in then.replace("DIAGNOSES", diagnoses).split() if name in names):
                if i < j:
                    pull[i, j] = {"never": -np.inf, "always": ALWAYS}[effect]
    return pull


def _draw(
    chain: Chain, rng: np.random.Generator, age: float, sex: int, given: set[str] | frozenset[str], links: range
) -> set[str]:
    """Add to the statements `given` what these links of the chain draw."""
    log_odds = chain.intercept + chain.age * (age - 60) / 10 + chain.female * sex + chain.open
    chance = rng.logistic(size=len(chain.names))  # P(chance < log odds) is the logistic function of the log odds
    drawn, is_open = set(), True
    for k in (*(k for k, name in enumerate(chain.names) if name in given), *links):
        if chain.names[k] in given or chance[k] < log_odds[k]:
            drawn.add(chain.names[k])
            log_odds = log_odds + chain.pull[k]
            if is_open and chain.settles[k]:
                log_odds, is_open = log_odds - chain.open, False
    return drawn


def _likelihood(chain: Chain, rng: np.random.Generator, k: int) -> float:
    if rng.random() < chain.certain[k]:
        return 100.0
    shares = UNSURE_NORM if chain.names[k] == "NORM" else UNSURE_DIAGNOSIS
    return float(rng.choice(UNSURE, p=shares)) if chain.settles[k] else 0.0


@cache
def _ages() -> tuple[np.ndarray, np.ndarray]:
    """Return the edges (n + 1,) of the bands of age, and the cumulated shares (2n,) of men's, then women's bands."""
    table = read_table("ages")
    shares = table[["male", "female"]].to_numpy().T.ravel()
    return np.append(table["from"].to_numpy(float), 95), np.cumsum(shares) / shares.sum()


def _draw_age_and_sex(rng: np.random.Generator) -> tuple[float, int]:
    years, cumulated = _ages()
    sex, band = divmod(int(np.searchsorted(cumulated, rng.uniform(0, cumulated[-1]))), len(years) - 1)
    return float(rng.uniform(years[band], years[band + 1])), sex


def _draw_body(rng: np.random.Generator, age: float, sex: int) -> tuple[float, float]:
    """Height is normal about a line in age, log weight is normal about a plane in age and height."""
    body = _bodies()[sex]
    decades = (age - 60) / 10
    first, second = rng.standard_normal(2)
    height = body["height"] + body["height_age"] * decades + body["height_sd"] * first
    log_weight = body["log_weight"] + body["log_weight_age"] * decades + body["log_weight_sd"] * second
    weight = np.exp(log_weight + body["log_weight_cm"] * (height - body["height"]))
    return round(float(np.clip(height, 140, 210))), round(float(np.clip(weight, 35, 180)))


@cache
def _bodies() -> list[dict[str, float]]:
    return read_table("bodies").drop(columns="sex").to_dict("records")
