"""The one way processes are started and ended: each in a session of its own, entered in the ledger, tagged.

The tag is an environment variable that children of children inherit, so that even a process that was started in the
very moment the conductor was killed is found again.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import psutil

from harness.errors import StackError
from harness.ledger import Ledger, LedgerState, ProcessMark, mark_of

TAG = "HARNESS_RUN_ID"
_MEANT_FOR_OTHERS = re.compile(r"PG[A-Z]+|LOCUST_\w+|GUNICORN_CMD_ARGS|(http|https|all)_proxy", re.IGNORECASE)
"""Variables of the user's shell that would quietly reconfigure what we start."""


@dataclass(frozen=True, slots=True)
class Command:
    """How a process is started. Plain data, so that a guard can start it again from the ledger.

    `account` is a user name to run as ("" = the same user); `log` gets stdout (unless piped) and stderr, appended.
    `environment` is added to ours. A `nice` above 0 makes the process give way to others that want the processor.
    """

    name: str
    argv: tuple[str, ...]
    log: str
    cwd: str = "/"
    account: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: int = signal.SIGTERM
    nice: int = 0

    def to_json(self) -> dict[str, Any]:
        """JSON-ready data; `Command.from_json` reads it back."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {
            "argv": list(self.argv),
            "environment": dict(self.environment),
            "stop_signal": int(self.stop_signal),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Command:
        """The inverse of `to_json`."""
        return cls(**{**data, "argv": tuple(data["argv"])})


class _Child(Protocol):
    """What is asked of a process that runs."""

    def poll(self) -> int | None:
        """None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Return when it has ended; raises subprocess.TimeoutExpired."""


class _Foundling:
    """A process that is not our child."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process

    def poll(self) -> int | None:
        """None while it runs; a zombie has ended."""
        try:
            running = self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:  # it ended between the two questions
            return 0
        return None if running else 0

    def wait(self, timeout: float | None = None) -> int:
        """Return when it has ended; raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(str(self._process.pid), timeout or 0.0)
            time.sleep(0.01)
        return 0


class Processes:
    """The processes of one run, by name."""

    def __init__(self, run_id: str, ledger: Ledger) -> None:
        self.run_id = run_id
        self._ledger = ledger
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._running: dict[str, tuple[_Child, ProcessMark]] = {}
        self._excused: set[str] = set()
        self._ending: set[ProcessMark] = set()
        self._conductor: ProcessMark | None = None

    def spawn(
        self, command: Command, *, stdin: int = subprocess.DEVNULL, stdout: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process in place of what runs by that name; `stdin`/`stdout` as for subprocess.Popen, None = the log.

        Raises StackError when it can't be started, DiskError when it runs and could not be entered in the ledger.
        """
        with self._starting:
            self.kill(command.name)
            with Path(command.log).open("ab") as log:
                process = self._popen(command, stdin, log if stdout is None else stdout, log)
            os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + command.nice)
            mark = mark_of(process.pid, command.name, command.stop_signal)
            with self._lock:
                self._running[command.name] = (process, mark)
                self._excused.discard(command.name)
            self._ledger.process(mark)
        return process

    def adopt(self, state: LedgerState) -> None:
        """Take over processes that somebody else started: the conductor, which may be gone."""
        with self._lock:
            self._conductor = state.conductor
            self._ending.update(state.ending)
            for mark in state.processes:
                if process := mark.find():
                    self._running.setdefault(mark.name, (_Foundling(process), mark))

    @property
    def conductor_is_gone(self) -> bool:
        """Whether these are the processes of somebody who has ended, and all that is left to do is to end them."""
        return self._conductor is not None and self._conductor.find() is None

    def mark(self, name: str) -> ProcessMark:
        """The running process of that name. Raises StackError when there is none."""
        with self._lock:
            entry = self._running.get(name)
        if entry is None or entry[0].poll() is not None:
            raise StackError(f"{name} does not run")
        return entry[1]

    def excuse(self, name: str) -> None:
        """That process is expected to end: until one is started in its place, it is not among the `dead`."""
        with self._lock:
            self._excused.add(name)

    def excuse_nobody(self) -> None:
        """What runs now is expected to go on running."""
        with self._lock:
            self._excused -= {name for name, (process, _) in self._running.items() if process.poll() is None}

    def spawn_with_pipes(self, logs: Path) -> Callable[..., subprocess.Popen[bytes]]:
        """A way to start load workers and their like (see `harness.load.workers.Spawn`), with logs in `logs`."""

        def start(
            name: str, argv: Sequence[str], *, stdin: int, stdout: int, env: Mapping[str, str] | None
        ) -> subprocess.Popen[bytes]:
            command = Command(name, tuple(argv), log=str(logs / f"{name}.log"), environment=env or {})
            return self.spawn(command, stdin=stdin, stdout=stdout)

        return start

    def alive(self, name: str) -> bool:
        """Whether the process of that name runs."""
        with self._lock:
            entry = self._running.get(name)
        return entry is not None and entry[0].poll() is None

    def age_s(self, name: str) -> float:
        """How long ago the process of that name was started; infinite when none runs."""
        with self._lock:
            entry = self._running.get(name)
        return time.time() - entry[1].created if entry and entry[0].poll() is None else float("inf")

    def dead(self) -> list[str]:
        """Names of processes that have ended without being killed or stopped by us."""
        with self._lock:
            ended = [name for name, (process, _) in self._running.items() if process.poll() is not None]
            return [name for name in ended if name not in self._excused]

    def terminate(self, name: str) -> None:
        """Its own stop signal; from then on its end is expected, and it `is_ending`. Raises StackError without one."""
        mark = self.mark(name)
        self._ledger.ending(mark)
        with self._lock:
            self._excused.add(name)
            self._ending.add(mark)
        _signal(mark, mark.stop_signal)

    def is_ending(self, name: str) -> bool:
        """Whether the process of that name was told to end, and has not been replaced yet."""
        with self._lock:
            entry = self._running.get(name)
            return entry is not None and entry[1] in self._ending

    def end_orphans(self, name: str) -> None:
        """SIGKILL to what is left of the group of a process that has ended by itself: it may answer in its stead."""
        with self._lock:
            entry = self._running.get(name)
        if entry is not None and entry[0].poll() is not None:
            _signal_group(entry[1], signal.SIGKILL)

    def kill(self, *names: str) -> None:
        """SIGKILL to the whole group of each, and wait for the end."""
        for name in names:
            with self._lock:
                entry = self._running.pop(name, None)
            if entry is not None:
                _signal_group(entry[1], signal.SIGKILL)
                entry[0].wait()

    def stop(self, *names: str, grace_s: float = 3.0) -> None:
        """Each one's own stop signal, `grace_s` seconds for all together, then SIGKILL."""
        with self._lock:
            entries = [self._running.pop(name) for name in names if name in self._running]
        for process, mark in entries:
            if process.poll() is None:
                _signal(mark, mark.stop_signal)
        deadline = time.monotonic() + grace_s
        for process, mark in entries:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            _signal_group(mark, signal.SIGKILL)
            process.wait()

    def stop_all(self, *folders: Path) -> None:
        """End everything this run started, and whatever that left behind; also what works in one of these folders."""
        with self._lock:
            names = list(self._running)
        self.stop(*names)
        sweep(self.run_id, folders)

    def _popen(self, command: Command, stdin: int, stdout: int | IO[bytes], log: IO[bytes]) -> subprocess.Popen[bytes]:
        account: dict[str, Any] = {}
        if command.account:
            account = {"user": command.account, "group": _group_of(command.account), "extra_groups": []}
        try:
            return subprocess.Popen(
                command.argv,
                stdin=stdin,
                stdout=stdout,
                stderr=log,
                cwd=command.cwd,
                env={**inherited_environment(), **command.environment, TAG: self.run_id},
                start_new_session=True,
                **account,
            )
        except OSError as error:
            raise StackError(
                f"{command.name} could not be started: {error.strerror}: {error.filename or command.argv[0]}",
                remedy="run `harness doctor` to see what is missing",
            ) from error


