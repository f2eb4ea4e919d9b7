r"""Muon: steps along the nearest orthogonal matrix to the averaged gradient.

.. math:: X \leftarrow aX + (bA + cA^2)\,X, \qquad A = XX^\top

five times over, from the gradient over its Frobenius norm, takes every singular value near 1 (Newton–Schulz, without a
singular value decomposition), so that directions a gradient favours do not drown the others (equation muon).

PyTorch has Muon, too, but iterates in bfloat16, which processors without bfloat16 units only imitate: on one with
AVX2 alone, more than half of a training step went there. Here it is float32, and matrices of one shape go together.

Source: Jordan et al., Muon, 2024 (the iteration, its coefficients, Nesterov momentum); Liu et al., Muon is scalable for
LLM training, 2025 (the step's size, so that AdamW's learning rates serve).
"""

from collections.abc import Iterable

import torch
from torch import Tensor

COEFFICIENTS = 3.4445, -4.7750, 2.0315
ITERATIONS = 5


def orthogonal(g: Tensor) -> Tensor:
    """Return nearly orthogonal matrices with the singular vectors of `g`, float32 (K, m, n): values 0.7 to 1.2."""
    tall = g.shape[-2] > g.shape[-1]
    x = g.mT if tall else g
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon with decoupled weight decay, for parameters with two axes.

    Parameters
    ----------
    parameters : iterable of Parameter (m, n)
    lr : float
        AdamW's: a step is scaled by 0.2 √max(m, n), which gives it the root mean square of one of AdamW's.
    weight_decay, momentum : float
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float = 0.0,
                 momentum: float = 0.95) -> None:  # fmt: skip
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(parameter.shape, []).append(parameter)
            for shape, alike in shapes.items():
                averages = [self._average(p, p.grad, group["momentum"]) for p in alike if p.grad is not None]
                directions = orthogonal(torch.stack(averages))
                for parameter, direction in zip(alike, directions, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.sub_(direction, alpha=0.2 * max(shape) ** 0.5 * group["lr"])

    def _average(self, parameter: Tensor, gradient: Tensor, momentum: float) -> Tensor:
        """Return the gradient averaged over steps, and looked ahead (Nesterov)."""
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        average = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(average, momentum)
