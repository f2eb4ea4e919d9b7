"""The low-data grid: ``python tools/utility_grid.py --help``.

Makes what it needs below ``work/<study>/utility/`` (copies of the training records by the study's generator; for the
setting "fraction" a generator trained on each fraction and seed), fits every cell of the grid that the table lacks, and
writes two tables: one row a cell, and the paired differences from real records alone. Stop it whenever you like; the
same command goes on. Cells come in the order in which their synthetic records take longer to make.
"""

import argparse
import datetime
import os
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ecglib.diffusion import Generator, train
from ecglib.errors import InputError
from ecglib.evaluation.classifier import CLASSES, targets
from ecglib.evaluation.sr_af.transfer import source_patients
from ecglib.evaluation.utility import (
    FRACTIONS,
    METHODS,
    RATIOS,
    Cell,
    Features,
    Linear,
    Rocket,
    copy_features,
    draw_fraction,
    draw_weights,
    features_of,
    macro_draws,
    paired_difference,
    run_cell,
    verdict,
    with_interval,
)
from ecglib.runs import MANIFEST, atomic_file, read_manifest, versions
from ecglib.signals import Cohort, join
from ecglib.study import ROOT, Study

OUT = ROOT / "book" / "results"
KEYS = ["setting", "fraction", "method", "ratio", "seed"]
COMMAND = "python tools/utility_grid.py"
PART = 128  # records sampled at once, and kept


def copies_of(study: Study, folder: Path, generator: Generator, needed: list[np.ndarray]) -> list[Cohort]:
    """Return one cohort a copy, of the training records at `needed[copy]`; what is not on disk is sampled, in parts."""
    members = study.open_cohort().split()[0]
    copies = []
    for copy, rows in enumerate(needed):
        here = folder / f"copy-{copy}"
        parts = [Cohort.load(part.parent) for part in sorted(here.glob(f"part-*/{MANIFEST}"))]
        done = np.concatenate([part.table["source_ecg_id"] for part in parts]) if parts else np.zeros(0)
        wanted = members.table.iloc[rows]
        missing = wanted[~wanted["ecg_id"].isin(done)]
        for start in tqdm(range(0, len(missing), PART), desc=f"copy {copy}", unit=f"{PART} records"):
            made = generator.sample(missing.iloc[start : start + PART], seed=1000 + copy)
            source = made.table["source_ecg_id"]
            made = replace(made, table=made.table.assign(ecg_id=source, patient_id=source))  # unique in the whole copy
            made.save(here / f"part-{len(parts):03d}", copy=copy)
            parts.append(Cohort.load(here / f"part-{len(parts):03d}"))  # rounded to µV, as whoever goes on will read it
        copies.append(join(*parts))
    return copies


def copies_folder(study: Study) -> Path:
    """Return where copies by the study's generator are, by its weights: none of another generator is taken for it."""
    weights = read_manifest(study.finished_run(), "run")["sha256"]["model.safetensors"][:8]
    return study.folder / "utility" / f"all-{weights}"


def needed_rows(table: pd.DataFrame, todo: list[Cell]) -> list[np.ndarray]:
    """Return for each copy, from the first, the rows of the training records that cells want it of."""
    wanted = [cell for cell in todo if cell.method.startswith("synthetic")]
    most = max((cell.ratio for cell in wanted), default=0)
    rows = {(c.fraction, c.seed): draw_fraction(table, c.fraction, c.seed) for c in wanted}
    return [np.unique(np.concatenate([rows[c.fraction, c.seed] for c in wanted if c.ratio > copy]))
            for copy in range(most)]  # fmt: skip


def own_generator(study: Study, fraction: float, seed: int, steps: int) -> tuple[Path, np.ndarray]:
    """Train a generator on a fraction of the training patients (folds 9 and 10 as they are); return run and rows."""
    cohort = study.open_cohort()
    members, fold9, test = cohort.split()
    rows = draw_fraction(members.table, fraction, seed)
    few = join(members.select(rows), fold9, test)
    run = study.folder / "utility" / f"fraction-{fraction:g}-s{seed}-{steps}" / "run"
    return train(study.config.override({"seed": seed, "training.steps": steps}), replace(few, waves=None), run), rows


