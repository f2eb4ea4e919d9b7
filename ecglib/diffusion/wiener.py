r"""What a linear denoiser can know: the Wiener filter, exact for stationary Gaussian signals with the records' spectra.

.. math:: \hat x_0(f) = \sqrt{\bar\alpha_t}\, S(f)\, \big(\bar\alpha_t S(f) + (1 - \bar\alpha_t) I\big)^{-1} x_t(f)

S(f) are the cross-spectra of the leads, so that the filter knows how far two leads wander together. It is the
preconditioning of EDM for signals that are not white: for S = I it is EDM's skip connection. Below 0.8 Hz, where an
ECG is baseline wander, it saves the network a task that bounded gates are poor at; above, a beat is no Gaussian.

Source: this project; Karras et al., Elucidating the design space of diffusion-based generative models, 2022 (EDM).
"""

import torch
from torch import Tensor, nn


class WienerFilter(nn.Module):
    """Estimate the part of a signal below `cutoff` linearly (equation wiener).

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
    """

    directions: Tensor
    power: Tensor

    def __init__(self, leads: int, n_times: int, fs: int, cutoff: float) -> None:
        super().__init__()
        self.n_times = n_times
        bins = int((torch.fft.rfftfreq(n_times, 1 / fs) < cutoff).sum())  # F
        self.register_buffer("directions", torch.zeros(bins, leads, leads, 2))  # S = U diag(power) U*; (re, im) of U
        self.register_buffer("power", torch.zeros(bins, leads))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Measure the cross-spectra of records x, float (n, C, L), in the network's unit."""
        z = torch.fft.rfft(x.double(), norm="ortho")[..., : len(self.power)]  # (n, C, F)
        cross = torch.einsum("nif,njf->fij", z, z.conj()) / len(x)
        power, directions = torch.linalg.eigh(cross)
        self.power.copy_(power.clamp(min=0))
        self.directions.copy_(torch.view_as_real(directions))

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
        u = torch.view_as_complex(self.directions)  # (F, C, C)
        share = alpha_bar.to(x_t)[:, None, None]
        gain = share.sqrt() * self.power / (share * self.power + 1 - share)  # (B, F, C)
        z = torch.fft.rfft(x_t, norm="ortho")[..., : len(self.power)].transpose(1, 2)  # (B, F, C)
        z = torch.einsum("fij,bfj->bfi", u, gain * torch.einsum("fji,bfj->bfi", u.conj(), z))
        return torch.fft.irfft(z.transpose(1, 2), n=self.n_times, norm="ortho")
