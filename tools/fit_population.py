"""Fit the virtual population (ecglib/signals/tables/virtual_*.csv) to PTB-XL: python tools/fit_population.py <csv>.

<csv> is PTB-XL's ptbxl_database.csv, whole or the partial one of 3,496 rows that the committed tables come from. That
sample has all 1,514 records with AFIB, nearly all records up to ecg_id 548 (the oldest, of younger patients), and about
7 % of the rest. Its rows are weighted by these three strata, then raked (Deming and Stephan, Ann Math Stat 11:427,
1940) until their totals are the published ones: superclasses, and the statements whose count is known. What weights
cannot mend: which records share a patient (see `draw_patient`), and statements with a handful of rows.
"""

import ast
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.linear_model import LinearRegression, LogisticRegression

from ecglib.runs import atomic_file
from ecglib.signals.statements import STATEMENTS
from ecglib.signals.virtual.patients import ALWAYS, read_table, rules, settling

TABLES = Path(__file__).parents[1] / "ecglib/signals/tables"
N_RECORDS, N_CHALLENGE, OLDEST = 21_799, 21_837, 548
SUPERCLASSES = {"NORM": 9514, "MI": 5486, "STTC": 5250, "CD": 4907, "HYP": 2655}  # of PTB-XL 1.0.3
RIDGE, SMALLEST, DRAWS = 1.0, 0.2, 200_000  # that ridge predicts patients left out (5 folds) better than 0.3 or 3


def main(path: str) -> None:
    """Fit and write every table but the rules."""
    population = read_table("population_ptb-xl").set_index("statement")
    names = tuple(population.index)
    rows = pd.read_csv(path).replace({"age": {300: 92}})  # PTB-XL's code for ages above 89
    rows["codes"] = rows["scp_codes"].map(ast.literal_eval)
    stated = np.array([[name in codes for name in names] for codes in rows["codes"]])
    counts = pd.to_numeric(population["count"]).to_numpy()
    weights = weigh(rows, stated, names, counts)
    adult = (rows["age"] >= 18).to_numpy()
    rows, stated, weights = rows[adult], stated[adult], weights[adult] / weights[adult].sum()
    rows["age"] += 0.5  # the table has whole years
    write_ages_and_bodies(rows, weights)

    sure = np.array([[codes.get(name) == 100 for name in names] for codes in rows["codes"]])
    population["rows"] = stated.sum(axis=0)
    population["certain"] = (weights @ sure) / np.maximum(weights @ stated, 1e-9)
    rule = rules(names)
    for i, j in np.argwhere(rule != 0):
        stated[stated[:, i], j] = rule[i, j] > 0
    population[["age", "female", "open"]], pull = fit_chain(rows, stated, weights, names)
    pull[np.abs(pull) < SMALLEST] = 0
    pairs = [(names[i], names[j], f"{pull[i, j]:.2f}") for i, j in np.argwhere(pull != 0)]
    write("pairs", pd.DataFrame(pairs, columns=["first", "then", "log_odds"]))
    population["prevalence"] = np.where(counts > 0, counts / N_CHALLENGE, weights @ stated)
    population["intercept"] = calibrate(population, pull + rule, rows, weights)
    write("population_ptb-xl", population.reset_index())

    teaching = read_table("population_teaching").set_index("statement")
    few, stated = tuple(teaching.index), stated[:, [names.index(name) for name in teaching.index]]
    teaching[["age", "female"]] = fit_chain(rows, stated, weights, few)[0][:, :2]
    teaching["intercept"] = calibrate(teaching, rules(few), rows, weights)
    write("population_teaching", teaching.reset_index())


def weigh(rows: pd.DataFrame, stated: np.ndarray, names: tuple[str, ...], counts: np.ndarray) -> np.ndarray:
    """Return the share of PTB-XL that each row stands for; totals are raked for groups of 20 rows or more."""
    thinned = ~stated[:, names.index("AFIB")] & (rows["ecg_id"] > OLDEST).to_numpy()
    weights = np.where(thinned, (N_RECORDS - (~thinned).sum()) / thinned.sum(), 1.0) / N_RECORDS
    superclass = STATEMENTS["superclass"].reindex(list(names)).to_numpy()
    groups = [(stated[:, superclass == name].any(axis=1), count / N_RECORDS) for name, count in SUPERCLASSES.items()]
    groups += [(stated[:, k], counts[k] / N_CHALLENGE) for k in np.flatnonzero(counts > 0) if stated[:, k].sum() >= 20]
    for _ in range(100):
        for inside, share in groups:
            weights = np.where(inside, weights * share / weights[inside].sum(),
                               weights * (1 - share) / weights[~inside].sum())  # fmt: skip
    return weights


