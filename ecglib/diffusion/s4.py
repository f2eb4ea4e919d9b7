r"""The structured state space layer: two learnt kernels, one forwards and one backwards in time, applied at once.

.. math:: y = K * u, \qquad K_l = 2\,\mathrm{Re}(C^{→} X_l) \ (l ≥ 0), \quad
          K_{-l} = 2\,\mathrm{Re}(C^{←} X_{l-1}) \ (l ≥ 1), \quad K_0 \mathrel{+}= D

X is a constant table (`ecglib.diffusion.state_space`), and so is its Fourier transform: the spectrum of K, both
directions and D in one, is the product of (C→, C←, D) with a constant. The convolution is a product of spectra, of
signals followed by as many zeros.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ecglib.diffusion.state_space import basis, discretise, recurrence

STEPS = 32  # different Δ, at most
CACHE = 2**18  # a batch of more numbers is transformed record by record on a CPU
STEP_RANGE = 1e-3, 1e-1  # a channel remembers between 2/Δ = 20 and 2,000 positions


class _Kept(NamedTuple):
    """A spectrum, and what it was computed of; the weights are held, so that no others come to lie where they do."""

    key: tuple
    spectrum: Tensor
    weights: tuple[Tensor, ...]


_NOTHING = _Kept((), torch.empty(0), ())


def steps_of(channels: int) -> tuple[float, ...]:
    """Return the different Δ of a layer, evenly spaced in the logarithm: G numbers, where G ≤ 32 divides `channels`."""
    different = max(g for g in range(1, STEPS + 1) if channels % g == 0)
    low, high = torch.tensor(STEP_RANGE, dtype=torch.float64).log()
    place = (torch.arange(different, dtype=torch.float64) + 0.5) / different
    return tuple((low + (high - low) * place).exp().tolist())


class S4Layer(nn.Module):
    r"""Bidirectional state space layer on sequences: norm(u + W·gelu(K * u)).

    Parameters
    ----------
    channels : int
        H, independent systems. Neighbouring channels share a step Δ: there are at most 32 different ones.
    state : int
        N, even: N/2 complex states a channel.
    kernel : {"s4d", "nplr", "dilated"}
        Of `basis`; ``dilated``, a plain dilated convolution, is there to compare with.

    Notes
    -----
    Source: the layer of SSSD-ECG, whose kernel is ``nplr``. Differs: Δ is spread evenly over its range, where
    SSSD-ECG draws it at random; C itself is learnt, where S4's code learns C(1 − Ā^L).
    """

    def __init__(self, channels: int, state: int = 64, kernel: str = "s4d") -> None:
        super().__init__()
        self.channels, self.state, self.kernel = channels, state, kernel
        self.c = nn.Parameter(torch.randn(2, channels, state // 2, 2) * 0.5**0.5)  # direction, H, N/2, (re, im)
        self.d = nn.Parameter(torch.randn(channels))
        self.mix = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)
        self._kept = _NOTHING

    def forward(self, u: Tensor, spectrum: Tensor | None = None) -> Tensor:
        """Map u, float (B, L, H), to float (B, L, H); `spectrum` is from `spectra`, where it is at hand."""
        spectrum = spectra([self], u.shape[1])[0] if spectrum is None else spectrum
        return self.norm(u + self.mix(F.gelu(_Convolution.apply(u, spectrum))))

    def convolve(self, u: Tensor) -> Tensor:
        """Return K * u, float (B, H, L), for u, float (B, H, L): the fast form."""
        return _Convolution.apply(u.transpose(1, 2), spectra([self], u.shape[-1])[0]).transpose(1, 2)

    def recur(self, u: Tensor) -> Tensor:
        """Return the same as `convolve` by running both recurrences in float64: the slow, obvious form."""
        u = u.to(torch.float64)
        steps = torch.tensor(steps_of(self.channels), dtype=torch.float64)
        a_bar, b_bar = (part.repeat_interleave(self.channels // len(steps), dim=0)
                        for part in discretise(self.kernel, self.state, steps))  # fmt: skip
        forward, backward = torch.view_as_complex(self.c.to(torch.float64))
        past = recurrence(a_bar, b_bar, forward, u)
        future = recurrence(a_bar, b_bar, backward, u.flip(-1)).flip(-1)
        future = F.pad(future[..., 1:], (0, 1))  # strictly the future: the present belongs to the forward direction
        return past + future + self.d.to(torch.float64)[:, None] * u

    def kernels(self, length: int) -> Tensor:
        """Return both kernels without D, float (2, H, length): C times the table, one product for each Δ."""
        table = basis(self.kernel, self.state, steps_of(self.channels), length).to(self.c)
        groups = self.c.view(2, len(table), -1, self.state).transpose(0, 1).flatten(1, 2)  # (G, 2 H/G, N)
        return (groups @ table).unflatten(1, (2, -1)).transpose(0, 1).flatten(1, 2)

    def spectrum(self, length: int) -> Tensor:
        """Return the spectrum of K, complex (H, length + 1)."""
        return torch.view_as_complex(spectra([self], length)[0])


@torch.compiler.disable  # what is kept is Python's; the rest of a network is compiled
def spectra(layers: Sequence[S4Layer], length: int) -> list[Tensor]:
    """Return the spectrum of K of several equal layers, each float (H, length + 1, 2), (re, im).

    Without gradients they are kept until weights or their place change.
    """
    if torch.is_grad_enabled():
        for layer in layers:
            layer._kept = _NOTHING
        return _compute_spectra(layers, length)
    keys = [(length, *_identity(layer.c), *_identity(layer.d)) for layer in layers]
    kept = [layer._kept for layer in layers]
    if [one.key for one in kept] != keys:
        parts = zip(keys, _compute_spectra(layers, length), layers, strict=True)
        kept = [_Kept(key, spectrum, (layer.c.detach(), layer.d.detach())) for key, spectrum, layer in parts]
        for layer, one in zip(layers, kept, strict=True):
            layer._kept = one
    return [one.spectrum for one in kept]


def _compute_spectra(layers: Sequence[S4Layer], length: int) -> list[Tensor]:
    """Multiply C and D by a table, for all layers at once: the table is larger than a layer's weights."""
    like = layers[0]
    steps = steps_of(like.channels)
    table = _table(like.kernel, like.state, steps, length, like.c.device, like.c.dtype)  # (G, 2 N + 1, 2 (L + 1))
    weights = torch.stack([torch.cat([*layer.c.flatten(2), layer.d[:, None]], dim=1) for layer in layers])
    groups = weights.unflatten(1, (len(steps), -1)).transpose(0, 1)  # (G, layers, H/G, 2 N + 1)
    with torch.autocast(like.c.device.type, enabled=False):
        product = (groups.flatten(1, 2) @ table).view(*groups.shape[:3], length + 1, 2)
    return [spectrum.flatten(0, 1) for spectrum in product.unbind(1)]


