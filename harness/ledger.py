"""The ledger of a run: everything that must be taken back, written to disk (fsync) before it is done.

One JSON object per line in `results/<run-id>/ledger.jsonl`. The conductor appends; the guard and `harness rollback`
read it when the conductor is gone. A ledger that exists therefore means: something may still be left. It is deleted
when the run has cleaned up after itself.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from harness.errors import DiskError


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """A process that this run started; `created` (seconds since the epoch) guards against a reused pid."""

    name: str
    pid: int
    created: float
    stop_signal: int

    def find(self) -> psutil.Process | None:
        """The live process, or None when it has ended (a zombie has ended)."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


@dataclass(frozen=True, slots=True)
class UndoMark:
    """A fault's undo. Past `deadline_ns` (CLOCK_MONOTONIC) the guard carries it out without being asked."""

    id: str
    deadline_ns: int
    steps: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What a ledger says is still to be taken back. `ending`: processes that were told to end, and may still run."""

    run_id: str
    conductor: ProcessMark | None
    guard: ProcessMark | None
    processes: tuple[ProcessMark, ...]
    ending: tuple[ProcessMark, ...]
    folders: tuple[Path, ...]
    undos: tuple[UndoMark, ...]


class Ledger:
    """Appends to a ledger file; safe to use from several threads. Raises `DiskError` when the disk takes no more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def run(self, run_id: str, conductor: ProcessMark) -> None:
        """The first line: whose ledger this is."""
        self._append(entry="run", run_id=run_id, **_mark(conductor))

    def guard(self, mark: ProcessMark) -> None:
        """The guard that watches the conductor."""
        self._append(entry="guard", **_mark(mark))

    def process(self, mark: ProcessMark) -> None:
        """A process was started."""
        self._append(entry="process", **_mark(mark))

    def ending(self, mark: ProcessMark) -> None:
        """A process is about to be told to end: it may answer for a while, but nobody should count on it."""
        self._append(entry="ending", **_mark(mark))

    def folder(self, path: Path) -> None:
        """A folder outside the results is about to be made."""
        self._append(entry="folder", path=str(path))

    def undo(self, mark: UndoMark) -> None:
        """A fault is about to be injected."""
        self._append(entry="undo", id=mark.id, deadline_ns=mark.deadline_ns, steps=[dict(step) for step in mark.steps])

    def reverted(self, undo_id: str, by: str) -> None:
        """A fault was taken back; `by` is `conductor`, `guard` or `rollback`."""
        self._append(entry="reverted", id=undo_id, by=by)

    def close(self) -> None:
        """Everything has been taken back: the ledger goes."""
        self.path.unlink(missing_ok=True)

    def _append(self, **entry: Any) -> None:
        line = (json.dumps(entry) + "\n").encode()
        try:
            with self._lock:
                self._write(line)
        except OSError as error:
            raise DiskError(
                f"{self.path}: cannot be written, and nothing is done that is not in it: {error.strerror}",
                remedy="free some space on that disk, or choose a folder on another one with --out",
            ) from error

    def _write(self, line: bytes) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)  # environments are in it
        try:
            size = os.fstat(descriptor).st_size
            if os.write(descriptor, line) < len(line):
                os.ftruncate(descriptor, size)  # the next entry must begin a line
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read(path: Path) -> LedgerState:
    """What is left to take back. A torn last line (power loss, kill) is left out: its action had not begun."""
    run_id = ""
    conductor = guard = None
    processes: list[ProcessMark] = []
    ending: list[ProcessMark] = []
    folders: list[Path] = []
    undos: dict[str, UndoMark] = {}
    for entry in _entries(path):
        match entry["entry"]:
            case "run":
                run_id, conductor = entry["run_id"], _unmark(entry)
            case "guard":
                guard = _unmark(entry)
            case "process":
                processes.append(_unmark(entry))
            case "ending":
                ending.append(_unmark(entry))
            case "folder":
                folders.append(Path(entry["path"]))
            case "undo":
                undos[entry["id"]] = UndoMark(entry["id"], entry["deadline_ns"], tuple(entry["steps"]))
            case "reverted":
                undos.pop(entry["id"], None)
    return LedgerState(run_id, conductor, guard, tuple(processes), tuple(ending), tuple(folders), tuple(undos.values()))


def mark_of(pid: int, name: str, stop_signal: int) -> ProcessMark:
    """The mark of a process that runs now; raises psutil.NoSuchProcess when it does not."""
    return ProcessMark(name, pid, psutil.Process(pid).create_time(), stop_signal)


def _mark(mark: ProcessMark) -> dict[str, Any]:
    return {"name": mark.name, "pid": mark.pid, "created": mark.created, "stop_signal": mark.stop_signal}


def _unmark(entry: Mapping[str, Any]) -> ProcessMark:
    return ProcessMark(entry["name"], entry["pid"], entry["created"], entry["stop_signal"])


def _entries(path: Path) -> Sequence[dict[str, Any]]:
    lines = path.read_bytes().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith(b"\n")]
