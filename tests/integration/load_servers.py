"""Small servers that misbehave on purpose, and a way to drive real load workers against them."""

from __future__ import annotations

import os
import socket
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.load.arrivals import arrivals_of
from harness.load.spec import WorkerSpec
from harness.load.validity import WorkerResult
from harness.load.workers import LoadWorkers
from harness.plan import Load, Retry
from harness.record.spool import ERROR_WORDS, ROW_DTYPE, read_spool
from harness.shapes import Segment

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Wire:
    """One accepted connection: reads requests, writes whatever it is told to."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._heard = b""

    def read_request(self) -> tuple[str, str, bytes]:
        """The method, path and body of the next request; raises `EOFError` when the client is gone."""
        while b"\r\n\r\n" not in self._heard:
            self._more()
        head, _, self._heard = self._heard.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:])
        length = int(fields.get("content-length", 0))
        while len(self._heard) < length:
            self._more()
        body, self._heard = self._heard[:length], self._heard[length:]
        method, path, _ = lines[0].split(" ")
        return method, path, body

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self._heard += data


class Server:
    """A server with a thread per connection; `script(wire, server)` says what happens on one of them."""

    def __init__(self, script: Callable[[Wire, Server], None], backlog: int = 2048, host: str = "127.0.0.1") -> None:
        self._script = script
        self._listener = socket.create_server((host, 0), backlog=backlog)
        self.port: int = self._listener.getsockname()[1]
        self.host = f"http://{host}:{self.port}"
        self.accepted = 0
        self.requests: Counter[str] = Counter()
        self.released = threading.Event()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def request(self, wire: Wire) -> tuple[str, str, bytes]:
        """Read a request from `wire` and count it by its path."""
        method, path, body = wire.read_request()
        with self._lock:
            self.requests[path] += 1
        return method, path, body

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.accepted += 1
                threading.Thread(target=self._converse, args=(sock,), daemon=True).start()

    def _converse(self, sock: socket.socket) -> None:
        with sock, suppress(OSError, EOFError):
            self._script(Wire(sock), self)


def respond(status: int) -> bytes:
    """A response without a body."""
    return b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status


def good(wire: Wire, server: Server) -> None:
    """Answer everything with 200."""
    while True:
        server.request(wire)
        wire.send(OK)


def refused_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Rows:
    """The rows of one or more spools as numpy, with names in place of codes."""

    data: np.ndarray
    endpoints: np.ndarray
    errors: np.ndarray

    def of(self, endpoint: str) -> Rows:
        keep = self.endpoints == endpoint
        return Rows(self.data[keep], self.endpoints[keep], self.errors[keep])

    @property
    def arrivals(self) -> int:
        return int((self.data["attempt"] == 0).sum())


def read_rows(path: Path) -> Rows:
    spool = read_spool(path)
    data = np.frombuffer(spool.data, dtype=np.dtype(ROW_DTYPE))
    names = np.array(spool.names or ("",), dtype=object)
    return Rows(data, names[data["endpoint"]], np.array(ERROR_WORDS, dtype=object)[data["error"]])


def planned_ns(load: Load) -> list[int]:
    """The intended instants of all arrivals."""
    return [int(instant_s * 1e9) for instant_s in arrivals_of(load)]


def steady(rate: float, duration_s: float, quiet_s: float = 0.0) -> tuple[Segment, ...]:
    """Arrivals at one rate; then none for `quiet_s`, so that nothing is in flight at the end."""
    load = Segment(0.0, duration_s, rate, rate)
    return (load, Segment(duration_s, duration_s + quiet_s, 0.0, 0.0)) if quiet_s else (load,)


def make_load(
    folder: Path,
    locustfile: str,
    segments: tuple[Segment, ...],
    *,
    spacing: str = "uniform",
    users: int = 20,
    timeout_s: float = 2.0,
    patience_s: float = 1.0,
    retries: Mapping[str, Retry] | None = None,
    workers: int = 1,
    seed: int = 1,
    model: str = "open",
    options: str = "",
) -> Load:
    file = folder / "shop_users.py"
    file.write_text(textwrap.dedent(locustfile))
    return Load(
        str(file),
        spacing,
        segments,
        seed,
        users,
        timeout_s,
        patience_s,
        retries or {},
        workers,
        model,
        options,
    )


def make_specs(folder: Path, load: Load, host: str) -> list[WorkerSpec]:
    return [
        WorkerSpec("baseline-1", worker, load.workers, host, str(folder / f"worker-{worker}.rows"), load)
        for worker in range(load.workers)
    ]


def drive(folder: Path, load: Load, host: str) -> tuple[list[WorkerResult], list[Rows]]:
    """Run the whole load with real workers; the results and rows of each worker."""
    workers = LoadWorkers(make_specs(folder, load, host), env=worker_env())
    workers.start()
    try:
        workers.wait_ready(30)
        workers.go(time.monotonic_ns() + 50_000_000)
        results = workers.wait(load.duration_s + 20)
    finally:
        workers.kill()
    return results, [read_rows(result.spool) for result in results]


def worker_env() -> dict[str, str]:
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
