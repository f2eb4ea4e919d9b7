"""Thin commands, for Make and for the shell: ``python -m ecglib <command> --help``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ecglib.errors import InputError

DEVICE = "cpu or cuda; default: a GPU where there is one. Below `accelerate launch` every process has its own"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ecglib", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    for name, text in {
        "check": "check COHORT, PRESET, DATA and SEED, before anything is installed",
        "prepare": "read or make the cohort of a study",
        "train": "train the generator of a study (resumes)",
        "plan": "say what a study will take on this machine: hours, disk, memory; nothing is started",
        "blinded": "write a blinded reading: sheets for physicians, and the sealed key",
        "unblind": "analyse the forms of a blinded reading",
        "render": "render the executed chapters of a study as a Jupyter Book",
    }.items():
        sub = command(name, text)
        sub.add_argument("--cohort", default=os.environ.get("COHORT", "virtual"))
        sub.add_argument("--preset", default=os.environ.get("PRESET", "quick"))
        sub.add_argument("--seed", default=os.environ.get("SEED", "0"))
        if name in ("blinded", "unblind"):
            sub.add_argument("--check", action="store_true", help="only check these, before anything is installed")
        if name == "blinded":
            sub.add_argument("--n", default=os.environ.get("N", ""), help="different ECGs, an even number; empty: 100")
        if name == "unblind":
            sub.add_argument("--forms", default=os.environ.get("FORMS", ""), help="folder of the readers' CSV files")
            sub.add_argument("--key", default=os.environ.get("KEY", ""), help="key.json; empty: the study's own")
        if name in ("check", "prepare", "plan", "blinded"):
            sub.add_argument("--data", default=os.environ.get("DATA", ""), help="folder of the real records")
        if name == "plan":
            sub.add_argument("--n", default=os.environ.get("N", ""), help="of make data: at most so many records")
        if name in ("train", "plan"):
            sub.add_argument("--device", help=DEVICE)
    data = command("data", "fetch the records of a cohort from PhysioNet; stopped, the same command goes on")
    data.add_argument("--cohort", default=os.environ.get("COHORT", "virtual"))
    data.add_argument("--n", default=os.environ.get("N", ""), help="at most so many records; empty: all")
    data.add_argument("--seed", default=os.environ.get("SEED", "0"), help="of the choice of records")
    data.add_argument("--fs", type=int, default=100, choices=(100, 500), help="of PTB-XL: 100 or 500 Hz")
    data.add_argument("--data", default=os.environ.get("DATA", ""), help="folder to put them in")
    data.add_argument("--check", action="store_true", help="only check these, before anything is installed")
    grid = command("ablations", "list the cells of book/ablations.csv still to be run, or collect what they found")
    grid.add_argument("--collect", action="store_true", help="add the cells run here to book/results/ablations.csv")
    grid.add_argument("--baselines", action="store_true", help="list the baselines only")
    command("results", "write the table of README from book/results/")
    run = command("execute", "execute one notebook with papermill")
    run.add_argument("notebook", type=Path)
    run.add_argument("output", type=Path)
    run.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    sample = command("sample", "draw synthetic ECGs for the patients of a table, from a trained run")
    sample.add_argument("run", type=Path)
    sample.add_argument("table", type=Path, help="CSV with ecg_id, scp_codes (AFIB LVH) and, where known, age, sex, …")
    sample.add_argument("output", type=Path, help="folder to write in PTB-XL's layout")
    sample.add_argument("--seed", type=int, default=0)
    sample.add_argument("--device", help=DEVICE)
    return parser


def _check(args: argparse.Namespace) -> None:
    from ecglib import preflight

    preflight.check(args.preset, args.cohort, args.data, args.seed)


def _data(args: argparse.Namespace) -> None:
    from ecglib import preflight

    n, seed = preflight.check_download(args.cohort, args.n, args.seed)
    if args.check:
        return
    from ecglib.signals.download import download

    given = args.data.strip()
    folder = Path(given).expanduser() if given else preflight.fetched(args.cohort)
    download(args.cohort, folder, n=n, seed=seed, fs=args.fs)
    print(f"{args.cohort} is in {folder}; next: make book COHORT={args.cohort}" + (f' DATA="{given}"' if given else ""))


def _study(args: argparse.Namespace):
    from ecglib.study import Study

    if not str(args.seed).isdecimal():
        raise InputError(f"SEED={args.seed!r} is not a whole number; expected 0, 1, 2, …")
    return Study(args.cohort, args.preset, int(args.seed))


def _prepare(args: argparse.Namespace) -> None:
    _check(args)
    study = _study(args)
    cohort = study.prepare(args.data)
    print(f"prepared {cohort} in {study.folder / 'cohort'}")
    for reason, names in cohort.notes.get("left_out", {}).items():
        print(f"  left out {len(names)}: {reason} ({names[0]}{', …' if len(names) > 1 else ''})")
    if suspects := cohort.notes.get("arms_swapped"):
        print(f"  kept, but the arm electrodes look exchanged in {len(suspects)}: {', '.join(suspects[:5])}")


def _train(args: argparse.Namespace) -> None:
    from ecglib.diffusion import Workers, train

    study, workers = _study(args), Workers.joined(args.device)
    with _gpu_memory():
        run = train(study.config, study.open_cohort(), study.run_folder(), device=workers.device, workers=workers)
    if workers.first:
        print(run)


def _plan(args: argparse.Namespace) -> None:
    import torch

    from ecglib.reproduce import plan, supply
    from ecglib.runs import work_folder

    study = _study(args)
    device = args.device or study.device
    records, at_hand = supply(args.cohort, data=args.data, n=args.n, seed=study.seed)
    work_folder().mkdir(parents=True, exist_ok=True)
    print(f"what {study.folder.name} takes on this machine ({device}, {torch.get_num_threads()} threads), from a step "
          "measured now:", file=sys.stderr)  # fmt: skip
    with _gpu_memory():
        table = plan(study.config, args.cohort, records=records, at_hand=at_hand, device=device, folder=work_folder())
    print(table.round({"hours": 2, "disk_gb": 2, "memory_gb": 1}).to_string(index=False, na_rep="–"))
    print(f"in all {table['hours'].sum():.1f} hours, {table['disk_gb'].sum():.1f} GB on disk; stopped at any moment, "
          "the same command goes on")  # fmt: skip


@contextmanager
def _gpu_memory() -> Iterator[None]:
    """Say in words that a GPU's memory is full."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError:
        raise InputError("the GPU's memory is full: --device cpu, or a smaller preset") from None


