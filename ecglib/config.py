"""One frozen configuration for a run: presets, overrides that are checked, JSON, and a short id.

>>> config = Config.preset("quick").override({"diffusion.timesteps": 50})
>>> config.diffusion.timesteps
50
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, get_args, get_origin

from ecglib.errors import InputError, choose
from ecglib.presets import PRESETS


@dataclass(frozen=True)
class CohortConfig:
    """Whose data and how much: virtual patients' population and number of records, records evaluated, rate, length."""

    population: str = "teaching"
    n: int = 4000
    n_evaluate: int = 256
    fs: int = 100  # Hz
    seconds: float = 10.0


@dataclass(frozen=True)
class DiffusionConfig:
    """The forward process and what the network predicts."""

    timesteps: int = 200
    schedule: str = "cosine"
    target: str = "x0"


@dataclass(frozen=True)
class NetworkConfig:
    """SSSD: residual channels H, blocks, state size N; and options that SSSD-ECG does not have.

    These are samples folded into channels (`patch`), self-conditioning, a clock in heart beats, and attention with
    `heads` heads in each block (0 for none).
    """

    channels: int = 64
    blocks: int = 6
    state: int = 64
    patch: int = 10
    self_conditioning: bool = True
    clock: bool = True
    heads: int = 4


@dataclass(frozen=True)
class MelConfig:
    """The mel-spectrogram loss: weight λ (0 = baseline) and the resolutions that are summed."""

    weight: float = 0.02
    windows: tuple[int, ...] = (512, 256, 64)
    n_mels: tuple[int, ...] = (128, 64, 16)
    floor: float = 1e-2
    weighting: str = "alpha_bar"


@dataclass(frozen=True)
class ConditionsConfig:
    """Groups of conditions, the width of each group's embedding, and how often all, and each by itself, are dropped."""

    groups: tuple[str, ...] = ("diagnosis", "form", "rhythm", "age", "sex", "rate")
    width: int = 32
    drop: float = 0.05


@dataclass(frozen=True)
class TrainingConfig:
    """The optimiser and the loop."""

    steps: int = 1600
    batch: int = 12
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    warmup: int = 100
    decay: bool = True
    clip: float = 1.0
    ema: float = 0.998
    standardise: bool = True
    validate_every: int = 200
    save_every: int = 200


@dataclass(frozen=True)
class SamplingConfig:
    """How samples are drawn: sampler, evaluations of the network, guidance scale (1 = none), records at once."""

    sampler: str = "ddpm"
    steps: int = 50
    guidance: float = 1.0
    batch: int = 32


