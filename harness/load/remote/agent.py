"""A load host's part in a run: `python -m harness.load.remote.agent HOST PORT WAIT_S [FOLDER]` (`harness worker`).

Connects to the Locust master of a run as a Locust worker, drives one load worker process per arm, and passes on what
it writes. It stays beside the load: the worker process knows nothing of the network between. Rows stay in FOLDER (a
temporary one without it) until the conductor has them. When the master is lost, the load stops within seconds.
"""

from __future__ import annotations

import locust.env  # first of all: it patches the standard library  # isort: skip

import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final, NoReturn

import gevent
from gevent.event import AsyncResult, Event

from harness.clock import now_ns
from harness.errors import HarnessError, LoadError
from harness.exits import Exit
from harness.load.remote import protocol
from harness.load.remote.bundle import place
from harness.load.remote.job import Job
from harness.load.remote.protocol import Silence
from harness.load.remote.transport import Inbox, Outbox
from harness.load.spec import WorkerSpec
from harness.record.spool import count_rows

_PUMP_INTERVAL_S: Final = 0.2
_HELLO_INTERVAL_S: Final = 1.0
_ANSWER_TIMEOUT_S: Final = 10.0
_STOP_TIMEOUT_S: Final = 5.0
_FAREWELL_S: Final = 5.0
_LINGER_S: Final = 0.2


