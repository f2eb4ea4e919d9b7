"""What a trained generator consists of: network, schedule, conditions and the scale of its training data, as files.

A run folder holds ``config.json`` (the configuration), ``model.json`` (leads, sampling rate, scale, vocabulary) and
``model.safetensors`` (weights). Weights are safetensors, never pickle: loading them executes nothing.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ecglib.config import Config
from ecglib.diffusion.conditions import Conditions
from ecglib.diffusion.network import SSSD, build_network
from ecglib.diffusion.process import Schedule, predict_x0
from ecglib.errors import InputError
from ecglib.runs import atomic_file, write_text

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class SignalInfo:
    """What the network's numbers mean: leads, sampling rate, length, and each lead's mean and scale in mV."""

    leads: tuple[str, ...]
    fs: int
    n_times: int
    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def to_model(self, x: Tensor) -> Tensor:
        """(B, C, L) in mV → the unit the network works in."""
        return (x - self._column(self.mean, x)) / self._column(self.scale, x)

    def to_millivolts(self, x: Tensor) -> Tensor:
        """(B, C, L) in the network's unit → mV."""
        return x * self._column(self.scale, x) + self._column(self.mean, x)

    @staticmethod
    def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None]


class Denoiser:
    """A network seen through its schedule: ``denoise(x_t, t) -> x0_hat``, all that a sampler needs to know.

    Parameters
    ----------
    network : SSSD
    schedule : Schedule
    target : str
        What the network predicts.
    conditions : float tensor (B, K)
    unknown : float tensor (B, K) or None
        Encoding of "nothing is known", for guidance.
    clock : float tensor (B, 8, L) or None
        From `ecglib.diffusion.clock`, where the network has one. Guidance leaves it running.
    guidance : float
        w: x0_hat = x0_hat(unknown) + w (x0_hat(conditions) − x0_hat(unknown)); 1 is no guidance, and costs one
        evaluation instead of two (equation guidance).
    """

    def __init__(self, network: SSSD, schedule: Schedule, target: str, conditions: Tensor,
                 unknown: Tensor | None = None, guidance: float = 1.0,
                 clock: Tensor | None = None) -> None:  # fmt: skip
        self.clock = clock
        self.network, self.schedule, self.target = network, schedule, target
        self.conditions, self.unknown, self.guidance = conditions, unknown, guidance
        self.previous: Tensor | None = None  # the last x0_hat, for self-conditioning

    def __call__(self, x_t: Tensor, t: int) -> Tensor:
        """Estimate x0, float (B, C, L), from x_t at step t (0-based)."""
        steps = torch.full((len(x_t),), t, dtype=torch.int64, device=x_t.device)
        estimate = self._estimate(x_t, steps, self.conditions)
        if self.guidance != 1.0 and self.unknown is not None:
            free = self._estimate(x_t, steps, self.unknown)
            estimate = free + self.guidance * (estimate - free)
        if self.network.config.self_conditioning:
            self.previous = estimate
        return estimate

    def _estimate(self, x_t: Tensor, steps: Tensor, conditions: Tensor) -> Tensor:
        output = self.network(x_t, steps, conditions, self.previous, self.clock)
        return predict_x0(self.schedule, self.target, x_t, steps, output)


def network_of(config: Config, n_leads: int) -> SSSD:
    """Build the network of a configuration, with initial weights that depend on ``config.seed`` alone."""
    conditions = Conditions(config.conditions.groups)
    return build_network(config.network, n_leads, conditions.sizes, config.conditions.width, config.seed)


def save_description(run: Path, config: Config, signals: SignalInfo) -> None:
    """Write ``config.json`` and ``model.json``."""
    vocabulary = Conditions(config.conditions.groups).vocabulary
    write_text(run / "config.json", config.to_json() + "\n")
    write_text(run / "model.json", json.dumps({"signals": asdict(signals), "vocabulary": vocabulary}, indent=2) + "\n")


def load_description(run: Path) -> tuple[Config, SignalInfo]:
    """Read what `save_description` wrote.

    Raises
    ------
    InputError
        If a file is absent or damaged, or the vocabulary is not the one this version of ecglib encodes.
    """
    try:
        config = Config.from_json((run / "config.json").read_text(encoding="utf-8"))
        described = json.loads((run / "model.json").read_text(encoding="utf-8"))
        info = described["signals"]
        mean, scale = tuple(info["mean"]), tuple(info["scale"])
        signals = SignalInfo(tuple(info["leads"]), info["fs"], info["n_times"], mean, scale)
    except FileNotFoundError as error:
        raise InputError(f"{error.filename} does not exist: {run} is not the folder of a run") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{run / 'model.json'} is damaged ({error}); train the run again") from None
    expected = {k: list(v) for k, v in Conditions(config.conditions.groups).vocabulary.items()}
    if described.get("vocabulary") != expected:
        raise InputError(f"{run} was trained with another vocabulary of conditions than this version encodes; "
                         "use the version in its manifest, or train again")  # fmt: skip
    return config, signals


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors to a safetensors file, atomically."""
    with atomic_file(path) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises
    ------
    InputError
        If it is absent, empty, truncated, or of another format: a pickle is refused, never executed.
    """
    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; train the run first") from None
    except Exception as error:  # safetensors raises its own kinds, which differ between versions
        raise InputError(f"{path} is not a whole safetensors file ({error}); restore it or train again") from None


def load_weights(network: SSSD, weights: dict[str, Tensor], path: Path) -> SSSD:
    """Put `weights` into `network`; `InputError` naming the first tensor that does not fit."""
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"{path} does not fit config.json beside it: {reason}") from None
    return network


def checked_device(name: str) -> torch.device:
    """Return a torch device; `InputError` if it is unknown or not present on this machine."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"device={name!r} is not a torch device; use cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device={name!r} was asked for, but torch sees no GPU here; use device='cpu'")
    return device
