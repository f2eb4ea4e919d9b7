"""What a trained generator consists of: network, schedule, conditions and the scale of its training data, as files.

A run folder holds ``config.json`` (the configuration), ``model.json`` (leads, sampling rate, scale, vocabulary) and
``model.safetensors`` (weights). Weights are safetensors, never pickle: loading them executes nothing.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ecglib.config import Config
from ecglib.diffusion.conditions import Conditions
from ecglib.diffusion.network import SSSD, build_network
from ecglib.diffusion.process import Schedule, predict_x0
from ecglib.diffusion.rhythm import RhythmModel
from ecglib.diffusion.wiener import WienerFilter
from ecglib.errors import InputError
from ecglib.runs import atomic_file, read_manifest, sha256_of, write_text

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


@dataclass(frozen=True)
class Origin:
    """A finished run whose kept weights another run starts from: their file, their unit, and what is noted of them."""

    weights: Path
    signals: SignalInfo
    note: dict[str, str]


def evaluate(network: SSSD, x_t: Tensor, t: Tensor, conditions: Tensor, previous: Tensor | None,
             clock: Tensor | None, alpha_bar: Tensor, *, bf16: bool) -> Tensor:  # fmt: skip
    """Evaluate an `SSSD`: float32 (B, C, L).

    With `bf16` matrix products are made in bfloat16, by autocast; Fourier transforms, normalisation and everything
    outside of the network stay float32. Where the network has a Wiener filter, it adds its estimate to the filter's,
    which needs `alpha_bar`, float (B,), ᾱ_t of each record. Other arguments as in `SSSD.forward`.
    """
    slow = None if network.wiener is None else network.wiener(x_t, alpha_bar)
    with torch.autocast(x_t.device.type, torch.bfloat16, enabled=bf16):
        return network(x_t, t, conditions, previous, clock, slow).float()


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
    clock : float tensor (B, 9, L) or None
        From `ecglib.diffusion.clock`, where the network has one. Guidance leaves it as it is.
    guidance : float
        w: x0_hat = x0_hat(unknown) + w (x0_hat(conditions) − x0_hat(unknown)); 1 is no guidance, and costs one
        evaluation instead of two (equation guidance).
    bf16 : bool
        See `evaluate`.
    """

    def __init__(self, network: SSSD, schedule: Schedule, target: str, conditions: Tensor,
                 unknown: Tensor | None = None, guidance: float = 1.0, clock: Tensor | None = None,
                 bf16: bool = False) -> None:  # fmt: skip
        self.clock, self.bf16 = clock, bf16
        self.network, self.schedule, self.target = network, schedule, target
        self.conditions, self.unknown, self.guidance = conditions, unknown, guidance
        self.previous: Tensor | None = None  # the last x0_hat, for self-conditioning

    def __call__(self, x_t: Tensor, t: int) -> Tensor:
        """Estimate x0, float (B, C, L), from x_t at step t (0-based)."""
        steps = torch.full((len(x_t),), t, dtype=torch.int64)  # on the CPU, where the schedule is
        estimate = self._estimate(x_t, steps, self.conditions)
        if self.guidance != 1.0 and self.unknown is not None:
            free = self._estimate(x_t, steps, self.unknown)
            estimate = free + self.guidance * (estimate - free)
        if self.network.config.self_conditioning:
            self.previous = estimate
        return estimate

    def _estimate(self, x_t: Tensor, steps: Tensor, conditions: Tensor) -> Tensor:
        alpha_bar = self.schedule.alpha_bar[steps].to(x_t)
        output = evaluate(self.network, x_t, steps.to(x_t.device), conditions, self.previous, self.clock, alpha_bar,
                          bf16=self.bf16)  # fmt: skip
        return predict_x0(self.schedule, self.target, x_t, steps, output)


def network_of(config: Config, n_leads: int, n_times: int | None = None) -> SSSD:
    """Build the network of a configuration, with initial weights that depend on ``config.seed`` alone.

    Its rhythm model and its Wiener filter, where it has them, are made for records of `n_times` samples (those of
    ``config.cohort`` unless given), and are still to be fitted.
    """
    conditions, cohort = Conditions(config.conditions.groups), config.cohort
    network = build_network(config.network, n_leads, conditions.sizes, config.conditions.widths, config.seed)
    network.embeddings.requires_grad_(config.conditions.learn)
    n_times = round(cohort.fs * cohort.seconds) if n_times is None else n_times
    if config.network.clock:
        network.rhythm = RhythmModel(n_times / cohort.fs, conditions.sizes, config.seed)
    if config.network.wiener:
        slow = config.network.wiener, config.network.wiener_groups
        network.wiener = WienerFilter(n_leads, n_times, cohort.fs, *slow)
    return network


def save_description(run: Path, config: Config, signals: SignalInfo, origin: Origin | None = None,
                     data: str | None = None) -> None:  # fmt: skip
    """Write ``model.json``, with the fingerprint of the records, if it is to be kept, and, last, ``config.json``."""
    vocabulary = Conditions(config.conditions.groups).vocabulary
    described = {"signals": asdict(signals), "vocabulary": vocabulary, "start_from": origin.note if origin else None,
                 "data": data}  # fmt: skip
    write_text(run / "model.json", json.dumps(described, indent=2) + "\n")
    write_text(run / "config.json", config.to_json() + "\n")


