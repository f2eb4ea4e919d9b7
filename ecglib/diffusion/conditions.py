"""Conditions: a record's statements and demographics as groups of numbers, with an explicit "unknown" in each group.

Groups are disentangled: each has an embedding of its own in the network. A group of statements is multi-hot; age, sex
and the like are one-hot over bins; the rate is shared between its two nearest knots, so that 67/min differs from 68.
The last entry of every group says "unknown".

Source: MIDT-ECG's groups and bins, from the authors' code. Differs: missing values are "unknown", where the
authors' code takes the middle bin or a random one; impossible ones are refused; heart rate has a finer group, ``rate``,
beside the authors' bins; groups are dropped in training, so that guidance is possible.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ecglib.errors import InputError, choose
from ecglib.signals.statements import STATEMENTS, in_group
from ecglib.signals.table import check_table

BINS: dict[str, tuple[float, ...]] = {  # the first threshold above the value wins
    "age": (12, 17, 34, 54, 74),
    "height": (150, 159, 169, 179),
    "weight": (50, 70, 90, 110),
    "bmi": (18.5, 25, 30, 35, 40),
    "heart_rate": (60, 70, 80, 90, 100),
}
ASKED = ("scp_codes", "age", "sex", "height", "weight", "heart_rate")  # columns that groups are made from
RATE_KNOTS = np.arange(30.0, 201.0, 10.0)  # beats/min


def _statements(codes: tuple[str, ...]) -> Callable[[pd.DataFrame], np.ndarray]:
    def encode(table: pd.DataFrame) -> np.ndarray:
        rows = np.zeros((len(table), len(codes) + 1), dtype=np.float32)
        for row, given in zip(rows, table["scp_codes"], strict=True):
            row[:-1] = [code in given for code in codes]
            row[-1] = not given  # no statement at all: nothing is known; statements of other groups only: none here
        return rows

    return encode


def _bins(name: str) -> Callable[[pd.DataFrame], np.ndarray]:
    def encode(table: pd.DataFrame) -> np.ndarray:
        value = table[name].to_numpy()
        place = np.digitize(value, BINS[name])  # 0 … number of thresholds
        return _one_hot(np.where(np.isnan(value), len(BINS[name]) + 1, place), len(BINS[name]) + 2)

    return encode


def _sex(table: pd.DataFrame) -> np.ndarray:
    value = table["sex"].to_numpy()
    return _one_hot(np.where(np.isnan(value), 2, value), 3)


def _rate(table: pd.DataFrame) -> np.ndarray:
    value = table["heart_rate"].to_numpy()
    rows = np.zeros((len(table), len(RATE_KNOTS) + 1), dtype=np.float32)
    knots = np.eye(len(RATE_KNOTS))
    for k in range(len(RATE_KNOTS)):
        rows[:, k] = np.interp(value, RATE_KNOTS, knots[k])
    rows[np.isnan(value)] = 0
    rows[np.isnan(value), -1] = 1
    return rows


def _one_hot(place: np.ndarray, width: int) -> np.ndarray:
    return np.eye(width, dtype=np.float32)[place.astype(np.int64)]


def _names(codes: tuple[str, ...]) -> tuple[str, ...]:
    return (*codes, "unknown")


def _bin_names(name: str) -> tuple[str, ...]:
    edges = ["", *(f"{edge:g}" for edge in BINS[name]), ""]
    return _names(tuple(f"{low}–{high}" for low, high in pairwise(edges)))


_ALL = tuple(STATEMENTS.index)
_GROUPS: dict[str, tuple[tuple[str, ...], Callable[[pd.DataFrame], np.ndarray]]] = {
    "statements": (_names(_ALL), _statements(_ALL)),
    **{g: (_names(in_group(g)), _statements(in_group(g))) for g in ("diagnosis", "form", "rhythm")},
    **{name: (_bin_names(name), _bins(name)) for name in BINS},
    "sex": (_names(("male", "female")), _sex),
    "rate": (_names(tuple(f"{knot:g}/min" for knot in RATE_KNOTS)), _rate),
}
GROUPS = tuple(_GROUPS)


@dataclass(frozen=True)
class Conditions:
    """The groups a generator is conditioned on.

    Parameters
    ----------
    groups : tuple of str
        Of `GROUPS`: ``statements`` (all 71 in one group), or ``diagnosis``, ``form``, ``rhythm``; ``age``, ``sex``,
        ``height``, ``weight``, ``bmi``, ``heart_rate`` (the authors' six bins), ``rate`` (between knots).

    Raises
    ------
    InputError
        If a group is unknown or named twice.
    """

    groups: tuple[str, ...]

    def __post_init__(self) -> None:
        for group in self.groups:
            choose("conditions.groups", group, GROUPS)
        if len(set(self.groups)) != len(self.groups):
            raise InputError(f"conditions.groups={self.groups} names a group twice")

    @property
    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        """Group → the meaning of each of its entries; a generator refuses weights trained with another one."""
        return {group: _GROUPS[group][0] for group in self.groups}

    @property
    def sizes(self) -> tuple[int, ...]:
        """Entries of each group; they sum to K."""
        return tuple(len(names) for names in self.vocabulary.values())

    def encode(self, table: pd.DataFrame) -> Tensor:
        """Encode records (equation conditions).

        Parameters
        ----------
        table : DataFrame
            With ``scp_codes`` (dict; an empty one means "unknown") and, where known, ``age``, ``sex``, ``height``,
            ``weight``, ``heart_rate``; NaN or an absent column means "unknown". BMI follows from height and weight.

        Returns
        -------
        float32 tensor (n_records, K)

        Raises
        ------
        InputError
            If a value is impossible (an age of −1 or 300, a sex of 2, words): it is never put into some bin. A rate
            beyond 30 to 200 beats/min counts as the nearest of these.
        """
        if not self.groups:
            return torch.zeros(len(table), 0)
        known = [name for name in ASKED if name in table]
        table = check_table(table[known].assign(ecg_id=np.arange(len(table))))
        table = table.assign(bmi=table["weight"] / (table["height"] / 100) ** 2)
        parts = [_GROUPS[group][1](table) for group in self.groups]
        return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))

    def unknown(self, n_records: int) -> Tensor:
        """Return the encoding of records of which nothing is known: float32 (n_records, K)."""
        row = torch.zeros(sum(self.sizes))
        row[torch.tensor(self.sizes, dtype=torch.int64).cumsum(0) - 1] = 1  # the last entry of each group
        return row.expand(n_records, -1).clone()

    def rate(self, encoded: Tensor) -> Tensor:
        """Return the heart rate that an encoding holds, in beats per second: float32 (B,), 0 where it is unknown.

        The weights of two neighbouring knots hold the rate exactly, within 30 to 200 beats/min.
        """
        start = sum(self.sizes[: self.groups.index("rate")])
        weights = encoded[:, start : start + len(RATE_KNOTS)]
        return weights @ torch.from_numpy(RATE_KNOTS).to(weights) / 60

    def drop(self, encoded: Tensor, probability: float, generator: torch.Generator) -> Tensor:
        """Replace groups by "unknown": all groups of a record, and each group by itself, with `probability`.

        Dropping all teaches the unconditional model that guidance needs; dropping one teaches the model to be
        asked for less than everything. Source: Ho & Salimans, Classifier-free guidance, 2022.

        Parameters
        ----------
        encoded : float32 (B, K)
        probability : float
            In [0, 1).
        generator : torch.Generator
        """
        chance = torch.rand(len(encoded), 1 + len(self.sizes), generator=generator) < probability
        lost = (chance[:, :1] | chance[:, 1:]).repeat_interleave(torch.tensor(self.sizes), dim=1)  # (B, K)
        return torch.where(lost.to(encoded.device), self.unknown(len(encoded)).to(encoded), encoded)
