r"""Controls: what an audit says of generators of which the answer is known.

A generator that copies its records *is* a diffusion model, the perfect one of a finite set: its best denoiser is

.. math:: \hat x_0(x_t) = \sum_i w_i\, x_i, \qquad
          w_i \propto \exp\Bigl(-\frac{\lVert x_t - \sqrt{\bar\alpha_t}\, x_i \rVert^2}{2 (1 - \bar\alpha_t)}\Bigr)

and sampling with it ends on one of the :math:`x_i`. So the same three controls serve attacks on samples and attacks on
the network: a set of training records, one with five per cent of them, and fresh records of other patients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ecglib.errors import InputError
from ecglib.evaluation.comparison import Comparison, NotComputable
from ecglib.evaluation.floor import match
from ecglib.evaluation.privacy.denoising import Denoises
from ecglib.evaluation.records import eight_leads
from ecglib.signals.cohort import Cohort
from ecglib.signals.load import load_cohort

CONTROLS = ("copies", "copies_5_percent", "fresh")
FEW = 0.05


@dataclass(frozen=True, eq=False)
class CopyMachine:
    """The diffusion model that has learnt a set of records by heart (equation memorising-denoiser).

    Parameters
    ----------
    records : float32 (n, C·L)
        In the network's unit.
    like : Generator
        Whose schedule, unit and conditions it has.

    Notes
    -----
    Source: the minimiser of the denoising loss over a finite set is common knowledge; as a cause of memorisation, Gu et
    al., On memorization in diffusion models, 2023.
    """

    records: Tensor
    like: Denoises

    @staticmethod
    def of(cohort: Cohort, like: Denoises) -> CopyMachine:
        """Make the machine that copies a cohort's records."""
        x = torch.from_numpy(eight_leads(cohort, slice(None)))
        return CopyMachine(like.signals.to_model(x).flatten(1), like)

    def __getattr__(self, name: str) -> Any:
        if name in ("signals", "schedule", "conditions"):
            return getattr(self.like, name)
        raise AttributeError(name)

    def denoiser(self, encoded: Tensor, guidance: float = 1.0, beats: Any = None) -> Callable[[Tensor, int], Tensor]:
        """Return ``denoise(x_t, t) -> x0_hat``; conditions change nothing."""
        return self.denoise

    def denoise(self, x_t: Tensor, t: int) -> Tensor:
        """Return the mean of the records, weighted by how likely each has become x_t: float (B, C, L)."""
        alpha_bar = float(self.like.schedule.alpha_bar[t])
        y, root = x_t.flatten(1), alpha_bar**0.5
        squares = alpha_bar * self.records.square().sum(dim=1) - 2 * root * (y @ self.records.T)  # less |x_t|²
        return (torch.softmax(-squares / (2 * (1 - alpha_bar)), dim=1) @ self.records).reshape(x_t.shape)


def control_sets(c: Comparison, fresh: Cohort, seed: int = 0) -> dict[str, Cohort]:
    """Return each control's records, as many as synthetic ones and asked for with the same conditions.

    A copying sampler answers a training record's own request with that record, and any other with the record most like
    it (statements, then sex, then age), each once.

    Parameters
    ----------
    c : Comparison
        With ``train``.
    fresh : Cohort
        Records of patients in none of the other roles.
    seed : int

    Raises
    ------
    NotComputable
        If train or fresh have fewer records than were synthesised.
    """
    if c.train is None:
        raise NotComputable("it needs the role train, which this comparison does not have")
    n, sets = c.n("synthetic"), {}
    for name, offered in (("train", c.train), ("held_out", fresh)):
        if len(offered) < n:
            raise NotComputable(f"controls as large as the synthetic set ({n}) need as many records, and {name} offers "
                                f"{len(offered)}")  # fmt: skip
    asked, rng = c.synthetic.table, np.random.default_rng([seed, 4])
    ids = asked["source_ecg_id"] if "source_ecg_id" in asked else pd.Series(np.nan, asked.index)
    copied, new = _copied(ids, asked, c.train.table, rng), match(asked, fresh.table, rng)
    few = rng.permutation(n) < max(1, round(FEW * n))
    for name, from_train in zip(CONTROLS, (np.ones(n, bool), few, np.zeros(n, bool)), strict=True):
        x = np.stack([np.asarray((c.train if old else fresh).x[a if old else b], np.float32)
                      for old, a, b in zip(from_train, copied, new, strict=True)])  # fmt: skip
        tables = [(c.train if old else fresh).table.iloc[[a if old else b]]
                  for old, a, b in zip(from_train, copied, new, strict=True)]  # fmt: skip
        numbers = np.arange(1, n + 1)
        table = pd.concat(tables, ignore_index=True).assign(ecg_id=numbers, patient_id=numbers, source_ecg_id=ids)
        sets[name] = Cohort(x, c.real.fs, c.real.leads, table.drop(columns="strat_fold"), source=f"control: {name}")
    return sets


def _copied(ids: pd.Series, asked: pd.DataFrame, train: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Return the training record that answers each request, int64 (n,)."""
    own = pd.Series(np.arange(len(train)), train["ecg_id"]).reindex(ids).to_numpy()
    free = np.setdiff1d(np.arange(len(train)), own[np.isfinite(own)])
    strangers = np.flatnonzero(~np.isfinite(own))
    own[strangers] = free[match(asked.iloc[strangers], train.iloc[free], rng)] if len(strangers) else own[strangers]
    return own.astype(np.int64)


def more_patients(cohort: Cohort, n: int, seed: int, *, first_id: int) -> Cohort:
    """Make n more records of the population that a virtual cohort is from: other patients, numbered from `first_id`.

    Parameters
    ----------
    cohort : Cohort
        Of virtual patients.
    n, seed : int
        The seed must not be the cohort's.
    first_id : int
        Added to every ecg_id and patient_id, so that no number stands for two patients.

    Returns
    -------
    Cohort
        Rounded to microvolts, as a saved cohort is: members and others are treated alike.

    Raises
    ------
    InputError
        If the cohort is not of virtual patients, or the seed is its own.
    """
    if cohort.source != "virtual" or "population" not in cohort.notes:
        raise InputError(f"cohort is of {cohort.source}; only of virtual patients more can be made")
    if seed == cohort.notes["seed"]:
        raise InputError(f"seed={seed} is the cohort's own: these patients are in it; give another")
    x = cohort.x
    new = load_cohort("virtual", n=n, seed=seed, fs=cohort.fs, seconds=x.shape[2] / cohort.fs,
                      population=cohort.notes["population"])  # fmt: skip
    table = new.table.assign(ecg_id=new.table["ecg_id"] + first_id, patient_id=new.table["patient_id"] + first_id)
    waves = None if new.waves is None else new.waves.assign(ecg_id=new.waves["ecg_id"] + first_id)
    rounded = (np.rint(new.x[:] * 1000) / 1000).astype(np.float32)
    return replace(new, x=rounded, table=table, waves=waves)
