"""Curation before and after: ``python tools/curation.py --help``.

Takes one synthetic copy of every training record (made by tools/utility_grid.py, or here), keeps what the plausibility
guard passes and what real-trained classifiers find to be as asked, and measures for each set, and for random sets of
the same size, what a classifier learns from it and how well nearness to it betrays training records. Writes
book/results/curation.csv.
"""

import argparse
import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from utility_grid import copies_folder, copies_of  # beside this file

from ecglib.diffusion import Generator
from ecglib.errors import InputError
from ecglib.evaluation.classifier import Classifier, targets, train_classifier
from ecglib.evaluation.guard import Guard
from ecglib.evaluation.utility import (
    Linear,
    RocketClassifier,
    draw_weights,
    faithful,
    macro_auroc,
    macro_draws,
    paired_difference,
    verdict,
)
from ecglib.evaluation.utility.curation import nearness
from ecglib.evaluation.utility.scores import weighted_auroc
from ecglib.runs import MANIFEST, atomic_file, versions
from ecglib.study import ROOT, Study

SEEDS = 5  # random sets of the same size
GUARD_RECORDS = 400  # that the guard's bounds are fitted to
COMMAND = "python tools/curation.py"


def main() -> None:
    """Measure every set, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", default="virtual")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--records", type=int, default=None, help="of the training set; what was sampled is used too")
    parser.add_argument("--out", type=Path, default=ROOT / "book" / "results" / "curation.csv")
    args = parser.parse_args()
    study = Study(args.cohort, args.preset, args.seed)
    members, fold9, test = study.open_cohort().split()
    trained = study.folder / "classifier"  # of chapter 10
    network = (Classifier.load(trained) if (trained / MANIFEST).exists() else
               train_classifier(members, fold9, seed=args.seed))  # fmt: skip
    rocket = RocketClassifier.train(members, fold9, args.seed)
    rows = np.sort(np.random.default_rng([args.seed, 9]).permutation(len(members))[: args.records])
    (made,) = copies_of(study, copies_folder(study), Generator.load(study.finished_run()), [rows])
    members = members.select(members.table["ecg_id"].isin(made.table["source_ecg_id"]))
    x, x9, x10, real = (rocket.rocket.features(part) for part in (made, fold9, test, members))
    y, y9, y10 = (targets(part) for part in (made, fold9, test))
    some = np.random.default_rng(args.seed).permutation(len(members))[: len(test)]  # as many members as others
    candidates = np.concatenate([real[some], x10])
    is_member = np.repeat([1.0, 0.0], [len(some), len(x10)])
    of_test = draw_weights(test.table["patient_id"].to_numpy())
    people = np.concatenate([members.table["patient_id"].to_numpy()[some], test.table["patient_id"].to_numpy()])
    of_both = draw_weights(people)

    def measure(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        chance = Linear.fit(x[rows], y[rows], x9, y9).probabilities(x10)
        return macro_draws(y10, chance, of_test), weighted_auroc(is_member, nearness(candidates, x[rows]), of_both)

    bounds = Guard.fit(members.select(np.arange(min(len(members), GUARD_RECORDS))))
    guard = (bounds.reasons(made) == "").to_numpy()
    sets = {"all": np.ones(len(made), bool), "guard": guard, "faithful, MiniRocket": faithful(made, rocket),
            "faithful, network": faithful(made, network)}  # fmt: skip
    sets["faithful, MiniRocket, and guard"] = sets["faithful, MiniRocket"] & guard
    real_kept = {"guard": (bounds.reasons(test) == "").mean(),
                 "faithful, MiniRocket": faithful(test, rocket).mean(),
                 "faithful, network": faithful(test, network).mean()}  # fmt: skip
    auroc = {"faithful, MiniRocket": macro_auroc(y10, rocket.probabilities(test)),
             "faithful, network": macro_auroc(y10, network.probabilities(test))}  # fmt: skip
    found, table = versions(), []
    for name, kept in sets.items():
        tstr, near = measure(np.flatnonzero(kept))
        row = {"set": name, "n": int(kept.sum()), "accepted": kept.mean(), "accepted_real": real_kept.get(name, np.nan),
               "classifier_auroc": auroc.get(name, np.nan)}  # fmt: skip
        for what, draws in (("tstr", tstr), ("nearest", near)):
            row |= {what: draws.mean(), f"{what}_low": np.quantile(draws, 0.025),
                    f"{what}_high": np.quantile(draws, 0.975)}  # fmt: skip
        if name != "all":
            rng = np.random.default_rng([args.seed, 8])
            others = [measure(rng.permutation(len(made))[: kept.sum()]) for _ in range(SEEDS)]
            for what, ours, which in (("tstr", tstr, 0), ("nearest", near, 1)):
                theirs = np.stack([each[which] for each in others])
                value, low, high = paired_difference(np.broadcast_to(ours, theirs.shape), theirs)
                row |= {f"{what}_gain": value, f"{what}_gain_low": low, f"{what}_gain_high": high,
                        f"{what}_verdict": verdict(low, high)}  # fmt: skip
        table.append(row | {"n_members": len(members), "n_test": len(test), "study": study.folder.name,
                            "date": str(datetime.date.today()), "commit": found["commit"],
                            "scikit-learn": found["scikit-learn"]})  # fmt: skip
        print({k: v for k, v in row.items() if k != "study"}, flush=True)
    with atomic_file(args.out) as temporary:
        head = (f"# command: {COMMAND}; gain: less the mean of {SEEDS} random sets of the same size, same test "
                "patients; 95 % over patients (1,000 draws) and sets\n")  # fmt: skip
        temporary.write_text(head + pd.DataFrame(table).to_csv(index=False, float_format="%.4f"), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
