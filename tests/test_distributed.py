"""Several processes train the weights, and draw the samples, that one does; the first one writes, all stop together."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_checkpoint import TINY
from test_training import tiny_cohort

from ecglib.__main__ import main
from ecglib.diffusion import Generator, Workers, read_log, train
from ecglib.diffusion.checkpoint import CHECKPOINT
from ecglib.diffusion.model import load_tensors
from ecglib.diffusion.workers import divided
from ecglib.errors import InputError
from ecglib.runs import read_manifest


def patients():
    """Records of 10 s: others cannot be written in PTB-XL's layout."""
    return tiny_cohort(n_times=1000)


JOB = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import numpy as np, torch
from pathlib import Path
from test_checkpoint import TINY, Watch
from test_distributed import patients
from ecglib.__main__ import main
from ecglib.diffusion import Generator, Workers, train

alone, folder = map(Path, sys.argv[2:])
workers = Workers.joined("cpu")
if not workers.first:
    os.replace = None  # so that it cannot write

def some_steps(**how):
    train(TINY, patients(), folder / "run", progress=True, device=workers.device, workers=workers, **how)

some_steps(stop_after=1)
if workers.first:
    os.link(folder / "run" / "checkpoint.safetensors", folder / "first.safetensors")
workers.wait()
with Watch(4, ("call", "learning_rate"), lambda: workers.first or signal.raise_signal(signal.SIGTERM)):
    try:
        some_steps()
    except KeyboardInterrupt:
        print(f"process {workers.rank} of {workers.count} was stopped")
some_steps()
generator = Generator.load(alone)
samples = [generator.sample(patients().table.head(n), workers=workers).x for n in (7, 1)]
np.save(folder / f"samples-{workers.rank}.npy", np.concatenate(samples))
sys.exit(main(["sample", str(alone), str(folder / "table.csv"), str(folder / "ecgs"), "--device", "cpu"]))
"""
LAUNCH = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
          "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]  # fmt: skip


def write_table(path) -> None:
    table = patients().table.head(5)[["ecg_id", "patient_id", "age", "sex", "scp_codes", "strat_fold"]]
    table.assign(scp_codes=table["scp_codes"].astype(str)).to_csv(path, index=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes, and one, made of the same."""
    folder = tmp_path_factory.mktemp("distributed")
    train(TINY, patients(), folder / "first", progress=False, stop_after=1)
    train(TINY, patients(), folder / "alone", progress=False)
    write_table(folder / "table.csv")
    (folder / "job.py").write_text(JOB)
    words = [str(each) for each in (folder / "job.py", Path(__file__).parent, folder / "alone", folder)]
    environment = os.environ | {"HF_HOME": str(folder / "hf"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *LAUNCH, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    (folder / "said").write_text(done.stdout)
    (folder / "errors").write_text(done.stderr)
    return folder


def test_two_processes_average_to_the_gradient_of_one(folder):
    one, two = load_tensors(folder / "first" / CHECKPOINT), load_tensors(folder / "first.safetensors")
    moments = [name for name in one if name.endswith(".exp_avg")]  # after one step: the gradient, times 0.1
    assert len(moments) > 30
    for name in moments:
        # an untrained network answers a smooth signal: most of its spectrogram is rounding, which differs
        assert float((two[name] - one[name]).norm()) <= 1e-4 * float(one[name].norm()) + 1e-9, name


def test_two_processes_train_the_weights_of_one(folder):
    one, two = (load_tensors(folder / name / CHECKPOINT) for name in ("alone", "run"))
    for name, value in one.items():
        if name.startswith("network."):
            assert float((two[name] - value).abs().max()) < 1e-4, name
    logs = [[row["validation"] for row in read_log(folder / name)] for name in ("alone", "run")]
    assert logs[0] == pytest.approx(logs[1], rel=1e-4) and len(logs[0]) == 3
    assert read_manifest(folder / "run", "run")["processes"] == 2


def test_two_processes_draw_the_samples_of_one(folder):
    generator = Generator.load(folder / "alone")
    one = np.concatenate([generator.sample(patients().table.head(n)).x for n in (7, 1)])
    for rank in (0, 1):
        two = np.load(folder / f"samples-{rank}.npy")
        assert two.shape == one.shape and np.abs(two - one).max() < 1e-5


def test_a_stop_that_one_process_hears_stops_all_at_the_same_step_and_they_go_on(folder):
    said = (folder / "said").read_text().splitlines()
    assert sorted(line for line in said if "stopped" in line) == [f"process {k} of 2 was stopped" for k in (0, 1)]


def test_only_the_first_process_speaks_and_writes(folder):
    """The other one has no `os.replace`: writing anything would have failed."""
    said, errors = ((folder / name).read_text() for name in ("said", "errors"))
    assert said.count("wrote Cohort(synthetic: 5 records") == 1 and errors.count("1/12 [00:00<?") == 1  # one bar


def test_the_command_writes_the_same_ecgs_alone(folder):
    paths = (str(folder / name) for name in ("alone", "table.csv", "one"))
    assert main(["sample", *paths, "--device", "cpu"]) == 0
    names = sorted(path.relative_to(folder / "one") for path in (folder / "one").rglob("*.dat"))
    assert len(names) == 5
    for name in names:
        one, two = (np.fromfile(folder / where / name, "<i2").astype(int) for where in ("one", "ecgs"))
        assert np.abs(one - two).max() <= 1, "a microvolt: they are rounded"
    tables = [pd.read_csv(folder / where / "ptbxl_database.csv") for where in ("one", "ecgs")]
    pd.testing.assert_frame_equal(*tables)


def test_a_batch_that_does_not_divide_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"training\.batch=4 cannot be divided by 3 processes.*such as 6"):
        train(TINY, patients(), tmp_path / "run", progress=False, workers=Workers(0, 3))
    assert not (tmp_path / "run").exists()
    divided(6, Workers(2, 3))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_are_all_there_is_once_and_differ_by_at_most_one(count):
    for n in (0, 1, 5, 6, 7, 20):
        shares = [list(range(n))[Workers(rank, count).share(n)] for rank in range(count)]
        assert [k for share in shares for k in share] == list(range(n))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_alone_nothing_is_averaged_and_nobody_is_met(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    workers, x = Workers.joined("cpu"), torch.ones(3)
    workers.average([x])
    workers.wait()
    assert workers == Workers() and x.tolist() == [1, 1, 1] and "accelerate" not in sys.modules
    assert workers.join(np.ones((2, 3)), 2).shape == (2, 3)


@pytest.mark.parametrize(("device", "words"), [("cuda:63", "torch sees"), ("gpu", "not a torch device"),
                                              ("mps", "never tried"), ("meta", "never tried")])  # fmt: skip
def test_a_device_that_is_not_there_is_refused_before_anybody_is_met(device, words, capsys):  # fault 44
    with pytest.raises(InputError, match=words):
        Workers.joined(device)
    assert main(["sample", "run", "table.csv", "folder", "--device", device]) == 2
    assert words in capsys.readouterr().err
