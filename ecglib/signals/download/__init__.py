"""Real ECGs from PhysioNet: only what is needed, in parallel, resumed, verified, and never half a file under its name.

``SHA256SUMS.txt`` comes first: it lists all there is; of itself only form and length can be verified. Then the tables,
then the records. What is in place with the right checksum is kept. ``download.json`` says what was asked for, and at
the end that it is complete.
"""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ecglib.errors import InputError
from ecglib.runs import inside, locked, sha256_of, write_text
from ecglib.signals.download.cohorts import ALSO, PROJECTS, SUMS, choose_subset, project_of, read_sums, record_of
from ecglib.signals.download.transfer import AGAIN, Advance, FileError, Server, writing
from ecglib.signals.readers.records import SUBSET

__all__ = ["PROJECTS", "download", "is_complete"]

PHYSIONET = "https://physionet.org/files"
MANIFEST = "download.json"
MOST_FAILED = 20  # files that cannot be had; with more than that, the rest is not tried


def download(cohort: str, folder: Path | str, *, n: int | None = None, seed: int = 0, fs: int = 100,
             base: str | None = None, workers: int = 8, progress: bool = True, timeout: float = 30.0,
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
        Connections at once; users report some 45 kB/s on each of PhysioNet's, and refusals where there are 24.
    progress : bool
        Show a bar of bytes; that of the records has an estimated total, and with it the time left.
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
    server = Server(f"{base}/{project.version}", connections=workers, timeout=timeout, first_wait=first_wait)
    request = {"project": project.version, "licence": project.licence, "source": server.base, "n": n,
               "seed": None if n is None else seed, "records_in": list(project.folders)}  # fmt: skip

    def bring(files: dict[str, str], label: str, size: int | None = None) -> None:
        with tqdm(desc=label, total=size, unit="B", unit_scale=True, disable=not progress) as bar:
            _bring(server, folder, files, workers, bar.update)

    with writing(folder), locked(folder):
        earlier = _earlier(folder)
        known = earlier.get("sha256sums") if earlier.get("project") == project.version else None
        if not known or not (folder / SUMS).is_file() or sha256_of(folder / SUMS) != known:
            bring({SUMS: ""}, SUMS)
        tables = _tables(folder / SUMS, project.tables)
        request["sha256sums"] = sha256_of(folder / SUMS)
        _note(folder, earlier, request | {"complete": False})
        bring(tables, f"{cohort}: tables")
        subset = None if n is None else choose_subset(cohort, folder, n, seed)
        of_records = _records(folder / SUMS, project.folders, subset)
        records = sum(name.endswith(".hea") for name in of_records)
        _check_room(folder, of_records, records * project.record_bytes)
        bring(of_records, f"{cohort}: {records} records", records * project.record_bytes)
        (folder / SUBSET).unlink(missing_ok=True)
        if subset is not None:
            write_text(folder / SUBSET, "".join(f"{name}\n" for name in sorted(subset)))
        files = {**tables, **of_records}
        _note(folder, earlier, request | {"complete": True, "records": records, "files": len(files),
                                          "bytes": sum((folder / name).stat().st_size for name in files)})  # fmt: skip
    return folder


def is_complete(folder: Path | str) -> bool:
    """Tell whether a download into this folder came to its end."""
    return bool(_earlier(Path(folder)).get("complete"))


def _earlier(folder: Path) -> dict[str, Any]:
    """Return what an earlier run noted; nothing if there was none."""
    try:
        return dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    except (FileNotFoundError, TypeError, ValueError):
        return {}


def _note(folder: Path, earlier: dict[str, Any], content: dict[str, Any]) -> None:
    """Write the manifest; as it was if nothing has changed, and with it what was made from it."""
    content = content | {"made": earlier.get("made")}
    if content != earlier:
        content["made"] = datetime.now(UTC).isoformat(timespec="seconds")
    write_text(folder / MANIFEST, json.dumps(content, indent=2, sort_keys=True) + "\n")


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


def _records(path: Path, folders: tuple[str, ...], subset: set[str] | None) -> dict[str, str]:
    """Return the sums of all records' files, or of those of a subset."""
    files = read_sums(path, lambda name: name.startswith(folders) and "." in name
                      and (subset is None or record_of(name) in subset))  # fmt: skip
    if not any(name.endswith(".hea") for name in files):
        raise InputError(f"{path} lists none of the records wanted; delete it, and {AGAIN}")
    return files


def _check_room(folder: Path, files: dict[str, str], size: int) -> None:
    """Refuse what the disk has no room for; all files together are of about `size` bytes."""
    absent = sum(not inside(folder, name).is_file() for name in files)
    need, free = size * absent / len(files), shutil.disk_usage(folder).free
    if need > free:
        raise InputError(f"{folder} has {tqdm.format_sizeof(free)}B free, but {absent} files need about "
                         f"{tqdm.format_sizeof(need)}B; make room, or set another DATA= or a smaller N=")  # fmt: skip


def _bring(server: Server, folder: Path, files: dict[str, str], workers: int, advance: Advance) -> None:
    """Fetch files (path → SHA-256, '' if unknown) with several threads; raise what went wrong once all have ended."""
    todo = iter(files.items())  # one for all threads: each takes the next file
    failed: list[FileError] = []

    def work(_: int) -> None:
        for name, digest in todo:
            if server.stop.is_set() or len(failed) > MOST_FAILED:
                return
            try:
                server.fetch(name, digest, folder, advance)
            except FileError as error:
                failed.append(error)
            except Exception:
                server.stop.set()
                raise

    try:
        with ThreadPool(workers) as pool:  # of daemons: after Ctrl-C, one that waits for a dead server holds up nothing
            pool.map(work, range(workers))
    except BaseException:  # a thread that is left over writes nothing more
        server.stop.set()
        raise
    if failed:
        raise InputError(f"{len(failed)} of {len(files)} files could not be fetched, first {failed[0]}; {AGAIN}")