def fit_chain(
    rows: pd.DataFrame, stated: np.ndarray, weights: np.ndarray, names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return age, female, open (K, 3) and pull (K, K): ridge logistic regressions on the rows that rules leave open."""
    rule, settles = rules(names), settling(names)
    who = np.column_stack([(rows["age"] - 60) / 10, rows["sex"]])
    n_effective = 1 / (weights**2).sum()
    coefficients = np.zeros((len(names), 3 + len(names)))
    for k in range(len(names)):
        free = ~stated[:, rule[:, k] != 0].any(axis=1)
        if stated[free, k].any():
            is_open = ~stated[:, :k][:, settles[:k]].any(axis=1)
            given = np.column_stack([who, is_open, stated[:, :k]])
            model = LogisticRegression(C=1 / RIDGE, max_iter=2000)
            coefficients[k, : 3 + k] = model.fit(given[free], stated[free, k], weights[free] * n_effective).coef_[0]
    return coefficients[:, :3], np.where(rule == 0, coefficients[:, 3:].T, 0)


def calibrate(population: pd.DataFrame, pull: np.ndarray, rows: pd.DataFrame, weights: np.ndarray) -> np.ndarray:
    """Return the intercepts (K,) that give each statement its prevalence, or `ALWAYS` where rules leave no room."""
    rng, settles = np.random.default_rng(0), settling(tuple(population.index))
    who = rows.iloc[rng.choice(len(rows), DRAWS, p=weights)]
    lasts, prevalence, opens = (population[name].to_numpy(float) for name in ("lasts", "prevalence", "open"))
    patient = np.column_stack([(who["age"] - 60) / 10, who["sex"]]) @ population[["age", "female"]].to_numpy().T + opens
    record = patient.copy()  # log odds beside what the record shows of the patient's statements
    is_open = np.ones((2, DRAWS), dtype=bool)
    intercept = np.full(len(population), ALWAYS)
    for k in range(len(population)):
        odds = (patient if lasts[k] > 0 else record)[:, k]
        wanted = prevalence[k] / (lasts[k] or 1)
        if expit(odds + ALWAYS).mean() > wanted:
            intercept[k] = brentq(lambda a, odds=odds, wanted=wanted: expit(odds + a).mean() - wanted, -ALWAYS, ALWAYS)
        drawn = rng.random(DRAWS) < expit(odds + intercept[k])
        shown = drawn & (rng.random(DRAWS) < (lasts[k] or 1))
        for log_odds, found, still in zip((patient, record), (drawn, shown), is_open, strict=True):
            log_odds[found] += pull[k]
            if settles[k]:
                log_odds[found & still] -= opens
                still &= ~found
    return intercept


def write_ages_and_bodies(rows: pd.DataFrame, weights: np.ndarray) -> None:
    """Write the shares of ages by sex, and lines for height and log weight by age and sex."""
    edges = np.array([18, *range(25, 95, 5), 95.001])
    shares = [np.histogram(rows["age"], edges, weights=weights * (rows["sex"] == sex))[0] for sex in (0, 1)]
    write("ages", pd.DataFrame({"from": edges[:-1].astype(int), "male": shares[0], "female": shares[1]}))
    bodies = []
    for sex in (0, 1):
        known = (rows["height"].between(140, 210) & rows["weight"].between(35, 180) & (rows["sex"] == sex)).to_numpy()
        decades, height, w = (rows["age"][known] - 60) / 10, rows["height"][known], weights[known]
        mean, *line = least_squares([decades], height, w)
        plane = least_squares([decades, height - mean], np.log(rows["weight"][known]), w)
        bodies.append((("male", "female")[sex], mean, *line, *plane))
    write("bodies", pd.DataFrame(bodies, columns=list(read_table("bodies"))))


def least_squares(given: list[pd.Series], y: pd.Series, weights: np.ndarray) -> tuple[float, ...]:
    """Return intercept, slopes and the standard deviation about the weighted fit of `y`."""
    fit = LinearRegression().fit(np.column_stack(given), y, weights)
    rest = y - fit.predict(np.column_stack(given))
    return fit.intercept_, *fit.coef_, np.sqrt(np.average(rest**2, weights=weights))


def write(name: str, table: pd.DataFrame) -> None:
    """Write one table below the comment lines that its file has."""
    path = TABLES / f"virtual_{name}.csv"
    head = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.startswith("#")]
    with atomic_file(path) as temporary:
        temporary.write_text("".join(head) + table.to_csv(index=False, float_format="%.4g"), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
