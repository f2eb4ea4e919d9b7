"""Folders and files that are whole or absent: atomic writes, manifests, locks.

Everything produced lives below one folder, ``work/``. A step writes its manifest last, so a folder without a
manifest is an interrupted step and never counts as done.
"""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ecglib.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = "manifest.json"
PACKAGES = ("ecglib", "numpy", "pandas", "scipy", "torch", "wfdb", "scikit-learn")


def work_folder() -> Path:
    """Return the one folder for everything produced: ``$ECGLIB_WORK``, or ``work/`` beside the package."""
    return Path(os.environ.get("ECGLIB_WORK") or ROOT / "work")


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it becomes `path`, on any error nothing is left.

    Parameters
    ----------
    path : path
        The file to write. Its folder is made where absent.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Give a temporary folder beside `path`; on success it takes the place of `path`, on any error nothing changes."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
            os.replace(path, old)
            try:
                os.replace(temporary, path)
            except OSError:
                os.replace(old, path)
                raise
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` to `path` atomically, in UTF-8."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_of(path: Path | str) -> str:
    """Return the SHA-256 of a file, in hexadecimal, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions that a result depends on: Python, the machine's kind, packages, and the git commit."""
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    found["commit"] = commit()
    return found


def commit() -> str:
    """Return the name of the commit at hand, with -dirty where files differ from it; unknown outside of git."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
                              capture_output=True, text=True, timeout=10)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return "unknown (git did not answer)"
    return done.stdout.strip() if done.returncode == 0 else "unknown (not a git checkout)"


def write_manifest(folder: Path | str, kind: str, **content: Any) -> None:
    """Write ``manifest.json``, which says that the step is done and what it was made from.

    Parameters
    ----------
    folder : path
        The step's folder.
    kind : str
        What it holds: ``cohort``, ``run``, ``samples``, ``evaluation``.
    **content
        JSON values; the SHA-256 of inputs belong here.
    """
    made = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = {"kind": kind, **content, "versions": versions(), "made": made}
    write_text(Path(folder) / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def read_manifest(folder: Path | str, kind: str, *, make: str = "make book") -> dict[str, Any]:
    """Read a step's manifest.

    Parameters
    ----------
    folder : path
        The step's folder.
    kind : str
        The kind expected.
    make : str
        The command that makes it, for the message.

    Raises
    ------
    InputError
        If there is no manifest (the step was not made, or was interrupted), if it is not JSON, or of another kind.
    """
    path = Path(folder) / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: the step was not run or did not finish; run `{make}`") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); delete its folder and run `{make}`") from None
    if not isinstance(manifest, dict) or manifest.get("kind") != kind:
        found = manifest.get("kind") if isinstance(manifest, dict) else type(manifest).__name__
        raise InputError(f"{path} is of kind {found!r}; expected {kind!r}")
    return manifest


def check_replaceable(folder: Path | str, kind: str) -> None:
    """Raise `InputError` unless `folder` is absent, empty, or holds what an earlier step of this kind wrote."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; expected a folder, or nothing yet")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    try:
        read_manifest(folder, kind)
    except InputError:
        raise InputError(f"{folder} holds something other than a {kind}, and would be replaced as a whole; "
                         "choose a new folder") from None  # fmt: skip


@contextmanager
def reopened(folder: Path | str) -> Iterator[None]:
    """Take a step's manifest away while more files are written to its folder; it comes back with success only."""
    path = Path(folder) / MANIFEST
    text = path.read_text(encoding="utf-8")
    path.unlink()
    yield
    write_text(path, text)


@contextmanager
def locked(folder: Path | str) -> Iterator[None]:
    """Hold a folder for one process; the lock goes with the process, so that a killed run leaves none behind.

    Raises
    ------
    InputError
        If another process holds it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{folder} is in use by another run; wait for it, or choose another folder") from None
        yield


def inside(root: Path | str, name: Path | str, argument: str = "path") -> Path:
    """Return ``root / name`` if it stays below `root`, links resolved.

    Raises
    ------
    InputError
        If `name` is absolute, a URL, holds a NUL, or leads out of `root`.
    """
    root, text = Path(root), str(name)
    if "\0" in text or "://" in text or Path(text).is_absolute() or "\\" in text:
        raise InputError(f"{argument}={text!r} is not a plain relative path; expected one below {root}")
    full = root / text
    if not full.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{argument}={text!r} leads out of {root}; expected a path below it")
    return full
