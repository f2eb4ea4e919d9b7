"""The plan: costs grow with depth as measured, disks without room are refused, and a dry run starts nothing."""

import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple

import pytest
import torch

from ecglib.__main__ import main
from ecglib.config import Config
from ecglib.diffusion import network_of
from ecglib.errors import InputError
from ecglib.reproduce import _measure, cost_of, plan, supply
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


def fetched_part(folder, *, n, seed=0, records=0, rows=3):
    """What `make data COHORT=ptb-xl` leaves: its note, the table, and of a part the list of it."""
    (folder / "records100" / "00000").mkdir(parents=True)
    (folder / "records100" / "00000" / "00001_lr.hea").touch()
    (folder / "ptbxl_database.csv").write_text("ecg_id,scp_codes\n" + "".join(f"{k},{{}}\n" for k in range(rows)))
    (folder / "download.json").write_text(json.dumps({"complete": True, "n": n, "seed": seed}))
    if records:
        (folder / "RECORDS.subset").write_text("".join(f"records100/00000/{k:05d}_lr\n" for k in range(records)))


def test_what_a_study_will_read_is_what_make_data_leaves(tmp_path, monkeypatch):
    monkeypatch.setenv("ECGLIB_WORK", str(tmp_path))
    assert supply("virtual") == (None, False)
    assert supply("mimic-iv-ecg") == (800_035, False) and supply("mimic-iv-ecg", n="2000") == (2000, False)
    assert supply("ludb", n="5000") == (200, False)
    place = tmp_path / "data" / "ptb-xl"
    fetched_part(place, n=2, records=2)
    assert supply("ptb-xl", n="2") == (2, True), "the part that is there"
    assert supply("ptb-xl") == (21_799, False), "make data would fetch the rest"
    assert supply("ptb-xl", n="2", seed=1) == (2, False), "another part"
    assert supply("ptb-xl", data=str(place), n="1") == (2, True), "N is of make data; a folder is read whole"
    shutil.rmtree(place)
    fetched_part(place, n=None)
    assert supply("ptb-xl") == (3, True) and supply("ptb-xl", n="2") == (2, True)
    with pytest.raises(InputError, match="N='x'"):
        supply("ptb-xl", n="x")
    with pytest.raises(InputError, match="reads no records"):
        supply("virtual", data=str(place))


def test_the_challenge_has_no_table_and_its_headers_are_counted(tmp_path):
    for name in ("E1", "E2"):
        path = tmp_path / "training" / "georgia" / "g1" / f"{name}.hea"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert supply("challenge-2021", data=str(tmp_path)) == (2, True)


@pytest.mark.parametrize("command", ["train", "plan"])
def test_a_full_gpu_is_told_in_words(command, tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setenv("ECGLIB_WORK", str(tmp_path))
    monkeypatch.setattr("ecglib.study.Study.open_cohort", lambda study: None)
    monkeypatch.setattr("ecglib.study.Study.run_folder", lambda study: tmp_path / "run")
    monkeypatch.setattr("ecglib.diffusion.train", full)
    monkeypatch.setattr("ecglib.reproduce.plan", full)
    assert main([command, "--cohort", "virtual", "--preset", "smoke", "--device", "cpu"]) == 2
    assert capsys.readouterr().err.endswith("error: the GPU's memory is full: --device cpu, or a smaller preset\n")


def test_plan_takes_n_of_make_data(tmp_path, monkeypatch):
    seen = {}

    def noted(config, cohort, **said):
        seen.update(said)
        raise InputError("enough")

    monkeypatch.setenv("ECGLIB_WORK", str(tmp_path))
    monkeypatch.setenv("N", "2000")
    monkeypatch.setattr("ecglib.reproduce.plan", noted)
    words = ["plan", "--cohort", "mimic-iv-ecg", "--preset", "smoke", "--device", "cpu", "--data", ""]
    assert main(words) == 2 and (seen["records"], seen["at_hand"]) == (2000, False)
    assert main([*words, "--n", "30"]) == 2 and seen["records"] == 30


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
