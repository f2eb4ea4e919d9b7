"""A run that is killed at any moment, stopped, starved of disk or damaged goes on to the same weights, or says why not.

Numbers in brackets are those of the project's list of faults.
"""

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from test_training import TINY as WITH_MEL
from test_training import files_of, tiny_cohort

from ecglib.__main__ import main
from ecglib.diffusion import Generator, train
from ecglib.diffusion.checkpoint import CHECKPOINT, LOG, StopSignals
from ecglib.diffusion.model import WEIGHTS, load_tensors
from ecglib.errors import InputError
from ecglib.runs import MANIFEST

SERVER = multiprocessing.get_context("forkserver")  # imports torch once; every child is a fork of it
SERVER.set_forkserver_preload(["ecglib.diffusion", "pytest", "torch._dynamo"])
TINY = WITH_MEL.override({"mel.filters": "none"})  # without torchaudio, which takes long to import


def in_child(function, *arguments) -> tuple[int, str]:
    """Run a function in another process; return its exit status (−9 if it was killed) and what it said last."""
    ours, theirs = SERVER.Pipe(duplex=False)
    child = SERVER.Process(target=_report, args=(theirs, torch.get_num_threads(), function, arguments))
    child.start()
    theirs.close()
    try:
        said = ours.recv()
    except EOFError:
        said = ""
    child.join()
    return child.exitcode, said


def _report(pipe, threads, function, arguments) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born deaf to Ctrl-C
    torch.set_num_threads(threads)
    try:
        pipe.send(str(function(*arguments)))
    except BaseException as error:
        pipe.send(f"{type(error).__name__}: {error}")
        raise SystemExit(1) from None


def go_on(run) -> int:
    """Train, or go on, to the end; return how many events there are in ecglib on the way."""
    watch = Watch()
    with watch:
        train(TINY, tiny_cohort(), run, progress=False)
    return watch.seen


class Watch:
    """Count what happens in ecglib's code, calls and returns, of C functions too, and act when it is time.

    Parameters
    ----------
    place : int
        At which event, from 1.
    of : (event, name) or None
        Count only this one, wherever it happens, for example ("c_call", "fsync").
    act : callable
    """

    def __init__(self, place=0, of=None, act=lambda: os.kill(os.getpid(), signal.SIGKILL)) -> None:
        self.place, self.of, self.act, self.seen = place, of, act, 0

    def __enter__(self):
        sys.setprofile(self)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)

    def __call__(self, frame, event, function) -> None:
        name = frame.f_code.co_name if function is None or event == "return" else getattr(function, "__name__", "")
        if self.of == (event, name) or (self.of is None and "ecglib" in frame.f_code.co_filename):
            self.seen += 1
            if self.seen == self.place:
                self.act()


def killed(run, place, of=None) -> None:
    with Watch(place, of):
        train(TINY, tiny_cohort(), run, progress=False)


