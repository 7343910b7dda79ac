"""The conductor's side of load workers: starts them, tells them when to begin, listens, collects what they leave."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Protocol

from harness.clock import NS
from harness.faults.base import StormReport
from harness.load.member import Member
from harness.load.spec import Progress, WorkerSpec
from harness.load.validity import WorkerResult
from harness.plan import RetryStorm

_READER_JOIN_S: Final = 5.0
_LEAD_NS: Final = NS // 4


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


class Crew(Protocol):
    """Where the workers of an arm run, when that is not this host."""

    @property
    def lead_ns(self) -> int:
        """How long before an arm begins its workers must be told."""
        ...

    def member(self, spec: WorkerSpec) -> Member:
        """The worker that does `spec`."""
        ...


class LoadWorkers:
    """The load workers of one arm: processes of this host, or those of a `crew`.

    `start`, `wait_ready`, `go`, then `wait`; `stop` at any time. `latest` and `health` may be read from any thread.
    `wait_ready` and `latest` raise `LoadError` with the worker's last words when a worker errs or dies; `wait`
    always returns what there is.
    """

    def __init__(
        self,
        specs: Sequence[WorkerSpec],
        *,
        spawn: Spawn = spawn_plainly,
        env: Mapping[str, str] | None = None,
        crew: Crew | None = None,
    ) -> None:
        self._members: list[Member] = [
            crew.member(spec) if crew is not None else _LocalMember(spec, spawn, env) for spec in specs
        ]
        self.lead_ns = crew.lead_ns if crew is not None else _LEAD_NS

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
        """Begin: time 0 of the arm is the monotonic instant `t0_ns`, at least `lead_ns` ahead."""
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

    def begin_storm(self, name: str, storm: RetryStorm) -> None:
        """Have the clients of all workers retry at once in a stretch of the arm that is still to come."""
        for member in self._members:
            member.tell({"storm": asdict(storm), "name": name})

    def end_storm(self, name: str) -> None:
        """Have them forget that storm, whether it has begun or not."""
        for member in self._members:
            member.tell({"calm": name})

    def storm_report(self) -> StormReport:
        """How far storms have come, by the last report of every worker that still works."""
        reports = [member.health[-1] for member in self._members if member.health and not member.over]
        return StormReport(
            everywhere=len(reports) == len(self._members) and all(report.storming for report in reports),
            anywhere=any(report.storming for report in reports),
            failed=sum(report.storm_failed for report in reports),
            retries=sum(report.storm_retries for report in reports),
        )

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


class _LocalMember(Member):
    """A worker process on this host, and the thread that reads what it says."""

    def __init__(self, spec: WorkerSpec, spawn: Spawn, env: Mapping[str, str] | None) -> None:
        super().__init__(spec)
        self._spawn = spawn
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        spool = Path(self.spec.spool)
        spool.parent.mkdir(parents=True, exist_ok=True)
        spec_file = spool.with_name(spool.name + ".spec.json")
        spec_file.write_text(self.spec.to_json())
        argv = [sys.executable, "-m", "harness.load.worker", str(spec_file)]
        self._process = self._spawn(self.spec.name, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._env)
        self._reader = threading.Thread(target=self._read, name=f"read-{self.spec.name}", daemon=True)
        self._reader.start()

    def tell(self, message: dict[str, Any]) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        # A worker that has ended can be told nothing; `wait` and `latest` report that.
        with contextlib.suppress(BrokenPipeError, ValueError):
            process.stdin.write(json.dumps(message).encode() + b"\n")
            process.stdin.flush()

    def collect(self, deadline_s: float) -> WorkerResult:
        if self._process is None:
            self.end(None)
        result = super().collect(deadline_s)
        if self._reader is not None:
            self._reader.join(_READER_JOIN_S)
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        return result

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        if self._process is not None:
            self._ended.wait(_READER_JOIN_S)

    def _read(self) -> None:
        process = self._process
        if process is None or process.stdout is None:
            return
        with process.stdout:
            for line in process.stdout:
                try:
                    self.hear(json.loads(line))
                except ValueError:
                    self.fail(f"said something unexpected: {line[:200].decode(errors='replace').strip()}")
        self.end(process.wait())