def _blinded(args: argparse.Namespace) -> None:
    from ecglib import preflight

    n = preflight.check_kit(args.preset, args.cohort, args.data, args.seed, args.n)
    if args.check:
        return
    from ecglib.evaluation.blinded import write_kit

    study = _study(args)
    folder = study.folder / "blinded"
    plan = write_kit(study.open_cohort().split()[2], study.need("samples").open_samples(), folder, n=n)
    print(f"{folder / 'hand-out'}: for the readers, {len(plan)} sheets of {n} ECGs; SEAL.txt is to be published first")
    print(f"{folder / 'key'}: for nobody, until all forms are in; then `{study.make('unblind')} FORMS=<folder>`")
    if args.cohort == "virtual":
        print("the real arm holds virtual patients, simulated hearts: a kit to practise with, not to study with")


def _unblind(args: argparse.Namespace) -> None:
    from ecglib import preflight

    forms, key, kit = preflight.check_forms(args.preset, args.cohort, args.seed, args.forms, args.key)
    if args.check:
        return
    from ecglib.evaluation.blinded import unblind

    table = unblind(forms, key, kit / "analysis", seed=int(args.seed))
    print(table.round(3).to_string(index=False))
    print(f"{kit / 'analysis'}: analysis.csv, analysis.png, answers.csv")


def _render(args: argparse.Namespace) -> None:
    from ecglib import book

    print(book.render(_study(args)))


def _execute(args: argparse.Namespace) -> None:
    from ecglib import book

    book.execute(args.notebook, args.output, dict(args.parameter))


def _ablations(args: argparse.Namespace) -> None:
    from ecglib import ablations

    if args.collect:
        table = ablations.collect()
        print(f"{ablations.RESULTS} holds {len(table[ablations.KEY].drop_duplicates())} cells")
        return
    left = ablations.pending(ablations.grid(), ablations.results())
    baselines = {cell.baseline for cell in left}
    print("\n".join(cell.name for cell in left if not args.baselines or cell in baselines))


def _results(args: argparse.Namespace) -> None:
    from ecglib.claims import write_readme

    print("README's table of results is", "written anew" if write_readme() else "as it was")


def _sample(args: argparse.Namespace) -> None:
    from ecglib.diffusion import Generator, Workers
    from ecglib.runs import check_replaceable
    from ecglib.signals import save_ptbxl_layout
    from ecglib.signals.export import check_rate
    from ecglib.signals.readers.ptbxl import LAYOUT, read_table

    workers = Workers.joined(args.device)
    check_replaceable(args.output, LAYOUT)
    generator = Generator.load(args.run, device=workers.device)
    check_rate(generator.signals.fs, generator.signals.n_times)
    with _gpu_memory():
        samples = generator.sample(read_table(args.table), seed=args.seed, progress=workers.first, workers=workers)
    if workers.first:
        save_ptbxl_layout(samples, args.output)
        print(f"wrote {samples} to {args.output}")


def main(argv: list[str] | None = None) -> int:
    """Run one command; what the user can mend ends in one line and exit status 2."""
    args = _parser().parse_args(argv)
    try:
        globals()[f"_{args.command}"](args)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed here; run `make setup`, then `.venv/bin/python -m ecglib "
              f"{args.command} …`", file=sys.stderr)  # fmt: skip
        return 2
    except KeyboardInterrupt:
        print("stopped; what was finished is kept, and the same command goes on from there", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
