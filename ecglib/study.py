"""A study: one cohort, one preset, one seed, and the folder below ``work/`` where its steps leave their results.

Notebooks open a study and ask it for what they need; what is missing is answered by the command that makes it.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ecglib.config import Config
from ecglib.errors import InputError, choose
from ecglib.preflight import COHORTS, fetched
from ecglib.runs import MANIFEST, ROOT, read_manifest, work_folder

if TYPE_CHECKING:
    from ecglib.signals.cohort import Cohort

SHIPPED = ROOT / "ecglib" / "shipped"


@dataclass(frozen=True)
class Study:
    """One (cohort, preset, seed) and its files.

    Parameters
    ----------
    cohort : str
        One of ``ecglib.preflight.COHORTS``.
    preset : str
        A preset of `Config`.
    seed : int
    run : str
        Whose weights `finished_run` gives: those that this study has trained, where empty; ``shipped``, those that come
        with the package (`SHIPPED`); or the folder of another finished run.

    Raises
    ------
    InputError
        If cohort or preset is unknown, or the seed out of range.
    """

    cohort: str = "virtual"
    preset: str = "quick"
    seed: int = 0
    run: str = ""

    def __post_init__(self) -> None:
        choose("cohort", self.cohort, COHORTS)
        self.config  # noqa: B018  an unknown preset or seed is refused here

    @property
    def config(self) -> Config:
        """The preset with this study's seed."""
        return Config.preset(self.preset).override({"seed": self.seed})

    @property
    def device(self) -> str:
        """Where chapters train and sample: ``cuda`` where torch sees a GPU, ``cpu`` elsewhere."""
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def folder(self) -> Path:
        """``work/<cohort>-<preset>-s<seed>``."""
        return work_folder() / f"{self.cohort}-{self.preset}-s{self.seed}"

    @property
    def command(self) -> str:
        """The command that makes everything of this study."""
        at_hand = self.cohort == "virtual" or fetched(self.cohort).is_dir()
        return self.make("book") + ("" if at_hand else " DATA=<folder>")

    def make(self, target: str) -> str:
        """Return the call of ``make`` for a target, with those of this study's variables that are not the defaults."""
        given = {"COHORT": (self.cohort, "virtual"), "PRESET": (self.preset, "quick"), "SEED": (self.seed, 0)}
        return " ".join(["make", target, *(f"{name}={value}" for name, (value, default) in given.items()
                                           if value != default)])  # fmt: skip

    def need(self, step: str) -> "Study":
        """Return the study itself if a step is done; else say, before anything heavy is imported, what makes it.

        Parameters
        ----------
        step : {"cohort", "run", "samples"}

        Raises
        ------
        InputError
            If the step was not done; the message names the make target.
        """
        if choose("step", step, ("cohort", "run", "samples")) == "run":
            self.finished_run()
        else:
            read_manifest(self.folder / step, "cohort", make=self.command)
        return self

    def prepare(self, data: str | None = None) -> "Cohort":
        """Read or make this study's cohort, save it, and return it.

        Parameters
        ----------
        data : path, optional
            The folder of real records; where ``make data`` puts them unless given.
        """
        from ecglib.signals import load_cohort

        wanted = self.config.cohort
        n = wanted.n if self.cohort == "virtual" or self.preset == "smoke" else None  # else every real record
        cohort = load_cohort(self.cohort, root=data or None, n=n, seed=self.seed, fs=wanted.fs, seconds=wanted.seconds,
                             population=wanted.population, scratch=self.folder)  # fmt: skip
        cohort.save(self.folder / "cohort", study=self.folder.name)
        return cohort

    def open_cohort(self) -> "Cohort":
        """Open the prepared cohort; `InputError` naming the make target if it was not prepared."""
        from ecglib.signals.cohort import Cohort

        return Cohort.load(self.need("cohort").folder / "cohort")

    def run_folder(self) -> Path:
        """Return where this study's training run lives: its name changes with configuration, data and code.

        So a run is never mistaken for that of another configuration, another cohort, or a changed network.
        """
        return self.folder / "runs" / f"{self.config.id}-{self.digest()}"

    def digest(self) -> str:
        """Return eight hexadecimal digits of what a training depends on beside its configuration: cohort and code."""
        cohort = read_manifest(self.folder / "cohort", "cohort", make=self.command)
        files = (cohort["sha256"].get(name, "") for name in ("signals.npy", "table.csv", "waves.csv"))
        digest = hashlib.sha256("".join(files).encode())
        code = ROOT / "ecglib"
        signals = (code / "signals" / name for name in ("beats.py", "leads.py", "statements.py"))
        for path in [*sorted((code / "diffusion").glob("*.py")), *signals]:
            digest.update(path.read_bytes())
        return digest.hexdigest()[:8]

    def finished_run(self) -> Path:
        """Return the folder of the finished run; `InputError` naming the make target if it is not finished."""
        if self.run:
            run = SHIPPED if self.run == "shipped" else work_folder() / self.run
            read_manifest(run, "run")
            return run
        run = self.run_folder()
        if not (run / MANIFEST).exists():
            raise InputError(f"{run} holds no finished training run; run `{self.command}` (chapter 07_train makes it)")
        return run

    def open_samples(self) -> "Cohort":
        """Open the synthetic cohort that chapter 08_sample made; `InputError` if it was not made."""
        from ecglib.signals.cohort import Cohort

        return Cohort.load(self.need("samples").folder / "samples")
