"""What the values of a `Config` may be, each by itself and together."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ecglib.errors import InputError, choose

if TYPE_CHECKING:
    from ecglib.config import Config

# dotted name -> (lowest, highest) or the words allowed
RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1),
    "cohort.n": (16, 10_000_000),
    "cohort.n_evaluate": (4, 10_000_000),
    "cohort.fs": (50, 1000),
    "cohort.seconds": (1, 60),
    "diffusion.timesteps": (2, 10_000),
    "network.channels": (1, 4096),
    "network.blocks": (1, 200),
    "network.state": (2, 1024),
    "network.patch": (1, 100),
    "network.heads": (0, 64),
    "network.wiener": (0, 1000),
    "network.wiener_groups": (1, 64),
    "mel.weight": (0, 100),
    "mel.floor": (1e-8, 1),
    "conditions.drop": (0, 0.9),
    "training.steps": (1, 100_000_000),
    "training.batch": (1, 65_536),
    "training.learning_rate": (1e-8, 1),
    "training.weight_decay": (0, 1),
    "training.warmup": (0, 1_000_000),
    "training.clip": (0, 1e6),
    "training.ema": (0, 0.999999),
    "training.validate_every": (1, 100_000_000),
    "training.save_every": (1, 100_000_000),
    "training.sheet_every": (0, 100_000_000),
    "sampling.steps": (1, 10_000),
    "sampling.guidance": (0, 100),
    "sampling.batch": (1, 65_536),
}
WORDS: dict[str, tuple[str, ...]] = {
    "cohort.population": ("ptb-xl", "teaching"),
    "diffusion.schedule": ("linear", "cosine", "linear-zero"),
    "diffusion.target": ("eps", "v", "x0"),
    "diffusion.draw": ("uniform", "logit-normal"),
    "diffusion.weighting": ("none", "min-snr"),
    "network.kernel": ("s4d", "nplr", "dilated"),
    "mel.estimate": ("x0", "posterior", "differences"),
    "mel.filters": ("mel", "none"),
    "mel.weighting": ("none", "alpha_bar"),
    "training.optimiser": ("adamw", "muon"),
    "training.classes": ("natural", "root", "balanced"),
    "training.precision": ("fp32", "bf16"),
    "sampling.sampler": ("ddpm", "ddim", "dpmpp", "dpmpp-sde"),
    "sampling.spacing": ("even", "log-snr"),
}


def check_values(config: "Config", flat: Mapping[str, Any]) -> None:
    """Raise `InputError` if a value is out of range, or values contradict each other; warn of a known trap.

    Parameters
    ----------
    config : Config
    flat : mapping
        Its values by dotted name.
    """
    for key, (low, high) in RANGES.items():
        if not low <= flat[key] <= high:  # a NaN fails too
            raise InputError(f"{key}={flat[key]!r} is out of range; expected {low} to {high}")
    for key, words in WORDS.items():
        choose(key, flat[key], words)
    if config.sampling.steps > config.diffusion.timesteps:
        raise InputError(f"sampling.steps={config.sampling.steps} is more than diffusion.timesteps="
                         f"{config.diffusion.timesteps}; lower the one or raise the other")  # fmt: skip
    if min(config.mel.windows) < 8 or min(config.mel.n_mels) < 1:
        raise InputError(f"mel.windows={config.mel.windows} with mel.n_mels={config.mel.n_mels}; expected windows of "
                         "at least 8 samples and at least 1 mel each")  # fmt: skip
    widths, groups = config.conditions.widths, config.conditions.groups
    if not 1 <= min(widths) <= max(widths) <= 4096 or len(widths) not in (1, len(groups)):
        raise InputError(f"conditions.widths={widths} for {len(groups)} groups; expected one width for all, or one "
                         "for each, of 1 to 4096")  # fmt: skip
    if len(config.mel.windows) != len(config.mel.n_mels):
        raise InputError(f"mel.windows={config.mel.windows} and mel.n_mels={config.mel.n_mels} differ in length")
    if config.network.heads and 2 * config.network.channels % config.network.heads:
        raise InputError(
            f"network.heads={config.network.heads} does not divide 2 × network.channels={2 * config.network.channels}"
        )
    if config.diffusion.target == "eps" and config.diffusion.schedule == "linear-zero":
        raise InputError("diffusion.target='eps' with diffusion.schedule='linear-zero': where no signal is left, eps "
                         "does not tell x0; use target v or x0")  # fmt: skip
    if config.diffusion.target == "eps" and config.diffusion.schedule == "cosine":
        warnings.warn("diffusion.target='eps' with diffusion.schedule='cosine': at the noisy end, x0 = (x_t − σ eps) "
                      "/ α divides by almost nothing, and a short training draws volts; use schedule linear, or v",
                      stacklevel=2)  # fmt: skip
    if config.network.state % 2:
        raise InputError(f"network.state={config.network.state} is odd; states come in conjugate pairs")
    if config.diffusion.target != "x0" and config.network.wiener:
        raise InputError(f"diffusion.target={config.diffusion.target!r} with network.wiener={config.network.wiener}: "
                         "the filter estimates x0; use target x0, or wiener 0")  # fmt: skip
    if config.diffusion.target != "x0" and config.network.patch > 1:
        raise InputError(
            f"diffusion.target={config.diffusion.target!r} with network.patch={config.network.patch}: eps and v must "
            "carry all the noise through the channels; use target x0, or patch 1"
        )