@lru_cache(maxsize=4)
def _table(kernel: str, state: int, steps: tuple[float, ...], length: int, device: torch.device,
           dtype: torch.dtype) -> Tensor:  # fmt: skip
    """Return the Fourier transforms of what C→, C← and D multiply, each a circular kernel of length 2L."""
    impulse = F.one_hot(torch.zeros(1, dtype=torch.int64), 2 * length)

    def transformed(x: Tensor) -> Tensor:  # (N, L), of one step → (2 N + 1, 2 (L + 1))
        rows = torch.cat([F.pad(x, (0, length)), F.pad(x.flip(-1), (length, 0)), impulse])  # lag −l lies at 2L − l
        return torch.view_as_real(torch.fft.rfft(rows)).flatten(1).to(device, dtype)

    with torch.inference_mode(False):  # a table made while sampling serves training, too
        return torch.stack([transformed(x) for x in basis(kernel, state, steps, length)])


class _Convolution(torch.autograd.Function):
    """K * u, and its gradient: the gradient of a convolution is a correlation, a product with the conjugate spectrum.

    Torch's own gradient of `rfft` is a complex transform of twice the size.
    """

    @staticmethod
    def forward(ctx, u, spectrum):
        """Map u, float (B, L, H), and the spectrum of K, float (H, L + 1, 2), to float (B, L, H)."""
        y, u_hats, spectrum = torch.empty_like(u), [], torch.view_as_complex(spectrum)
        for part, u_hat in zip(_parts(y), _rfft(u), strict=True):
            part.copy_(_irfft(u_hat * spectrum))
            if any(ctx.needs_input_grad):
                u_hats.append(u_hat)
        ctx.save_for_backward(spectrum, *u_hats)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        """Return those of u and of the spectrum, whose entries stand for ±f, but the first and the last."""
        spectrum, *u_hats = ctx.saved_tensors
        of_u, of_spectrum, conjugate = torch.empty_like(gradient), torch.zeros_like(spectrum), spectrum.conj_physical()
        for part, g_hat, u_hat in zip(_parts(of_u), _rfft(gradient), u_hats, strict=True):
            part.copy_(_irfft(g_hat * conjugate))
            of_spectrum += (g_hat * u_hat.conj()).sum_to_size(spectrum.shape)
        of_spectrum /= gradient.shape[1]
        of_spectrum[:, [0, -1]] /= 2
        return of_u, torch.view_as_real(of_spectrum)


def _parts(x: Tensor) -> tuple[Tensor, ...]:
    """Return the records of x, float (B, L, H), one by one where that spares a processor's cache, else x itself."""
    return x.unbind() if x.device.type == "cpu" and x.numel() > CACHE else (x,)


def _rfft(x: Tensor) -> Iterator[Tensor]:
    """Yield the spectrum of each part of x, followed by as many zeros: complex (…, H, L + 1)."""
    parts, length = _parts(x), x.shape[1]
    dtype = torch.promote_types(x.dtype, torch.float32)
    padded = torch.zeros(*parts[0].mT.shape[:-1], 2 * length, device=x.device, dtype=dtype)
    signal = padded[..., :length]
    for part in parts:
        signal.copy_(part.mT)
        yield torch.fft.rfft(padded)


def _irfft(x_hat: Tensor) -> Tensor:
    """Complex (…, H, L + 1) → float (…, L, H): undo `_rfft`."""
    length = x_hat.shape[-1] - 1
    return torch.fft.irfft(x_hat, n=2 * length)[..., :length].mT


def _identity(tensor: Tensor) -> tuple:
    """Change whenever the tensor's values may have: written in place, loaded, or moved to another device or type."""
    return tensor._version, tensor.data_ptr(), tensor.device, tensor.dtype
