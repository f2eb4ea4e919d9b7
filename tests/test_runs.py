"""Files and folders that are whole or absent, whatever interrupts; locks that go with their process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ecglib.errors import InputError
from ecglib.runs import (
    atomic_file,
    atomic_folder,
    inside,
    locked,
    read_manifest,
    reopened,
    sha256_of,
    versions,
    write_manifest,
    write_text,
)


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_error_leaves_the_old_file(folder: Path) -> None:
    write_text(folder / "a.txt", "old é")
    with pytest.raises(RuntimeError), atomic_file(folder / "a.txt") as temporary:
        temporary.write_text("new, half")
        raise RuntimeError
    assert (folder / "a.txt").read_text("utf-8") == "old é" and listing(folder) == ["a.txt"]


def test_an_error_leaves_the_old_folder(folder: Path) -> None:
    for text in ("old", "new"):
        with atomic_folder(folder / "x") as temporary:
            (temporary / "a").write_text(text)
    with pytest.raises(RuntimeError), atomic_folder(folder / "x") as temporary:
        (temporary / "a").write_text("half")
        raise RuntimeError
    assert (folder / "x" / "a").read_text() == "new" and listing(folder) == ["x"]


def test_a_disk_that_fails_while_folders_change_places_leaves_the_old_one(folder: Path, monkeypatch) -> None:
    with atomic_folder(folder / "x") as temporary:
        (temporary / "a").write_text("old")
    replace, calls = os.replace, []

    def fails_once(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fails_once)
    with pytest.raises(OSError, match="No space"), atomic_folder(folder / "x") as temporary:
        (temporary / "a").write_text("new")
    assert (folder / "x" / "a").read_text() == "old" and listing(folder) == ["x"]


def test_a_folder_reopened_is_not_done_until_it_is(folder: Path) -> None:
    write_manifest(folder, "run", seed=3)
    with reopened(folder):
        assert not (folder / "manifest.json").exists()
    assert read_manifest(folder, "run")["seed"] == 3
    with pytest.raises(RuntimeError), reopened(folder):
        raise RuntimeError
    with pytest.raises(InputError, match="did not finish"):
        read_manifest(folder, "run")


def start(code: str, *arguments: Path) -> subprocess.Popen:
    """Start Python on `code` and wait until it prints a line."""
    child = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    return child


def kill(child: subprocess.Popen) -> None:
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert child.stdout is not None
    child.stdout.close()


def test_a_killed_writer_leaves_the_old_folder(folder: Path) -> None:
    with atomic_folder(folder / "x") as temporary:
        (temporary / "a").write_text("old")
    kill(start("import sys, time\nfrom ecglib.runs import atomic_folder\n"
               "with atomic_folder(sys.argv[1]) as t:\n    (t / 'a').write_text('half'); print('ready', flush=True)\n"
               "    time.sleep(60)", folder / "x"))  # fmt: skip
    assert (folder / "x" / "a").read_text() == "old"
    with atomic_folder(folder / "x") as temporary:
        (temporary / "a").write_text("new")
    assert (folder / "x" / "a").read_text() == "new"


def test_the_lock_goes_with_its_process(folder: Path) -> None:
    child = start("import sys, time\nfrom ecglib.runs import locked\nwith locked(sys.argv[1]):\n"
                  "    print('ready', flush=True); time.sleep(60)", folder)  # fmt: skip
    with pytest.raises(InputError, match="in use by another run"), locked(folder):
        pass
    kill(child)
    with locked(folder):
        pass


def test_manifest(folder: Path) -> None:
    write_manifest(folder, "run", seed=3)
    manifest = read_manifest(folder, "run")
    assert manifest["seed"] == 3 and manifest["versions"]["python"] == versions()["python"]
    with pytest.raises(InputError, match="of kind 'run'; expected 'cohort'"):
        read_manifest(folder, "cohort")
    (folder / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        read_manifest(folder, "run")
    (folder / "manifest.json").write_text(json.dumps([1]))
    with pytest.raises(InputError, match="of kind 'list'"):
        read_manifest(folder, "run")
    with pytest.raises(InputError, match="make data"):
        read_manifest(folder / "absent", "run", make="make data")


def test_sha256(folder: Path) -> None:
    (folder / "a").write_bytes(b"abc")
    assert sha256_of(folder / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "https://x.org/a", "a\0b", "a/../../b", "..\\a", "out/a"])
def test_paths_that_lead_out(folder: Path, name: str) -> None:
    (folder / "root").mkdir()
    (folder / "root" / "out").symlink_to(folder)
    with pytest.raises(InputError, match="path"):
        inside(folder / "root", name)


def test_paths_that_stay(folder: Path) -> None:
    assert inside(folder, "a b/é.hea") == folder / "a b" / "é.hea"
    (folder / "real").mkdir()
    (folder / "link").symlink_to(folder / "real")
    assert inside(folder, "link/a") == folder / "link" / "a"
