r"""The slow part of a signal, from spectra alone: the Wiener filter, exact for Gaussian signals, and mixtures of them.

.. math:: \hat x_0(f) = \sum_k p(k \mid x_t)\, \sqrt{\bar\alpha_t}\, S_k(f)\,
          \big(\bar\alpha_t S_k(f) + (1 - \bar\alpha_t) I\big)^{-1} x_t(f)

S_k(f) are the cross-spectra of the leads, so that the filter knows how far two leads wander together. It is the
preconditioning of EDM for signals that are not white: for one S = I it is EDM's skip connection. Below 0.8 Hz, where an
ECG is baseline wander, it saves the network a task that bounded gates are poor at; above, a beat is no Gaussian. One
Gaussian would give every record the average wander, while most records have little and a few have much of it: so the
training records can be sorted by their slow power into groups k, and which group a record belongs to is inferred.

Source: this project; Karras et al., Elucidating the design space of diffusion-based generative models, 2022 (EDM).
"""

import torch
from torch import Tensor, nn

from ecglib.errors import InputError


class WienerFilter(nn.Module):
    """Estimate the part of a signal below `cutoff` from the leads' cross-spectra (equation wiener).

    Parameters
    ----------
    leads : int
        C.
    n_times : int
        L, the length of the records.
    fs : int
        Sampling rate in Hz.
    cutoff : float
        In Hz; nothing at or above it is estimated.
    groups : int
        K. One is the Wiener filter itself.

    Notes
    -----
    With groups the wander of samples is spread as in the records; the network's own estimate then shows its faults
    more: the table of trials has both.
    """

    directions: Tensor
    power: Tensor

    def __init__(self, leads: int, n_times: int, fs: int, cutoff: float, groups: int = 1) -> None:
        super().__init__()
        self.n_times = n_times
        bins = int((torch.fft.rfftfreq(n_times, 1 / fs) < cutoff).sum())  # F
        self.register_buffer("directions", torch.zeros(groups, bins, leads, leads, 2))  # S = U diag(power) U*; (re, im)
        self.register_buffer("power", torch.zeros(groups, bins, leads))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Measure the cross-spectra of records x, float (n, C, L), in the network's unit; `InputError` if n < K."""
        groups, bins, _ = self.power.shape
        if len(x) < groups:
            raise InputError(f"network.wiener_groups={groups} for {len(x)} training records; expected a record a group "
                             "at least: lower it")  # fmt: skip
        z = torch.fft.rfft(x.double(), norm="ortho")[..., :bins]  # (n, C, F)
        order = z.abs().square().sum(dim=(1, 2)).argsort()
        for k, rows in enumerate(order.tensor_split(groups)):
            cross = torch.einsum("nif,njf->fij", z[rows], z[rows].conj()) / len(rows)
            power, directions = torch.linalg.eigh(cross)
            self.power[k] = power.clamp(min=0)
            self.directions[k] = torch.view_as_real(directions)

    def forward(self, x_t: Tensor, alpha_bar: Tensor) -> Tensor:
        """Estimate the slow part of x0.

        Parameters
        ----------
        x_t : float (B, C, L)
        alpha_bar : float (B,)
            ᾱ_t of each record.

        Returns
        -------
        float (B, C, L)
        """
        u = torch.view_as_complex(self.directions)  # (K, F, C, C)
        share = alpha_bar.to(x_t)[:, None, None, None]
        seen = share * self.power + 1 - share  # (B, K, F, C): variances of x_t
        z = torch.fft.rfft(x_t, norm="ortho")[..., : self.power.shape[1]].transpose(1, 2)  # (B, F, C)
        along = torch.einsum("kfji,bfj->bkfi", u.conj(), z)
        fit = (seen.log() + along.abs().square() / seen).sum(dim=3)  # −log p(x_t | k) of each frequency, + constants
        fit = (fit * likelihood_weights(self.n_times, fit.shape[2]).to(fit)).sum(dim=2)
        chance = torch.softmax(-fit, dim=1).to(along)
        z = torch.einsum("bk,kfij,bkfj->bfi", chance, u, share.sqrt() * self.power / seen * along)
        return torch.fft.irfft(z.transpose(1, 2), n=self.n_times, norm="ortho")


def likelihood_weights(n_times: int, bins: int) -> Tensor:
    """Return how much each bin of an rfft counts in a likelihood, (bins,): those that are real are half a number."""
    weights = torch.ones(bins)
    weights[0] = 0.5
    if bins == n_times // 2 + 1 and n_times % 2 == 0:
        weights[-1] = 0.5
    return weights
