"""Training: resumable to the bit, learns, and loses nothing when something goes wrong."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch

from ecglib.config import Config
from ecglib.diffusion import Generator, read_log, train
from ecglib.diffusion.model import load_tensors
from ecglib.diffusion.seeds import batch_rows
from ecglib.diffusion.training import CHECKPOINT, LOG, learning_rate
from ecglib.errors import InputError
from ecglib.runs import MANIFEST, locked
from ecglib.signals import LEADS_8, LEADS_12, Cohort, to_twelve_leads

TINY = Config.preset("smoke").override(
    {
        "network.channels": 8, "network.blocks": 1, "network.state": 8, "training.steps": 12, "training.batch": 4,
        "training.validate_every": 4, "training.save_every": 4, "diffusion.timesteps": 20, "conditions.width": 4,
        "mel.windows": (64,), "mel.n_mels": (16,), "sampling.steps": 5,
    }
)  # fmt: skip


def tiny_cohort(n: int = 40, fs: int = 100, n_times: int = 200) -> Cohort:
    """Records with a beat a second, whose height tells the sex: something to learn."""
    rng = np.random.default_rng(0)
    sex = np.arange(n) % 2
    beats = np.exp(-(((np.arange(n_times) % 100 - 50) / 3.0) ** 2))
    x = (1 + sex)[:, None, None] * rng.normal(1, 0.1, (n, 8, 1)) * beats + rng.normal(0, 0.02, (n, 8, n_times))
    table = pd.DataFrame({"ecg_id": np.arange(1, n + 1), "patient_id": np.arange(1, n + 1), "sex": sex,
                          "age": 50.0, "scp_codes": [{"NORM": 100.0, "SR": 0.0}] * n,
                          "strat_fold": np.arange(n) % 10 + 1})  # fmt: skip
    return Cohort(to_twelve_leads(x).astype(np.float32), fs, LEADS_12, table, source="tiny")


def files_of(run) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in (CHECKPOINT, "model.safetensors", LOG, "config.json")}


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    train(TINY, tiny_cohort(), run, progress=False)
    return run


def test_a_run_taken_up_again_equals_one_that_was_not_interrupted_bit_for_bit(whole_run, tmp_path):
    for stop in (3, 4, 9, None):
        train(TINY, tiny_cohort(), tmp_path / "run", progress=False, stop_after=stop)
        assert (tmp_path / "run" / MANIFEST).exists() is (stop is None)
    assert files_of(tmp_path / "run") == files_of(whole_run)


CHILD = """
import sys, torch
sys.path.insert(0, sys.argv[2])
torch.set_num_threads(int(sys.argv[3]))
from test_training import TINY, tiny_cohort
from ecglib.diffusion import train
train(TINY, tiny_cohort(), sys.argv[1], progress=False)
"""


def test_a_run_killed_at_any_moment_and_taken_up_again_is_the_same(whole_run, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-c", CHILD, str(run), os.path.dirname(__file__), str(torch.get_num_threads())]
    for delay in (0.0, 0.02, 0.2):  # after the first checkpoint appears, so that the kill falls into the work
        child = subprocess.Popen(command)
        deadline = time.monotonic() + 60
        before = (run / CHECKPOINT).stat().st_mtime_ns if (run / CHECKPOINT).exists() else 0
        while child.poll() is None and time.monotonic() < deadline:
            if (run / CHECKPOINT).exists() and (run / CHECKPOINT).stat().st_mtime_ns != before:
                break
            time.sleep(0.002)
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert subprocess.run(command).returncode == 0
    assert (run / MANIFEST).exists()
    assert files_of(run) == files_of(whole_run)


def test_a_finished_run_returns_at_once_and_changes_nothing(whole_run):
    before = files_of(whole_run), (whole_run / MANIFEST).read_bytes()
    train(TINY, tiny_cohort(), whole_run, progress=False)
    assert before == (files_of(whole_run), (whole_run / MANIFEST).read_bytes())


def test_it_learns_and_the_best_average_is_kept(tmp_path):
    config = TINY.override({"training.steps": 200, "training.validate_every": 20, "training.learning_rate": 5e-3})
    run = train(config, tiny_cohort(), tmp_path / "run", progress=False)
    validation = [row["validation"] for row in read_log(run)]
    assert min(validation) < 0.6 * validation[0]
    kept = load_tensors(run / "model.safetensors")
    average = load_tensors(run / CHECKPOINT)
    is_last = all(torch.equal(kept[name], average[f"average.{name}"]) for name in kept)
    assert is_last == (int(np.argmin(validation)) == len(validation) - 1)


def test_every_embedding_is_trained_saved_and_loaded(whole_run):
    """The authors' code keeps them in a plain list, so they are neither trained nor saved."""
    from ecglib.diffusion import network_of

    fresh, loaded = network_of(TINY, 8), Generator.load(whole_run).network
    assert len(fresh.embeddings) == len(TINY.conditions.groups)
    for before, after in zip(fresh.embeddings, loaded.embeddings, strict=True):
        assert not torch.equal(before.weight, after.weight)


