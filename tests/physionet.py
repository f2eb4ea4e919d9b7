"""A real HTTP server on loopback with a tree as PhysioNet has it, which misbehaves on demand."""

import hashlib
import socket
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote


class PhysioNet:
    """Serves the folders of `projects` (version → folder) until closed.

    ``faults[name]`` lists what happens at the next requests for a file; the last of them repeats if `forever` holds its
    name. ``faults["*"]`` is of all other files together, and its last one always repeats.
    """

    def __init__(self, projects: dict[str, Path]) -> None:
        self.projects, self.lock = projects, threading.Lock()
        self.faults: dict[str, list[str]] = {}
        self.forever: set[str] = set()
        self.requests: list[tuple[str, str]] = []  # (file, its Range header)
        self.connections = 0
        self.knows_ranges, self.delay = True, 0.0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": self}))
        self.server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def fault_of(self, name: str) -> str:
        with self.lock:
            key = name if self.faults.get(name) else "*"
            faults = self.faults.get(key) or [""]
            return faults[0] if len(faults) == 1 and key in self.forever | {"*"} else faults.pop(0)

    def asked(self) -> Counter[str]:
        """How often each file was asked for."""
        return Counter(name for name, _ in self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    site: PhysioNet

    def setup(self) -> None:
        super().setup()
        with self.site.lock:
            self.site.connections += 1

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:  # the client went away
            pass

    def do_CONNECT(self) -> None:
        self.site.requests.append((self.path, "CONNECT"))
        self._say(403)

    def do_GET(self) -> None:
        site = self.site
        version, path = next(((v, unquote(self.path)[len(v) + 2 :]) for v in site.projects
                              if unquote(self.path).startswith(f"/{v}/")), ("", ""))  # fmt: skip
        with site.lock:
            site.requests.append((path, self.headers.get("Range", "")))
        fault, file = site.fault_of(path), site.projects.get(version, Path("/nowhere")) / path
        time.sleep(site.delay)
        if fault.isdecimal():
            return self._say(int(fault), **({"Retry-After": "1"} if fault == "429" else {}))
        if fault == "moved":
            return self._say(302, Location="https://elsewhere.example/")
        if not file.is_file():
            return self._say(404)
        body = file.read_bytes()
        if fault == "wrong byte":
            body = body[:-1] + bytes([body[-1] ^ 1])
        start = self._start(len(body))
        if start is None:
            return self._say(416, Content_Range=f"bytes */{len(body)}")
        self._send(body, start, fault)

    def _start(self, size: int) -> int | None:
        """First byte wanted; None if the range begins at or past the end."""
        wanted = self.headers.get("Range", "").removeprefix("bytes=").removesuffix("-")
        start = int(wanted) if wanted and self.site.knows_ranges else 0
        return None if start and start >= size else start

    def _send(self, body: bytes, start: int, fault: str) -> None:
        part = body[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start + (fault == 'wrong range')}-{len(body) - 1}/{len(body)}")
        if fault != "no length":
            self.send_header("Content-Length", str(len(part)))
        if fault in ("truncate", "no length"):
            self.send_header("Connection", "close")
        self.end_headers()
        if fault in ("truncate", "drop", "stall"):
            part = part[: max(1, len(part) // 2)]
        self.wfile.write(part)
        self.wfile.flush()
        if fault == "stall":
            time.sleep(30)
        if fault == "drop":  # a reset, not an orderly end
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if fault in ("truncate", "drop", "no length"):
            self.close_connection = True

    def _say(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()


def write_sums(folder: Path) -> None:
    """Write the folder's SHA256SUMS.txt as PhysioNet does: a sum, one blank, a path."""
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(folder).as_posix()}\n"
             for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "SHA256SUMS.txt"]  # fmt: skip
    (folder / "SHA256SUMS.txt").write_text("".join(lines), encoding="utf-8")
