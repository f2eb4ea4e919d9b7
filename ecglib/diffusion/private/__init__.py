"""Differential privacy: the same network, trained so that no single patient can matter much. Needs the extra ``dp``.

`mechanism` is what is done to a step's gradient, `accounting` what it is worth, `training` the loop.
"""

from ecglib.diffusion.private.accounting import Privacy, attack_bound, epsilon_of, noise_for
from ecglib.diffusion.private.mechanism import clip, draw_patients, flat_gradient, noisy_mean
from ecglib.diffusion.private.training import Patients, train_private

__all__ = [
    "Patients", "Privacy", "attack_bound", "clip", "draw_patients", "epsilon_of", "flat_gradient", "noise_for",
    "noisy_mean", "train_private",
]  # fmt: skip
