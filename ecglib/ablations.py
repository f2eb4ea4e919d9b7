"""Ablations: a grid of variants and seeds, each trained with the same budget and measured against the same baseline.

The grid is a small table, `GRID`. A cell of it is trained, sampled and measured by `run`; what it found is a small
table too, and `collect` adds it to the committed one, `RESULTS`. A cell that stands there is done, on whatever machine
it was run, so that the grid grows over many runs.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ecglib.config import Config
from ecglib.errors import InputError, choose
from ecglib.preflight import COHORTS
from ecglib.runs import MANIFEST, ROOT, atomic_file, commit, read_manifest, work_folder
from ecglib.study import Study
from ecglib.variants import VARIANTS, variant

if TYPE_CHECKING:
    from ecglib.signals.cohort import Cohort

GRID = ROOT / "book" / "ablations.csv"
RESULTS = ROOT / "book" / "results" / "ablations.csv"
BASELINE = "mel-none"
BASELINES = {"sssd-mel-": "sssd-ecg", "sssd-2x-mel-": "sssd-2x", "sssd-4x-mel-": "sssd-4x",
             "plain-mel-": "plain-none"}  # of variants whose names begin so
ABOVE = 1.2  # times its floor: below, what is left above it is mostly luck, and no denominator
ROW, KEY = "row.csv", ["variant", "cohort", "preset", "seed"]


def baseline_of(variant: str) -> str:
    """Return what a variant is compared with: the same network without a mel loss if it has a name in `BASELINES`."""
    return next((base for start, base in BASELINES.items() if variant.startswith(start)), BASELINE)


def told(name: str) -> str:
    """Return in words what a variant changes: of preset ``quick``, or of the baseline it shares with its family."""
    base = baseline_of(name)
    before = Config.preset("quick").override({} if base == BASELINE else variant(base))
    after = before.override(variant(name))
    new = {key: attrgetter(key)(after) for key in variant(name)}
    words = [f"as {base}"] * (base != BASELINE)
    words += [f"{key} = {value}" for key, value in new.items() if value != attrgetter(key)(before)]
    return "; ".join(words) or "the preset itself"


@dataclass(frozen=True)
class Cell:
    """One variant, cohort, preset and seed.

    Raises
    ------
    InputError
        If the variant, cohort or preset is unknown.
    """

    variant: str
    cohort: str = "virtual"
    preset: str = "quick"
    seed: int = 0

    def __post_init__(self) -> None:
        choose("cohort", self.cohort, COHORTS)
        self.config  # noqa: B018  an unknown variant, preset or seed is refused here

    @cached_property
    def config(self) -> Config:
        """The preset with the variant's changes."""
        return Config.preset(self.preset).override({"seed": self.seed}).override(variant(self.variant))

    @property
    def name(self) -> str:
        """``<cohort>-<preset>-s<seed>-<variant>``: what Make calls it."""
        return f"{self.cohort}-{self.preset}-s{self.seed}-{self.variant}"

    @property
    def folder(self) -> Path:
        """``work/ablations/<name>``."""
        return work_folder() / "ablations" / self.name

    @property
    def baseline(self) -> Cell:
        """The cell that this one is compared with: see `baseline_of`."""
        return Cell(baseline_of(self.variant), self.cohort, self.preset, self.seed)


def grid(path: Path = GRID) -> list[Cell]:
    """Read the grid: columns ``variant``, ``cohort``, ``preset`` and ``seeds`` (numbers between blanks).

    Raises
    ------
    InputError
        If a column is missing, a name unknown, a seed no number, or a cell there twice.
    """
    table = pd.read_csv(path, comment="#", dtype=str, keep_default_na=False)
    missing = {"variant", "cohort", "preset", "seeds"} - set(table)
    if missing:
        raise InputError(f"{path} has no column {', '.join(sorted(missing))}; expected variant, cohort, preset, seeds")
    cells = []
    for row in table.to_dict("records"):
        seeds = str(row["seeds"]).split()
        if not seeds or not all(seed.isdecimal() for seed in seeds):
            raise InputError(f"{path}: seeds={row['seeds']!r} of {row['variant']}; expected numbers between blanks")
        choose("variant", row["variant"], VARIANTS)
        cells += [Cell(row["variant"], row["cohort"], row["preset"], int(seed)) for seed in seeds]
    twice = sorted({cell.name for cell in cells if cells.count(cell) > 1})
    if twice:
        raise InputError(f"{path} has {', '.join(twice)} twice")
    return cells


