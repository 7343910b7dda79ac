"""One arm on a load host: the very worker process of a local run, and what it leaves, on its way to the conductor."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent

from harness.errors import LoadError
from harness.load.remote.bundle import unpacked
from harness.load.remote.transport import Outbox
from harness.load.spec import WorkerSpec
from harness.probes import split
from harness.processes import inherited_environment
from harness.record.acknowledged import acknowledged_path
from harness.record.spool import names_path

_REACH_TIMEOUT_S = 3.0


class Job:
    """A load worker that is driven through its pipes; its files below `folder` are put into `outbox` as they grow."""

    def __init__(self, spec: WorkerSpec, folder: Path, outbox: Outbox) -> None:
        spool = folder / f"{spec.arm}-{spec.worker}.rows"
        self.spec = replace(spec, spool=str(spool), load=unpacked(spec.load, folder))
        self._log = folder / f"{spec.arm}-{spec.worker}.log"
        # Names before rows: a row is of no use without the name it refers to.
        paths = {"names": names_path(spool), "rows": spool, "acked": acknowledged_path(spool), "log": self._log}
        self._shipped = {part: (path, 0) for part, path in paths.items()}
        self._outbox = outbox
        self._process: subprocess.Popen[bytes] | None = None
        self.ended = False

    def start(self) -> None:
        """Start the process. Raises `LoadError` when the target cannot be reached from here."""
        _reach(self.spec.host)
        file = Path(f"{self.spec.spool}.spec.json")
        file.write_text(self.spec.to_json())
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "harness.load.worker", str(file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=inherited_environment(),
                start_new_session=True,
            )
        gevent.spawn(self._listen, self._process)

    def tell(self, message: dict[str, Any]) -> None:
        """Pass a command on to the worker; one that has ended can be told nothing."""
        process = self._process
        if process is None or process.stdin is None or self.ended:
            return
        try:
            process.stdin.write(json.dumps(message).encode() + b"\n")
            process.stdin.flush()
        except OSError:
            return

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def ship(self) -> None:
        """Put what the files have gained since the last time into the outbox."""
        # Sizes first, in the reverse order: what the rows refer to was written before them.
        ends = {part: _size(path) for part, (path, _) in reversed(self._shipped.items())}
        for part, (path, start) in self._shipped.items():
            self._outbox.put_file(self.spec.arm, part, path, start, ends[part])
            self._shipped[part] = (path, ends[part])

    def say(self, event: dict[str, Any]) -> None:
        """Put an event into the outbox, behind everything that was written before it."""
        self.ship()
        self._outbox.put(self.spec.arm, "event", json.dumps(event).encode())

    def wait(self, timeout_s: float) -> None:
        """Wait for the worker's end; kill it when that does not come in time."""
        with gevent.Timeout(timeout_s, exception=False):
            while not self.ended:
                gevent.sleep(0.02)
        self.kill()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is not None:
            for line in process.stdout:
                try:
                    self.say(json.loads(line))
                except ValueError:
                    self.say({"event": "error", "message": f"said something unexpected: {line[:200]!r}"})
        self.say({"event": "ended", "exit_code": process.wait()})
        self.ended = True


def _reach(host: str) -> None:
    address = split(host.removeprefix("http://"))
    try:
        socket.create_connection(address, _REACH_TIMEOUT_S).close()
    except OSError as error:
        raise LoadError(
            f"{socket.gethostname()} cannot reach the target at {host}: {error}",
            remedy="`--bind` must name an address of the conductor's host that load hosts can connect to, on any port",
        ) from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
