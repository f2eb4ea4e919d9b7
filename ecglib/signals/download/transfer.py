"""One file over HTTP: resumed where it was cut, verified by its SHA-256, whole or absent under its own name."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote
from urllib.request import getproxies, proxy_bypass

from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Retry
from urllib3.exceptions import HTTPError, MaxRetryError, ProtocolError

from ecglib.errors import InputError
from ecglib.runs import inside, sha256_of

TRIES = 6  # in a row without a new byte; then the server counts as dead
TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)
AGAIN = "run the same command again to go on"

Advance = Callable[[int], object]  # is told how many bytes have come


class FileError(InputError):
    """One file cannot be had; others still can."""


class Server:
    """Files below one address, for several threads; connections stay open from file to file.

    Parameters
    ----------
    base : str
        For example ``https://physionet.org/files/ludb/1.0.1``. A proxy that the environment names is used.
    connections : int
        How many stay open; one a thread.
    timeout : float
        Seconds without any byte after which a connection counts as dropped.
    first_wait : float
        The second try follows at once; the third after twice so many seconds, and each further one after twice as
        many as the one before, each time up to `first_wait` more by chance. If the server names a time (Retry-After),
        that one. Never more than 120 s.

    Raises
    ------
    InputError
        If `base` is no address of http or https.
    """

    def __init__(self, base: str, *, connections: int, timeout: float = 30.0, first_wait: float = 0.5) -> None:
        found = re.fullmatch(r"(https?)://([\w.-]+)(:\d+)?(/[^?#]*)?", base)
        if not found:
            raise InputError(f"address {base!r} cannot be used; expected http:// or https://, a host and a folder")
        self.base, self.stop = base.rstrip("/"), threading.Event()
        self._retry = Retry(TRIES - 1, status_forcelist=TRY_AGAIN, raise_on_status=False, backoff_factor=first_wait,
                            backoff_jitter=first_wait, retry_after_max=120)  # fmt: skip
        proxy = "" if proxy_bypass(found[2]) else getproxies().get(found[1], "")
        proxy = f"http://{proxy}" if proxy and "://" not in proxy else proxy
        manager = partial(ProxyManager, proxy) if proxy else PoolManager
        self._pool = manager(maxsize=connections, timeout=timeout)

    def fetch(self, name: str, sha256: str, root: Path, advance: Advance) -> None:
        """Bring one file in place, unless it is there already with the right content.

        Parameters
        ----------
        name : str
            Path below the address, and below `root`; never trusted. ``<name>.part`` holds what has come so far.
        sha256 : str
            64 hexadecimal digits; '' if unknown: then it is fetched, and only its length is verified.
        root : Path
            Where it goes.
        advance : callable
            Told of bytes as they come.

        Raises
        ------
        FileError
            If the server says that the file cannot be had, or twice sends something with another checksum.
        InputError
            If `name` leads out of `root`, the server is dead, or the file cannot be written.
        """
        path, part = inside(root, name, "file"), inside(root, f"{name}.part", "file")
        if sha256 and path.is_file() and sha256_of(path) == sha256:
            advance(_size(path))
            return
        with writing(part):
            path.parent.mkdir(parents=True, exist_ok=True)
            for _ in range(2):
                self._complete(name, part, advance)
                if not sha256 or sha256_of(part) == sha256:
                    return os.replace(part, path)
                part.unlink()  # a wrong byte, or the rest of another file: from the start, once
        raise FileError(f"{name}: its SHA-256 is not the one in SHA256SUMS.txt, twice; the server or a proxy alters "
                        "it, or the list is stale: delete SHA256SUMS.txt to fetch it anew")  # fmt: skip

    def _complete(self, name: str, part: Path, advance: Advance) -> None:
        """Try until `part` is whole; as long as it grows, failures do not count."""
        retry, longest = self._retry, _size(part)
        advance(longest)
        while True:
            try:
                return self._append(name, part, advance, retry)
            except MaxRetryError as error:
                raise self._dead(name, error.reason) from None
            except HTTPError as error:
                if _size(part) > longest:
                    retry, longest = self._retry, _size(part)
                if not retry.total:  # no try is left
                    raise self._dead(name, error) from None
                retry = retry.increment("GET", error=error)
                retry.sleep()

    def _append(self, name: str, part: Path, advance: Advance, retry: Retry) -> None:
        """Ask for what `part` lacks, and append it."""
        start = _size(part)
        headers = {"User-Agent": "ecglib"} | ({"Range": f"bytes={start}-"} if start else {})
        with self._pool.request("GET", f"{self.base}/{quote(name)}", headers=headers, retries=retry, redirect=False,
                                preload_content=False, decode_content=False) as response:  # fmt: skip
            self._check(name, start, response)
            span = response.headers.get("Content-Range", "")
            if start and not span.startswith(f"bytes {start}-"):  # it knows no ranges, or its file is shorter
                part.unlink()
                raise ProtocolError(f"answered {span or 'no range'} when asked for what follows byte {start}")
            self._write(response, part, advance)

    def _check(self, name: str, start: int, response: BaseHTTPResponse) -> None:
        """Refuse an answer that is neither the file nor, where `start` was asked for, about what follows it."""
        said = f"the server answered {response.status} {response.reason}"
        if response.status in TRY_AGAIN:  # and was, `TRIES` times
            raise self._dead(name, said)
        if response.status not in ((200, 206, 416) if start else (200,)):
            raise FileError(f"{name}: {said}; has it moved, is the mirror incomplete, or the project not open?")
        if "Content-Length" not in response.headers and not response.chunked:  # nobody could tell whether it is whole
            raise FileError(f"{name}: the server does not say how long it is; take another mirror")

    def _write(self, response: BaseHTTPResponse, part: Path, advance: Advance) -> None:
        with open(part, "ab") as file:
            while block := response.read1(1 << 16):
                if self.stop.is_set():
                    raise FileError(f"{part}: stopped")
                file.write(block)
                advance(len(block))
            file.flush()
            os.fsync(file.fileno())

    def _dead(self, name: str, reason: object) -> InputError:
        return InputError(f"{self.base}/{name}: {reason}; tried {TRIES} times. Is the network up? Then {AGAIN}")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say what to do where the disk refuses; errors of the network are of other kinds."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; make room or take another folder with "
                         f"DATA=<folder>, and {AGAIN}") from None  # fmt: skip
