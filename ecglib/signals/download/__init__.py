"""Real ECGs from PhysioNet: only what is needed, in parallel, resumed, verified, and never half a file under its name.

``SHA256SUMS.txt`` comes first: it lists all there is; of itself only form and length can be verified. Then the tables,
then the records. What is in place with the right checksum is kept. ``download.json`` says what was asked for, and at
the end that it is complete.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ecglib.errors import InputError
from ecglib.runs import inside, locked, sha256_of, write_text
from ecglib.signals.download.cohorts import ALSO, PROJECTS, SUMS, choose_subset, project_of, read_sums, record_of
from ecglib.signals.download.transfer import AGAIN, FileError, Progress, Server, Stopped, writing
from ecglib.signals.readers.records import SUBSET

__all__ = ["PROJECTS", "download"]

PHYSIONET = "https://physionet.org/files"
WORKERS = 8  # connections; users report some 45 kB/s on each of PhysioNet's, and refusals where there are 24
MANIFEST = "download.json"
MOST_FAILED = 20  # files that cannot be had; with more than that, the rest is not tried


def download(cohort: str, folder: Path | str, *, n: int | None = None, seed: int = 0, fs: int = 100,
             base: str | None = None, workers: int = WORKERS, progress: bool = True, timeout: float = 30.0,
             first_wait: float = 0.5) -> Path:  # fmt: skip
    """Fetch a cohort, or go on fetching it.

    Parameters
    ----------
    cohort : {"ptb-xl", "ludb", "mimic-iv-ecg", "challenge-2021"}
        All open to everyone.
    folder : path
        Where it goes; made where absent.
    n : int, optional
        At most so many records: whole patients, strata in proportion (`cohorts.choose_subset`). Only these are fetched,
        and listed in ``RECORDS.subset``, which the readers honour. None: all.
    seed : int
        Seed of that choice.
    fs : {100, 500}
        Which of PTB-XL's two sets of records, in Hz. The others have one.
    base : str, optional
        Address of the folder of projects; None: ``$ECGLIB_PHYSIONET``, else PhysioNet. A mirror has the same layout,
        for example ``https://physionet-open.s3.amazonaws.com``.
    workers : int
        Connections at once.
    progress : bool
        Print what is to be done, and show a bar with the time left.
    timeout, first_wait : float
        In seconds; see `transfer.Server`.

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    InputError
        If an argument is wrong, the disk is too small or refuses, the server is dead, or a file cannot be had. What has
        come is kept, and the same call goes on from there.
    """
    project, folder = project_of(cohort, fs), Path(folder)
    for name, value in (("n", 1 if n is None else n), ("workers", workers)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name}={value!r}; expected a whole number, 1 or more")
    base = (base or os.environ.get("ECGLIB_PHYSIONET") or PHYSIONET).rstrip("/")
    server = Server(f"{base}/{project.version}", timeout=timeout, first_wait=first_wait)
    request = {"project": project.version, "licence": project.licence, "source": server.base, "n": n,
               "seed": None if n is None else seed, "records_in": list(project.folders)}  # fmt: skip

    def bring(files: dict[str, str], label: str) -> None:
        _bring(server, folder, files, workers, tqdm(desc=label, unit="B", unit_scale=True, disable=not progress))

    def note(**more: object) -> None:
        content = {**request, **more, "made": earlier.get("made")}
        if content != earlier:  # else the file stays as it was, and with it what was made from it
            content["made"] = datetime.now(UTC).isoformat(timespec="seconds")
        write_text(folder / MANIFEST, json.dumps(content, indent=2, sort_keys=True) + "\n")

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            earlier = _earlier(folder)
            known = earlier.get("sha256sums") if earlier.get("project") == project.version else None
            if not known or not (folder / SUMS).is_file() or sha256_of(folder / SUMS) != known:
                bring({SUMS: ""}, SUMS)
            tables = _tables(folder / SUMS, project.tables)
            sha256 = sha256_of(folder / SUMS)
            note(complete=False, sha256sums=sha256)
            bring(tables, f"{cohort}: tables")
            subset = None if n is None else choose_subset(cohort, folder, n, seed)
            of_records = read_sums(folder / SUMS, lambda name: name.startswith(project.folders) and "." in name
                                   and (subset is None or record_of(name) in subset))  # fmt: skip
            records = sum(name.endswith(".hea") for name in of_records)
            if not records:
                raise InputError(f"{folder / SUMS} lists none of the records wanted; delete it, and {AGAIN}")
            _check_room(folder, of_records, records * project.record_bytes / len(of_records), records, progress)
            bring(of_records, f"{cohort}: {records} records")
            if subset is None:
                (folder / SUBSET).unlink(missing_ok=True)
            else:
                write_text(folder / SUBSET, "".join(f"{name}\n" for name in sorted(subset)))
            files = {**tables, **of_records}
            note(complete=True, sha256sums=sha256, records=records, files=len(files),
                 bytes=sum((folder / name).stat().st_size for name in files))  # fmt: skip
    return folder


def _earlier(folder: Path) -> dict[str, Any]:
    """Return what an earlier run noted; nothing if there was none."""
    try:
        noted = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _tables(path: Path, needed: tuple[str, ...]) -> dict[str, str]:
    """Return the sums of what is fetched beside the records; a file that is no list of them does not stay."""
    try:
        tables = read_sums(path, lambda name: name in (*needed, *ALSO))
        if absent := [name for name in needed if name not in tables]:
            raise InputError(f"{path} does not list {' and '.join(absent)}: it is not the project's; {AGAIN}")
    except InputError:
        path.unlink()
        raise
    return tables


def _check_room(folder: Path, files: dict[str, str], mean: float, records: int, progress: bool) -> None:
    """Refuse what the disk has no room for; files are of about `mean` bytes. Print the plan."""
    absent = sum(not inside(folder, name).is_file() for name in files)
    need, free = absent * mean, shutil.disk_usage(folder).free
    if progress:
        tqdm.write(f"{records} records, {len(files)} files: {len(files) - absent} in place, to be verified; {absent} "
                   f"to fetch, about {_size(need)}; {_size(free)} are free in {folder}")  # fmt: skip
    if need > free:
        raise InputError(f"{folder} has {_size(free)} free, but {absent} files need about {_size(need)}; make room, "
                         "take another folder with DATA=<folder>, or fewer records with N=")  # fmt: skip


def _size(n_bytes: float) -> str:
    return f"{tqdm.format_sizeof(n_bytes)}B"


def _bring(server: Server, folder: Path, files: dict[str, str], workers: int, bar: tqdm) -> None:
    """Fetch files (path → SHA-256, '' if unknown) with several threads; raise what went wrong once all have ended."""
    todo, failed, fatal = deque(files.items()), [], []
    shared = Progress(bar, len(files))

    def work() -> None:
        try:
            while todo and not server.stop.is_set():
                name, digest = todo.popleft()
                try:
                    server.fetch(name, folder, digest or None, shared)
                except FileError as error:
                    failed.append(str(error))
                    if len(failed) > MOST_FAILED:
                        server.stop.set()
        except (IndexError, Stopped):  # another thread took the last file, or has failed
            pass
        except BaseException as error:
            fatal.append(error)
            server.stop.set()
        finally:
            server.close()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(workers, len(files)))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:  # Ctrl-C: one that waits for a dead server ends with the process, and writes nothing more
        server.stop.set()
        for thread in threads:
            thread.join(timeout=2 / len(threads))
        raise
    finally:
        bar.close()
    if fatal:
        raise fatal[0]
    if failed:
        raise InputError(f"{len(failed)} of {len(files)} files could not be fetched, first {failed[0]}; the others are "
                         f"kept: {AGAIN}")  # fmt: skip
