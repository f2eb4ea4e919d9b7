r"""DP-SGD with the patient as unit: draw patients, clip what each has to say, add noise to the sum.

.. math:: \tilde g = \frac{1}{q n} \Bigl( \sum_{p \in S} g_p \min\bigl(1, C / \lVert g_p \rVert\bigr)
          + \sigma C\, z \Bigr), \qquad z \sim \mathcal N(0, I)

S holds each of n patients with probability q, and g_p is *one* gradient: that of a patient's mean loss over the records
and noise draws that a step looks at. Whoever adds or removes a patient moves the sum by at most C, however many records
the patient has; the noise is σ times as wide.

Source: Abadi et al., Deep learning with differential privacy, 2016. Several noise draws before clipping: Dockhorn et
al., Differentially private diffusion models, 2023. Differs: there the unit is a record, here a patient.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from ecglib.errors import InputError


def draw_patients(n: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Return the patients of a step: each of `n` with probability `rate`, independently (equation dp-sampling).

    The number differs from step to step, and may be 0: that is what the accountant counts on.

    Parameters
    ----------
    n : int
    rate : float
        q, in (0, 1].
    rng : Generator

    Returns
    -------
    int64 (k,)
        Positions of patients, rising.
    """
    return np.flatnonzero(rng.random(n) < rate)


def flat_gradient(loss: Tensor, parameters: Iterable[Tensor]) -> Tensor:
    """Return the gradient of a scalar with respect to all parameters as one vector: float (P,).

    A parameter that the loss does not depend on gets zeros.
    """
    parameters = list(parameters)
    parts = torch.autograd.grad(loss, parameters, allow_unused=True)
    return torch.cat([torch.zeros_like(p).flatten() if g is None else g.flatten()
                      for p, g in zip(parameters, parts, strict=True)])  # fmt: skip


def clip(gradient: Tensor, bound: float) -> Tensor:
    r"""Shorten a vector to length `bound` where it is longer: g · min(1, C / ‖g‖) (equation dp-clip).

    Parameters
    ----------
    gradient : float (P,)
        Of one patient.
    bound : float
        C, above 0.

    Returns
    -------
    float (P,)
        Its norm is at most C, but for float32's rounding.

    Raises
    ------
    InputError
        If the gradient is not finite: nothing bounds what is not a number.
    """
    norm = float(torch.linalg.vector_norm(gradient, dtype=torch.float64))
    if not np.isfinite(norm):
        raise InputError(f"a patient's gradient has norm {norm}; nothing was added to the model: lower "
                         "training.learning_rate, or look for damaged records")  # fmt: skip
    return gradient * min(1.0, bound / norm) if norm > 0 else gradient


def noisy_mean(total: Tensor, bound: float, noise: float, expected: float, generator: torch.Generator) -> Tensor:
    """Return (total + σ C z) / expected: the private gradient of a step (equation dp-step).

    Parameters
    ----------
    total : float (P,)
        Sum of the clipped gradients of the patients drawn.
    bound : float
        C.
    noise : float
        σ; 0 for none.
    expected : float
        q n, patients in a step on average: a constant, since how many were drawn says something of each of them.
    generator : torch.Generator

    Returns
    -------
    float (P,)
    """
    if not noise:
        return total / expected
    z = torch.randn(total.shape, generator=generator, dtype=total.dtype).to(total.device)
    return (total + noise * bound * z) / expected
