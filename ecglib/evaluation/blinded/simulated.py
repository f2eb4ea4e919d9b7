"""Readers whose skill is known: what a reading of this size can find out, before anybody is asked to read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ecglib.errors import InputError

STEPS = (0.25, 0.5, 0.8, 1.2)  # of evidence, in standard deviations: where confidence goes up from 1 to 5


@dataclass(frozen=True)
class SimulatedReader:
    r"""A reader of signal detection theory (equation simulated-reader).

    Parameters
    ----------
    skill : float
        d′: how many standard deviations the two kinds lie apart.
    leaning : float
        Criterion: above 0, the reader rather says real.
    shared : float
        Share of the variance of the evidence that lies in the sheet and is the same to all readers, 0 to 1.

    Raises
    ------
    InputError
        If `shared` is outside of 0 to 1.

    Notes
    -----
    .. math:: e = \pm \tfrac{d'}{2} + \sqrt{s}\, u_\mathrm{sheet} + \sqrt{1 - s}\, v_\mathrm{reading}, \qquad
              \text{synthetic if } e > c

    with standard normal u and v, + for synthetic sheets; confidence grows with the distance from c.
    """

    skill: float
    leaning: float = 0.0
    shared: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.shared <= 1:
            raise InputError(f"shared={self.shared}; expected 0 to 1")

    def read(self, sheets: pd.DataFrame, sheet_seed: int, reader_seed: int) -> pd.DataFrame:
        """Answer every sheet of a key.

        Parameters
        ----------
        sheets : DataFrame
            ``sheet``, ``arm``, ``repeat_of``, as a plan or a key has them.
        sheet_seed, reader_seed : int
            Seed of what all readers see alike, and of what this one sees.

        Returns
        -------
        DataFrame, one row a sheet
            ``sheet``, ``answer``, ``confidence``, ``rhythm``, ``quality``, ``reason``, as `write_form` takes them.
        """
        rng = np.random.default_rng([2, reader_seed])
        first = sheets["repeat_of"].where(sheets["repeat_of"] != "", sheets["sheet"])
        ecg, _ = pd.factorize(first)
        common = np.random.default_rng([1, sheet_seed]).standard_normal(ecg.max() + 1)[ecg]
        sign = np.where(sheets["arm"] == "synthetic", 0.5, -0.5)
        own = rng.standard_normal(len(sheets))
        evidence = sign * self.skill + np.sqrt(self.shared) * common + np.sqrt(1 - self.shared) * own
        from_criterion = evidence - self.leaning
        return pd.DataFrame({
            "sheet": sheets["sheet"], "answer": np.where(from_criterion > 0, "synthetic", "real"),
            "confidence": 1 + np.searchsorted(STEPS, np.abs(from_criterion)), "rhythm": "cannot tell",
            "quality": "good", "reason": "simulated",
        })  # fmt: skip
