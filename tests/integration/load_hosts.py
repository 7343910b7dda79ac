"""Load hosts for tests: a fleet whose agents are real processes of this machine, joined over loopback."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from harness.clock import now_ns
from harness.load.remote.fleet import Bind, Fleet
from harness.load.workers import LoadWorkers, spawn_plainly
from harness.plan import Load
from harness.ports import reserve_port

JOIN_TIMEOUT_S = 60


class Host:
    """One `harness worker`, and what it said."""

    def __init__(self, number: int, bind: Bind, folder: Path, program: Sequence[str] = ("-m", "harness")) -> None:
        self.spool = folder / f"host-{number}"
        self._log = folder / f"host-{number}.log"
        arguments = ["worker", "--master", str(bind), "--wait", str(JOIN_TIMEOUT_S), "--spool", str(self.spool)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen([sys.executable, *program, *arguments], stderr=log, start_new_session=True)

    @property
    def said(self) -> str:
        return self._log.read_text()

    @property
    def worker(self) -> psutil.Process:
        """The load worker process that its agent drives."""
        (found,) = [p for p in psutil.Process(self.process.pid).children() if "harness.load.worker" in p.cmdline()]
        return found

    def end(self) -> None:
        if self.process.poll() is None:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            self.process.kill()
        self.process.wait()


class Site:
    """A fleet with its hosts, and how to run an arm with them."""

    def __init__(self, folder: Path, load: Load, hosts: int) -> None:
        self.folder = folder
        self.load = load
        self.bind = Bind("127.0.0.1", reserve_port())
        self.masters: list[subprocess.Popen[bytes]] = []
        self.notes: list[str] = []
        self.fleet = Fleet(self.bind, load, spawn=self._spawn, logs=folder)
        self.fleet.start()
        self.hosts = [Host(number, self.bind, folder) for number in range(hosts)]

    def gather(self) -> None:
        self.fleet.gather(self.notes.append, JOIN_TIMEOUT_S)

    def begin(self, specs) -> tuple[LoadWorkers, int]:
        """Start an arm; its workers, and the instant at which it begins."""
        workers = LoadWorkers(specs, crew=self.fleet)
        workers.start()
        workers.wait_ready(60)
        t0_ns = now_ns() + workers.lead_ns
        workers.go(t0_ns)
        return workers, t0_ns

    def _spawn(self, *args, **options) -> subprocess.Popen[bytes]:
        self.masters.append(spawn_plainly(*args, **options))
        return self.masters[-1]


@contextmanager
def site(folder: Path, load: Load, hosts: int) -> Iterator[Site]:
    here = Site(folder, load, hosts)
    try:
        here.gather()
        yield here
    finally:
        here.fleet.dismiss()
        for host in here.hosts:
            host.end()


def wait_until(condition, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
