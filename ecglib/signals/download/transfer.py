"""One file over HTTP: resumed where it was cut, verified by its SHA-256, whole or absent under its own name."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from tqdm import tqdm

from ecglib.errors import InputError
from ecglib.runs import inside, sha256_of

BLOCK = 1 << 16  # bytes read at once
TRIES = 6  # in a row without a new byte; then the server counts as dead
LONGEST_WAIT = 120.0  # seconds between two tries, whatever the server asks for
TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)
LIKELY = {
    401: "the project is not open, or not yet accepted",
    403: "the server refuses; too many connections, or a project that is not open",
    404: "the mirror is incomplete, or the version was withdrawn",
}
AGAIN = "run the same command again to go on"


class FileError(InputError):
    """One file cannot be had; others still can."""


class Stopped(Exception):
    """Another thread failed, or the user stopped: end quietly."""


class Dropped(Exception):
    """The server did not deliver, and may do so at another try; `wait` in seconds if it said when."""

    def __init__(self, reason: object, wait: float | None = None) -> None:
        super().__init__(str(reason) or type(reason).__name__)
        self.wait = wait


class Progress:
    """A bar of bytes for many files; those whose size the server has not yet told are taken to be like the others."""

    def __init__(self, bar: tqdm, n_files: int) -> None:
        self._bar, self._n_files, self._sizes, self._sum = bar, n_files, dict[str, int](), 0
        self._lock = threading.Lock()

    def expect(self, name: str, size: int) -> None:
        """Tell how large a file is."""
        with self._lock:
            self._sum += size - self._sizes.get(name, 0)
            self._sizes[name] = size
            self._bar.total = self._sum * self._n_files // len(self._sizes)

    def advance(self, size: int) -> None:
        """Tell of bytes that came; negative if a file is begun again."""
        with self._lock:
            self._bar.update(size)


class Server:
    """Files below one address; every thread keeps a connection open from file to file.

    Parameters
    ----------
    base : str
        For example ``https://physionet.org/files/ludb/1.0.1``. An ``https_proxy`` of the environment is used.
    timeout : float
        Seconds without any byte after which a connection counts as dropped.
    first_wait : float
        Seconds before the second try; doubled for each further one, times a random 0.5–1.5.

    Raises
    ------
    InputError
        If `base` is no address of http or https.
    """

    def __init__(self, base: str, *, timeout: float = 30.0, first_wait: float = 0.5) -> None:
        self.base, self.timeout, self.first_wait = base.rstrip("/"), timeout, first_wait
        try:
            parts = urlsplit(self.base)
            self._host, self._port = parts.hostname, parts.port
        except ValueError:
            self._host = None
        if not self._host or parts.scheme not in ("http", "https") or parts.query or parts.fragment or parts.username:
            raise InputError(f"address {base!r} cannot be used; expected http:// or https://, a host and a folder")
        self._scheme, self._path = parts.scheme, parts.path
        self._own = threading.local()
        self.stop = threading.Event()

    def fetch(self, name: str, root: Path, sha256: str | None, progress: Progress) -> None:
        """Bring one file in place, unless it is there already with the right content.

        Parameters
        ----------
        name : str
            Path below the address, and below `root`; never trusted. ``<name>.part`` holds what has come so far.
        root : Path
            Where it goes.
        sha256 : str or None
            64 hexadecimal digits; None if unknown: then it is fetched, and only its length is verified.
        progress : Progress
            Shown what comes.

        Raises
        ------
        FileError
            If the server says that the file cannot be had, or twice sends something with another checksum.
        InputError
            If `name` leads out of `root`, the server is dead, or the file cannot be written.
        """
        path, part = inside(root, name, "file"), inside(root, f"{name}.part", "file")
        if sha256 and path.is_file() and sha256_of(path) == sha256:
            progress.expect(name, _size(path))
            progress.advance(_size(path))
            return
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            self._complete(name, part, progress)
            if sha256 is None or sha256_of(part) == sha256:
                with writing(path):
                    os.replace(part, path)
                return
            _discard(part, progress)  # a wrong byte, or the rest of another file: from the start, once
        raise FileError(f"{name}: its SHA-256 is not the one in SHA256SUMS.txt, twice; the server or a proxy on the "
                        "way alters it")  # fmt: skip

    def _complete(self, name: str, part: Path, progress: Progress) -> None:
        """Try until `part` is whole; as long as it grows, failures do not count."""
        longest, failures = _size(part), 0
        progress.advance(longest)
        while True:
            try:
                return self._append(name, part, progress)
            except Dropped as error:
                self.close()
                failures = 1 if _size(part) > longest else failures + 1
                longest = max(longest, _size(part))
                if failures == TRIES:
                    raise InputError(f"{self.base}/{name}: {error}; tried {TRIES} times. Is the network up? What has "
                                     f"come is kept: {AGAIN}") from None  # fmt: skip
                wait = self.first_wait * 2 ** (failures - 1) * random.uniform(0.5, 1.5)
                if self.stop.wait(min(error.wait or wait, LONGEST_WAIT)):
                    raise Stopped from None

    def _append(self, name: str, part: Path, progress: Progress) -> None:
        """Ask for what `part` lacks, once, and append it."""
        start = _size(part)
        response = self._ask(name, start)
        said = response.getheader("Content-Range", "")
        if response.status == 416 and said == f"bytes */{start}":  # nothing is lacking
            response.read()
            progress.expect(name, start)
            return
        if start and (response.status != 206 or not said.startswith(f"bytes {start}-")):
            _discard(part, progress)
            if response.status != 200:  # 200: the server knows no ranges, and sends all of it
                raise Dropped(f"answered {said or 'no range'} when asked for what follows byte {start}")
            start = 0
        length = response.length
        if length is None and not response.chunked:  # then nobody could tell whether all of it came
            raise FileError(f"{name}: the server does not say how long it is; take another mirror")
        progress.expect(name, start + (length or 0))
        self._write(response, part, progress)
        if length is not None and _size(part) - start != length:
            raise Dropped(f"ended after {_size(part) - start} of {length} bytes")

    def _write(self, response: HTTPResponse, part: Path, progress: Progress) -> None:
        with writing(part), open(part, "ab") as file:
            for block in self._blocks(response):
                file.write(block)
                progress.advance(len(block))
            file.flush()
            os.fsync(file.fileno())

    def _blocks(self, response: HTTPResponse) -> Iterator[bytes]:
        try:
            while block := response.read1(BLOCK):
                if self.stop.is_set():
                    raise Stopped
                yield block
            response.close()
        except (OSError, HTTPException) as error:
            raise Dropped(error) from None

    def _ask(self, name: str, start: int) -> HTTPResponse:
        """Return a response of status 200, 206 or 416, its body not yet read."""
        headers = {"User-Agent": "ecglib", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        connection = self._connection()
        try:
            connection.request("GET", quote(f"{self._path}/{name}"), headers=headers)
            response = connection.getresponse()
        except (OSError, HTTPException, UnicodeError) as error:  # UnicodeError: no name of a host
            raise Dropped(error) from None
        if response.status in (200, 206, 416):
            return response
        connection.close()
        said = f"the server answered {response.status} {response.reason}"
        if response.status in TRY_AGAIN:
            wait = response.getheader("Retry-After", "")
            raise Dropped(said, float(wait) if wait.isdecimal() else None)
        to = response.getheader("Location")
        raise FileError(f"{name}: {said}: {f'it has moved to {to}' if to else LIKELY.get(response.status, 'unusual')}")

    def close(self) -> None:
        """Close this thread's connection."""
        self._connection().close()

    def _connection(self) -> HTTPConnection:
        if not hasattr(self._own, "connection"):
            self._own.connection = self._connect()
        return self._own.connection

    def _connect(self) -> HTTPConnection:
        assert self._host
        if self._scheme == "http":
            return HTTPConnection(self._host, self._port, timeout=self.timeout)
        given = "" if proxy_bypass(self._host) else getproxies().get("https", "")
        proxy = urlsplit(given if "://" in given else f"//{given}")
        if not proxy.hostname:
            return HTTPSConnection(self._host, self._port, timeout=self.timeout)
        connection = HTTPSConnection(proxy.hostname, proxy.port, timeout=self.timeout)
        connection.set_tunnel(self._host, self._port)
        return connection


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _discard(part: Path, progress: Progress) -> None:
    progress.advance(-_size(part))
    part.unlink()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say what to do where the disk refuses; errors of the network are `Dropped` by then."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; make room or take another folder with "
                         f"DATA=<folder>, and {AGAIN}") from None  # fmt: skip
