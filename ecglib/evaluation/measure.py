"""evaluate: every metric with its n, its interval over patients, and its real-against-real floor."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglib.errors import InputError, choose
from ecglib.evaluation.comparison import Comparison, NotComputable
from ecglib.evaluation.floor import floor_comparisons
from ecglib.runs import MANIFEST, atomic_file, sha256_of, write_manifest
from ecglib.signals.cohort import Cohort
from ecglib.signals.microvolts import ROWS_AT_ONCE

Metric = Callable[[Comparison], dict[str, float]]
COLUMNS = ["metric", "key", "value", "ci_low", "ci_high", "n", "floor", "reason"]
INTERVALS = ("bootstrap", "subsample")
LEAST_PATIENTS = 8  # below it, an interval over patients is worth nothing
LEVEL = 0.95


def evaluate(comparison: Comparison, metrics: Sequence[Metric], *, seed: int = 0, resamples: int = 200,
             floor: bool = True, folder: Path | str | None = None) -> pd.DataFrame:  # fmt: skip
    """Compute metrics, each value with its interval, n and floor.

    Parameters
    ----------
    comparison : Comparison
        What is compared.
    metrics : sequence of functions Comparison → dict of key to value
        Nothing to register. A metric raises `NotComputable` where it cannot be computed. Its attribute ``interval``
        may be ``"bootstrap"`` (default) or ``"subsample"``, for metrics built on neighbours or duplicates, which
        a bootstrap's copies would mislead; its attribute ``shares`` names the keys whose values cannot exceed 1.
    seed : int
        Seed of resampling and floors; the same rows are drawn for every metric.
    resamples : int
        Draws of patients for each interval; 0 for none.
    floor : bool
        Whether to measure the real-against-real floor too; without, its column is NaN.
    folder : path, optional
        Where to write ``evaluation.csv`` and, last, the manifest.

    Returns
    -------
    DataFrame, one row a metric and key
        ``metric``, ``key``, ``value``, ``ci_low`` and ``ci_high`` (95 %), ``n``, ``floor``, ``reason``. A value that
        could not be computed is NaN, never 0, and ``reason`` reads "not computed because …".

    Raises
    ------
    InputError
        If `metrics` is empty or not functions, names one twice, a metric returns no dict, or `resamples` is negative.

    Notes
    -----
    Patients are drawn, not records: all records of a drawn patient go together, real and synthetic alike. The interval
    is that of the draws' deviations from their own mean, laid around the value:
    value + quantiles(draws) − mean(draws). A plain percentile interval of an error such as ``abs(a − b)`` would lie
    above the value itself, since drawing adds noise that the absolute value never cancels. An interval of a metric
    that is never negative is cut at 0. ``"subsample"`` draws half of the patients without replacement: the deviations
    of half samples have the variance of the whole sample's estimate.

    Source: the percentile bootstrap is Efron's, the delete-half jackknife Shao and Wu's; patients as the unit, the
    floor and equal n are this project's rules. Equation: interval.
    """
    _check(metrics, resamples)
    floors, floor_note = floor_comparisons(comparison, seed) if floor else ([], "")
    rows = [row for metric in metrics for row in _measure(metric, comparison, floors, floor_note, seed, resamples)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    if folder is not None:
        _save(table, Path(folder), comparison, metrics, seed, resamples)
    return table


def interval(value: float, draws: np.ndarray, *, signed: bool = False, most: float = np.inf) -> tuple[float, float]:
    """Lay the 95 % spread of `draws` around `value`; NaN if fewer than nine draws in ten are finite.

    Parameters
    ----------
    value : float
        The estimate on all records.
    draws : float (resamples,)
        The same estimate on resampled patients.
    signed : bool
        Whether the estimate may be below 0 although no draw is, as a difference may.
    most : float
        What the estimate cannot exceed: 1 for a share.
    """
    finite = draws[np.isfinite(draws)]
    if len(finite) == 0 or len(finite) < 0.9 * len(draws):
        return np.nan, np.nan
    low, high = value + np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) - finite.mean()
    return (max(low, 0.0) if not signed and value >= 0 and finite.min() >= 0 else low), min(high, most)


def _measure(metric: Metric, comparison: Comparison, floors: list[Comparison], floor_note: str, seed: int,
             resamples: int) -> list[dict[str, Any]]:  # fmt: skip
    name, whole = name_of(metric), comparison.resampled({})
    smaller = min(len(comparison.real), len(comparison.synthetic))
    try:
        values = _values(metric, whole)
    except NotComputable as error:
        return [_row(name, "", np.nan, n=smaller, reason=f"not computed because {error}")]
    draws, draw_note = _draws(metric, comparison, bool(whole._used), seed, resamples, list(values))
    floor, missing = _floor(metric, floors, list(values))
    unequal = f"{len(comparison.real)} real against {len(comparison.synthetic)} synthetic records"
    notes = [*whole._notes, draw_note, floor_note, missing]
    notes += [unequal] * (len(comparison.real) != len(comparison.synthetic) and not whole._counts)
    rows = []
    for k, (key, value) in enumerate(values.items()):
        most = 1.0 if key in getattr(metric, "shares", ()) else np.inf
        n = whole._counts.get(key, whole._counts.get("", smaller))
        if not np.isfinite(value):
            why = whole._refused.get(key, f"the metric gave {value}")
            rows.append(_row(name, key, np.nan, n=n, reason=f"not computed because {why}"))
            continue
        low, high = whole._exact.get(key) or interval(value, draws[:, k], most=most)
        lost = "no interval: it could be computed in too few draws" if len(draws) and np.isnan(low) else ""
        reason = "; ".join(text for text in [*notes, lost] if text)
        rows.append(_row(name, key, value, low, high, n, floor[k], reason))
    return rows


def _values(metric: Metric, comparison: Comparison) -> dict[str, float]:
    values = metric(comparison)
    if not isinstance(values, dict) or not values:
        raise InputError(f"metric {name_of(metric)} returned {values!r}; expected a dict of key to value, not empty")
    return {str(key): float(value) for key, value in values.items()}


def _draws(metric: Metric, comparison: Comparison, by_terms: bool, seed: int, resamples: int,
           keys: list[str]) -> tuple[np.ndarray, str]:  # fmt: skip
    """Return the metric on resampled patients, (resamples, n_keys), and what to say if there are none."""
    patients = comparison.patients()
    fewest = min(len(np.unique(patients[role])) for role in ("real", "synthetic"))
    if fewest < LEAST_PATIENTS and resamples:
        return np.empty((0, len(keys))), f"no interval: {fewest} patients, and at least {LEAST_PATIENTS} are needed"
    # A metric that reads c.real itself, not c.terms, sees no repeated rows: give it true half cohorts.
    how = choose("interval", getattr(metric, "interval", "bootstrap"), INTERVALS) if by_terms else "subsample"
    draws = np.full((resamples, len(keys)), np.nan)
    for draw, rows in zip(draws, resampled_rows(patients, how, seed, resamples), strict=True):
        view = comparison.resampled(rows) if by_terms else comparison.selected(rows)
        object.__setattr__(view, "whole", False)
        try:
            values = _values(metric, view)
        except NotComputable:
            continue
        draw[:] = [values.get(key, np.nan) for key in keys]
    return draws, ""


def resampled_rows(patients: dict[str, np.ndarray], how: str, seed: int,
                   resamples: int) -> Iterator[dict[str, np.ndarray]]:  # fmt: skip
    """Draw patients again and again; yield each role's rows.

    Parameters
    ----------
    patients : dict of role to int (n_records,)
        Each record's patient. A patient of several roles is drawn for all of them at once; patients are drawn within
        groups of the same roles, so that no role's size depends on another's.
    how : str
        ``"bootstrap"``: as many patients as there are, with replacement; ``"subsample"``: half, without.
    seed : int
        Draw r depends on (seed, r) only.
    resamples : int
        How many draws.
    """
    total = 1 + max(codes.max() for codes in patients.values())
    present = np.stack([np.bincount(codes, minlength=total) > 0 for codes in patients.values()])  # (roles, patients)
    _, group = np.unique(present, axis=1, return_inverse=True)
    groups = [np.flatnonzero(group.ravel() == k) for k in range(group.max() + 1)]
    for r in range(resamples):
        rng = np.random.default_rng([seed, 2, r])
        drawn = [rng.choice(members, len(members)) if how == "bootstrap"
                 else rng.permutation(members)[: (len(members) + 1) // 2] for members in groups]  # fmt: skip
        times = np.bincount(np.concatenate(drawn), minlength=total)  # how often each patient was drawn
        yield {role: np.repeat(np.arange(len(codes)), times[codes]) for role, codes in patients.items()}


def _floor(metric: Metric, floors: list[Comparison], keys: list[str]) -> tuple[np.ndarray, str]:
    found, missing = [], ""
    for comparison in floors:
        try:
            values = _values(metric, comparison)
            found.append([values.get(key, np.nan) for key in keys])
        except NotComputable as error:
            missing = f"floor not computed because {error}"
    if not found:
        return np.full(len(keys), np.nan), missing
    floor = np.mean(found, axis=0)
    unknown = [key for key, value in zip(keys, floor, strict=True) if np.isnan(value)]
    if unknown:
        missing = "; ".join(filter(None, [missing, f"no floor for {', '.join(unknown)}: too few real records"]))
    return floor, missing


def name_of(metric: Metric) -> str:
    """Return a metric's name; of a `functools.partial`, its function's."""
    return str(getattr(metric, "__name__", None) or getattr(getattr(metric, "func", metric), "__name__", repr(metric)))


def definition(metric: Metric) -> str:
    """Return the first line of a metric's docstring."""
    return (metric.__doc__ or "no docstring").strip().splitlines()[0]


