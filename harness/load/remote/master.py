"""The Locust master of a run with load workers on other hosts: `python -m harness.load.remote.master HOST PORT N`.

A process of its own on the conductor's host, because Locust patches the interpreter. It passes the conductor's
commands on to the agents and what these say back, writes the rows that come in to the same spools that local workers
would write, and reads the agents' clocks. N is the number of load workers. One JSON object per line:

    stdout  {"event": "listening"}
            {"event": "joined", "worker": n, "host": "..."}     an agent is here; n counts from 0
            {"event": "refused", "message": "..."}              somebody else was turned away
            {"event": "left", "worker": n}                      one went away before the first arm; its place is free
            {"event": "says", "worker": n, "arm": "...", "what": {...}}     an event of a load worker
            {"event": "lost", "worker": n, "message": "..."}    nothing more will come from it
            {"event": "error", "message": "..."}                and exit code 2
    stdin   {"files": {name: path}}                             have all agents keep these files
            {"worker": n, "prepare": spec, "log": path}         the worker's rows go to the spec's `spool`
            {"worker": n, "go": t0_ns} | {"worker": n, "stop": true} | {"worker": n, "kill": true}
            {"worker": n, "storm": {...}, "name": "..."} | {"worker": n, "calm": "..."}
            {"end": true}                                       dismiss the agents, and end (end of file: at once)
"""

from __future__ import annotations

import locust.env  # first of all: it patches the standard library  # isort: skip

import json
import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NoReturn

import gevent
from gevent.event import Event
from gevent.hub import get_hub

from harness.clock import NS, now_ns
from harness.errors import HarnessError, LoadError
from harness.load.remote import protocol
from harness.load.remote.protocol import Silence
from harness.load.remote.transport import Chunk, Inbox, Outbox
from harness.record.acknowledged import acknowledged_path
from harness.record.clocks import Reading, clock_path, quickest, reading_line, start_line
from harness.record.spool import names_path

_PUMP_INTERVAL_S: Final = 0.1
_FAREWELL_S: Final = 3.0
_LINGER_S: Final = 0.2
_READINGS_KEPT: Final = 100
_READING_INTERVAL_NS: Final = NS
_EXIT_ERROR: Final = 2


class Peer:
    """An agent: what is on its way to and from it, and what is known of its clock."""

    def __init__(self, client_id: str, number: int, host: str) -> None:
        self.client_id = client_id
        self.number = number
        self.host = host
        self.outbox = Outbox()
        self.inbox = Inbox()
        self.silence = Silence()
        self.lost = False
        self._files: dict[tuple[str, str], Path] = {}
        self._readings: deque[Reading] = deque(maxlen=_READINGS_KEPT)
        self._turn: list[Reading] = []
        self._clock: Path | None = None

    def prepare(self, spec: dict[str, Any], log: Path) -> None:
        """From now on the files of this arm are accepted."""
        spool = Path(spec["spool"])
        paths = {"names": names_path(spool), "rows": spool, "acked": acknowledged_path(spool), "log": log}
        self._files.update({(spec["arm"], part): path for part, path in paths.items()})
        self._clock = clock_path(spool)

    def write(self, chunk: Chunk) -> None:
        """Append to one of the arm's files. Raises `OSError`, and `KeyError` for a part that is none."""
        with self._files[chunk.arm, chunk.part].open("ab") as file:
            file.write(chunk.data)

    def read_clock(self, reading: Reading) -> None:
        """Keep a reading; the best of each second goes into the arm's clock file."""
        self._readings.append(reading)
        self._turn.append(reading)
        if reading.at_ns - self._turn[0].at_ns >= _READING_INTERVAL_NS:
            self._note(reading_line(quickest(self._turn)))
            self._turn.clear()

    def start(self, t0_ns: int) -> int:
        """The instant of its own clock at which the arm begins. Raises `LoadError` when its clock was never read."""
        if not self._readings:
            raise LoadError(f"the clock of {self.host} was never read")
        worker_t0_ns = t0_ns + quickest(self._readings).offset_ns
        self._note(start_line(t0_ns, worker_t0_ns))
        self._note(reading_line(quickest(self._readings)))
        return worker_t0_ns

    def finish(self) -> None:
        """The arm is over on its side: what was read of its clock last is noted as well."""
        if self._turn:
            self._note(reading_line(quickest(self._turn)))
            self._note(reading_line(self._turn[-1]))
            self._turn.clear()
        self._clock = None

    def _note(self, line: str) -> None:
        if self._clock is not None:
            with self._clock.open("a") as file:
                file.write(line)


