"""Train variants of a preset and measure what each changes: ``python tools/trials.py TRIALS.csv OUT.csv``.

TRIALS.csv has the columns ``name``, ``preset``, ``seed``, ``samplers`` (few, three or all) and ``changes``, JSON of
the dotted names of `Config` and their values. Each row is trained below ``work/ablations/runs/``, unless a cell of
``make ablations`` trained the same, and sampled; OUT.csv has a row a trial and sampler, and the floor of each preset
and seed: real records against other real ones, mean over five sets of them. What OUT.csv holds is not done again, so
the command can be stopped.
Trials run side by side with one thread each: two that share two cores do more steps a second than one that has both.
"""

import datetime
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed

from ecglib.ablations import training_of
from ecglib.config import Config
from ecglib.diffusion import Generator, read_log, train
from ecglib.evaluation import Comparison
from ecglib.evaluation.fidelity import ilce, log_spectral_distance
from ecglib.runs import MANIFEST, atomic_file, commit
from ecglib.signals import Cohort
from ecglib.signals.beats import find_beats, rhythm_table
from ecglib.study import Study

FEW = (("ddpm", 50, "even"), ("dpmpp", 25, "log-snr"))
THREE = (("ddpm", 200, "even"), ("ddim", 25, "log-snr"), ("dpmpp", 25, "log-snr"))
ALL = (*FEW, ("ddpm", 200, "even"), ("ddim", 25, "even"), ("ddim", 25, "log-snr"), ("dpmpp", 25, "even"),
       ("dpmpp-sde", 25, "log-snr"))  # fmt: skip
SETS = 5  # of a floor: one alone may be half of it, or twice
SAMPLERS = {"few": FEW, "three": THREE, "all": ALL}


def template_snr(x: np.ndarray, fs: int) -> float:
    """Return how alike the beats of one record are, var(median beat) / var(beat − median beat), in dB; x (12, L)."""
    places = (find_beats(x, fs) * fs).round().astype(int)
    before, after = round(0.25 * fs), round(0.4 * fs)
    beats = np.stack([x[:, p - before : p + after] for p in places if before <= p < x.shape[1] - after] or [x[:, :0]])
    if len(beats) < 4:
        return np.nan
    beats = beats - beats.mean(axis=-1, keepdims=True)
    median = np.median(beats, axis=0)
    return 10 * np.log10(median.var() / (beats - median).var())


def measure(real: Cohort, other: Cohort) -> dict[str, float]:
    """Compare two cohorts: ratios are of `other` to `real`."""
    mean = {}
    for name, cohort in (("real", real), ("other", other)):
        rhythm = rhythm_table(cohort.x[:], cohort.fs)
        has = {code: cohort.table["scp_codes"].map(lambda codes, code=code: code in codes).to_numpy()
               for code in ("SR", "AFIB")}  # fmt: skip
        std = cohort.x[:].std(axis=(0, 2))
        snr = np.nanmedian([template_snr(x, cohort.fs) for x in cohort.x[:]])
        mean[name] = {"std": std, "snr": snr, "beats": rhythm["n_beats"].mean(),
                      **{code: rhythm["rr_cv"][rows].mean() for code, rows in has.items()}}  # fmt: skip
    a, b = mean["real"], mean["other"]
    both = Comparison(real, other)
    return {"std": float(np.median(b["std"] / a["std"])), "rr_cv_sr": b["SR"] / a["SR"],
            "rr_cv_af": b["AFIB"] / a["AFIB"], "beats": b["beats"] / a["beats"],
            "lsd_db": log_spectral_distance(both)["mean"], "ilce": ilce(both)["mean"],
            "template_snr_db": b["snr"] - a["snr"]}  # fmt: skip


def cohort_of(config: Config) -> tuple[Study, Cohort]:
    """Return the virtual study of a configuration and its cohort, made once."""
    study = Study("virtual", config.name, config.seed)
    return study, study.open_cohort() if (study.folder / "cohort" / MANIFEST).exists() else study.prepare()


def floor(config: Config) -> pd.DataFrame:
    """Measure real records against others of the training patients, `SETS` times, none twice; one row, their mean."""
    members, _, test = cohort_of(config)[1].split()
    real = test.select(np.arange(min(len(test), config.cohort.n_evaluate)))
    order = np.random.default_rng(0).permutation(len(members))
    sets = [np.sort(order[k * len(real) : (k + 1) * len(real)]) for k in range(SETS)]
    found = pd.DataFrame([measure(real, members.select(rows)) for rows in sets if len(rows) == len(real)])
    return pd.DataFrame([{"name": f"floor of {config.name}", "sampler": "none", "seed": config.seed, **found.mean()}])


def trial(name: str, config: Config, samplers: str = "few") -> list[dict]:
    """Train and measure one configuration: a row a sampler."""
    study, cohort = cohort_of(config)
    test = cohort.split()[2]
    real = test.select(np.arange(min(len(test), config.cohort.n_evaluate)))
    learnt, run = training_of(study, config)  # shared with `make ablations`
    train(learnt, cohort, run)
    log = pd.DataFrame(read_log(run))
    minutes = (log["seconds_per_step"] * log["step"].diff().fillna(log["step"])).sum() / 60
    generator = Generator.load(run)
    rows_out = []
    for sampler, steps, spacing in SAMPLERS[samplers]:
        began = time.perf_counter()
        samples = generator.sample(real.table, sampler=sampler, steps=steps, spacing=spacing, seed=config.seed)
        rows_out.append({"name": name, "sampler": f"{sampler}-{steps}-{spacing}", "seed": config.seed,
                         **measure(real, samples), "train_min": minutes,
                         "sample_s": time.perf_counter() - began, "threads": torch.get_num_threads()})  # fmt: skip
    return rows_out


def rows_of(name: str, config: Config, samplers: str) -> pd.DataFrame:
    """Do a trial with one thread, in a process of its own."""
    torch.set_num_threads(1)
    return pd.DataFrame(trial(name, config, samplers))


def main(trials: Path, out: Path) -> None:
    """Do every row of `trials` that `out` does not hold, as many at once as there are cores."""
    made = {"commit": commit(), "torch": torch.__version__, "date": str(datetime.date.today())}
    known = pd.read_csv(out, comment="#") if out.exists() else pd.DataFrame({"name": [], "seed": []})
    todo, floors = [], {}
    for row in pd.read_csv(trials).itertuples():
        if not ((known["name"] == f"floor of {row.preset}") & (known["seed"] == row.seed)).any():
            floors[row.preset, row.seed] = Config.preset(row.preset).override({"seed": int(row.seed)})
        if not ((known["name"] == row.name) & (known["seed"] == row.seed)).any():
            config = Config.preset(row.preset).override({**json.loads(row.changes), "seed": int(row.seed)})
            cohort_of(config)  # before processes that share it
            todo.append((row.name, config, row.samplers))
    tasks = [*(delayed(floor)(config) for config in floors.values()), *(delayed(rows_of)(*each) for each in todo)]
    for new in Parallel(n_jobs=-1, return_as="generator_unordered")(tasks):
        known = pd.concat([known, new.assign(**made)])
        with atomic_file(out) as temporary:
            head = "# command: python tools/trials.py tools/trials.csv book/results/trials.csv\n"
            temporary.write_text(head + known.to_csv(index=False, float_format="%.4g"), encoding="utf-8")
        print(new.to_string(index=False), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
