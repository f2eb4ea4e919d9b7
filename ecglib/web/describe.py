"""What the page must know of a generator, as JSON: units, schedules, groups of conditions, what it was trained on."""

from collections import Counter
from typing import Any

from ecglib.diffusion import Generator
from ecglib.diffusion.clock import HARMONICS
from ecglib.diffusion.conditions import BINS, RATE_KNOTS
from ecglib.diffusion.rhythm import EXTREME, STEPS
from ecglib.signals import STATEMENTS, TRAIN_FOLDS, Cohort

FEWEST = 10  # training records with a statement, or a combination of them; fewer are not told of
COLUMNS = {"rate": "heart_rate", **dict.fromkeys(("statements", "diagnosis", "form", "rhythm"), "scp_codes")}


def describe(generator: Generator, preset: str, manifest: dict[str, Any], cohort: Cohort,
             half: bool) -> dict[str, Any]:  # fmt: skip
    """Return what ``generator.js`` says about its networks.

    Parameters
    ----------
    generator : Generator
    preset : str
    manifest : dict
        Of its run.
    cohort : Cohort
        Of which its training records are a part.
    half : bool
        Whether weights are stored as float16.

    Returns
    -------
    dict
        JSON values. Statements and combinations of fewer than 10 training records are left out: they say little to the
        network, and might point at a person.
    """
    config, signals, rhythm = generator.config, generator.signals, generator.network.rhythm
    groups = describe_groups(generator.conditions.vocabulary)
    offered = {code for group in groups if group["column"] == "scp_codes" for code in group["names"][:-1]}
    trained = cohort.folds(*TRAIN_FOLDS).table["scp_codes"]
    combinations = Counter(" ".join(sorted(codes)) for codes in trained)
    counts = Counter(code for codes in trained for code in codes if code in offered)
    usual = "NORM SR" if combinations["NORM SR"] >= FEWEST else combinations.most_common(1)[0][0]
    statements = [{"code": code, "description": STATEMENTS.loc[code, "description"], "count": count,
                   "group": STATEMENTS.loc[code, "group"], "first": code in usual.split()}
                  for code, count in counts.most_common() if count >= FEWEST]  # fmt: skip
    return {
        "cohort": cohort.source, "preset": preset, "trainSeed": config.seed,
        "facts": facts(generator, preset, manifest, cohort.source, half),
        "fs": signals.fs, "mean": signals.mean, "scale": signals.scale, "harmonics": HARMONICS,
        "signal": {"leads": len(signals.leads), "nTimes": signals.n_times,
                   "alphaBar": generator.schedule.alpha_bar.tolist()},
        "rhythm": None if rhythm is None else {
            "nTimes": rhythm.length, "alphaBar": rhythm.schedule.alpha_bar.tolist(), "steps": STEPS,
            "mean": float(rhythm.mean), "scale": float(rhythm.scale), "shortest": EXTREME[0],
            "longest": EXTREME[1]},
        "groups": groups, "asks": sorted({group["column"] for group in groups}),
        "sampling": {"sampler": config.sampling.sampler, "steps": config.sampling.steps,
                     "spacing": config.sampling.spacing, "guidance": config.sampling.guidance},
        "statements": statements, "fewest": FEWEST,
        "combinations": {codes: count for codes, count in combinations.items() if count >= FEWEST},
    }  # fmt: skip


def describe_groups(vocabulary: dict[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """Return each group's column, names of entries, and thresholds or knots, if it has them."""
    knots = RATE_KNOTS.tolist()
    return [{"column": COLUMNS.get(name, name), "names": names, "edges": BINS.get(name),
             "knots": knots if name == "rate" else None} for name, names in vocabulary.items()]  # fmt: skip


def facts(generator: Generator, preset: str, manifest: dict[str, Any], cohort: str, half: bool) -> str:
    """Say in words what the generator is, whose records it learnt from, and what its ECGs are not."""
    weights = sum(parameter.numel() for parameter in generator.network.parameters())
    learnt = ("virtual patients, who are nobody" if cohort == "virtual" else
              "records of patients: the weights lie in this page and may hold traces of them, so share it as you would "
              "share the records")  # fmt: skip
    stored = "; weights are rounded to 16 bits here" if half else ""
    return (f"The generator: preset {preset}, {weights / 1e6:.1f} million weights{stored}, trained for "
            f"{generator.config.training.steps:,} steps with seed {generator.config.seed} on {manifest['n_train']:,} "
            f"records of the cohort {cohort} ({learnt}). It was trained at commit {manifest['versions']['commit']}. "
            "Its ECGs are synthetic; they are not for clinical use.")  # fmt: skip