def cells(setting: str, fractions: list[float], ratios: list[int], seeds: list[int],
          methods: list[str]) -> list[Cell]:  # fmt: skip
    """Return the cells of the grid, small ratios first; with all patients there is nothing for a seed to draw."""
    methods = [m for m in methods if setting == "all" or m.startswith("synthetic")]
    some = [Cell(setting, fraction, method, ratio, seed) for fraction in fractions for method in methods
            for ratio in (ratios if METHODS[method] else [0])
            for seed in (seeds if fraction < 1 else seeds[:1])]  # fmt: skip
    return sorted(some, key=lambda cell: cell.ratio)


class Table:
    """The rows so far, and the probabilities behind them, saved after every cell."""

    def __init__(self, path: Path, predictions: Path, study: Study) -> None:
        self.path, self.predictions = path, predictions
        self.rows = pd.read_csv(path, comment="#") if path.exists() else pd.DataFrame(columns=[*KEYS, "study"])
        others = set(self.rows["study"]) - {study.folder.name}
        if others:
            raise InputError(f"{path} holds rows of {min(others)}; give --out another folder for {study.folder.name}")
        found = versions()
        self.made = {"study": study.folder.name, "date": str(datetime.date.today()), "commit": found["commit"],
                     "scikit-learn": found["scikit-learn"], "torch": found["torch"]}  # fmt: skip

    def has(self, cell: Cell) -> bool:
        return bool((self.rows[KEYS] == list(asdict(cell).values())).all(axis=1).any()) and self.file(cell).exists()

    def file(self, cell: Cell) -> Path:
        return self.predictions / f"{'_'.join(str(value) for value in asdict(cell).values())}.npy".replace(" ", "-")

    def add(self, cell: Cell, row: dict, chance: np.ndarray) -> None:
        with atomic_file(self.file(cell)) as path:
            np.save(path, chance.astype(np.float32), allow_pickle=False)
        same = (self.rows[KEYS] == list(asdict(cell).values())).all(axis=1)
        new = pd.DataFrame([row | self.made])
        self.rows = pd.concat([self.rows[~same], new], ignore_index=True) if len(self.rows) else new

    def save(self) -> None:
        order = self.rows.sort_values(KEYS)
        write(self.path, order, f"# command: {COMMAND}; one row a training, tested on fold 10; see chapter 13\n")


