"""What a training run leaves on disk, so that it can be killed at any moment and go on to the same weights.

``checkpoint.safetensors`` holds weights, averaged weights, the optimiser's moments, the step and the best validation:
all that the next step depends on. Random numbers are drawn from (seed, step), so that there is no state of a generator
to keep, and nothing is pickled: loading a checkpoint executes nothing. ``log.csv`` is the log, a row a validation.

Every file is written beside its place and then renamed. A kill leaves the old file or the new one, a full disk the old.
"""

import csv
import io
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor

from ecglib.diffusion.model import WEIGHTS, load_tensors, load_weights, save_tensors
from ecglib.diffusion.network import SSSD
from ecglib.diffusion.optimiser import Optimiser
from ecglib.errors import InputError
from ecglib.runs import MANIFEST, read_manifest, write_text

CHECKPOINT, LOG = "checkpoint.safetensors", "log.csv"
LOG_COLUMNS = ("step", "train", "mse", "mel", "rhythm", "gradient", "validation", "seconds_per_step", "minutes_left")


def save_checkpoint(path: Path, network: SSSD, average: SSSD, optimiser: Optimiser, step: int,
                    best: Mapping[str, float]) -> None:  # fmt: skip
    """Write all that the next step depends on.

    Parameters
    ----------
    path : Path
    network, average : SSSD
        Weights as they are, and their moving average.
    optimiser : Optimiser
        Its moments; learning rates follow from the step.
    step : int
        Steps done.
    best : mapping
        ``step`` and ``validation`` of the kept weights.
    """
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    state |= {f"average.{name}": value for name, value in average.state_dict().items()}
    state |= {f"optimiser.{name}": value for name, value in optimiser.state().items()}
    state["progress"] = torch.tensor([step, best["step"], best["validation"]], dtype=torch.float64)
    save_tensors(path, state)


def load_checkpoint(path: Path, network: SSSD, average: SSSD, optimiser: Optimiser) -> tuple[int, dict[str, float]]:
    """Put back what `save_checkpoint` wrote; return (steps done, best).

    Raises
    ------
    InputError
        If the file is damaged, or of another network or optimiser. It is never taken for an absent one.
    """
    state = load_tensors(path)
    load_weights(network, _below(state, "network."), path)
    load_weights(average, _below(state, "average."), path)
    if "progress" not in state or not optimiser.restore(_below(state, "optimiser.")):
        raise InputError(f"{path} holds no optimiser that fits its network; restore it, or train again in a new folder")
    step, best_step, best = state["progress"].tolist()
    return int(step), {"step": int(best_step), "validation": best}


def _below(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def write_log(run: Path, rows: list[dict[str, float]]) -> None:
    """Write the log, a row a validation."""
    text = io.StringIO()
    writer = csv.DictWriter(text, LOG_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(run / LOG, text.getvalue())


def open_log(run: Path, n_rows: int | None = None) -> list[dict[str, float]]:
    """Return the log's first `n_rows` rows: a run that was killed may have written more than its checkpoint knows.

    Raises
    ------
    InputError
        If it is damaged, or there are fewer rows.
    """
    try:
        with open(run / LOG, newline="", encoding="utf-8") as file:
            rows = [{name: float(row[name]) for name in LOG_COLUMNS} for row in csv.DictReader(file)]
    except FileNotFoundError:
        rows = []
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{run / LOG} is damaged ({error!r}); restore it, or train again in a new folder") from None
    if len(rows) < (n_rows or 0):
        raise InputError(f"{run / LOG} has {len(rows)} rows, but the checkpoint beside it knows of {n_rows}; restore "
                         "it, or train again in a new folder")  # fmt: skip
    return [{**row, "step": int(row["step"])} for row in rows[:n_rows]]


def read_log(run: Path | str) -> list[dict[str, float]]:
    """Return the training log of a finished run: one dict a validation, with the keys of `LOG_COLUMNS`.

    ``train`` (the loss), its parts ``mse``, ``mel`` and ``rhythm``, and ``gradient``, the gradient's norm before
    clipping, are of the last batch; ``validation`` is the loss of the averaged model. ``seconds_per_step`` counts since
    the row before.
    """
    read_manifest(run, "run")
    return open_log(Path(run))


@contextmanager
def writing(run: Path) -> Iterator[None]:
    """Turn what a disk can do (be full, read-only, gone) into an `InputError` with a remedy."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{run} cannot be written: {error}; make room there or choose another folder. What was saved "
                         "before is whole, and the same call goes on from there") from error  # fmt: skip


def remove_leftovers(run: Path) -> None:
    """Remove what killed processes left half-written; call with the run's lock held."""
    for name in (CHECKPOINT, WEIGHTS, LOG, "config.json", "model.json", MANIFEST, "sheets/step-*.png"):
        place = run / name
        for path in place.parent.glob(f".{place.name}.*{place.suffix}"):
            path.unlink()
    for path in run.glob(".tmp??????"):  # what safetensors calls them while it writes
        path.unlink()


class StopSignals:
    """While open, Ctrl-C and a batch system's SIGTERM only set `asked`, so that a step can be finished and saved.

    The second signal acts at once. A process that ignores Ctrl-C (in the background of a shell) goes on ignoring it.
    """

    def __init__(self) -> None:
        self.asked = False
        self.before: dict[int, object] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self.before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self.__exit__()