def _row(metric: str, key: str, value: float, low: float = np.nan, high: float = np.nan, n: int = 0,
         floor: float = np.nan, reason: str = "") -> dict[str, Any]:  # fmt: skip
    return dict(zip(COLUMNS, (metric, key, value, low, high, n, floor, reason), strict=True))


def _check(metrics: Sequence[Metric], resamples: int) -> None:
    if callable(metrics) or not len(metrics) or not all(callable(metric) for metric in metrics):
        raise InputError(f"metrics={metrics!r}; expected a list of at least one function Comparison → dict")
    names = [name_of(metric) for metric in metrics]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"metrics holds {', '.join(twice)} twice; give each metric a name (__name__) of its own")
    if resamples < 0:
        raise InputError(f"resamples={resamples}; expected 0 (no interval) or more")


def _save(table: pd.DataFrame, folder: Path, comparison: Comparison, metrics: Sequence[Metric], seed: int,
          resamples: int) -> None:  # fmt: skip
    (folder / MANIFEST).unlink(missing_ok=True)  # an older one would call a half-written result done
    with atomic_file(folder / "evaluation.csv") as path:
        table.to_csv(path, index=False)
    definitions = {name_of(m): definition(m) for m in metrics}
    cohorts = {role: {"source": cohort.source, "n_records": len(cohort), "fs": cohort.fs,
                      "n_patients": int(cohort.table["patient_id"].nunique()), "sha256": _digest(cohort)}
               for role, cohort in comparison._cohorts.items()}  # fmt: skip
    write_manifest(folder, "evaluation", definitions=definitions, cohorts=cohorts, seed=seed, resamples=resamples,
                   level=LEVEL, unit="patient", sha256={"evaluation.csv": sha256_of(folder / "evaluation.csv")},
                   intervals={name_of(m): getattr(m, "interval", "bootstrap") for m in metrics})  # fmt: skip


def _digest(cohort: Cohort) -> str:
    """SHA-256 of the signals as float32 mV, in blocks."""
    digest = hashlib.sha256()
    for start in range(0, len(cohort), ROWS_AT_ONCE):
        digest.update(np.ascontiguousarray(cohort.x[start : start + ROWS_AT_ONCE]).tobytes())
    return digest.hexdigest()
