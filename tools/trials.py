"""Train variants of a preset and measure what issue-sized tables need: ``python tools/trials.py TRIALS.csv OUT.csv``.

TRIALS.csv has the columns ``name``, ``preset``, ``seed`` and ``changes`` (JSON: dotted names of `Config` → values).
Each row is trained below ``work/trials/`` and sampled by three samplers; OUT.csv gets one row a trial and sampler, and
the floor: real records against other real ones. Rows already in OUT.csv are not done again, so it can be stopped.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ecglib.config import Config
from ecglib.diffusion import Generator, train
from ecglib.evaluation import Comparison
from ecglib.evaluation.fidelity import ilce, log_spectral_distance
from ecglib.runs import atomic_file, work_folder
from ecglib.signals import Cohort, load_cohort
from ecglib.signals.beats import find_beats, rhythm_table

SAMPLERS = (("ddpm", 200, "even"), ("ddpm", 50, "even"), ("ddim", 25, "log-snr"), ("dpmpp", 25, "even"),
            ("dpmpp", 25, "log-snr"), ("dpmpp-sde", 25, "log-snr"))  # fmt: skip


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


def cohort_of(config: Config) -> Cohort:
    """Return the virtual cohort of a configuration, made once."""
    folder = work_folder() / "trials" / f"cohort-{config.cohort.population}-{config.cohort.n}-{config.seed}"
    if not (folder / "manifest.json").exists():
        load_cohort("virtual", n=config.cohort.n, seed=config.seed, fs=config.cohort.fs,
                    population=config.cohort.population).save(folder)  # fmt: skip
    return Cohort.load(folder)


def trial(name: str, config: Config) -> list[dict]:
    """Train and measure one configuration: a row a sampler."""
    cohort = cohort_of(config)
    members, _, test = cohort.split()
    real = test.select(np.arange(min(len(test), config.cohort.n_evaluate)))
    began = time.perf_counter()
    run = train(config, cohort, work_folder() / "trials" / f"run-{config.id}")
    minutes = (time.perf_counter() - began) / 60
    generator = Generator.load(run)
    rows = np.random.default_rng(0).choice(len(members), len(real), replace=False)
    rows_out = [{"name": "floor", "sampler": "", "seed": config.seed, **measure(real, members.select(np.sort(rows)))}]
    for sampler, steps, spacing in SAMPLERS:
        began = time.perf_counter()
        samples = generator.sample(real.table, sampler=sampler, steps=steps, spacing=spacing, seed=config.seed)
        rows_out.append({"name": name, "sampler": f"{sampler}-{steps}-{spacing}", "seed": config.seed,
                         **measure(real, samples), "train_min": minutes,
                         "sample_s": time.perf_counter() - began, "threads": torch.get_num_threads()})  # fmt: skip
    return rows_out


def main(trials: Path, out: Path) -> None:
    """Do every row of `trials` that `out` does not hold."""
    done = pd.read_csv(out) if out.exists() else pd.DataFrame({"name": [], "seed": []})
    for row in pd.read_csv(trials).itertuples():
        if ((done["name"] == row.name) & (done["seed"] == row.seed)).any():
            continue
        config = Config.preset(row.preset).override({**json.loads(row.changes), "seed": int(row.seed)})
        new = pd.DataFrame(trial(row.name, config))
        known = (done["name"] == "floor") & (done["seed"] == row.seed)
        done = pd.concat([done, new[1:] if known.any() else new]).reset_index(drop=True)
        with atomic_file(out) as temporary:
            done.to_csv(temporary, index=False, float_format="%.4g")
        print(new.to_string(index=False), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
