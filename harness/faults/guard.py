"""The guard: a process that outlives a killed conductor just long enough to take everything back.

    python -m harness.faults.guard LEDGER

Its standard input is a pipe that only the conductor holds open. The pipe's end means that the conductor is gone,
however it went: then the ledger is carried out. While the conductor lives, the guard reverts faults that are past
their own deadline, in case the conductor hangs. It ends when the ledger is gone.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from harness import ledger
from harness.clock import now_ns
from harness.errors import HarnessError
from harness.ledger import Ledger, mark_of
from harness.processes import TAG

CHECK_S = 0.25


class Guard:
    """The conductor's end of the guard."""

    def __init__(self, book: Ledger, log: Path) -> None:
        self._book = book
        self._log = log
        self._process = self._start()

    def keep(self) -> None:
        """See that there is a guard: start another one when this one has died."""
        if self._process.poll() is not None:
            self._process = self._start()

    def dismiss(self) -> None:
        """Let the guard go; it carries out what is left in the ledger, if anything."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "harness.faults.guard", str(self._book.path)],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={name: value for name, value in os.environ.items() if name != TAG},
            )
        self._book.guard(mark_of(process.pid, "guard", signal.SIGTERM))
        return process


def watch(path: Path, stdin: int) -> int:
    """Watch one conductor until it is gone; returns the exit code."""
    tried: set[str] = set()
    threading.Thread(target=_load, daemon=True).start()
    while path.exists():
        readable, _, _ = select.select([stdin], [], [], CHECK_S)
        if readable and not os.read(stdin, 1):
            return _restore(path)
        _revert_overdue(path, tried)
    return 0


def _restore(path: Path) -> int:
    if not path.exists():
        return 0
    from harness.faults.restore import restore  # see _load

    try:
        for line in restore(path, by="guard"):
            _say(line)
    except HarnessError as error:
        _say(str(error))
        return int(error.exit_code)
    return 0


def _revert_overdue(path: Path, tried: set[str]) -> None:
    """Each fault once: what then fails is told, and tried again when the conductor is gone."""
    try:
        state = ledger.read(path)
    except FileNotFoundError:
        return  # the conductor has just closed it
    overdue = [mark for mark in state.undos if now_ns() > mark.deadline_ns and mark.id not in tried]
    if not overdue:
        return
    from harness.faults.restore import revert
    from harness.processes import Processes

    book = Ledger(path)
    processes = Processes(state.run_id, book)
    processes.adopt(state)
    for mark in overdue:
        tried.add(mark.id)
        try:
            revert(mark, book, processes, by="guard")
            _say(f"fault {mark.id} was past its deadline: reverted")
        except HarnessError as error:
            _say(str(error))


def _load() -> None:
    """Import what taking back needs, beside the watching: it takes longer than a fault may outlive its conductor."""
    from harness.faults.catalogue import catalogue

    catalogue()


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(watch(Path(sys.argv[1]), sys.stdin.fileno()))
