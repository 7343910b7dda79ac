"""What a request costs a load generator written in Python, layer by layer: where the floor is, and what ours adds.

    python benchmarks/floor.py                 five rounds at 5,000/s: about five minutes
    python benchmarks/floor.py --rate 2000 --rounds 3

Each step does all that the one above it does, at the same Poisson instants, against the same nginx:

    calls      send, receive and wait for both with epoll, in a bare loop over 100 connections
    parse      every response read by httptools
    record     every request a row on disk
    greenlets  a gevent loop in place of epoll, a greenlet for each connection
    contract   what a user's task gets and the record needs, written flat and for this one request only: a
               task that calls a client by keyword, an arrival and a response as objects, a timeout, gauges, counts
    ours       `OpenHttpUser` in a real load worker: any task and request, retries, events, connections that end
    peer       Locust's FastHttpUser in plain Locust, held to the same rate; it keeps no record

Prints the processor time per request, in microseconds: all of it, and the kernel's part; and how many times as much the
peer uses, round by round. Needs nginx, and an idle machine.
"""

from __future__ import annotations

import argparse
import random
import select
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Final

import httptools
import psutil
from generators import USERS, WARM_UP_S, run_fast_http_user, run_worker
from nginx import MissingProgramError, Nginx
from tables import print_table, spread

from harness.clock import NS, now_ns, sleep_until
from harness.load.gauges import RollingQuantile
from harness.load.messages import Response
from harness.load.recorder import Arrival, Task
from harness.record.spool import RowWriter

_WRITTEN_HERE: Final = ("calls", "parse", "record", "greenlets", "contract")
_STEPS: Final = (*_WRITTEN_HERE, "ours", "peer")
_LONGEST_S: Final = 600.0
_REQUEST: Final = b"GET / HTTP/1.1\r\nHost: bench\r\nUser-Agent: harness\r\nAccept: */*\r\n\r\n"


