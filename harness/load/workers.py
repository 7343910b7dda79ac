"""The conductor's side of load workers: starts them, tells them when to begin, listens, collects what they leave."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from harness.errors import LoadError
from harness.load.spec import Progress, WorkerSpec
from harness.load.validity import WorkerResult
from harness.record.spool import count_rows

_READER_JOIN_S: Final = 5.0


class Spawn(Protocol):
    """Starts a process; `subprocess.Popen` with a name for the logs."""

    def __call__(
        self, name: str, argv: Sequence[str], *, stdin: int, stdout: int, env: Mapping[str, str] | None
    ) -> subprocess.Popen[bytes]:
        """Start `argv` and return the process; `env` None means this process's environment."""
        ...


def spawn_plainly(
    name: str,  # noqa: ARG001 - other ways to spawn name the log after it
    argv: Sequence[str],
    *,
    stdin: int,
    stdout: int,
    env: Mapping[str, str] | None,
) -> subprocess.Popen[bytes]:
    """Start a process with `subprocess.Popen` and nothing around it."""
    return subprocess.Popen(list(argv), stdin=stdin, stdout=stdout, env=env)


class LoadWorkers:
    """The load workers of one arm.

    `start`, `wait_ready`, `go`, then `wait`; `stop` at any time. `latest` and `health` may be read from any thread.
    `wait_ready` and `latest` raise `LoadError` with the worker's last words when a worker errs or dies; `wait`
    always returns what there is.
    """

    def __init__(
        self, specs: Sequence[WorkerSpec], *, spawn: Spawn = spawn_plainly, env: Mapping[str, str] | None = None
    ) -> None:
        self._members = [_Member(spec, spawn, env) for spec in specs]

    def start(self) -> None:
        """Start the processes; returns at once."""
        for member in self._members:
            member.start()

    def wait_ready(self, timeout_s: float) -> int:
        """Wait until every worker has started its virtual users; returns how many these are together."""
        deadline_s = time.monotonic() + timeout_s
        for member in self._members:
            member.await_event("ready", deadline_s)
        return sum(member.users for member in self._members)

    def go(self, t0_ns: int) -> None:
        """Begin: time 0 of the arm is the monotonic instant `t0_ns`, best a little ahead."""
        for member in self._members:
            member.tell({"go": t0_ns})

    def latest(self) -> Progress | None:
        """The progress of all workers as one; None until each has reported. Raises `LoadError` when one has failed."""
        parts = []
        for member in self._members:
            member.raise_failure()
            if not member.health:
                return None
            parts.append(member.health[-1])
        return Progress.total(parts) if parts else None

    def health(self) -> dict[str, tuple[Progress, ...]]:
        """All progress reports so far, by the name of the worker (`load-worker-1`, ...), for telemetry."""
        return {member.spec.name: tuple(member.health) for member in self._members}

    def stop(self) -> None:
        """Have all workers finish now; what is in flight is recorded as `aborted`. Then `wait`."""
        for member in self._members:
            member.tell({"stop": True})

    def wait(self, timeout_s: float) -> list[WorkerResult]:
        """Wait until every worker is done and has ended, and return what each of them left behind.

        Workers that are lost or err are results too (see `validity_reasons`). Those that do not end in time are
        killed; their rows up to then are in their spools.
        """
        deadline_s = time.monotonic() + timeout_s
        return [member.collect(deadline_s) for member in self._members]

    def kill(self) -> None:
        """End all processes at once; for when there is nothing left to record."""
        for member in self._members:
            member.kill()


class _Member:
    """One worker process and the thread that reads what it says."""

    def __init__(self, spec: WorkerSpec, spawn: Spawn, env: Mapping[str, str] | None) -> None:
        self.spec = spec
        self.users = 0
        self.health: list[Progress] = []
        self._spawn = spawn
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._events: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._done: dict[str, Any] | None = None
        self._last_words = ""
        self._ended = threading.Event()

    def start(self) -> None:
        spool = Path(self.spec.spool)
        spool.parent.mkdir(parents=True, exist_ok=True)
        spec_file = spool.with_name(spool.name + ".spec.json")
        spec_file.write_text(self.spec.to_json())
        argv = [sys.executable, "-m", "harness.load.worker", str(spec_file)]
        self._process = self._spawn(self.spec.name, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._env)
        self._reader = threading.Thread(target=self._read, name=f"read-{self.spec.name}", daemon=True)
        self._reader.start()

    def await_event(self, event: str, deadline_s: float) -> None:
        while True:
            try:
                heard = self._events.get(timeout=max(0.0, deadline_s - time.monotonic()))
            except queue.Empty:
                raise LoadError(
                    f"{self.spec.name} was not {event} in time", remedy="look into its log for what it waits for"
                ) from None
            if heard == event:
                return
            self.raise_failure()

    def raise_failure(self) -> None:
        if self._last_words:
            raise LoadError(f"{self.spec.name}: {self._last_words}")
        if self._ended.is_set() and self._done is None:
            raise LoadError(f"{self.spec.name} died ({self._how_it_ended()})", remedy="look into its log")

    def tell(self, message: dict[str, Any]) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        # A worker that has ended can be told nothing; `wait` and `latest` report that.
        with contextlib.suppress(BrokenPipeError, ValueError):
            process.stdin.write(json.dumps(message).encode() + b"\n")
            process.stdin.flush()

    def collect(self, deadline_s: float) -> WorkerResult:
        process = self._process
        if process is not None:
            try:
                process.wait(max(0.0, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._last_words = self._last_words or "did not end in time and was killed"
                self.kill()
        if self._reader is not None:
            self._reader.join(_READER_JOIN_S)
        self._close_pipes()
        spool = Path(self.spec.spool)
        return WorkerResult(
            name=self.spec.name,
            spool=spool,
            rows=self._done["rows"] if self._done else None,
            arrivals=self._done["arrivals"] if self._done else None,
            spool_rows=count_rows(spool),
            exit_code=process.returncode if process is not None else None,
            health=tuple(self.health),
            last_words=self._last_words,
            notes=tuple(self._done["notes"]) if self._done else (),
        )

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _close_pipes(self) -> None:
        process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()

    def _read(self) -> None:
        process = self._process
        if process is None or process.stdout is None:
            return
        with process.stdout:
            for line in process.stdout:
                self._hear(line)
        self._ended.set()
        self._events.put("ended")

    def _hear(self, line: bytes) -> None:
        try:
            message = json.loads(line)
            event = message.pop("event")
        except (ValueError, KeyError, AttributeError, TypeError):
            self._last_words = f"said something unexpected: {line[:200].decode(errors='replace').strip()}"
            self._events.put("error")
            return
        if event == "ready":
            self.users = message["users"]
        elif event == "progress":
            self.health.append(Progress(**message))
        elif event == "done":
            self._done = message
        elif event == "error":
            self._last_words = message["message"]
        if event != "progress":
            self._events.put(event)

    def _how_it_ended(self) -> str:
        code = self._process.wait() if self._process is not None else None
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
