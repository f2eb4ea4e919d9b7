r"""When the heart beats: a small diffusion model of R–R intervals, drawn before the signal.

.. math:: p(x \mid c) = \sum_{\text{beats}} p(x \mid \text{beats}, c)\; p(\text{beats} \mid c)

Rhythm lives in some twelve numbers of a record's 8,000, and a signal model learns it last: an error of 100 ms in one
beat's place costs it little. Drawn first, coarse before fine, the intervals are learnt in minutes, and the signal model
sees in `ecglib.diffusion.clock` where each beat is due. What is diffused are the logarithms of successive intervals, by
the same network, process and sampler as everything else.

Source: this project; neither paper has it (equation rhythm).
"""

from collections.abc import Callable, Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from ecglib.config import NetworkConfig
from ecglib.diffusion.network import build_network
from ecglib.diffusion.process import Schedule, predict_x0, q_sample, target_of
from ecglib.diffusion.samplers import dpmpp_2m

SIZE = NetworkConfig(channels=32, blocks=2, state=16, patch=1, self_conditioning=False, clock=False, heads=0, wiener=0)
WIDTH = 16  # of each group's embedding
TARGET = "v"
TIMESTEPS = 200  # of the cosine schedule
STEPS = 25  # evaluations in sampling
DRAWS = 2  # noise levels a training record: a series is cheap beside a signal
SHORTEST = 0.25  # s: a series is long enough for intervals as short as this throughout
STEADIEST = 0.02  # ln s: in records that are all alike, less is how beats were found, and not to be learnt
EXTREME = 0.15, 4.0  # s: no interval is drawn beyond


def series(beats: Sequence[np.ndarray], seconds: float) -> Tensor:
    """Return the logarithms of successive R–R intervals, float32 (n_records, K), in ln s.

    Parameters
    ----------
    beats : sequence of float arrays
        In seconds, rising.
    seconds : float
        Length of the records; K = `seconds` / 0.25. After a record's last interval the series runs back, and so on: a
        rhythm read backwards has the same intervals. Fewer than two beats give NaN.
    """
    length = round(seconds / SHORTEST)
    rows = np.full((len(beats), length), np.nan)
    for row, times in zip(rows, beats, strict=True):
        if len(times) > 1:
            row[:] = np.pad(np.log(np.diff(times)), (0, length), mode="symmetric")[:length]
    return torch.from_numpy(rows.astype(np.float32))


class RhythmModel(nn.Module):
    """Diffusion of R–R intervals, conditioned as the signals are.

    Parameters
    ----------
    seconds : float
        Length of the records.
    condition_groups : tuple of int
        As in `SSSD`.
    seed : int
        Of the initial weights.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, seconds: float, condition_groups: tuple[int, ...], seed: int) -> None:
        super().__init__()
        self.length = round(seconds / SHORTEST)
        self.schedule = Schedule.cosine(TIMESTEPS)
        self.network = build_network(SIZE, 1, condition_groups, (WIDTH,) if condition_groups else (), seed)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    @torch.no_grad()
    def fit(self, intervals: Tensor) -> None:
        """Measure mean and standard deviation of `series`, float (n, K)."""
        known = intervals[~intervals.isnan()]
        if len(known):
            self.mean.copy_(known.mean())
            self.scale.copy_(known.std(correction=0).clamp(min=STEADIEST))

    def loss(self, intervals: Tensor, conditions: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return the mean squared error of v, a float32 scalar (equation rhythm-loss).

        Parameters
        ----------
        intervals : float (B, K)
            Rows of `series`; those of NaN count nothing.
        conditions : float (B, k)
        noise : float (B, DRAWS, K)
        t : int64 (B, DRAWS)
            Steps, each with its own noise.
        """
        known = ~intervals.isnan().any(dim=1)
        x0 = torch.where(known[:, None], (intervals - self.mean) / self.scale, 0.0)
        x0 = x0.repeat_interleave(DRAWS, dim=0)[:, None]  # (B · DRAWS, 1, K)
        eps, t = noise.flatten(0, 1)[:, None], t.flatten()
        x_t = q_sample(self.schedule, x0, t, eps)
        v = self.network(x_t, t.to(x0.device), conditions.repeat_interleave(DRAWS, dim=0))
        error = (v - target_of(self.schedule, TARGET, x0, t, eps)).square().mean(dim=(1, 2))
        return (error * known.repeat_interleave(DRAWS)).mean()

    @torch.no_grad()
    def sample(self, conditions: Tensor, noise: Callable[[tuple[int, ...]], Tensor], phase: Tensor) -> list[np.ndarray]:
        """Draw the beats of records, in float64: a QRS complex is so steep that a microsecond would show in the signal.

        Parameters
        ----------
        conditions : float (B, k)
        noise : callable (shape) -> float (B, *shape)
            Standard noise.
        phase : float (B,)
            In [0, 1): the share of the first interval that is over when the record starts.

        Returns
        -------
        list of float64 arrays
            Seconds from each record's start, from before it to beyond its end.
        """

        network, conditions = deepcopy(self.network).double(), conditions.double()

        def denoise(x_t: Tensor, t: int) -> Tensor:
            steps = torch.full((len(x_t),), t)
            output = network(x_t, steps.to(x_t.device), conditions)
            return predict_x0(self.schedule, TARGET, x_t, steps, output)

        drawn = dpmpp_2m(denoise, noise((1, self.length)).double(), self.schedule, steps=STEPS)[:, 0]
        rr = (drawn * self.scale + self.mean).exp().clamp(*EXTREME).cpu().numpy()  # (B, K)
        first = -phase.double().cpu().numpy()[:, None] * rr[:, :1]
        return list(np.concatenate([first, first + np.cumsum(rr, axis=1)], axis=1))
