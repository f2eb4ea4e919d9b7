"""Sampling: a trained generator, asked for patients, answers with a synthetic cohort."""

import warnings
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from ecglib.config import Config
from ecglib.diffusion.clock import clock
from ecglib.diffusion.conditions import Conditions
from ecglib.diffusion.model import (
    WEIGHTS,
    Denoiser,
    SignalInfo,
    check_weights,
    checked_device,
    load_description,
    load_tensors,
    load_weights,
    network_of,
)
from ecglib.diffusion.network import SSSD
from ecglib.diffusion.process import Schedule
from ecglib.diffusion.samplers import SAMPLERS, OnStep, spaced_steps
from ecglib.diffusion.seeds import RecordNoise
from ecglib.diffusion.workers import ALONE, Workers
from ecglib.errors import LARGEST_SEED, InputError, choose, whole
from ecglib.runs import read_manifest
from ecglib.signals import LEADS_12, Cohort, to_twelve_leads
from ecglib.signals.table import COLUMNS, check_table

NOT_PRIVATE = "none: not differentially private"
NO_MEMORY = "can't allocate memory", "not enough memory", "bad_alloc"  # how torch says it of the machine's own memory


class Generator:
    """A trained generator of ECGs.

    On a GPU it samples with the precision it was trained with (``training.precision``), elsewhere in float32.

    Parameters
    ----------
    config : Config
    signals : SignalInfo
    network : SSSD
    device : torch.device
    privacy : str
        What was promised to the training patients; stands in the notes, and so on the card, of all that it makes.
    """

    def __init__(self, config: Config, signals: SignalInfo, network: SSSD, device: torch.device | str = "cpu",
                 privacy: str = NOT_PRIVATE) -> None:  # fmt: skip
        self.config, self.signals, self.privacy = config, signals, privacy
        self.device = checked_device(str(device))
        self.network = network.to(self.device).eval().requires_grad_(False)
        self.conditions = Conditions(config.conditions.groups)
        self.schedule = Schedule.named(config.diffusion.schedule, config.diffusion.timesteps)

    @classmethod
    def load(cls, run: Path | str, *, device: str = "cpu") -> Self:
        """Load a finished run.

        Raises
        ------
        InputError
            If the run is absent, not finished, damaged, or its weights do not fit its configuration.
        """
        run = Path(run)
        manifest = read_manifest(run, "run", make="make book")
        config, signals, _ = load_description(run)
        network = network_of(config, len(signals.leads), signals.n_times)
        load_weights(network, load_tensors(run / WEIGHTS), run / WEIGHTS)
        check_weights(run, manifest)
        return cls(config, signals, network, device, manifest.get("privacy", NOT_PRIVATE))

    def sample(self, table: pd.DataFrame, *, sampler: str | None = None, steps: int | None = None,
               spacing: str | None = None, guidance: float | None = None, seed: int = 0, copies: int = 1,
               batch: int | None = None, progress: bool = False, on_step: OnStep | None = None,
               workers: Workers = ALONE) -> Cohort:  # fmt: skip
        """Make synthetic ECGs for the patients a table describes.

        Parameters
        ----------
        table : DataFrame
            One row a patient to imitate, as in `Cohort.table`; ``ecg_id`` and ``scp_codes`` are needed, the rest may
            be absent or NaN, which means "unknown".
        sampler : {"ddpm", "ddim", "dpmpp", "dpmpp-sde"}, optional
            Default: the configuration's, like `steps`, `spacing`, `guidance` and `batch`.
        steps : int, optional
            Evaluations of the network, 1 to T.
        spacing : {"even", "log-snr"}, optional
            How they are spaced over t.
        guidance : float, optional
            1 is none; above 1 exaggerates what was asked for.
        seed : int
        copies : int
            Synthetic records per row.
        batch : int, optional
            Records at once; changes speed and memory, not the samples (beyond 1e-5 mV).
        workers : Workers
            The processes that sample together: each takes its share of the records, and all get the whole cohort.

        Returns
        -------
        Cohort
            Twelve leads in mV. ``ecg_id`` is new (1, 2, …); ``source_ecg_id`` and ``copy`` say which row it answers;
            ``notes`` say how it was made.

        Raises
        ------
        InputError
            If an argument is unknown or out of range, memory does not suffice, or a sample is not finite.
        """
        seed, settings = whole("seed", seed, 0, LARGEST_SEED), self.config.sampling
        asked = check_table(asked_table(table, copies))
        batch = whole("batch", settings.batch if batch is None else batch, 1, 65_536)
        how: dict[str, Any] = {
            "sampler": choose("sampler", settings.sampler if sampler is None else sampler, SAMPLERS),
            "steps": whole("steps", settings.steps if steps is None else steps, 1, len(self.schedule)),
            "spacing": settings.spacing if spacing is None else spacing,
            "guidance": checked_guidance(settings.guidance if guidance is None else guidance, self.config),
            "seed": seed,
        }
        mine = asked.iloc[workers.share(len(asked))]
        parts = [np.zeros((0, len(LEADS_12), self.signals.n_times), dtype=np.float32)]
        for start in tqdm(range(0, len(mine), batch), desc="sampling", unit="batch", disable=not progress):
            rows = mine.iloc[start : start + batch]
            try:
                draw = self.sample_signals(rows, **how, on_step=on_step)
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                raise InputError(f"memory does not suffice for {len(rows)} records at once (batch={batch}); try "
                                 f"batch={max(1, len(rows) // 4)}: it changes no sample") from error  # fmt: skip
            parts.append(to_twelve_leads(self.signals.to_millivolts(draw)).cpu().numpy())
        x = workers.join(np.concatenate(parts), len(asked))
        bad = np.flatnonzero(~np.isfinite(x).all(axis=(1, 2)))
        if len(bad):
            raise InputError(f"{len(bad)} of {len(x)} samples hold NaN or inf: the run is not trained well enough, or "
                             f"guidance={how['guidance']} is too strong")  # fmt: skip
        notes = {"preset": self.config.name, "config": self.config.id, **how, "epsilon": self.privacy}
        return Cohort(x.astype(np.float32), self.signals.fs, LEADS_12, asked, source="synthetic", notes=notes)

    def denoiser(self, encoded: Tensor, guidance: float = 1.0, beats: Sequence[np.ndarray] | None = None) -> Denoiser:
        """Return ``denoise(x_t, t) -> x0_hat`` for records with given conditions.

        Parameters
        ----------
        encoded : float32 (B, K)
        guidance : float
        beats : sequence of float arrays, optional
            When each record's beats are, in seconds, where the network has a clock; not given, they are unknown to it.
        """
        ticks = None
        if self.config.network.clock and beats is not None:
            ticks = clock(beats, self.signals.n_times, self.signals.fs).to(encoded)
        unknown = self.conditions.unknown(len(encoded)).to(encoded)
        bf16 = self.device.type == "cuda" and self.config.training.precision == "bf16"
        return Denoiser(self.network, self.schedule, self.config.diffusion.target, encoded, unknown, guidance, ticks,
                        bf16)  # fmt: skip

    @torch.no_grad()
    def sample_signals(self, asked: pd.DataFrame, *, sampler: str, steps: int, spacing: str, guidance: float, seed: int,
                       on_step: OnStep | None = None) -> Tensor:  # fmt: skip
        """Sample one batch in the network's own unit: float32 (B, 8, L)."""
        spaced_steps(self.schedule, steps, spacing)
        encoded, noise = self.conditions.encode(asked).to(self.device), self._noise(asked, seed)
        denoise = self.denoiser(encoded, guidance, self._beats(encoded, noise))
        return SAMPLERS[sampler](denoise, noise(), self.schedule, steps=steps, spacing=spacing, noise=noise,
                                 on_step=on_step)  # fmt: skip

    def draw_beats(self, table: pd.DataFrame, *, seed: int = 0, copies: int = 1) -> list[np.ndarray]:
        """Draw when the beats of records are: those that `sample` draws first, of which the signal is then made.

        Parameters
        ----------
        table, seed, copies
            As in `sample`.

        Returns
        -------
        list of float64 arrays
            Seconds from each record's start, from before it to beyond its end.

        Raises
        ------
        InputError
            If the network has no clock (``network.clock``), and leaves rhythm to the signal; or an argument is wrong.
        """
        seed, asked = whole("seed", seed, 0, LARGEST_SEED), check_table(asked_table(table, copies))
        beats = self._beats(self.conditions.encode(asked).to(self.device), self._noise(asked, seed))
        if beats is None:
            raise InputError("network.clock=False: this generator draws no beats before the signal; train one with it")
        return beats

    def _noise(self, asked: pd.DataFrame, seed: int) -> RecordNoise:
        keys = [(seed, int(i), int(copy)) for i, copy in zip(asked["source_ecg_id"], asked["copy"], strict=True)]
        return RecordNoise(keys, (len(self.signals.leads), self.signals.n_times), self.device)

    def _beats(self, encoded: Tensor, noise: RecordNoise) -> list[np.ndarray] | None:
        rhythm = self.network.rhythm
        return None if rhythm is None else rhythm.sample(encoded, noise, noise.uniform())