def end(marks: Sequence[ProcessMark], *, grace_s: float) -> None:
    """End processes that are not our children (after a crash): stop signal, `grace_s`, then SIGKILL to the groups."""
    live = [(mark, process) for mark in marks if (process := mark.find())]
    for mark, _ in live:
        _signal(mark, mark.stop_signal)
    psutil.wait_procs([process for _, process in live], timeout=grace_s)
    for mark in marks:
        _signal_group(mark, signal.SIGKILL)


def sweep(run_id: str, folders: Sequence[Path] = ()) -> None:
    """End whatever carries the run's tag or works in one of its folders, until nothing does; ourselves excepted.

    Politely first, then by SIGKILL. Some servers (Valkey) write their title over their environment, the tag with it.
    """
    for turn in range(20):
        left = list(_belonging(run_id, folders))
        for process in left:
            try:
                process.kill() if turn else process.terminate()
            except psutil.NoSuchProcess:
                continue
        if not left:
            return
        psutil.wait_procs(left, timeout=0.5)


def inherited_environment() -> dict[str, str]:
    """Our environment without what is meant for other programs (PG*, web proxies, ...)."""
    return {name: value for name, value in os.environ.items() if not _MEANT_FOR_OTHERS.fullmatch(name)}


def tail(log: Path, lines: int = 5) -> str:
    """The last lines of a log, for an error message."""
    if not log.is_file():
        return ""
    text = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return "\n".join(f"    {line}" for line in text[-lines:])


def _belonging(run_id: str, folders: Sequence[Path]) -> Iterator[psutil.Process]:
    keep = {os.getpid(), os.getppid()}
    for process in psutil.process_iter():
        if process.pid in keep:
            continue
        try:
            tagged = process.environ().get(TAG) == run_id
            at_home = any(Path(process.cwd()).is_relative_to(folder) for folder in folders)
            if (tagged or at_home) and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def _signal(mark: ProcessMark, number: int) -> None:
    process = mark.find()
    if process is not None:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return


def _signal_group(mark: ProcessMark, number: int) -> None:
    """Signal a process group. Every process of ours leads its own session, so its pid is the group's id, and the
    kernel gives no process that pid while a member of the group lives."""
    process = mark.find()
    if process is None and _taken_by_another(mark):
        return
    try:
        os.killpg(mark.pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _taken_by_another(mark: ProcessMark) -> bool:
    try:
        return abs(psutil.Process(mark.pid).create_time() - mark.created) >= 1.0
    except psutil.NoSuchProcess:
        return False


def _group_of(account: str) -> int:
    return pwd.getpwnam(account).pw_gid