class Responses:
    """What httptools tells of the responses of one connection."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.body = b""
        self.complete = False

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self.body += data

    def on_message_complete(self) -> None:
        """The response is complete."""
        self.complete = True

    def read(self, data: bytes) -> bool:
        """Whether the response is complete with this."""
        self.body, self.complete = b"", False
        self.parser.feed_data(data)
        return self.complete and self.parser.get_status_code() == 200


class Rows:
    """A row for each request, written as a load worker writes them."""

    def __init__(self, path: Path) -> None:
        self._writer = RowWriter(path)
        self.count = 0

    def add(self, intended_ns: int, start_ns: int) -> None:
        """A request that has just been answered."""
        self._writer.add(0, self.count, self.count, "page", intended_ns, start_ns, now_ns(), 200, "", 3)
        self.count += 1
        if self.count % 1000 == 0:
            self._writer.flush()


def main() -> int:
    """Do what the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=5000.0, help="requests per second")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a measurement, after a warm-up of 2 s")
    parser.add_argument("--be", choices=_WRITTEN_HERE, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--spool", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be:
        _be(options.be, options.port, options.rate, options.spool)
        return 0
    try:
        with tempfile.TemporaryDirectory(prefix="harness-bench-") as folder, Nginx(Path(folder) / "nginx") as nginx:
            costs: dict[str, list[tuple[float, float]]] = {step: [] for step in _STEPS}
            for number in range(options.rounds):
                for step in _STEPS if number % 2 == 0 else reversed(_STEPS):
                    print(f"round {number + 1} of {options.rounds}: {step}", file=sys.stderr, flush=True)
                    own = Path(folder) / f"{number}-{step}"
                    own.mkdir()
                    costs[step].append(_cost(step, nginx, options.rate, options.seconds, own))
    except MissingProgramError as missing:
        print(missing, file=sys.stderr)
        return 2
    rows = [("", "us/request", "in the kernel", "per CPU-second", "the peer uses")]
    for step, seen in costs.items():
        whole, kernel = ([one[part] for one in seen] for part in (0, 1))
        times = [peer[0] / own[0] for peer, own in zip(costs["peer"], seen, strict=True)]
        rate = f"{1e6 / median(whole):,.0f}"
        rows.append((step, spread(whole, "{:.1f}"), spread(kernel, "{:.1f}"), rate, spread(times, "{:.2f}x")))
    print_table(rows)
    return 0


def _cost(step: str, nginx: Nginx, rate: float, seconds: float, folder: Path) -> tuple[float, float]:
    """Microseconds of processor time per request, and those in the kernel."""

    def watch(pid: int, start_ns: int) -> tuple[float, float]:
        return _watch(pid, nginx, start_ns, seconds)

    if step == "ours":
        return run_worker(nginx, rate, WARM_UP_S + seconds, folder, watch)[0]
    if step == "peer":
        return run_fast_http_user(nginx, rate, WARM_UP_S + seconds + 1.0, folder, watch)
    command = [sys.executable, __file__, "--be", step, "--port", nginx.url.rpartition(":")[2]]
    command += ["--rate", str(rate), "--spool", str(folder / "rows")]
    with subprocess.Popen(command) as process:
        try:
            return _watch(process.pid, nginx, now_ns(), seconds)
        finally:
            process.kill()


def _watch(pid: int, nginx: Nginx, start_ns: int, seconds: float) -> tuple[float, float]:
    sleep_until(start_ns + int(WARM_UP_S * NS))
    process = psutil.Process(pid)
    before, requests = process.cpu_times(), nginx.requests()
    sleep_until(now_ns() + int(seconds * NS))
    after, requests = process.cpu_times(), nginx.requests() - requests
    user_s, kernel_s = after.user - before.user, after.system - before.system
    return 1e6 * (user_s + kernel_s) / requests, 1e6 * kernel_s / requests


def _be(step: str, port: int, rate: float, spool: Path) -> None:
    """Be one of the generators, until the process is killed."""
    instants = _instants(rate)
    if step in ("greenlets", "contract"):
        _greenlets(port, instants, Rows(spool), Visitor if step == "contract" else None)
    else:
        connections = [_connect(port) for _ in range(USERS)]
        _bare(connections, instants, step in ("parse", "record"), Rows(spool) if step == "record" else None)


def _instants(rate: float) -> Iterator[int]:
    gap, at_s = random.Random(1).expovariate, 0.0
    start_ns = now_ns() + NS // 5
    while (at_s := at_s + gap(rate)) < _LONGEST_S:
        yield start_ns + int(at_s * NS)


def _connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _bare(connections: list[socket.socket], instants: Iterator[int], parses: bool, rows: Rows | None) -> None:
    """Send at each instant what is due, and read what comes meanwhile."""
    epoll, free, busy = select.epoll(), deque(connections), dict[int, tuple[socket.socket, int, int]]()
    readers = {sock.fileno(): Responses() for sock in connections}
    for sock in connections:
        epoll.register(sock.fileno(), select.EPOLLIN)
    for intended_ns in instants:
        while (left_ns := intended_ns - now_ns()) > 0 or not free:
            for number, _ in epoll.poll(max(left_ns, NS // 1000) / NS):
                sock, intended, start_ns = busy.pop(number)
                data = sock.recv(65536)
                if parses and not readers[number].read(data):
                    raise RuntimeError(f"not what was asked for: {data!r}")
                if rows is not None:
                    rows.add(intended, start_ns)
                free.append(sock)
        sock = free.popleft()
        busy[sock.fileno()] = sock, intended_ns, now_ns()
        sock.send(_REQUEST)


class Client:
    """Answers the calls of one `Visitor`, and keeps of each what a load worker has to."""

    pending: Final[dict[Client, int]] = {}
    open: Final[set[Arrival]] = set()
    requests: Final = {"/": _REQUEST}
    lags: Final = RollingQuantile(10)
    times: Final = RollingQuantile(4)

    def __init__(self, sock: socket.socket, wait: Callable[[], object]) -> None:
        self._sock = sock
        self._wait = wait
        self._responses = Responses()
        self.arrival = Arrival(0, _TASK)

    def get(self, path: str, *, name: str) -> Response:
        """GET `path`."""
        arrival = self.arrival
        arrival.endpoint = name
        arrival.start_ns = start_ns = now_ns()
        self.lags.add(start_ns - arrival.intended_ns)
        arrival.on_wire = True
        self.pending[self] = start_ns + 5 * NS
        self._sock.send(self.requests[path])
        self._wait()
        data = self._sock.recv(65536)
        if not self._responses.read(data):
            raise RuntimeError("not what was asked for")
        del self.pending[self]
        arrival.on_wire = False
        arrival.answer = response = Response(start_ns, now_ns(), 200, "", "", data, self._responses.body)
        return response


class Visitor:
    """What a user of `open_users.py` is."""

    def __init__(self, sock: socket.socket, wait: Callable[[], object]) -> None:
        self.client = Client(sock, wait)

    def page(self) -> None:
        """GET the page."""
        self.client.get("/", name="page")

    def serve(self, intended_ns: int, rows: Rows) -> None:
        """Carry out one arrival."""
        client = self.client
        client.arrival = arrival = Arrival(intended_ns, _TASK)
        client.open.add(arrival)
        try:
            arrival.task.run(self)
        except Exception as error:
            raise RuntimeError("the task has raised something") from error
        client.open.discard(arrival)
        if arrival.answer is not None:
            client.times.add(arrival.answer.end_ns - intended_ns)
        rows.add(intended_ns, arrival.start_ns)
        if rows.count % 1000 == 0:
            client.times.turn()
            client.lags.turn()


_TASK: Final = Task("Visitor", "page", Visitor.page)


def _greenlets(port: int, instants: Iterator[int], rows: Rows, user: type[Visitor] | None) -> None:
    """The same with a greenlet that serves each connection, and a timer that wakes the ones that are free."""
    import gevent
    from gevent.hub import get_hub

    hub, free = get_hub(), deque[gevent.Greenlet]()

    def serve() -> None:
        me, sock, responses = gevent.getcurrent(), _connect(port), Responses()
        watcher = hub.loop.io(sock.fileno(), 1)
        watcher.start(me.switch)
        visitor = user(sock, hub.switch) if user is not None else None
        while True:
            free.append(me)
            intended_ns = hub.switch()
            if visitor is not None:
                visitor.serve(intended_ns, rows)
                continue
            start_ns = now_ns()
            sock.send(_REQUEST)
            hub.switch()
            if not responses.read(sock.recv(65536)):
                raise RuntimeError("not what was asked for")
            rows.add(intended_ns, start_ns)

    def release(intended_ns: int) -> None:
        while free and intended_ns <= now_ns():
            free.popleft().switch(intended_ns)
            intended_ns = next(instants)
        timer = hub.loop.timer(max(intended_ns - now_ns(), NS // 1000) / NS)
        timer.start(lambda: (timer.close(), release(intended_ns)), update=True)

    for _ in range(USERS):
        gevent.spawn(serve)
    gevent.get_hub().loop.run_callback(release, next(instants))
    gevent.sleep(_LONGEST_S)


if __name__ == "__main__":
    sys.exit(main())