def checked_guidance(guidance: float, config: Config) -> float:
    """Return the guidance as a float; `InputError` unless it is 0 to 100; a warning if it was not trained for."""
    if isinstance(guidance, bool) or not isinstance(guidance, Real) or not 0 <= float(guidance) <= 100:  # NaN fails too
        raise InputError(f"guidance={guidance!r}; expected 0 to 100, 1 for none")
    if guidance != 1 and not config.conditions.drop:
        warnings.warn(f"guidance={guidance:g}, but this run never dropped conditions (conditions.drop=0): what it "
                      "makes of unknown ones was not learnt, and guidance means little", stacklevel=3)  # fmt: skip
    return float(guidance)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in str(error) for words in NO_MEMORY)


def asked_table(table: pd.DataFrame, copies: int) -> pd.DataFrame:
    """Return the table of a synthetic cohort: each row `copies` times, with ids of its own.

    Only what a generator can be asked for is kept, whether this one listens to it or not, and the fold: what else a
    real record's row holds (its report, device, date, measurements) is not true of the synthetic one, and may be
    private.

    Raises
    ------
    InputError
        If the table is none, is empty, has a column twice or lacks ``ecg_id`` or ``scp_codes``; an ``ecg_id`` is no
        whole number from 0; two rows have one and ask for the same, which would be the same ECG twice; or copies is no
        number from 1.
    """
    if not isinstance(table, pd.DataFrame) or table.columns.has_duplicates:
        came = f"columns {list(table)}" if isinstance(table, pd.DataFrame) else f"a {type(table).__name__}"
        raise InputError(f"table is of {came}; expected a pandas.DataFrame with each column once")
    absent = [name for name in ("ecg_id", "scp_codes") if name not in table]
    if absent or not len(table):
        raise InputError(f"table has {len(table)} rows and lacks {absent or 'nothing'}; expected at least one row with "
                         "ecg_id and scp_codes")  # fmt: skip
    copies = whole("copies", copies, 1, 10_000)
    numbers = pd.to_numeric(table["ecg_id"], errors="coerce")
    if (wrong := ~((numbers >= 0) & (numbers % 1 == 0))).any():
        raise InputError(f"ecg_id={table['ecg_id'][wrong].iloc[0]!r}; expected whole numbers from 0")
    wishes = table[[name for name in COLUMNS if name in table and name != "patient_id"]].astype(str)
    if wishes.duplicated().any():
        raise InputError(f"ecg_id {numbers[wishes.duplicated()].iloc[0]:.0f} is there twice with the same wishes, and "
                         "would be the same ECG twice; use copies=2, or ids of their own")  # fmt: skip
    rows = np.repeat(np.arange(len(table)), copies)
    asked = table[[name for name in COLUMNS if name in table]].iloc[rows].reset_index(drop=True)
    ids = np.arange(1, len(asked) + 1)
    return asked.assign(source_ecg_id=numbers.to_numpy(np.int64)[rows], copy=np.tile(np.arange(copies), len(table)),
                        ecg_id=ids, patient_id=ids)  # fmt: skip
