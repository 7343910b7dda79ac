"""The conductor's side of load workers on other hosts: their Locust master, who has joined, and what each says."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NoReturn

from harness.clock import NS
from harness.errors import HarnessError, LoadError
from harness.load.member import Member
from harness.load.remote.bundle import pack
from harness.load.spec import WorkerSpec
from harness.load.workers import Spawn
from harness.plan import Load

DEFAULT_PORT: Final = 5557
"""Locust's own."""

JOIN_TIMEOUT_S: Final = 600.0
_LISTEN_TIMEOUT_S: Final = 30.0
_END_TIMEOUT_S: Final = 5.0
_LEAD_NS: Final = NS
_ANY_ADDRESS: Final = ("", "*", "0.0.0.0", "[::]", "::")


@dataclass(frozen=True, slots=True)
class Bind:
    """The address of this host at which load hosts find the run, and everything that they send load to."""

    host: str
    port: int = DEFAULT_PORT

    @classmethod
    def parse(cls, text: str) -> Bind:
        """From `HOST[:PORT]`. Raises `HarnessError` for anything else, and for what is not one address."""
        host, colon, port = text.rpartition(":")
        if not colon:
            host, port = text, str(DEFAULT_PORT)
        if host in _ANY_ADDRESS or not port.isdecimal() or not 0 < int(port) < 65536:
            raise HarnessError(
                f"`{text}` is not the address of one host",
                remedy="HOST[:PORT], with the name or IPv4 address by which load hosts reach the host of `harness run`",
            )
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def become_worker(master: Bind, wait_s: float, spool: Path | None) -> NoReturn:
    """Make this process the agent of a load host: Locust has to patch the interpreter before anything else."""
    arguments = [master.host, str(master.port), str(wait_s), *([str(spool)] if spool else [])]
    os.execv(sys.executable, [sys.executable, "-m", "harness.load.remote.agent", *arguments])