def killed_in_the_middle_of_writing(run, size) -> None:
    """The kernel kills whoever writes a file beyond `size` bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    train(TINY, tiny_cohort(), run, progress=False)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    train(TINY, tiny_cohort(), run, progress=False)
    return run


def test_killed_at_any_moment_it_goes_on_to_the_same_weights(whole_run, tmp_path):  # faults 37, 38
    run, rng, kills = tmp_path / "run", np.random.default_rng(0), 0
    status, seen = in_child(go_on, tmp_path / "counted")
    assert status == 0 and int(seen) > 1000
    for _ in range(16):
        status, said = in_child(killed, run, int(rng.integers(1, int(seen))))
        kills += status == -signal.SIGKILL
        assert status in (0, -signal.SIGKILL), said
        if status == 0:  # came to the end before its moment did
            assert files_of(run) == files_of(whole_run)
            shutil.rmtree(run)
    assert kills >= 12
    train(TINY, tiny_cohort(), run, progress=False)
    assert files_of(run) == files_of(whole_run)


def test_killed_while_saving_it_goes_on_to_the_same_weights(whole_run, tmp_path):  # fault 37
    """Before and after each thing that writing a file consists of, the file being one after the other."""
    run = tmp_path / "run"
    for place, of in [(1, ("c_call", "fsync")), (2, ("c_return", "fsync")), (2, ("c_call", "replace")),
                      (3, ("c_return", "replace")), (3, ("c_call", "chmod")), (1, ("c_return", "serialize_file")),
                      (2, ("c_call", "unlink")), (1, ("c_call", "replace"))]:  # fmt: skip
        assert in_child(killed, run, place, of)[0] == -signal.SIGKILL
    train(TINY, tiny_cohort(), run, progress=False)
    assert files_of(run) == files_of(whole_run)
    assert sorted(path.name for path in run.iterdir()) == sorted(path.name for path in whole_run.iterdir())


def test_killed_in_the_middle_of_a_file_it_goes_on_to_the_same_weights(whole_run, tmp_path):  # fault 37
    run = tmp_path / "run"
    for name in (WEIGHTS, CHECKPOINT):
        size = (whole_run / name).stat().st_size // 2
        assert in_child(killed_in_the_middle_of_writing, run, size)[0] == -signal.SIGXFSZ
        assert not (run / name).exists() and len(list(run.glob(".*"))) > 2, "a lock and a torso"
    train(TINY, tiny_cohort(), run, progress=False)
    assert files_of(run) == files_of(whole_run)
    assert sorted(path.name for path in run.iterdir()) == sorted(path.name for path in whole_run.iterdir())


# ---- stopped


def interrupted(run, place, of, number) -> None:
    with Watch(place, of, lambda: signal.raise_signal(number)):
        train(TINY, tiny_cohort(), run, progress=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_saves_the_step_at_hand_and_goes_on_to_the_same_weights(whole_run, tmp_path, number):  # fault 43
    run, steps = tmp_path / "run", []
    for place, of in [(2, ("call", "learning_rate")), (1, ("return", "_one_step")), (1, ("c_call", "fsync"))]:
        assert in_child(interrupted, run, place, of, number) == (1, "KeyboardInterrupt: ")
        steps.append(int(load_tensors(run / CHECKPOINT)["progress"][0]))
        assert not (run / MANIFEST).exists()
    assert steps == [2, 3, 4]
    train(TINY, tiny_cohort(), run, progress=False)
    assert files_of(run) == files_of(whole_run)


def test_the_second_signal_acts_at_once_and_a_deaf_process_stays_deaf():
    with pytest.raises(KeyboardInterrupt), listening(signal.default_int_handler), StopSignals() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.asked
        signal.raise_signal(signal.SIGINT)
    with listening(signal.SIG_IGN), StopSignals() as stop:
        signal.raise_signal(signal.SIGINT)
        assert not stop.asked


@contextlib.contextmanager
def listening(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
        assert signal.getsignal(signal.SIGINT) == handler
    finally:
        signal.signal(signal.SIGINT, before)


def command(work, place, *words) -> int:
    os.environ["ECGLIB_WORK"] = str(work)
    with open(work / "said", "a") as said, contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        with Watch(place, ("call", "learning_rate"), lambda: signal.raise_signal(signal.SIGINT)):
            return main(list(words))


def test_ctrl_c_ends_the_command_with_status_130_and_the_same_one_goes_on(tmp_path):  # fault 43
    tiny_cohort(n_times=400).save(tmp_path / "virtual-smoke-s0" / "cohort", study="virtual-smoke-s0")
    words = "train", "--preset", "smoke", "--device", "cpu"
    assert in_child(command, tmp_path, 7, *words) == (0, "130")
    assert (tmp_path / "said").read_text().endswith("the same command goes on from there\n")
    (run,) = (tmp_path / "virtual-smoke-s0" / "runs").iterdir()
    assert int(load_tensors(run / CHECKPOINT)["progress"][0]) == 7 and not (run / MANIFEST).exists()
    assert in_child(command, tmp_path, 0, *words) == (0, "0")
    assert (tmp_path / "said").read_text().endswith(f"{run}\n") and (run / MANIFEST).exists()


# ---- disks


def starved(run, size) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    train(TINY, tiny_cohort(), run, progress=False)


@pytest.mark.parametrize("name", [CHECKPOINT, WEIGHTS, LOG])
def test_a_file_that_cannot_be_written_whole_leaves_the_last_checkpoint(whole_run, tmp_path, name):  # fault 39
    run = tmp_path / "run"
    train(TINY, tiny_cohort(), run, progress=False, stop_after=4)
    good = files_of(run)
    if name == LOG:
        good[LOG] = good[LOG] * 0
    status, said = in_child(starved, run, (whole_run / name).stat().st_size // 2)
    assert status == 1 and said.startswith("InputError: ") and "File too large" in said and "make room" in said
    assert files_of(run)[CHECKPOINT] == good[CHECKPOINT]
    assert not [path for path in run.iterdir() if path.name.startswith(".") and path.name != ".lock"]
    train(TINY, tiny_cohort(), run, progress=False)
    assert files_of(run) == files_of(whole_run)


def on_a_disk_of(size, folder, copy) -> str:
    """Train on a tiny file system in a mount namespace of our own: full, then larger, then read-only."""
    ids, said = {"uid_map": f"0 {os.getuid()} 1", "setgroups": "deny", "gid_map": f"0 {os.getgid()} 1"}, []
    try:
        if ctypes.CDLL(None).unshare(0x10000000 | 0x00020000):  # CLONE_NEWUSER | CLONE_NEWNS
            return "not here"
        for name, text in ids.items():
            Path("/proc/self", name).write_text(text)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    except (AttributeError, OSError, subprocess.CalledProcessError):  # macOS; Ubuntu's AppArmor; no mount
        return "not here"
    for run, change in (("run", "size=40m"), ("run", "ro"), ("other", "ro")):
        try:
            train(TINY, tiny_cohort(), folder / run, progress=False)
        except InputError as error:
            said.append(str(error))
        subprocess.run(["mount", "-o", f"remount,{change}", folder], check=True)
    shutil.copytree(folder / "run", copy)
    return "\n".join(said)


def test_a_disk_that_is_full_and_one_that_is_read_only(whole_run, tmp_path):  # faults 39, 40
    (tmp_path / "disk").mkdir()
    size = sum((whole_run / name).stat().st_size for name in (WEIGHTS, CHECKPOINT)) * 3 // 4
    status, said = in_child(on_a_disk_of, size, tmp_path / "disk", tmp_path / "run")
    if said == "not here":
        pytest.skip("this machine lets nobody mount a file system")
    assert status == 0, said
    full, read_only = said.splitlines()
    assert "/disk/run cannot be written" in full and "No space left on device" in full and "make room" in full
    assert "/disk/other cannot be written" in read_only and "Read-only file system" in read_only
    assert files_of(tmp_path / "run") == files_of(whole_run)


def test_a_file_in_the_place_of_the_folder(tmp_path):  # fault 40
    (tmp_path / "file").touch()
    for run in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(InputError, match=r"cannot be written: .*choose another folder"):
            train(TINY, tiny_cohort(), run, progress=False)


# ---- damage


class Trap:
    """Pickled, it writes a file as soon as it is loaded."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def half_run(tmp_path_factory):
    run = tmp_path_factory.mktemp("half") / "run"
    train(TINY, tiny_cohort(), run, progress=False, stop_after=6)
    return run