def named(name: str, path: Path = GRID) -> Cell:
    """Return the grid's cell of that name; `InputError` if it has none."""
    cells = {cell.name: cell for cell in grid(path)}
    cells |= {cell.baseline.name: cell.baseline for cell in cells.values()}
    return cells[choose("cell", name, cells)]


def results(path: Path = RESULTS) -> pd.DataFrame:
    """Return the committed rows; an empty table where there are none."""
    return pd.read_csv(path, comment="#") if path.exists() else pd.DataFrame(columns=[*KEY, "metric", "key", "value"])


def pending(cells: Sequence[Cell], done: pd.DataFrame) -> list[Cell]:
    """Return the cells still to be run, and before them the baselines whose samples they are compared with.

    Parameters
    ----------
    cells : sequence of Cell
    done : DataFrame
        As `results` returns it.
    """
    known = {tuple(row) for row in done[KEY].drop_duplicates().itertuples(index=False)}
    left = [cell for cell in cells if (cell.variant, cell.cohort, cell.preset, cell.seed) not in known]
    needed = {cell.baseline for cell in left}
    needed |= {cell.baseline for cell in needed}  # other baselines have one, too
    first = sorted(needed, key=lambda cell: (cell.variant != BASELINE, cell.name))
    return [*first, *(cell for cell in left if cell not in needed)]


def training_of(study: Study, config: Config) -> tuple[Config, Path]:
    """Return what is trained and where, alike for all that differ in how they sample (and for ``tools/trials.py``).

    The folder's name changes with configuration, cohort and code, as `Study.run_folder` does.
    """
    sampling = vars(Config.preset(config.name).sampling)
    learnt = config.override({f"sampling.{name}": value for name, value in sampling.items()})
    return learnt, work_folder() / "ablations" / "runs" / f"{study.cohort}-{learnt.id}-{study.digest()}"


def _sampled(cell: Cell, run: Path, asked: pd.DataFrame, progress: bool) -> Cohort:
    """Return the cell's samples: those on disk, if they are of these weights and were drawn in this way."""
    from ecglib.diffusion import Generator
    from ecglib.signals import Cohort

    folder, how = cell.folder / "samples", vars(cell.config.sampling)
    made_by = {"weights": read_manifest(run, "run")["sha256"]["model.safetensors"], "sampling": how}
    if not (folder / MANIFEST).exists() or read_manifest(folder, "cohort").get("made_by") != made_by:
        samples = Generator.load(run).sample(asked, seed=cell.seed, progress=progress, **how)
        samples.save(folder, made_by=made_by)
    return Cohort.load(folder)


def run(cell: Cell, *, progress: bool = True) -> pd.DataFrame:
    """Train, sample and measure a cell; what is there already is not done again.

    Parameters
    ----------
    cell : Cell
        Its baseline must have been run, unless it is the baseline.
    progress : bool
        Show bars with the time left.

    Returns
    -------
    DataFrame
        One row a metric and key, as `evaluate` gives, with ``difference``, ``difference_low`` and ``difference_high``:
        the value less the baseline's, paired over patients; ``seconds``, the training's time, NaN where another cell
        had trained the same. Also in `ROW`.

    Raises
    ------
    InputError
        If the baseline's samples are not there.
    """
    from ecglib.diffusion import train
    from ecglib.evaluation import Comparison, evaluate
    from ecglib.evaluation.difference import differences
    from ecglib.evaluation.headlines import METRICS
    from ecglib.signals import Cohort

    study = Study(cell.cohort, cell.preset, cell.seed)
    if not (study.folder / "cohort" / MANIFEST).exists():
        study.prepare()
    cohort = study.open_cohort()
    training, _, test = cohort.split()
    asked = test.select(range(min(len(test), cell.config.cohort.n_evaluate)))
    learnt, trained = training_of(study, cell.config)
    there, began = (trained / MANIFEST).exists(), time.perf_counter()
    train(learnt, cohort, trained, progress=progress)
    seconds = np.nan if there else round(time.perf_counter() - began)
    comparison = Comparison(asked, _sampled(cell, trained, asked.table, progress), train=training)
    table = evaluate(comparison, METRICS, seed=cell.seed)
    base = cell.baseline.folder / "samples"
    if cell != cell.baseline:
        if not (base / MANIFEST).exists():
            raise InputError(f"{base} is not there: run the cell {cell.baseline.name} first, as `make ablations` does")
        other = Comparison(asked, Cohort.load(base), train=training)
        paired = differences(comparison, other, list(METRICS), seed=cell.seed)
        paired = paired.rename(columns={"low": "difference_low", "high": "difference_high"})
        table = table.merge(paired, how="left", on=["metric", "key"])
    table = table.assign(variant=cell.variant, cohort=cell.cohort, preset=cell.preset, seed=cell.seed,
                         n_train=len(training), steps=cell.config.training.steps, seconds=seconds,
                         commit=commit(), date=str(datetime.date.today()), torch=version("torch"))  # fmt: skip
    with atomic_file(cell.folder / ROW) as temporary:
        table.to_csv(temporary, index=False, float_format="%.5g")
    return table


