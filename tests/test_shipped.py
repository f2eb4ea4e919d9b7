"""The generator that comes with the package: whole, small, and good enough to show."""

import shutil

import numpy as np
import pandas as pd
import pytest

from ecglib.diffusion import Generator
from ecglib.errors import InputError
from ecglib.runs import read_manifest, sha256_of
from ecglib.signals.beats import rhythm_table
from ecglib.study import SHIPPED, Study


@pytest.fixture(scope="module")
def generator() -> Generator:
    return Generator.load(Study(run="shipped").finished_run())


def test_files_are_those_of_the_manifest_and_small():
    manifest = read_manifest(SHIPPED, "run")
    assert manifest["cohort"] == "virtual", "weights made from real people's records do not belong in the package"
    for name, digest in manifest["sha256"].items():
        assert sha256_of(SHIPPED / name) == digest, name
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 10e6


def test_it_draws_at_the_rate_asked_for(generator):
    rates = np.repeat([55.0, 75.0, 100.0], 4)
    asked = pd.DataFrame({"ecg_id": range(len(rates)), "scp_codes": [{"NORM": 100.0, "SR": 0.0}] * len(rates),
                          "age": 50.0, "sex": 1.0, "heart_rate": rates})  # fmt: skip
    x = generator.sample(asked, seed=3).x[:]
    assert 0.1 < x.std() < 0.4  # mV
    measured = rhythm_table(x, generator.signals.fs)["heart_rate"].to_numpy()
    assert np.abs(measured - rates).max() < 8


def test_its_evaluation_stands_beside_it():
    table = pd.read_csv(SHIPPED / "evaluation.csv", comment="#")
    assert (SHIPPED / "evaluation.csv").read_text(encoding="utf-8").startswith("# command: python tools/ship.py")
    assert {"ilce", "log_spectral_distance", "rr_coherence", "kept_promises", "sampling"} <= set(table["metric"])


def test_a_study_takes_another_run_by_its_folder(tmp_path, monkeypatch):
    assert Study(run=str(SHIPPED)).finished_run() == SHIPPED
    shutil.copytree(SHIPPED, tmp_path / "work" / "a" / "run")
    monkeypatch.setenv("ECGLIB_WORK", str(tmp_path / "work"))  # a path stands for a folder below it
    assert Study(run="a/run").finished_run() == tmp_path / "work" / "a" / "run"
    with pytest.raises(InputError, match="manifest"):
        Study(run=str(tmp_path)).finished_run()
