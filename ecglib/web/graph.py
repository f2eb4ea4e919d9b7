r"""The network as a browser can run it: one evaluation, (x_t, t, …) → x0_hat, in real arithmetic, as an ONNX graph.

.. math:: K * u = F^{-1} \big(\hat K \odot F u\big), \qquad F_{fl} = e^{-i \pi f l / L}

The weights and the answer are those of `ecglib.diffusion`. Three things are written otherwise, since a browser's
runtime has no complex numbers and is slow at Fourier transforms: a transform is a product with a constant matrix of
cosines and sines; complex matrices are real ones of twice the size; and what depends on the step alone is a table with
a row a step.
"""

import math
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecglib.diffusion.clock import CHANNELS
from ecglib.diffusion.network import SSSD, Convolution3, ResidualBlock
from ecglib.diffusion.process import Schedule
from ecglib.diffusion.s4 import S4Layer, spectra
from ecglib.diffusion.wiener import WienerFilter, likelihood_weights
from ecglib.errors import InputError

OPSET = 20
SMALLEST_HALF = 1024  # numbers: smaller weights stay float32


class DFT(nn.Module):
    """Discrete Fourier transforms of real signals of length `size` as two matrix products.

    Parameters
    ----------
    size : int
        n, even.
    length : int
        Samples that are given and wanted: the first of the n; the others are zeros.
    bins : int
        Frequencies that are kept, from 0; at most n/2 + 1.
    ortho : bool
        Divide by √n both ways, not by n on the way back.
    """

    there: Tensor
    back: Tensor

    def __init__(self, size: int, length: int, bins: int, ortho: bool = False) -> None:
        super().__init__()
        turn = torch.outer(torch.arange(bins), torch.arange(length)) % size  # whole: the angles are exact
        angle = 2 * math.pi / size * turn.double()
        twice = torch.full((bins, 1), 2.0, dtype=torch.float64)  # each frequency stands for ±f, but 0 and n/2
        twice[0], twice[size // 2 :] = 1.0, 1.0
        there = torch.cat([angle.cos(), -angle.sin()])  # (2 bins, length): real parts, then imaginary ones
        back = torch.cat([twice * angle.cos(), -twice * angle.sin()]).T / size
        scale = math.sqrt(size) if ortho else 1.0
        self.register_buffer("there", (there / scale).float())
        self.register_buffer("back", (back * scale).float())

    def forward(self, x: Tensor) -> Tensor:
        """Map float (…, length, H) to its spectrum, float (…, 2 bins, H)."""
        return self.there @ x

    def inverse(self, z: Tensor) -> Tensor:
        """Map float (…, 2 bins, H) to float (…, length, H)."""
        return self.back @ z


class Slow(nn.Module):
    """`WienerFilter` on one record, in real arithmetic; its (re, im) pairs are stacked: re of all leads, then im."""

    u: Tensor
    power: Tensor

    def __init__(self, wiener: WienerFilter) -> None:
        super().__init__()
        bins, length = wiener.power.shape[1], wiener.n_times
        self.bins, self.dft = bins, DFT(length, length, bins, ortho=True)
        u, v = wiener.directions.detach().unbind(-1)  # U = u + iv, each (K, F, C, C)
        self.register_buffer("u", torch.cat([torch.cat([u, -v], -1), torch.cat([v, u], -1)], -2))  # (K, F, 2C, 2C)
        self.register_buffer("power", torch.cat([wiener.power] * 2, -1).unsqueeze(-1))  # (K, F, 2C, 1)
        self.register_buffer("counts", likelihood_weights(length, bins))

    def forward(self, x_t: Tensor, alpha_bar: Tensor) -> Tensor:
        """Estimate the slow part, float (1, C, L), of x_t, float (1, C, L), at alpha_bar, float (1,)."""
        z = self.dft(x_t[0].T).unflatten(0, (2, self.bins))  # (2, F, C)
        z = z.transpose(0, 1).flatten(1).unsqueeze(-1)  # (F, 2C, 1)
        seen = alpha_bar * self.power + (1 - alpha_bar)
        along = self.u.transpose(-1, -2) @ z  # (K, F, 2C, 1): U* z
        fit = (seen.log() / 2 + along * along / seen).sum(dim=(2, 3))  # (K, F); the logarithm stands for re and for im
        fit = (fit * self.counts).sum(dim=1)
        chance = torch.softmax(-fit, dim=0)[:, None, None, None]
        z = (chance * (self.u @ (alpha_bar.sqrt() * self.power / seen * along))).sum(dim=0)  # (F, 2C, 1)
        z = z.squeeze(-1).unflatten(-1, (2, -1)).transpose(0, 1).flatten(0, 1)  # (2F, C)
        return self.dft.inverse(z).T.unsqueeze(0)


class Evaluation(nn.Module):
    """One evaluation of a network, of one record: what `Denoiser` does, but for guidance.

    Parameters
    ----------
    network : SSSD
    schedule : Schedule
    target : str
        What the network predicts.
    n_times : int
        L.
    """

    kernels: Tensor
    steps: Tensor
    unasked: Tensor
    given: Tensor
    alpha_bar: Tensor
    noise: Tensor
    signal: Tensor

    def __init__(self, network: SSSD, schedule: Schedule, target: str, n_times: int) -> None:
        super().__init__()
        self.network, self.target, self.n_times = network, target, n_times
        positions = n_times // network.config.patch
        self.slow = None if network.wiener is None else Slow(network.wiener)
        self.dft = DFT(2 * positions, positions, positions + 1)
        layers = [layer for block in network.blocks for layer in (block.first, block.second)]
        with torch.no_grad():
            kernels = torch.stack(spectra(layers, positions))  # (2 blocks, H, L/p + 1, 2)
            steps, _ = network.project(torch.arange(len(schedule)), None)  # (blocks, T, 1, H)
            k = sum(network.condition_groups)
            rows = torch.cat([torch.zeros(1, k), torch.eye(k)])  # conditions enter linearly
            _, given = network.project(torch.zeros(k + 1, dtype=torch.int64), rows if k else None)
        self.register_buffer("kernels", kernels.permute(0, 3, 2, 1).contiguous())  # (2 blocks, 2, L/p + 1, H)
        self.register_buffer("steps", steps.squeeze(2).transpose(0, 1).contiguous())  # (T, blocks, H)
        given = given.squeeze(2).transpose(0, 1).contiguous()  # (k + 1, blocks, 2 H)
        self.register_buffer("unasked", given[0])
        self.register_buffer("given", (given[1:] - given[0]).flatten(1))  # (k, blocks · 2 H)
        self.register_buffer("alpha_bar", schedule.alpha_bar.float())
        self.register_buffer("noise", (1 - schedule.alpha_bar).sqrt().float())
        self.register_buffer("signal", schedule.alpha_bar.sqrt().float())

    @property
    def inputs(self) -> list[str]:
        """The names of what `forward` is given, in order."""
        config = self.network.config
        names = {"conditions": bool(self.network.condition_groups), "previous": config.self_conditioning,
                 "clock": config.clock}  # fmt: skip
        return ["x_t", "t", *(name for name, there in names.items() if there)]

    def forward(self, x_t: Tensor, t: Tensor, *more: Tensor) -> Tensor:
        """Estimate x0, float (1, C, L).

        Parameters
        ----------
        x_t : float (1, C, L)
        t : int64 (1,)
        *more : float tensors
            In the order of `inputs`: conditions (1, K), previous (1, C, L), clock (1, 9, L).
        """
        given = dict(zip(self.inputs[2:], more, strict=True))
        network = self.network
        seen = [x_t, *(given[name] for name in ("previous", "clock") if name in given)]
        slow = None if self.slow is None else self.slow(x_t, self.alpha_bar[t])
        x = torch.cat(seen if slow is None else [*seen, slow], dim=1)
        x = F.relu(network.enter(network.fold(x)))  # (1, L/p, H)
        conditions = self.unasked
        if "conditions" in given:
            conditions = conditions + (given["conditions"] @ self.given).unflatten(-1, self.unasked.shape)[0]
        steps, skips = self.steps[t][0], torch.zeros_like(x)
        for k, block in enumerate(network.blocks):
            first, second = self.kernels[2 * k], self.kernels[2 * k + 1]
            x, skip = self._block(cast(ResidualBlock, block), x, steps[k], conditions[k], first, second)
            skips = skips + skip
        y = F.relu(network.collect(skips * math.sqrt(1 / len(network.blocks))))
        output = network.unfold(network.leave(y))
        output = output if slow is None else output + slow
        if self.target == "x0":
            return output
        if self.target == "v":
            return self.signal[t] * x_t - self.noise[t] * output
        return (x_t - self.noise[t] * output) / self.signal[t]

    def _block(self, block: ResidualBlock, x: Tensor, step: Tensor, condition: Tensor, first: Tensor,
               second: Tensor) -> tuple[Tensor, Tensor]:  # fmt: skip
        h = _three(block.widen, x + step)
        h = self._state_space(block.first, h, first) + condition
        h = h if block.attend is None else block.attend(h)
        a, b = self._state_space(block.second, h, second).chunk(2, dim=-1)
        residual, skip = block.out(torch.tanh(a) * torch.sigmoid(b)).chunk(2, dim=-1)
        return (x + residual) * math.sqrt(0.5), skip

    def _state_space(self, layer: S4Layer, u: Tensor, kernel: Tensor) -> Tensor:
        re, im = self.dft(u).chunk(2, dim=-2)
        a, b = kernel  # the spectrum of K: a + ib
        y = self.dft.inverse(torch.cat([re * a - im * b, re * b + im * a], dim=-2))
        return layer.norm(u + layer.mix(F.gelu(y)))


def _three(widen: Convolution3, x: Tensor) -> Tensor:
    """Convolve three neighbours as one product: each position beside the one before and the one after it."""
    before, after = F.pad(x[:, :-1], (0, 0, 1, 0)), F.pad(x[:, 1:], (0, 0, 0, 1))
    return F.linear(torch.cat([before, x, after], dim=-1), widen.weight, widen.bias)


def export_onnx(evaluation: Evaluation, path: Path | str, *, half: bool = False) -> None:
    """Write an evaluation as an ONNX file: inputs as `Evaluation.inputs`, and one output, ``x0_hat``.

    Parameters
    ----------
    evaluation : Evaluation
    path : path
    half : bool
        Store large weights as float16, in half the room; they are read back to float32, and computed with as such.

    Raises
    ------
    InputError
        If onnx is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise InputError("onnx is not installed; run `make setup`") from None
    network, n_times = evaluation.network, evaluation.n_times
    x = torch.zeros(1, network.leads, n_times)
    example = {"x_t": x, "t": torch.zeros(1, dtype=torch.int64), "previous": x,
               "conditions": torch.zeros(1, sum(network.condition_groups)),
               "clock": torch.zeros(1, CHANNELS, n_times)}  # fmt: skip
    with warnings.catch_warnings():
        # the older of torch's two exporters: a seventh of the time, and no further package
        warnings.simplefilter("ignore")
        torch.onnx.export(evaluation.eval(), tuple(example[name] for name in evaluation.inputs), path, dynamo=False,
                          input_names=evaluation.inputs, output_names=["x0_hat"], opset_version=OPSET)  # fmt: skip
    model = onnx.load(path)
    for node in model.graph.node:
        node.ClearField("doc_string")  # where on this machine the source lies
    if half:
        _store_half(model)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _store_half(model: Any) -> None:
    """Store a graph's large float32 weights as float16, each followed by a cast back."""
    import onnx

    casts = []
    for k, weight in enumerate(model.graph.initializer):
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.size >= SMALLEST_HALF:
            name, half = weight.name, f"{weight.name}.half"
            model.graph.initializer[k].CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), half))
            casts.append(onnx.helper.make_node("Cast", [half], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
