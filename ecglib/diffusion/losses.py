"""What training makes smaller: the error of the target, the mel loss and the rhythm's, for one batch."""

import torch
from torch import Tensor

from ecglib.config import Config
from ecglib.diffusion.batches import Batch
from ecglib.diffusion.mel import MelLoss, mel_estimate
from ecglib.diffusion.model import evaluate
from ecglib.diffusion.network import SSSD
from ecglib.diffusion.process import Schedule, predict_x0


class Losses:
    """The three losses of a configuration, as a function of (network, batch).

    Parameters
    ----------
    config : Config
    schedule : Schedule
    fs : int
        Sampling rate in Hz.
    device : torch.device
    """

    def __init__(self, config: Config, schedule: Schedule, fs: int, device: torch.device) -> None:
        self.config, self.schedule, self.device = config, schedule, device
        self.mel = MelLoss(config.mel, fs).to(device) if config.mel.weight else None

    def __call__(self, network: SSSD, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return (weighted mean squared error of the target, mel loss, the rhythm's loss), each a float32 scalar."""
        config, c, previous = self.config, batch.conditions, None
        t, bf16 = batch.t.to(self.device, non_blocking=True), config.training.precision == "bf16"
        if batch.self_condition:
            with torch.no_grad():
                previous = evaluate(network, batch.x_t, t, c, None, batch.clock, batch.alpha_bar, bf16=bf16)
                previous = predict_x0(self.schedule, config.diffusion.target, batch.x_t, batch.t, previous)
        output = evaluate(network, batch.x_t, t, c, previous, batch.clock, batch.alpha_bar, bf16=bf16)
        mse = (batch.weight * (output - batch.target).square().mean(dim=(1, 2))).mean()
        rhythm = mse.new_zeros(())
        if network.rhythm is not None and batch.rhythm is not None:
            intervals, noise, steps = batch.rhythm
            rhythm = network.rhythm.loss(intervals, c, noise, steps)
        if self.mel is None:
            return mse, mse.new_zeros(()), rhythm
        x0_hat = predict_x0(self.schedule, config.diffusion.target, batch.x_t, batch.t, output)
        estimate = mel_estimate(config.mel, self.schedule, batch.x_t, batch.t, x0_hat)
        return mse, self.mel(estimate, batch.x0, batch.alpha_bar), rhythm

    def total(self, network: SSSD, batch: Batch) -> Tensor:
        """Return their sum, the mel loss by its weight: what one step's gradient is of."""
        mse, mel, rhythm = self(network, batch)
        return mse + self.config.mel.weight * mel + rhythm