class Fleet:
    """The load hosts of one run: `start`, `gather`, then `member` for each worker and arm; `dismiss` at the end.

    Raises `LoadError` when the master cannot listen or dies, or load hosts are missing.
    """

    lead_ns = _LEAD_NS

    def __init__(self, bind: Bind, load: Load, *, spawn: Spawn, logs: Path) -> None:
        self._bind = bind
        self._load, self._files = pack(load)
        self._spawn = spawn
        self._logs = logs
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._hosts: dict[int, str] = {}
        self._lock = threading.Lock()
        self._members: dict[tuple[int, str], _RemoteMember] = {}
        self._lost: dict[int, str] = {}
        self._over = ""

    def start(self) -> None:
        """Start the Locust master, and wait until it listens."""
        argv = [sys.executable, "-m", "harness.load.remote.master", self._bind.host, str(self._bind.port)]
        argv.append(str(self._load.workers))
        self._process = self._spawn("locust-master", argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=None)
        self._reader = threading.Thread(target=self._read, name="read-locust-master", daemon=True)
        self._reader.start()
        if self._next_event(time.monotonic() + _LISTEN_TIMEOUT_S) is None:
            raise LoadError("the Locust master did not begin to listen", remedy="look into logs/locust-master.log")

    def gather(self, say: Callable[[str], None], timeout_s: float = JOIN_TIMEOUT_S) -> None:
        """Wait until every load host has joined, telling `say` about it; then send them what they need."""
        wanted = self._load.workers
        say(f"waiting for {wanted} load hosts: `harness worker --master {self._bind}` on each")
        deadline_s = time.monotonic() + timeout_s
        while len(self._hosts) < wanted:
            event = self._next_event(deadline_s)
            if event is None:
                raise LoadError(
                    f"{len(self._hosts)} of {wanted} load hosts joined in {timeout_s:.0f} s",
                    remedy=f"start `harness worker --master {self._bind}` on the others; that port must be reachable",
                )
            if event["event"] == "joined":
                self._hosts[event["worker"]] = event["host"]
                say(f"{event['host']} joined as load worker {event['worker'] + 1} ({len(self._hosts)} of {wanted})")
            elif event["event"] == "left":
                say(f"{self._hosts.pop(event['worker'])} left")
            elif event["event"] == "refused":
                say(f"turned away: {event['message']}")
        self.send({"files": {name: str(path) for name, path in self._files.items()}})

    def member(self, spec: WorkerSpec) -> Member:
        """The worker that does `spec`, on the load host that joined as this number."""
        member = _RemoteMember(
            replace(spec, load=self._load), self, self._hosts.get(spec.worker, "?"), self._logs / f"{spec.name}.log"
        )
        with self._lock:
            self._members[spec.worker, spec.arm] = member
            why = self._over or self._lost.get(spec.worker)
        if why:
            member.fail(why)
            member.end(None)
        return member

    def send(self, message: Mapping[str, Any]) -> None:
        """Tell the master; one that has died can be told nothing, which its members know."""
        process = self._process
        if process is None or process.stdin is None:
            return
        with contextlib.suppress(BrokenPipeError, ValueError):
            process.stdin.write(json.dumps(message).encode() + b"\n")
            process.stdin.flush()

    def dismiss(self) -> None:
        """Let the load hosts go, and end the master."""
        process = self._process
        if process is None:
            return
        self.send({"end": True})
        with contextlib.suppress(BrokenPipeError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _next_event(self, deadline_s: float) -> dict[str, Any] | None:
        """The next event that is about no arm; None when there is none in time."""
        try:
            event = self._events.get(timeout=max(0.0, deadline_s - time.monotonic()))
        except queue.Empty:
            return None
        if event["event"] == "error":
            raise LoadError(event["message"])
        return event

    def _read(self) -> None:
        process = self._process
        if process is None or process.stdout is None:
            return
        with process.stdout:
            for line in process.stdout:
                self._hear(json.loads(line))
        code = process.wait()
        why = f"the Locust master ended ({f'signal {-code}' if code < 0 else f'exit code {code}'})"
        why += "; its load hosts stop within seconds, and keep the rows that have not arrived"
        with self._lock:
            self._over = why
            members = list(self._members.values())
        for member in members:
            member.give_up(why)
        self._events.put({"event": "error", "message": why})

    def _hear(self, message: dict[str, Any]) -> None:
        worker = message.get("worker")
        with self._lock:
            concerned = [one for (number, _), one in self._members.items() if number == worker]
            if message["event"] == "lost":
                self._lost[message["worker"]] = message["message"]
        if message["event"] == "says":
            for member in concerned:
                if message["arm"] in ("", member.spec.arm):
                    member.hear_from_host(message["what"])
        elif message["event"] == "lost":
            for member in concerned:
                member.give_up(message["message"])
        else:
            self._events.put(message)


class _RemoteMember(Member):
    """A worker process on a load host, behind the master and the host's agent."""

    def __init__(self, spec: WorkerSpec, fleet: Fleet, host: str, log: Path) -> None:
        super().__init__(spec)
        self._fleet = fleet
        self._host = host
        self._log = log

    @property
    def title(self) -> str:
        return f"{self.spec.name} on {self._host}"

    def start(self) -> None:
        self._tell(prepare=json.loads(self.spec.to_json()), log=str(self._log))

    def tell(self, message: dict[str, Any]) -> None:
        self._tell(**message)

    def kill(self) -> None:
        if not self._ended.is_set():
            self._tell(kill=True)

    def hear_from_host(self, what: dict[str, Any]) -> None:
        """An event of the worker, or the end of its process."""
        if what.get("event") == "ended":
            self.end(what.get("exit_code"))
        else:
            self.hear(what)

    def give_up(self, why: str) -> None:
        """Nothing more will come."""
        if not self._ended.is_set():
            self.fail(why)
            self.end(None)

    def _tell(self, **message: Any) -> None:
        self._fleet.send({"worker": self.spec.worker, **message})