def test_without_standardising_the_model_works_in_millivolts(tmp_path):
    config = TINY.override({"training.standardise": False, "training.steps": 1})
    signals = Generator.load(train(config, tiny_cohort(), tmp_path / "run", progress=False)).signals
    assert signals.mean == (0.0,) * 8 and signals.scale == (1.0,) * 8 and signals.leads == LEADS_8


def test_another_configuration_or_cohort_in_the_folder_is_refused(whole_run):
    with pytest.raises(InputError, match="holds a run of config"):
        train(TINY.override({"training.steps": 13}), tiny_cohort(), whole_run, progress=False)
    with pytest.raises(InputError, match="other signals"):
        train(TINY, tiny_cohort(n_times=400), whole_run, progress=False)


def test_two_runs_in_one_folder_are_refused(tmp_path):
    with locked(tmp_path / "run"), pytest.raises(InputError, match="in use by another run"):
        train(TINY, tiny_cohort(), tmp_path / "run", progress=False)


@pytest.mark.parametrize("damage", [b"", b"\x80\x04\x95pickle", "half"])
def test_a_damaged_checkpoint_is_an_error_never_a_silent_restart(tmp_path, damage):
    run = tmp_path / "run"
    train(TINY, tiny_cohort(), run, progress=False, stop_after=4)
    path = run / CHECKPOINT
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if damage == "half" else damage)
    with pytest.raises(InputError, match="not a whole safetensors file"):
        train(TINY, tiny_cohort(), run, progress=False)


def test_a_loss_that_becomes_infinite_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    config, run, cohort = TINY.override({"training.standardise": False}), tmp_path / "run", tiny_cohort()
    train(config, cohort, run, progress=False, stop_after=4)
    good = files_of(run)
    huge = Cohort((cohort.x * 1e25).astype(np.float32), 100, LEADS_12, cohort.table)  # its square overflows
    with pytest.raises(InputError, match=r"the loss became (nan|inf) at step 4"):
        train(config, huge, run, progress=False)
    assert files_of(run) == good and not (run / MANIFEST).exists()
    train(config, cohort, run, progress=False)
    assert (run / MANIFEST).exists()


def test_a_gpu_asked_for_and_absent_is_refused(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match="torch sees no GPU"):
        train(TINY, tiny_cohort(), tmp_path / "run", device="cuda", progress=False)


def test_a_cohort_that_does_not_fit_is_refused(tmp_path):
    cohort = tiny_cohort()
    with pytest.raises(InputError, match=r"cohort\.fs is 100"):
        train(TINY, tiny_cohort(fs=500), tmp_path / "a", progress=False)
    with pytest.raises(InputError, match=r"no multiple of network\.patch"):
        train(TINY, tiny_cohort(n_times=201), tmp_path / "b", progress=False)
    with pytest.raises(InputError, match=r"no record is in fold 9 \(validation\)"):
        train(TINY, cohort.folds(1, 2, 10), tmp_path / "c", progress=False)


def test_each_epoch_sees_each_record_once():
    rows = np.concatenate([batch_rows(10, 4, 0, step) for step in range(5)])
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert list(rows[:10]) != list(rows[10:])
    assert len(batch_rows(3, 8, 0, 2)) == 8  # a batch larger than the cohort spans epochs


def test_learning_rate_warms_up_and_falls():
    config = Config.preset("quick")
    rates = [learning_rate(step, config) for step in range(config.training.steps)]
    assert rates[0] < rates[50] < max(rates) <= config.training.learning_rate
    assert rates[-1] == pytest.approx(0.02 * config.training.learning_rate, rel=0.01)
    paper = Config.preset("paper")
    assert {learning_rate(step, paper) for step in (0, 10, 99_999)} == {2e-4}
