r"""White-box attacks: whoever holds the generator's weights asks it to denoise a record, and looks at how well it does.

A network has seen its members' records again and again, so it denoises them a little better. Three ways to look:

- *loss*: the error of :math:`\hat x_0` at fixed steps and fixed noise, the same for every record;
- *SecMI*: how far a step of deterministic noising and back leads away;
- *PIA*: how far the noise found in the clean record differs from that found again after it was added.

Members and others are treated alike: the same encoding of their own statements and demographics, their own beats
where the network has a clock, no self-conditioning at the first evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ecglib.diffusion.clock import beat_times
from ecglib.diffusion.conditions import Conditions
from ecglib.diffusion.model import SignalInfo
from ecglib.diffusion.process import Schedule, predict_eps, q_sample
from ecglib.diffusion.seeds import seeded
from ecglib.evaluation.comparison import Comparison, NotComputable
from ecglib.evaluation.privacy.scores import attack, by_patient, counted, fewest
from ecglib.evaluation.records import eight_leads
from ecglib.signals.cohort import Cohort

LOSS_AT = (0.1, 0.4)  # steps t, as shares of T
SECMI_AT = 0.2  # and twice as far, and back
PIA_AT = 0.6
PIA_NORM = 4  # the authors' choice
BATCH = 64
MOST_MEMBERS = 250  # patients: members make the area's and the rates' precision, others decide how low a rate can go

Denoise = Callable[[Tensor, int], Tensor]


class Denoises(Protocol):
    """What an attack needs of a generator: `ecglib.diffusion.Generator`, or `controls.CopyMachine`."""

    signals: SignalInfo
    schedule: Schedule
    conditions: Conditions

    def denoiser(self, encoded: Tensor, guidance: float = 1.0, beats: Any = None) -> Denoise:
        """Return ``denoise(x_t, t) -> x0_hat`` for records with given conditions."""


def loss_scores(denoise: Callable[[], Denoise], schedule: Schedule, x0: Tensor) -> Tensor:
    r"""Return minus the log of the denoising error at each step of `LOSS_AT`, float (B, 2) (equation attack-loss).

    .. math:: -\ln \operatorname{mean} \bigl(\hat x_0(\sqrt{\bar\alpha_t}\,x_0 + \sqrt{1 - \bar\alpha_t}\,\epsilon_t, t)
              - x_0\bigr)^2

    Parameters
    ----------
    denoise : callable
        Makes a fresh denoiser, one that remembers no estimate.
    schedule : Schedule
    x0 : float (B, C, L)
        In the network's unit.

    Notes
    -----
    Source: Yeom et al., Privacy risk in machine learning, 2018 (the loss as a score); Carlini et al., Extracting
    training data from diffusion models, 2023 (at a fixed step). The noise of step t is the same for every record.
    """
    errors = []
    for t in steps_at(schedule, LOSS_AT):
        eps = torch.randn(x0.shape[1:], generator=seeded(0, "white-box", t)).to(x0).expand_as(x0)
        x_t = q_sample(schedule, x0, torch.full((len(x0),), t), eps)
        errors.append((denoise()(x_t, t) - x0).square().mean(dim=(1, 2)))
    return -torch.stack(errors, dim=1).clamp(min=1e-12).log()


def secmi_scores(denoise: Denoise, schedule: Schedule, x0: Tensor, x0_hat: Tensor) -> Tensor:
    r"""Return minus the log of SecMI's t-error, float (B,) (equation attack-secmi).

    x0 is noised deterministically (DDIM backwards) to step t, then on to 2t and back: the way back would lead home if
    the network were sure of the record.

    Parameters
    ----------
    denoise : callable
        The denoiser that gave `x0_hat`.
    schedule : Schedule
    x0, x0_hat : float (B, C, L)
        The record, and what the network makes of it at step 0.

    Notes
    -----
    Source: Duan et al., Are diffusion models vulnerable to membership inference attacks?, 2023. Differs: three
    long steps, where the authors' are many and short, for they cost an evaluation each; and the noise found is scaled
    to mean square 1, as in PIA's normalised form. A network that predicts x0 needs that: at small t, where hardly any
    noise is, what it misses of the signal counts as noise, many times too much of it.
    """
    t, far = steps_at(schedule, (SECMI_AT, 2 * SECMI_AT))
    x_t = _ddim(schedule, x0, x0_hat, 0, t)
    there = _ddim(schedule, x_t, denoise(x_t, t), t, far)
    back = _ddim(schedule, there, denoise(there, far), far, t)
    return -(back - x_t).square().mean(dim=(1, 2)).clamp(min=1e-12).log()


def pia_scores(denoise: Denoise, schedule: Schedule, x0: Tensor, x0_hat: Tensor) -> Tensor:
    r"""Return minus the log of PIA's error, float (B,) (equation attack-pia).

    .. math:: \lVert \hat\epsilon_0 - \hat\epsilon(\sqrt{\bar\alpha_t}\,x_0 + \sqrt{1 - \bar\alpha_t}\,
              \hat\epsilon_0, t) \rVert_4

    with the noise found in the clean record, :math:`\hat\epsilon_0`, scaled to mean square 1.

    Parameters
    ----------
    denoise : callable
        A fresh denoiser.
    schedule : Schedule
    x0, x0_hat : float (B, C, L)
        The record, and what the network makes of it at step 0.

    Notes
    -----
    Source: Kong et al., An efficient membership inference attack for the diffusion model by proximal initialization,
    2024: its normalised form, PIAN.
    """
    (t,) = steps_at(schedule, (PIA_AT,))
    first = _unit(_eps(schedule, x0, 0, x0_hat))
    x_t = q_sample(schedule, x0, torch.full((len(x0),), t), first)
    again = _eps(schedule, x_t, t, denoise(x_t, t))
    return -torch.linalg.vector_norm((first - again).flatten(1), PIA_NORM, dim=1).clamp(min=1e-12).log()


def steps_at(schedule: Schedule, shares: tuple[float, ...]) -> tuple[int, ...]:
    """Return the steps t that are these shares of T, at least 1 and at most T − 1."""
    return tuple(min(max(1, round(share * len(schedule))), len(schedule) - 1) for share in shares)


@torch.no_grad()
def record_scores(generator: Denoises, cohort: Cohort) -> np.ndarray:
    """Return the scores of every record under the attacks: float64 (n_records, 4), `loss_scores`' two, SecMI, PIA.

    Parameters
    ----------
    generator : Generator
    cohort : Cohort
        At the generator's sampling rate and length.
    """
    signals, encoded, beats = generator.signals, generator.conditions.encode(cohort.table), beat_times(cohort)
    device = getattr(generator, "device", torch.device("cpu"))
    parts = [np.zeros((0, len(LOSS_AT) + 2))]
    for start in range(0, len(cohort), BATCH):
        rows = slice(start, start + BATCH)
        x0 = signals.to_model(torch.from_numpy(eight_leads(cohort, rows)).to(device))

        def denoise(rows: slice = rows) -> Denoise:
            return generator.denoiser(encoded[rows].to(device), beats=beats[rows])

        network, schedule = denoise(), generator.schedule
        x0_hat = network(x0, 0)
        found = [loss_scores(denoise, schedule, x0), secmi_scores(network, schedule, x0, x0_hat)[:, None],
                 pia_scores(denoise(), schedule, x0, x0_hat)[:, None]]  # fmt: skip
        parts.append(torch.cat(found, dim=1).double().cpu().numpy())
    return np.concatenate(parts)


@lru_cache(maxsize=16)
def _asked(generator: Denoises, role: str, most: int) -> Callable[[Comparison], dict[str, np.ndarray]]:
    """Return the function that asks a generator about a role: the same one each time, so that results are kept."""
    return partial(_patient_scores, generator=generator, role=role, most=most)


def _patient_scores(c: Comparison, generator: Denoises, role: str, most: int) -> dict[str, np.ndarray]:
    """Return each patient's scores of all attacks, (n_records, 5), as `by_patient` does; NaN for what was not asked.

    At most `most` records of a patient are asked about.
    """
    cohort, patients = getattr(c, role), c.table(role)["patient_id"].to_numpy()
    asked = np.unique(patients)
    if role == "train" and len(asked) > MOST_MEMBERS:
        asked = asked[np.linspace(0, len(asked) - 1, MOST_MEMBERS).astype(int)]
    rows = np.flatnonzero(np.isin(patients, asked) & counted(c.table(role), most))
    scores = record_scores(generator, cohort.select(rows))
    joined = np.column_stack([scores, scores[:, : len(LOSS_AT)].mean(axis=1)])
    result = np.full((len(cohort), joined.shape[1]), np.nan)
    result[rows] = np.stack([by_patient(column, patients[rows]) for column in joined.T], axis=1)
    return {role: result}


def scores_of(c: Comparison) -> dict[str, dict[str, np.ndarray]]:
    """Return attack → role → scores, float64 (n_records,) as `by_patient` returns them.

    Attacks are ``loss`` (mean over the steps), ``SecMI``, ``PIA``, and ``loss t=…`` for each step.

    Raises
    ------
    NotComputable
        If the comparison has no generator or no members, or one side knows its beats' true moments and the other not.
    """
    if c.generator is None:
        raise NotComputable("it needs the generator itself, which this comparison does not have")
    if c.n("train") and (c.train.waves is None) != (c.real.waves is None):  # type: ignore[union-attr]
        raise NotComputable("train and real must be shown alike: only one of them has waves, the true moments of beats")
    names = [*(f"loss t={t}" for t in steps_at(c.generator.schedule, LOSS_AT)), "SecMI", "PIA", "loss"]
    most = fewest(c.train.table, c.real.table)  # type: ignore[union-attr]
    terms = {role: c.once(_asked(c.generator, role, most), role)[role] for role in ("train", "real")}
    return {name: {role: scores[:, k] for role, scores in terms.items()} for k, name in enumerate(names)}


def white_box(c: Comparison) -> dict[str, float]:
    """White-box membership attacks: does the generator denoise its members' records better than others'? (AUC 0.5 best)

    Parameters
    ----------
    c : Comparison
        ``train`` are members, ``real`` patients that the generator never saw, from the same source; `generator`.

    Returns
    -------
    dict
        ``auc``, ``tpr 1%`` and ``tpr 0.1%`` of ``loss``, ``SecMI`` and ``PIA``. A patient's score is the highest of the
        patient's records, as many of each as `fewest`.

    Raises
    ------
    NotComputable
        If there is no generator, no members, or fewer than eight patients on a side. A rate is refused where fewer than
        ten non-members could exceed it.

    Notes
    -----
    Source: as `loss_scores`, `secmi_scores` and `pia_scores` say. Equation: attack-loss.
    """
    scores = scores_of(c)
    values: dict[str, float] = {}
    for name in ("loss", "SecMI", "PIA"):
        values |= attack(c, name, scores[name])
    return values


white_box.interval = "subsample"  # type: ignore[attr-defined]


def _unit(eps: Tensor) -> Tensor:
    return eps / eps.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-12)


def _eps(schedule: Schedule, x_t: Tensor, t: int, x0_hat: Tensor) -> Tensor:
    return predict_eps(schedule, x_t, torch.full((len(x_t),), t), x0_hat)


def _ddim(schedule: Schedule, x: Tensor, x0_hat: Tensor, t: int, to: int) -> Tensor:
    """One deterministic step from t to another step, up or down."""
    return q_sample(schedule, x0_hat, torch.full((len(x),), to), _unit(_eps(schedule, x, t, x0_hat)))