def collect(path: Path = RESULTS) -> pd.DataFrame:
    """Add the rows of cells run here to the committed table, and return it; a row that stands there already stays."""
    found = [pd.read_csv(row) for row in sorted((work_folder() / "ablations").glob(f"*/{ROW}"))]
    known = results(path)
    table = pd.concat([*([] if known.empty else [known]), *found], ignore_index=True) if found else known
    table = table.drop_duplicates([*KEY, "metric", "key"]).sort_values([*KEY[1:], "variant"], kind="stable")
    head = "# command: make ablations; a cell that stands here is not run again: delete its rows to run it anew\n"
    with atomic_file(path) as temporary:
        temporary.write_text(head + table.to_csv(index=False, float_format="%.5g"), encoding="utf-8")
    return table


def reductions(rows: pd.DataFrame, metric: str, key: str) -> pd.DataFrame:
    r"""Return by how many percent an error of each variant is larger than its baseline's of the same seed.

    The baseline's value is the row's own less its difference: both were trained on one machine, and rounding differs
    between machines, which training amplifies.

    Parameters
    ----------
    rows : DataFrame
        Of one cohort and preset, as `results` returns them.
    metric, key : str
        Which error.

    Returns
    -------
    DataFrame, one row a variant
        ``raw``, :math:`100\,(m / m_0 - 1)`; ``excess``, the same of what is above the floor, NaN unless each baseline
        is above `ABOVE` times its floor; ``possible``, the change that would lead to the floor: means over seeds;
        ``…_low`` and ``…_high``, the smallest and largest of them; ``seeds``. Negative is better.
    """
    part = rows[(rows["metric"] == metric) & (rows["key"] == key) & (rows["variant"] != BASELINE)]
    if part.empty:
        return pd.DataFrame()
    part = part.set_index(["variant", "seed"])
    value, floor, base = part["value"], part["floor"], part["value"] - part["difference"]
    changes = {"raw": value / base - 1,
               "excess": ((value - floor) / (base - floor) - 1).where(base > ABOVE * floor),
               "possible": floor / base - 1}  # fmt: skip
    found: dict[str, pd.Series] = {}
    for name, change in changes.items():
        each = 100 * change
        seeds = each.unstack("seed")
        missing = each.isna().groupby("variant").any()  # never a mean over fewer seeds than the others
        found |= {name: seeds.mean(axis=1).mask(missing), f"{name}_low": seeds.min(axis=1).mask(missing),
                  f"{name}_high": seeds.max(axis=1).mask(missing), "seeds": each.groupby("variant").size()}
    return pd.DataFrame(found)


def summary(rows: pd.DataFrame, wanted: Mapping[str, str]) -> pd.DataFrame:
    """Return, as text, a row a variant: mean ± standard deviation over seeds; and the floor last.

    Parameters
    ----------
    rows : DataFrame
        Of one cohort and preset, as `results` returns them.
    wanted : mapping
        From ``"<metric> <key>"`` to the name of its column.
    """
    rows = rows.assign(what=(rows["metric"] + " " + rows["key"].astype(str)).map(wanted))
    rows = rows.dropna(subset=["what", "value"])
    cells = rows.groupby(["variant", "what"])["value"].agg(["mean", "std"])
    text = cells["mean"].map("{:.3f}".format) + cells["std"].map(lambda s: "" if np.isnan(s) else f" ± {s:.3f}")
    seeds = rows.groupby("variant")["seed"].nunique().astype(str).rename("seeds")
    table = text.unstack("what").join(seeds).reindex([name for name in VARIANTS if name in set(rows["variant"])])
    if len(table):
        table.loc["floor"] = rows.groupby("what")["floor"].mean().map("{:.3f}".format)
    return table[[name for name in (*wanted.values(), "seeds") if name in table]].fillna("")
