"""Comparison: the cohorts that a metric compares, and the one way in which a metric reads their records.

A metric is a function ``def my_metric(c: Comparison) -> dict[str, float]``. It asks for per-record terms,

>>> def mean_amplitude(c):
...     return {"mean": c.terms("real", amplitude).mean() - c.terms("synthetic", amplitude).mean()}

and `evaluate` hands it comparisons whose rows are drawn anew: `amplitude(cohort)` is computed once, its rows are
resampled many times.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from ecglib.errors import InputError, choose
from ecglib.evaluation.checks import check_alike, check_role
from ecglib.signals.cohort import Cohort

ROLES = ("real", "synthetic", "train", "held_out")

Terms = Callable[[Cohort], np.ndarray]
PairTerms = Callable[[Cohort, np.ndarray, Cohort, np.ndarray], np.ndarray]


class NotComputable(Exception):
    """Raised by a metric that cannot be computed; the message completes the words "not computed because …"."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Real and synthetic records, and the other roles that some metrics need.

    Parameters
    ----------
    real : Cohort
        Real records that the generator never saw.
    synthetic : Cohort
        Generated records. Where each has a real record as its source, ``synthetic.table["source_ecg_id"]`` names
        that record's ecg_id in `real`; paired metrics need it.
    train : Cohort, optional
        Records that the generator was trained on; also the source of the real-against-real floor.
    held_out : Cohort, optional
        Real records that neither the generator nor `real` holds.
    generator : object, optional
        The generator itself, for metrics that query it.

    Raises
    ------
    InputError
        If the cohorts differ in sampling rate, leads, their order, or length; if one is empty; or if one looks
        z-scored, min–max scaled, or has limb leads in another order than it says.
    """

    real: Cohort
    synthetic: Cohort
    train: Cohort | None = None
    held_out: Cohort | None = None
    generator: Any = None
    _cohorts: dict[str, Cohort] = field(init=False, repr=False)
    _rows: dict[str, np.ndarray] = field(init=False, repr=False)
    _chosen: dict[str, np.ndarray] = field(init=False, repr=False)
    _partners: np.ndarray | None = field(init=False, repr=False)
    _memo: dict[tuple[Any, ...], tuple[Any, Any]] = field(init=False, repr=False)
    _used: set[str] = field(init=False, repr=False)
    _notes: list[str] = field(init=False, repr=False)
    _counts: dict[str, int] = field(init=False, repr=False)
    _exact: dict[str, tuple[float, float]] = field(init=False, repr=False)
    _refused: dict[str, str] = field(init=False, repr=False)
    whole: bool = field(init=False, default=True)
    """False where `evaluate` has drawn some of the patients, for an interval: what refuses a small n then does not."""

    def __post_init__(self) -> None:
        cohorts = {role: getattr(self, role) for role in ROLES if getattr(self, role) is not None}
        for role, cohort in cohorts.items():
            check_role(cohort, role)
            check_alike(self.real, cohort, role)
        rows = {role: np.arange(len(cohort)) for role, cohort in cohorts.items()}
        self._set(_cohorts=cohorts, _rows=rows, _chosen={}, _partners=_partners(self.real, self.synthetic), _memo={})
        self._fresh()

    # ---- what a metric calls

    def n(self, role: str) -> int:
        """Return how many records a role has."""
        return len(self._rows_of(role))

    def table(self, role: str) -> pd.DataFrame:
        """Return the role's table, one row a record, in the order of `terms`."""
        rows = self._rows_of(role)
        return self._cohorts[role].table.iloc[rows].reset_index(drop=True)

    def terms(self, role: str, function: Terms) -> np.ndarray:
        """Return ``function(cohort)`` for the role's records.

        Parameters
        ----------
        role : str
            ``real``, ``synthetic``, ``train`` or ``held_out``.
        function : callable
            Cohort → array (n_records, …); a function of a module, not a lambda made anew at each call, so that its
            result can be kept.

        Returns
        -------
        array (n_records, …)

        Raises
        ------
        NotComputable
            If the comparison has no such role.
        InputError
            If `role` is unknown, or the function's first axis is not n_records.
        """
        rows = self._rows_of(role)
        return self._all_terms(role, function)[rows]

    def paired_terms(self, function: Terms) -> tuple[np.ndarray, np.ndarray]:
        """Return terms of real records and of the synthetic ones made from them, row by row.

        Raises
        ------
        NotComputable
            If ``synthetic.table`` has no column ``source_ecg_id``.
        """
        synthetic = self._rows_of("synthetic")
        if self._partners is None:
            raise NotComputable("synthetic.table has no column source_ecg_id, so no record has a real partner")
        real = self._partners[synthetic]
        paired = real >= 0
        of_real, of_synthetic = (self._all_terms(role, function) for role in ("real", "synthetic"))
        return of_real[real[paired]], of_synthetic[synthetic[paired]]

    def pair_terms(self, function: PairTerms) -> np.ndarray:
        """Return terms of pairs of records: what no term of either alone can say.

        Parameters
        ----------
        function : callable
            (real, rows of real, synthetic, rows of synthetic), the rows of equal number → array (n_pairs, …).

        Raises
        ------
        NotComputable
            If ``synthetic.table`` has no column ``source_ecg_id``, or no record has its partner in `real`.
        """
        rows = self._rows_of("synthetic")
        if self._partners is None or not (self._partners >= 0).any():
            raise NotComputable("no synthetic record has a real partner, named by a column source_ecg_id")
        paired = self._partners >= 0
        key = (id(self._partners), function)
        if key not in self._memo:
            values = function(self._cohorts["real"], self._partners[paired], self._cohorts["synthetic"],
                              np.flatnonzero(paired))  # fmt: skip
            whole = np.full((len(paired), *values.shape[1:]), np.nan)
            whole[paired] = values
            self._memo[key] = self._partners, whole  # the partners too: while they live, their id is their own
        return self._memo[key][1][rows[paired[rows]]]

    def once(self, function: Callable[[Comparison], dict[str, np.ndarray]], *roles: str) -> dict[str, np.ndarray]:
        """Return terms of all records of all roles together, such as scores of a classifier that tells them apart.

        Parameters
        ----------
        function : callable
            The whole comparison (of one that was `selected`: its records) → one array (n_records, …) for each role it
            speaks of. Computed once; rows of the result are drawn as those of `terms`.
        *roles : str
            What the result depends on, where it does not depend on all: it is then kept when the others change.
        """
        cohorts = [self._cohorts[role] for role in roles or self._cohorts]
        seen = {role: self._chosen.get(role, np.arange(len(cohort))) for role, cohort in self._cohorts.items()}
        key = (*map(id, cohorts), *map(id, self._chosen.values()), function)
        if key not in self._memo:
            kept = cohorts, self._chosen  # while they live, their ids are their own
            self._memo[key] = kept, function(self.resampled(seen))
        places = {role: np.argsort(rows)[np.searchsorted(np.sort(rows), self._rows_of(role))]
                  for role, rows in seen.items() if role in self._memo[key][1]}  # fmt: skip
        return {role: values[places[role]] for role, values in self._memo[key][1].items()}

    def at_least(self, least: int, *roles: str) -> None:
        """Raise `NotComputable` if a role (real and synthetic unless named) has fewer than `least` records."""
        for role in roles or ("real", "synthetic"):
            if self.n(role) < least:
                raise NotComputable(f"it needs at least {least} records and {role} has {self.n(role)}")

    def note(self, text: str = "", n: int | Mapping[str, int] | None = None,
             exact: Mapping[str, tuple[float, float]] | None = None,
             refused: Mapping[str, str] | None = None) -> None:  # fmt: skip
        """Say what a value alone does not; of each key where a mapping of keys is given.

        `text` goes into the result's ``reason``, `n` is how many records (or patients) a value stands on, `exact` an
        interval that is known exactly, and `refused` why a value is NaN: it completes "not computed because …".
        """
        if text:
            self._notes.append(text)
        if n is not None:
            self._counts.update(n if isinstance(n, Mapping) else {"": n})
        self._exact.update(exact or {})
        self._refused.update(refused or {})

    # ---- what evaluate calls

    def resampled(self, rows: Mapping[str, np.ndarray]) -> Comparison:
        """Return the same comparison at other rows, which may repeat; terms already computed are kept."""
        other = copy.copy(self)
        other._set(_rows={**self._rows, **rows})
        other._fresh()
        return other

    def selected(self, rows: Mapping[str, np.ndarray]) -> Comparison:
        """Return the same comparison at other rows, none twice, its cohorts cut to them; `once` sees no others."""
        other = self.resampled(rows)
        other._set(_chosen=dict(rows), **{role: self._cohorts[role].select(chosen) for role, chosen in rows.items()})
        return other

    def against(self, synthetic: Cohort, partners: np.ndarray | None = None) -> Comparison:
        """Return the same real records against others; terms already computed are kept.

        Parameters
        ----------
        synthetic : Cohort
            What stands in the place of the synthetic records.
        partners : int (n_synthetic,), optional
            Position in `real` of each one's partner, −1 for none; from ``source_ecg_id`` where not given.
        """
        other = Comparison(self.real, synthetic)
        other._set(_memo=self._memo, _partners=other._partners if partners is None else partners)
        return other

    def instead(self, **roles: Any) -> Comparison:
        """Return the same comparison with other records, or another generator, in some roles; terms are kept."""
        other = replace(self, **roles)
        other._set(_memo=self._memo)
        return other

    def patients(self) -> dict[str, np.ndarray]:
        """Return each role's patients as whole numbers, as `terms` are; a synthetic record has its source's patient."""
        ids = {role: cohort.table["patient_id"].astype(object).to_numpy() for role, cohort in self._cohorts.items()}
        if "source_ecg_id" in self.synthetic.table:
            ids["synthetic"] = _source_patients(self._cohorts)
        codes, _ = pd.factorize(np.concatenate(list(ids.values())))
        unknown = codes < 0
        codes[unknown] = codes.max(initial=-1) + 1 + np.arange(unknown.sum())  # a record of no patient stands alone
        ends = np.cumsum([len(column) for column in ids.values()])[:-1]
        return {role: of_all[self._rows[role]] for role, of_all in zip(ids, np.split(codes, ends), strict=True)}

    # ---- inside

    def _rows_of(self, role: str) -> np.ndarray:
        choose("role", role, ROLES)
        if role not in self._rows:
            raise NotComputable(f"it needs the role {role}, which this comparison does not have")
        self._used.add(role)
        return self._rows[role]

    def _all_terms(self, role: str, function: Terms) -> np.ndarray:
        cohort = self._cohorts[role]
        key = (id(cohort), function)
        if key not in self._memo:
            values = np.asarray(function(cohort))
            if values.ndim == 0 or len(values) != len(cohort):
                raise InputError(f"{getattr(function, '__name__', function)} gave shape {values.shape} for "
                                 f"{len(cohort)} records; expected n_records on the first axis")  # fmt: skip
            self._memo[key] = cohort, values  # the cohort too: while it lives, its id is its own
        return self._memo[key][1]

    def _fresh(self) -> None:
        self._set(_used=set(), _notes=[], _counts={}, _exact={}, _refused={})

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)


def _partners(real: Cohort, synthetic: Cohort) -> np.ndarray | None:
    if "source_ecg_id" not in synthetic.table:
        return None
    position = pd.Series(np.arange(len(real)), index=real.table["ecg_id"])
    source = pd.to_numeric(synthetic.table["source_ecg_id"], errors="coerce")
    return position.reindex(source).fillna(-1).to_numpy(np.int64)


def _source_patients(cohorts: Mapping[str, Cohort]) -> np.ndarray:
    """Patient of each synthetic record's source: of real, else train, else held out, else the source for itself."""
    source = pd.to_numeric(cohorts["synthetic"].table["source_ecg_id"], errors="coerce")
    patients = ("source " + source.astype(str)).astype(object).where(source.notna())
    for role in ("held_out", "train", "real"):
        if role in cohorts:
            known = cohorts[role].table.set_index("ecg_id")["patient_id"].astype(object)
            patients = source.map(known).astype(object).where(source.isin(known.index), patients)
    return patients.to_numpy(object)