@dataclass(frozen=True)
class Config:
    """A complete, immutable description of a run.

    Attributes
    ----------
    name : str
        The preset it came from.
    seed : int
        Seed of everything random in the run.
    cohort, diffusion, network, mel, conditions, training, sampling
        Groups; see each class.
    """

    name: str = "quick"
    seed: int = 0
    cohort: CohortConfig = field(default_factory=CohortConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    mel: MelConfig = field(default_factory=MelConfig)
    conditions: ConditionsConfig = field(default_factory=ConditionsConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    def __post_init__(self) -> None:
        _check_values(self)

    @staticmethod
    def preset(name: str) -> "Config":
        """Return the preset called `name`.

        Raises
        ------
        InputError
            If there is no such preset; the message names the nearest.
        """
        return Config(name=choose("preset", name, PRESETS)).override(PRESETS[name])

    def override(self, changes: Mapping[str, Any]) -> "Config":
        """Return a copy with some values changed.

        Parameters
        ----------
        changes : mapping of dotted names to values
            For example ``{"diffusion.timesteps": 50, "seed": 1}``.

        Raises
        ------
        InputError
            If a name is unknown (the nearest names are given), or a value is of another type or out of range.
        """
        known = _flatten(self)
        values: dict[str, dict[str, Any]] = {}
        for key, value in changes.items():
            choose("override", key, known)
            group, _, leaf = key.rpartition(".")
            values.setdefault(group, {})[leaf] = _as_type(key, value, known[key])
        top = values.pop("", {})
        return replace(self, **top, **{g: replace(getattr(self, g), **changed) for g, changed in values.items()})

    def to_json(self) -> str:
        """Return the configuration as JSON text with sorted keys: the same text for the same configuration."""
        return json.dumps(asdict(self), indent=2, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> "Config":
        """Read what `to_json` wrote.

        Raises
        ------
        InputError
            If the text is not JSON, or holds unknown names, wrong types or values out of range.
        """
        try:
            tree = json.loads(text)
        except ValueError as error:
            raise InputError(f"config is not JSON: {error}; expected what Config.to_json() wrote") from None
        if not isinstance(tree, dict):
            raise InputError(f"config is a JSON {type(tree).__name__}; expected an object as Config.to_json() writes")
        flat: dict[str, Any] = {}
        for key, value in tree.items():
            inner = {f"{key}.{leaf}": v for leaf, v in value.items()} if isinstance(value, dict) else {key: value}
            flat.update(inner)
        return Config().override(flat)

    @property
    def id(self) -> str:
        """Eight hexadecimal digits that differ whenever any value differs."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:8]


# dotted name -> (lowest, highest) or the words allowed
_RANGES: dict[str, tuple[float, float]] = {
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
    "mel.weight": (0, 100),
    "mel.floor": (1e-8, 1),
    "conditions.width": (1, 4096),
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
    "sampling.steps": (1, 10_000),
    "sampling.guidance": (0, 100),
    "sampling.batch": (1, 65_536),
}
_WORDS: dict[str, tuple[str, ...]] = {
    "cohort.population": ("ptb-xl", "teaching"),
    "diffusion.schedule": ("linear", "cosine"),
    "diffusion.target": ("eps", "v", "x0"),
    "mel.weighting": ("none", "alpha_bar"),
    "sampling.sampler": ("ddpm", "ddim", "dpmpp"),
}


def _flatten(config: Config) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for top in fields(config):
        value = getattr(config, top.name)
        if hasattr(value, "__dataclass_fields__"):
            flat.update({f"{top.name}.{leaf.name}": getattr(value, leaf.name) for leaf in fields(value)})
        else:
            flat[top.name] = value
    return flat


_GROUPS = (CohortConfig, DiffusionConfig, NetworkConfig, MelConfig, ConditionsConfig, TrainingConfig, SamplingConfig)
_TUPLES = {leaf.name: get_args(leaf.type)[0] for group in _GROUPS for leaf in fields(group)
           if get_origin(leaf.type) is tuple}  # fmt: skip


def _as_type(key: str, value: Any, like: Any) -> Any:
    """Return `value` with the type of `like`; an int may stand for a float and a list for a tuple, nothing else."""
    wanted = type(like).__name__
    if isinstance(like, tuple) and isinstance(value, list | tuple):
        item = _TUPLES[key.rpartition(".")[2]]
        if value and all(type(v) is item for v in value):
            return tuple(value)
        wanted = f"non-empty tuple of {item.__name__}"
    elif isinstance(like, float) and type(value) in (int, float):
        return float(value)
    elif type(value) is type(like):
        return value
    raise InputError(f"{key}={value!r} is of type {type(value).__name__}; expected {wanted}, as in {key}={like!r}")


def _check_values(config: Config) -> None:
    flat = _flatten(config)
    for key, (low, high) in _RANGES.items():
        if not low <= flat[key] <= high:  # a NaN fails too
            raise InputError(f"{key}={flat[key]!r} is out of range; expected {low} to {high}")
    for key, words in _WORDS.items():
        choose(key, flat[key], words)
    if config.sampling.steps > config.diffusion.timesteps:
        raise InputError(f"sampling.steps={config.sampling.steps} is more than diffusion.timesteps="
                         f"{config.diffusion.timesteps}; lower the one or raise the other")  # fmt: skip
    if min(config.mel.windows) < 8 or min(config.mel.n_mels) < 1:
        raise InputError(f"mel.windows={config.mel.windows} with mel.n_mels={config.mel.n_mels}; expected windows of "
                         "at least 8 samples and at least 1 mel each")  # fmt: skip
    if len(config.mel.windows) != len(config.mel.n_mels):
        raise InputError(f"mel.windows={config.mel.windows} and mel.n_mels={config.mel.n_mels} differ in length")
    if config.network.heads and 2 * config.network.channels % config.network.heads:
        raise InputError(
            f"network.heads={config.network.heads} does not divide 2 × network.channels={2 * config.network.channels}"
        )
    if config.network.clock and "rate" not in config.conditions.groups:
        raise InputError(
            f"network.clock=True ticks at the heart rate, but conditions.groups={config.conditions.groups} has no "
            "'rate'; add it, or set network.clock=False"
        )
    if config.diffusion.target != "x0" and config.network.patch > 1:
        raise InputError(
            f"diffusion.target={config.diffusion.target!r} with network.patch={config.network.patch}: eps and v must "
            "carry all the noise through the channels; use target x0, or patch 1"
        )