@pytest.mark.parametrize("damage", ["empty", "half", "pickle", "torch"])
def test_a_damaged_checkpoint_is_an_error_never_a_silent_restart(half_run, tmp_path, damage):  # faults 33, 34
    run, trap = shutil.copytree(half_run, tmp_path / "run"), Trap(tmp_path / "executed")
    path = run / CHECKPOINT
    whole = path.read_bytes()
    if damage == "torch":
        torch.save({"step": trap}, path)
    else:
        path.write_bytes({"empty": b"", "half": whole[: len(whole) // 2], "pickle": pickle.dumps(trap)}[damage])
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"checkpoint\.safetensors is not a whole safetensors file"):
        train(TINY, tiny_cohort(), run, progress=False)
    assert path.read_bytes() == before and not trap.path.exists()
    pickle.loads(pickle.dumps(trap))
    assert trap.path.exists(), "else the trap proves nothing"


@pytest.mark.parametrize("damage", ["empty", "half", "pickle"])
def test_damaged_weights_are_refused(whole_run, tmp_path, damage):  # faults 33, 34
    run, trap = shutil.copytree(whole_run, tmp_path / "run"), Trap(tmp_path / "executed")
    whole = (run / WEIGHTS).read_bytes()
    (run / WEIGHTS).write_bytes({"empty": b"", "half": whole[:-9], "pickle": pickle.dumps(trap)}[damage])
    with pytest.raises(InputError, match=r"model\.safetensors is not a whole safetensors file"):
        Generator.load(run)
    assert not trap.path.exists()


@pytest.mark.parametrize(("left_out", "words"), [
    ("progress", "no optimiser"), ("optimiser.0.3.exp_avg", "no optimiser"), ("optimiser.", "no optimiser"),
    ("network.leave.bias", r"does not fit config\.json.*leave\.bias"), ("average.", "does not fit"),
])  # fmt: skip
def test_a_checkpoint_that_lacks_something_is_refused(half_run, tmp_path, left_out, words):  # fault 34
    run = shutil.copytree(half_run, tmp_path / "run")
    state = load_tensors(run / CHECKPOINT)
    kept = {name: value for name, value in state.items() if not name.startswith(left_out)}
    assert len(kept) < len(state)
    save_file(kept, run / CHECKPOINT)
    with pytest.raises(InputError, match=words):
        train(TINY, tiny_cohort(), run, progress=False)


def test_a_checkpoint_of_another_network_is_refused(half_run, tmp_path):  # fault 35
    wide = TINY.override({"network.channels": 16})
    train(wide, tiny_cohort(), tmp_path / "wide", progress=False, stop_after=1)
    run = shutil.copytree(half_run, tmp_path / "run")
    shutil.copy(tmp_path / "wide" / CHECKPOINT, run / CHECKPOINT)
    with pytest.raises(InputError, match=r"does not fit config\.json beside it: size mismatch"):
        train(TINY, tiny_cohort(), run, progress=False)


@pytest.mark.parametrize(("text", "words"), [("", "has 0 rows"), (None, "has 0 rows"), ("step\n4\n", "damaged")])
def test_a_log_that_lacks_rows_is_refused(half_run, tmp_path, text, words):  # fault 34
    run = shutil.copytree(half_run, tmp_path / "run")
    if text is None:
        (run / LOG).unlink()
    else:
        (run / LOG).write_text(text)
    with pytest.raises(InputError, match=words):
        train(TINY, tiny_cohort(), run, progress=False)


@pytest.mark.parametrize(("old", "new", "words"), [
    ('"fs": 100', '"fs": 500', "not fit config"), ('"n_times": 200', '"n_times": 201', "n_times=201.*not fit"),
    ('"V6"', '"V6", "V7"', "9 leads.*does not fit"), ('"NORM"', '"NORMAL"', "another vocabulary"), ("{", "", "damaged"),
])  # fmt: skip
def test_a_description_that_does_not_fit_is_refused(whole_run, tmp_path, old, new, words):  # fault 35
    run = shutil.copytree(whole_run, tmp_path / "run")
    text = (run / "model.json").read_text()
    assert old in text
    (run / "model.json").write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=words):
        Generator.load(run)


def test_weights_of_another_run_are_refused(whole_run, tmp_path):  # fault 35
    run = shutil.copytree(whole_run, tmp_path / "run")
    other = train(TINY.override({"seed": 1}), tiny_cohort(), tmp_path / "other", progress=False)
    shutil.copy(other / WEIGHTS, run / WEIGHTS)
    with pytest.raises(InputError, match="not the file that its manifest names"):
        Generator.load(run)
