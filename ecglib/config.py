"""One frozen configuration for a run: presets, overrides that are checked, JSON, and a short id.

>>> config = Config.preset("quick").override({"diffusion.timesteps": 50})
>>> config.diffusion.timesteps
50
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from numbers import Number
from typing import Any, get_args, get_origin

from ecglib.errors import InputError, choose
from ecglib.limits import check_values
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
    """The forward process, what the network predicts, and how training draws and weights the steps t."""

    timesteps: int = 200
    schedule: str = "cosine"
    target: str = "x0"
    draw: str = "uniform"
    weighting: str = "none"


@dataclass(frozen=True)
class NetworkConfig:
    """SSSD: residual channels H, blocks, state size N, the state space kernel; and options SSSD-ECG does not have.

    These are samples folded into channels (`patch`), self-conditioning, beats drawn first (`clock`), attention with
    `heads` heads in every second block (0 for none), and a Wiener filter beside the network for what is slower than
    `wiener` Hz (0 for none), fitted to `wiener_groups` groups of records that wander more and more.
    """

    channels: int = 64
    blocks: int = 6
    state: int = 64
    kernel: str = "s4d"
    patch: int = 10
    self_conditioning: bool = True
    clock: bool = True
    heads: int = 4
    wiener: float = 0.8
    wiener_groups: int = 1


@dataclass(frozen=True)
class MelConfig:
    """The mel-spectrogram loss: weight λ (0 = baseline), what is compared, and the resolutions that are summed.

    `estimate` is compared with x0: ``x0`` (x0_hat), ``differences`` (x0_hat and the differences of its leads) or
    ``posterior`` (the posterior mean). `filters` are ``mel``, or
    ``none`` for a plain short-time Fourier transform, which `n_mels` then does not concern.
    """

    weight: float = 0.02
    estimate: str = "x0"
    filters: str = "mel"
    windows: tuple[int, ...] = (512, 256, 64)
    n_mels: tuple[int, ...] = (128, 64, 16)
    floor: float = 1e-2
    weighting: str = "alpha_bar"


@dataclass(frozen=True)
class ConditionsConfig:
    """Groups of conditions, the width of each group's embedding (one number: the same for all), how often all groups,
    and each by itself, are dropped in training, and whether embeddings learn (a published code's never did)."""

    groups: tuple[str, ...] = ("diagnosis", "form", "rhythm", "age", "sex", "rate")
    widths: tuple[int, ...] = (32,)
    drop: float = 0.05
    learn: bool = True


@dataclass(frozen=True)
class TrainingConfig:
    """The optimiser (``adamw``, or ``muon`` for the matrices inside the blocks) and the loop.

    `classes` says how often a record is drawn: ``natural``, as it is; ``balanced``, every set of superclasses equally
    often; ``root``, in between, by the square root. `precision` is that of matrix products: ``fp32``, or ``bf16``
    (Fourier transforms and losses stay float32). A sample sheet is drawn every `sheet_every` steps; 0 for none.
    """

    steps: int = 1800
    batch: int = 12
    optimiser: str = "muon"
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    warmup: int = 100
    decay: bool = True
    clip: float = 1.0
    ema: float = 0.998
    standardise: bool = True
    validate_every: int = 200
    save_every: int = 200
    classes: str = "natural"
    precision: str = "fp32"
    compile: bool = False
    sheet_every: int = 0


@dataclass(frozen=True)
class SamplingConfig:
    """How samples are drawn: sampler, evaluations of the network and their spacing over t (evenly, or evenly in the
    log signal-to-noise ratio), guidance scale (1 = none), records at once."""

    sampler: str = "dpmpp"
    steps: int = 25
    spacing: str = "log-snr"
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
        check_values(self, _flatten(self))

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
            If the text is not JSON, lacks a value, or holds unknown names, wrong types or values out of range.
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
        if absent := [name for name in _flatten(Config()) if name not in flat]:
            raise InputError(f"config lacks {', '.join(absent)}; expected every value, as Config.to_json() writes them")
        return Config().override(flat)

    @property
    def id(self) -> str:
        """Eight hexadecimal digits that differ whenever any value differs."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:8]


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
    if isinstance(value, Number) and hasattr(value, "item"):  # of NumPy, which is not imported here
        value = value.item()
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