def write(path: Path, table: pd.DataFrame, head: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(head + table.to_csv(index=False, float_format="%.4f"), encoding="utf-8")


def fill(table: Table, todo: list[Cell], data: Features) -> None:
    """Run cells and keep their rows; saved every ten and at the end, whatever happens."""
    try:
        for k, cell in enumerate(tqdm([cell for cell in todo if not table.has(cell)], unit="cell")):
            table.add(cell, *run_cell(cell, data))
            if k % 10 == 9:
                table.save()
    finally:
        table.save()


def differences(table: Table, data: Features) -> pd.DataFrame:
    """Return each method's paired difference in macro AUROC from real records alone, over seeds and test patients."""
    weights = draw_weights(data.patients_test)
    draws: dict[Cell, np.ndarray] = {}
    for values in table.rows[KEYS].itertuples(index=False):
        cell = Cell(*values)
        if table.file(cell).exists():
            draws[cell] = macro_draws(data.y_test, np.load(table.file(cell), allow_pickle=False), weights)
    rows = []
    for (setting, fraction, method, ratio), group in table.rows.groupby(KEYS[:4]):
        pairs = [(Cell(setting, fraction, method, ratio, seed), Cell("all", fraction, "real", 0, seed))
                 for seed in sorted(group["seed"])]  # fmt: skip
        pairs = [pair for pair in pairs if method != "real" and pair[0] in draws and pair[1] in draws]
        if pairs:
            value, low, high = paired_difference(*(np.stack([draws[pair[k]] for pair in pairs]) for k in (0, 1)))
            rows.append({"setting": setting, "fraction": fraction, "method": method, "ratio": ratio,
                         "difference": value, "ci_low": low, "ci_high": high, "verdict": verdict(low, high),
                         "n_seeds": len(pairs), "n_test": len(data.y_test),
                         "n_test_patients": len(np.unique(data.patients_test)),
                         **table.made, "generator_steps": group["generator_steps"].iloc[0]})  # fmt: skip
    return pd.DataFrame(rows)


def with_older(new: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Add the rows of the table on disk that `new` lacks, or has over fewer seeds: their predictions are elsewhere."""
    if not path.exists():
        return new
    both = pd.concat([new, pd.read_csv(path, comment="#")], ignore_index=True)
    both = both.sort_values("n_seeds", ascending=False, kind="stable").drop_duplicates(KEYS[:4])
    return both.sort_values(KEYS[:4])


def real_and_synthetic(table: Table, data: Features, rocket: Rocket, study: Study) -> pd.DataFrame:
    """Return TRTR, TSTR and TRTS with 95 % intervals over test patients; TRTS is tested on the study's samples."""
    samples = study.open_samples()
    real = Linear.fit(data.train, data.y_train, data.fold9, data.y_fold9)
    tests = {"TRTR": (real, data.test, data.y_test, data.patients_test),
             "TRTS": (real, rocket.features(samples), targets(samples), source_patients(samples, study.open_cohort()))}
    made = ~np.isnan(data.synthetic[0]).any(axis=1)
    trained_on = {"TRTR": len(data.train), "TRTS": len(data.train), "TSTR": int(made.sum())}
    fakes = Linear.fit(data.synthetic[0][made], data.y_train[made], data.fold9, data.y_fold9)
    tests["TSTR"] = fakes, data.test, data.y_test, data.patients_test
    rows = []
    for name, (model, x, y, patients) in tests.items():
        chance = model.probabilities(x)
        found = with_interval(y, chance, chance >= model.thresholds, CLASSES, patients)
        rows.append({"what": name, "n_train": trained_on[name], "n_test": len(y), **found, **table.made})
    return pd.DataFrame(rows)


def main() -> None:
    """Parse arguments, and do what the tables lack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", default="virtual")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--seed", type=int, default=0, help="of the study")
    parser.add_argument("--setting", choices=("all", "fraction"), default="all")
    parser.add_argument("--fractions", type=float, nargs="+", default=list(FRACTIONS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--ratios", type=int, nargs="+", default=list(RATIOS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="of the grid")
    parser.add_argument("--steps", type=int, default=None, help="of a generator of the setting fraction, if not the "
                        "preset's")  # fmt: skip
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    began = time.perf_counter()
    study = Study(args.cohort, args.preset, args.seed)
    steps = args.steps or study.config.training.steps
    most = max(args.ratios)
    predictions = copies_folder(study) if args.setting == "all" else study.folder / "utility" / f"fraction-{steps}"
    table = Table(args.out / "utility_grid.csv", predictions / "predictions", study)
    table.made["generator_steps"] = steps if args.setting == "fraction" else study.config.training.steps
    cohort = study.open_cohort()
    rocket = Rocket(cohort.split()[1], args.seed)
    if args.setting == "all":
        todo = cells("all", args.fractions, args.ratios, args.seeds, args.methods)
        needed = needed_rows(cohort.split()[0].table, todo)
        generator = Generator.load(study.finished_run())
        copies = copies_of(study, copies_folder(study), generator, needed) if needed else []
        data = features_of(cohort, rocket, synthetic=copies, augment=most)
        fill(table, todo, data)
        if copies:
            swapped = real_and_synthetic(table, data, rocket, study)
            write(args.out / "utility_swapped.csv", swapped, f"# command: {COMMAND}\n")
    else:
        data = features_of(cohort, rocket, synthetic=[])
        for fraction in args.fractions:
            for seed in args.seeds:
                todo = cells("fraction", [fraction], args.ratios, [seed], args.methods)
                todo.append(Cell("all", fraction, "real", 0, seed))  # what they are compared with
                if all(table.has(cell) for cell in todo):
                    continue
                run, rows = own_generator(study, fraction, seed, steps)
                copies = copies_of(study, run.parent, Generator.load(run), [rows] * most)
                members = cohort.split()[0]
                fill(table, todo, replace(data, synthetic=[copy_features(rocket, copy, members) for copy in copies]))
    path = args.out / "utility_differences.csv"
    write(path, with_older(differences(table, data), path),
          f"# command: {COMMAND}; macro AUROC less that of real records alone, same patients; 95 % over test patients "
          "(1,000 draws) and seeds; margin 0.02\n")  # fmt: skip
    print(f"{(time.perf_counter() - began) / 60:.1f} min with {os.environ.get('OMP_NUM_THREADS', 'all')} threads")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