class Agent:
    """This host's end of the stream to and from the master, and the job of the current arm."""

    def __init__(self, master: str, runner: Any, folder: Path) -> None:
        self._master = master
        self._runner = runner
        self._folder = folder
        self._inbox = Inbox()
        self._outbox = Outbox()
        self._silence = Silence()
        self._wake = Event()
        self._welcome: AsyncResult = AsyncResult()
        self._over: AsyncResult = AsyncResult()
        self._job: Job | None = None
        listeners = {
            protocol.WELCOME: self._on_welcome,
            protocol.REFUSED: self._on_refused,
            protocol.CHUNK: self._on_chunk,
            protocol.ACK: self._on_ack,
            protocol.PING: self._on_ping,
        }
        for kind, listener in listeners.items():
            runner.register_message(kind, listener)

    def run(self) -> None:
        """Take part until the run is over. Raises `LoadError` when it ends in any other way."""
        self._join()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            gevent.signal_handler(number, self._interrupted)
        chores = [gevent.spawn(chore) for chore in (self._pump, self._watch)]
        for chore in chores:
            chore.link_exception(lambda dead: self._end(f"{type(dead.exception).__name__}: {dead.exception}"))
        why = self._over.get()
        self._stop_load()
        self._deliver()
        gevent.killall(chores)
        if why:
            raise LoadError(why, remedy=self._what_is_kept())

    def _join(self) -> None:
        deadline_ns = now_ns() + int(_ANSWER_TIMEOUT_S * 1e9)
        while not self._welcome.ready() and not self._over.ready():
            self._runner.send_message(protocol.HELLO, protocol.identity())
            gevent.wait([self._welcome, self._over], timeout=_HELLO_INTERVAL_S, count=1)
            if now_ns() > deadline_ns:
                raise LoadError(
                    f"at {self._master} is a Locust master, but not one of `harness run --remote-workers`",
                    remedy="name the address that `harness run` shows while it waits for its load hosts",
                )
        if self._over.ready():
            raise LoadError(f"{self._master} refused this worker: {self._over.get()}")
        place_in_run = self._welcome.get()
        say(f"joined {self._master} as load worker {place_in_run['number'] + 1} of {place_in_run['workers']}")

    def _on_welcome(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust names them
        self._silence.broken()
        if not self._welcome.ready():
            self._welcome.set(msg.data)

    def _on_refused(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust names them
        self._end(str(msg.data["message"]))

    def _on_ping(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust names them
        received_ns = now_ns()
        self._silence.broken()
        answer = {"sent_ns": msg.data["sent_ns"], "received_ns": received_ns, "answered_ns": now_ns()}
        self._runner.send_message(protocol.PONG, answer)

    def _on_ack(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust names them
        self._silence.broken()
        self._outbox.acknowledge(msg.data["expected"], now_ns())
        self._wake.set()

    def _on_chunk(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust names them
        self._silence.broken()
        chunk = self._inbox.accept(msg.data)
        if chunk is not None:
            try:
                if chunk.part == "command":
                    self._obey(json.loads(chunk.data))
                else:
                    self._keep(chunk.part.removeprefix("file:"), chunk.data)
            except OSError as error:
                self._fail(f"{error.strerror}: {error.filename}")
            except HarnessError as error:
                self._fail(str(error))
        self._runner.send_message(protocol.ACK, {"expected": self._inbox.expected})

    def _obey(self, command: dict[str, Any]) -> None:
        if "prepare" in command:
            spec = WorkerSpec.from_json(json.dumps(command["prepare"]))
            self._job = Job(spec, self._folder, self._outbox)
            # Not here: it may wait for the target, and meanwhile messages have to be answered.
            gevent.spawn(self._start, self._job)
        elif "end" in command:
            self._end("")
        elif self._job is not None and "kill" in command:
            self._job.kill()
        elif self._job is not None:
            self._job.tell(command)

    def _start(self, job: Job) -> None:
        say(f"{job.spec.arm}: {job.spec.users} virtual users against {job.spec.host}")
        try:
            job.start()
        except (OSError, HarnessError) as error:
            self._fail(str(error))

    def _keep(self, name: str, data: bytes) -> None:
        path = place(name, self._folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(data)

    def _fail(self, message: str) -> None:
        say(message)
        arm = self._job.spec.arm if self._job is not None else ""
        for event in ({"event": "error", "message": message}, {"event": "ended", "exit_code": int(Exit.USAGE)}):
            self._outbox.put(arm, "event", json.dumps(event).encode())
        self._wake.set()

    def _pump(self) -> None:
        while True:
            if self._job is not None:
                self._job.ship()
            self._send_due()
            self._wake.wait(_PUMP_INTERVAL_S)
            self._wake.clear()

    def _send_due(self) -> None:
        for chunk in self._outbox.due(now_ns()):
            self._runner.send_message(protocol.CHUNK, chunk.to_message())

    def _watch(self) -> None:
        while True:
            gevent.sleep(Silence.TURN_S)
            if self._silence.turn():
                self._end(
                    f"lost the master at {self._master}: nothing was heard of it for {protocol.LOST_AFTER_S:.0f} s"
                )

    def _interrupted(self) -> None:
        if self._job is not None and not self._job.ended:
            self._job.say({"event": "error", "message": f"was interrupted on its host, {socket.gethostname()}"})
        self._end("interrupted")

    def _end(self, why: str) -> None:
        if not self._over.ready():
            self._over.set(why)

    def _stop_load(self) -> None:
        job = self._job
        if job is not None and not job.ended:
            say("stopping the load")
            job.tell({"stop": True})
            job.wait(_STOP_TIMEOUT_S)

    def _deliver(self) -> None:
        """Give what is still here a last chance to arrive."""
        deadline = time.monotonic() + _FAREWELL_S
        while not self._outbox.empty and time.monotonic() < deadline:
            self._send_due()
            gevent.sleep(0.05)
        # Messages that were sent leave in the background: the last one says that we heard the end.
        gevent.sleep(_LINGER_S)

    @property
    def delivered(self) -> bool:
        """Whether the conductor has everything that was written here."""
        return self._outbox.empty

    def _what_is_kept(self) -> str:
        if self.delivered:
            return ""
        rows = {path.name: count_rows(path) for path in sorted(self._folder.glob("*.rows"))}
        held = ", ".join(f"{name} with {count} rows" for name, count in rows.items()) or "no rows"
        return (
            f"kept in {self._folder}: {held}; to bring them into the record, copy its *.rows* files into the `spool`"
            " folder of the run, and `harness salvage` it"
        )


def connect(host: str, port: int, wait_s: float) -> Any:
    """The Locust worker that is connected to the master at `host`. Raises `LoadError` when there is none in time."""
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise LoadError(f"cannot resolve {host}: {error}", remedy="--master takes HOST:PORT") from error
    say(f"looking for a run at {host}:{port}")
    try:
        with gevent.Timeout(wait_s):
            return locust.env.Environment(user_classes=[]).create_worker_runner(host, port)
    except gevent.Timeout:
        raise LoadError(
            f"no run was found at {host}:{port} in {wait_s:.0f} s",
            remedy="start `harness run FILE --remote-workers N --bind HOST[:PORT]` there; its port must be reachable",
        ) from None


def say(text: str) -> None:
    """Tell whoever looks at this host's terminal."""
    sys.stderr.write(f"harness worker: {text}\n")
    sys.stderr.flush()


def main() -> NoReturn:
    """Take part in one run, and end the process with one of `harness.exits`."""
    logging.basicConfig(level=logging.CRITICAL)
    host, port, wait_s, *given = sys.argv[1:]
    folder = Path(given[0]).absolute() if given else Path(tempfile.mkdtemp(prefix="harness-worker-"))
    code = Exit.PASS
    agent: Agent | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise LoadError(f"{folder} is not empty: it may hold rows of another run", remedy="name another --spool")
        agent = Agent(f"{host}:{port}", connect(host, int(port), float(wait_s)), folder)
        agent.run()
        say("the run is over; all rows were delivered")
    except KeyboardInterrupt:
        say("interrupted")
        code = Exit.INTERRUPTED
    except HarnessError as error:
        say(str(error))
        code = Exit.INTERRUPTED if error.message == "interrupted" else error.exit_code
    except OSError as error:
        say(f"{error.strerror}: {error.filename}")
        code = Exit.USAGE
    if agent is not None and agent.delivered:
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.rmdir()  # when nothing came of it; never a folder with something in it
    os._exit(code)


if __name__ == "__main__":
    main()