def load_description(run: Path) -> tuple[Config, SignalInfo, dict[str, Any] | None]:
    """Read what `save_description` wrote: configuration, signals, and the note of the run it started from.

    Raises
    ------
    InputError
        If a file is absent or damaged, the signals are not those of the configuration, or the vocabulary is not the one
        this version of ecglib encodes.
    """
    try:
        text = (run / "config.json").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{error.filename} does not exist: {run} is not the folder of a run") from None
    try:
        config = Config.from_json(text)
    except InputError as error:
        raise InputError(f"{run / 'config.json'} is damaged ({error}); restore it, or train the run again") from None
    try:
        described = json.loads((run / "model.json").read_text(encoding="utf-8"))
        info = described["signals"]
        mean, scale = tuple(info["mean"]), tuple(info["scale"])
        signals = SignalInfo(tuple(info["leads"]), info["fs"], info["n_times"], mean, scale)
    except FileNotFoundError as error:
        raise InputError(f"{error.filename} does not exist: {run} is not the folder of a run") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{run / 'model.json'} is damaged ({error}); train the run again") from None
    n_leads, patch = len(signals.leads), config.network.patch
    if signals.fs != config.cohort.fs or signals.n_times % patch or not n_leads == len(mean) == len(scale):
        raise InputError(f"{run / 'model.json'} ({n_leads} leads, fs={signals.fs}, n_times={signals.n_times}) does not "
                         f"fit config.json beside it (fs={config.cohort.fs}, patch={patch}); restore both, or train "
                         "again")  # fmt: skip
    expected = {k: list(v) for k, v in Conditions(config.conditions.groups).vocabulary.items()}
    if described.get("vocabulary") != expected:
        raise InputError(f"{run} was trained with another vocabulary of conditions than this version encodes; "
                         "use the version in its manifest, or train again")  # fmt: skip
    return config, signals, described.get("start_from")


def check_same_run(run: Path, config: Config, signals: SignalInfo, origin: Origin | None,
                   data: str | None = None) -> None:  # fmt: skip
    """Raise `InputError` if a folder holds a run of another configuration, other records, or from other weights.

    `data` is the records' fingerprint; a run that kept none (a private one, or one of an older version) passes.
    """
    old_config, old_signals, old_start = load_description(run)
    if old_config != config:
        raise InputError(f"{run} holds a run of config {old_config.id}, not {config.id}; choose another folder")
    start = origin.note if origin else None
    if old_start != start:
        raise InputError(f"{run} was started from {old_start or 'no other run'}, not from {start or 'no other'}; give "
                         "the start_from that it had, or choose another folder")  # fmt: skip
    if old_signals != signals:
        raise InputError(f"{run} was trained on other signals (scale, length, sampling rate); choose another folder")
    kept = json.loads((run / "model.json").read_text(encoding="utf-8")).get("data")
    if None not in (kept, data) and kept != data:
        raise InputError(f"{run} was trained on other records: their conditions, beats or signals are not these; "
                         "choose another folder")  # fmt: skip


def origin_of(run: Path, config: Config, fs: int, n_times: int) -> Origin:
    """Return a finished run as the origin of one with another configuration.

    Raises
    ------
    InputError
        If it is not finished or damaged, or has another network, conditions, target, sampling rate or length.
    """
    manifest = read_manifest(run, "run")
    old, signals, _ = load_description(run)
    for name, ours, theirs in [("network", config.network, old.network),
                               ("conditions.groups", config.conditions.groups, old.conditions.groups),
                               ("conditions.widths", config.conditions.widths, old.conditions.widths),
                               ("diffusion.target", config.diffusion.target, old.diffusion.target),
                               ("signals", (fs, n_times), (signals.fs, signals.n_times))]:  # fmt: skip
        if ours != theirs:
            raise InputError(f"start_from={str(run)!r} has {name} {theirs}, and this run {ours}; expected the same")
    note = {"config": old.id, "sha256": check_weights(run, manifest)}
    return Origin(run / WEIGHTS, signals, note)


def check_weights(run: Path, manifest: dict[str, Any]) -> str:
    """Return the SHA-256 of a run's weights; `InputError` if it or the configuration is not the manifest's."""
    digests = manifest.get("sha256", {})
    for name in ("config.json", WEIGHTS):
        if not (run / name).exists() or sha256_of(run / name) != digests.get(name):
            raise InputError(f"{run / name} is not the file that its manifest names; restore it or train again")
    return str(digests[WEIGHTS])


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors to a safetensors file, atomically."""
    with atomic_file(path) as temporary:
        try:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary)
        except SafetensorError as error:  # the disk's errors, under another name
            raise OSError(f"{path}: {error}") from None


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
    """Return a torch device, the CPU or a GPU; `InputError` if it is another or not present on this machine."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"device={name!r} is not a torch device; use cpu or cuda") from None
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device={name!r} was never tried with ecglib; use cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        sees = f"{torch.cuda.device_count()} GPUs" if torch.cuda.is_available() else "no GPU"
        raise InputError(f"device={name!r} was asked for, but torch sees {sees} here; use device='cpu'")
    return device
