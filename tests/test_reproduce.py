"""The plan: costs grow with depth as measured, disks without room are refused, and a dry run starts nothing."""

import os
import shutil
import subprocess
import sys
from collections import namedtuple

import pytest
import torch

from ecglib.config import Config
from ecglib.diffusion import network_of
from ecglib.errors import InputError
from ecglib.reproduce import _measure, cost_of, plan
from ecglib.runs import ROOT

SMALL = Config.preset("smoke").override({"network.channels": 16, "network.blocks": 6, "training.batch": 4})


def test_memory_that_is_extrapolated_equals_what_is_counted_at_that_depth():
    cost = cost_of(SMALL)  # six blocks, from two and four
    _, _, kept = _measure(SMALL, torch.device("cpu"))
    assert cost.memory_gb * 1e9 == pytest.approx(20 * cost.parameters + kept, rel=1e-6)
    assert cost.step_s > 0 and cost.evaluation_s > 0


def test_parameters_are_those_of_the_network():
    assert cost_of(SMALL).parameters == sum(p.numel() for p in network_of(SMALL, 8).parameters())


def test_stages_add_up(tmp_path):
    table = plan(SMALL, "virtual", folder=tmp_path)
    assert table["stage"].tolist() == ["data", "cohort", "train", "sample"]
    assert (table["hours"] > 0).all() and table["disk_gb"].iloc[1] == pytest.approx(SMALL.cohort.n * 24e3 / 1e9)
    assert plan(SMALL, "ptb-xl", folder=tmp_path)["hours"].isna().tolist() == [True, False, False, False]
    own = plan(SMALL, "folder", records=300, folder=tmp_path)
    assert own["what"].iloc[0] == "300 records of your own" and own["disk_gb"].iloc[0] == 0
    there = plan(SMALL, "ptb-xl", at_hand=True, folder=tmp_path)
    assert there["disk_gb"].iloc[0] == 0 and there["what"].iloc[0] == "21,799 records at hand"
    assert plan(SMALL, "folder", records=0, folder=tmp_path)["what"].iloc[0] == "0 records of your own"
    assert "87,663 records from PhysioNet" in plan(SMALL, "challenge-2021", folder=tmp_path)["what"].iloc[0]


def test_a_disk_without_room_is_refused(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(1, 1, 10**8))
    with pytest.raises(InputError, match=r"0\.1 GB free.*mimic-iv-ecg"):
        plan(SMALL, "mimic-iv-ecg", folder=tmp_path)
    with pytest.raises(InputError, match="needs about 19"):  # fetched or not, they are prepared
        plan(SMALL.override({"cohort.n": 800_035}), "mimic-iv-ecg", at_hand=True, folder=tmp_path)


def test_a_gpu_asked_for_and_absent():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(InputError, match="cuda"):
        cost_of(SMALL, "cuda")


def make(*words, **variables):
    return subprocess.run(["make", "reproduce", *words], cwd=ROOT, capture_output=True, text=True,
                          env=os.environ | {"OMP_NUM_THREADS": "1"} | variables)  # fmt: skip


def test_a_dry_run_says_what_it_takes_and_starts_nothing(tmp_path):
    done = make("DRY=1", "PRESET=smoke", "COHORT=ptb-xl")
    assert done.returncode == 0, done.stderr
    assert "21,799 records from PhysioNet" in done.stdout and "the same command goes on" in done.stdout
    assert not (ROOT / "work" / "ptb-xl-smoke-s0" / "cohort").exists()


def test_a_folder_of_ones_own_is_counted_by_its_table(tmp_path):
    command = [sys.executable, "-m", "ecglib", "plan", "--cohort", "folder", "--preset", "smoke", "--data"]
    (tmp_path / "records.csv").write_text('file,scp_codes\na,"{""NORM"": 100}"\nb,"{""NORM"": 100}"\n')
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ECGLIB_WORK": str(tmp_path / "work")}
    done = subprocess.run([*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "2 records of your own" in done.stdout, done.stderr
    done = subprocess.run([*command, str(tmp_path / "none")], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("error: "), done.stderr


@pytest.mark.parametrize(("words", "named"), [(("PRESET=papr",), "paper"), (("COHORT=ptb-xxl",), "ptb-xl"),
                                              (("COHORT=ptb-xl", "DATA=/nowhere"), "/nowhere")])  # fmt: skip
def test_wrong_variables_are_refused_before_anything(words, named):
    done = make("DRY=1", *words)
    assert done.returncode != 0 and named in done.stderr and "Traceback" not in done.stderr