class Master:
    """The agents of one run."""

    def __init__(self, host: str, port: int, workers: int, out: int) -> None:
        self._workers = workers
        self._out = out
        self._here = protocol.identity()
        self._peers: dict[str, Peer] = {}
        self._started = False
        self._wake = Event()
        environment = locust.env.Environment(user_classes=[])
        self._runner = environment.create_master_runner(_checked(host, port), port)
        listeners = {
            protocol.HELLO: self._on_hello,
            protocol.CHUNK: self._on_chunk,
            protocol.ACK: self._on_ack,
            protocol.PONG: self._on_pong,
        }
        for kind, listener in listeners.items():
            self._runner.register_message(kind, listener)
        self.ended = Event()

    def run(self) -> None:
        """Serve until told to end. Raises whatever ends it before."""
        self._say("listening")
        chores = [gevent.spawn(chore) for chore in (self._listen, self._pump, self._ping, self._watch)]
        gevent.wait([self.ended, *chores], count=1)
        for chore in chores:
            if chore.exception is not None:
                raise chore.exception
        self._dismiss()

    def _listen(self) -> None:
        watcher = get_hub().loop.io(0, 1)
        heard = b""
        while True:
            get_hub().wait(watcher)
            data = os.read(0, 65536)
            if not data:
                self._abandon()
                return
            *lines, heard = (heard + data).split(b"\n")
            for line in lines:
                self._obey(json.loads(line))

    def _obey(self, message: dict[str, Any]) -> None:
        if "files" in message:
            for peer in self._present():
                for name, path in message["files"].items():
                    file = Path(path)
                    peer.outbox.put("", f"file:{name}", b"")
                    peer.outbox.put_file("", f"file:{name}", file, 0, file.stat().st_size)
        elif "end" in message:
            for peer in self._present():
                _command(peer, {"end": True})
            self.ended.set()
        else:
            self._obey_for(message.pop("worker"), message)
        self._wake.set()

    def _obey_for(self, number: int, message: dict[str, Any]) -> None:
        peer = next((peer for peer in self._present() if peer.number == number), None)
        if peer is None:
            self._say("lost", worker=number, message="its load host is gone")
            return
        try:
            if "prepare" in message:
                self._started = True
                peer.prepare(message["prepare"], Path(message.pop("log")))
            if "go" in message:
                message["go"] = peer.start(message["go"])
        except (OSError, LoadError) as error:
            self._give_up(peer, str(error))
            return
        _command(peer, message)

    def _pump(self) -> None:
        while True:
            self._wake.wait(_PUMP_INTERVAL_S)
            self._wake.clear()
            for peer in self._present():
                for chunk in peer.outbox.due(now_ns()):
                    self._send(peer, protocol.CHUNK, chunk.to_message())

    def _ping(self) -> None:
        while True:
            gevent.sleep(protocol.PING_INTERVAL_S)
            for peer in self._present():
                self._send(peer, protocol.PING, {"sent_ns": now_ns()})

    def _watch(self) -> None:
        while True:
            gevent.sleep(Silence.TURN_S)
            for peer in self._present():
                if not peer.silence.turn():
                    continue
                if self._started:
                    self._give_up(peer, f"nothing was heard of {peer.host} for {protocol.LOST_AFTER_S:.0f} s")
                else:
                    del self._peers[peer.client_id]
                    self._say("left", worker=peer.number)

    def _on_hello(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust names them
        there = msg.data if isinstance(msg.data, dict) else {}
        peer = self._peers.get(msg.node_id)
        if peer is None:
            taken = {peer.number for peer in self._present()}
            free = min(set(range(self._workers)) - taken, default=None)
            why = protocol.disagreement(self._here, there)
            if not why and (free is None or self._started):
                why = f"this run has its {self._workers} load workers already"
            if why or free is None:
                self._runner.send_message(protocol.REFUSED, {"message": why}, msg.node_id)
                self._say("refused", message=why)
                return
            peer = self._peers[msg.node_id] = Peer(msg.node_id, free, str(there.get("host")))
            self._say("joined", worker=free, host=peer.host)
        self._send(peer, protocol.WELCOME, {"number": peer.number, "workers": self._workers})

    def _on_chunk(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust names them
        peer = self._heard_from(msg)
        if peer is None:
            return
        chunk = peer.inbox.accept(msg.data)
        if chunk is not None:
            try:
                self._take(peer, chunk)
            except OSError as error:
                # Not acknowledged: the rows stay where they are.
                self._give_up(peer, f"its rows cannot be written here: {error.strerror}: {error.filename}")
                return
            except (KeyError, ValueError) as error:
                self._give_up(peer, f"its host sent something unexpected: {error!r}")
                return
        self._send(peer, protocol.ACK, {"expected": peer.inbox.expected})

    def _on_ack(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust names them
        peer = self._heard_from(msg)
        if peer is not None and isinstance(msg.data, dict):
            peer.outbox.acknowledge(msg.data.get("expected"), now_ns())
            self._wake.set()

    def _on_pong(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust names them
        back_ns = now_ns()
        peer = self._heard_from(msg)
        if peer is not None:
            times = (msg.data["sent_ns"], msg.data["received_ns"], msg.data["answered_ns"])
            try:
                peer.read_clock(Reading.of(*times, back_ns))
            except OSError as error:
                self._give_up(peer, f"its clock cannot be written down: {error.strerror}: {error.filename}")

    def _take(self, peer: Peer, chunk: Chunk) -> None:
        if chunk.part == "event":
            what = json.loads(chunk.data)
            if what["event"] == "ended":
                peer.finish()
            self._say("says", worker=peer.number, arm=chunk.arm, what=what)
        else:
            peer.write(chunk)

    def _heard_from(self, msg: Any) -> Peer | None:
        peer = self._peers.get(msg.node_id)
        if peer is None or peer.lost:
            # Whoever was given up must not go on sending load.
            self._runner.send_message(
                protocol.REFUSED, {"message": "the conductor has given this worker up"}, msg.node_id
            )
            return None
        peer.silence.broken()
        return peer

    def _give_up(self, peer: Peer, why: str) -> None:
        peer.lost = True
        self._say("lost", worker=peer.number, message=why)
        self._send(peer, protocol.REFUSED, {"message": f"the conductor has given this worker up: {why}"})

    def _present(self) -> Iterable[Peer]:
        return [peer for peer in self._peers.values() if not peer.lost]

    def _send(self, peer: Peer, kind: str, data: dict[str, Any]) -> None:
        self._runner.send_message(kind, data, peer.client_id)

    def _say(self, event: str, **fields: Any) -> None:
        try:
            os.write(self._out, (json.dumps({"event": event, **fields}) + "\n").encode())
        except BrokenPipeError:
            self.ended.set()

    def _abandon(self) -> None:
        """The conductor is gone; unless it had said so before, the load must stop at once."""
        if not self.ended.is_set():
            for peer in self._present():
                self._send(peer, protocol.REFUSED, {"message": "the conductor of the run has ended"})
            gevent.sleep(_LINGER_S)
        self.ended.set()

    def _dismiss(self) -> None:
        """Let the agents go; those who were not told to by then lose us."""
        deadline_ns = now_ns() + int(_FAREWELL_S * NS)
        while now_ns() < deadline_ns and any(not peer.outbox.empty for peer in self._present()):
            for peer in self._present():
                for chunk in peer.outbox.due(now_ns()):
                    self._send(peer, protocol.CHUNK, chunk.to_message())
            gevent.sleep(0.02)


def _command(peer: Peer, message: dict[str, Any]) -> None:
    peer.outbox.put("", "command", json.dumps(message).encode())


def _checked(host: str, port: int) -> str:
    """The numeric address to listen at. Raises `LoadError` when that is not possible, with the reason and a remedy."""
    try:
        numeric = str(socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((numeric, port))
    except OSError as error:
        raise LoadError(
            f"cannot listen for load hosts at {host}:{port}: {error.strerror}",
            remedy="--bind takes an address of this host that the load hosts reach, and a free port: HOST[:PORT]",
        ) from error
    return numeric


def main() -> NoReturn:
    """Run the master that the file named by the only argument describes, and end the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout.flush()
    out = os.dup(1)
    os.dup2(2, 1)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    try:
        host, port, workers = sys.argv[1:]
        Master(host, int(port), int(workers), out).run()
    except HarnessError as error:
        _end(out, str(error))
    except Exception as error:  # noqa: BLE001 - the conductor must hear of whatever ends this process
        _end(out, f"{type(error).__name__}: {error}")
    os._exit(0)


def _end(out: int, message: str) -> NoReturn:
    os.write(out, (json.dumps({"event": "error", "message": message}) + "\n").encode())
    sys.stderr.flush()
    os._exit(_EXIT_ERROR)


if __name__ == "__main__":
    main()
