"""Takes back what a run left: its faults first, then its processes, then its folders. Idempotent.

The guard does this when the conductor dies; `harness rollback` does it when the guard died too.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from harness import ledger
from harness.errors import NotRevertedError
from harness.faults.undo import carry_out
from harness.ledger import Ledger, LedgerState, UndoMark
from harness.paths import RunFolder
from harness.processes import Processes, end, sweep

GRACE_S = 1.0
TRIES = 3


def revert(mark: UndoMark, book: Ledger, processes: Processes, *, by: str) -> None:
    """Carry out one fault's undo, trying again a few times. Raises NotRevertedError when it can't be done."""
    for left in reversed(range(TRIES)):
        try:
            for step in mark.steps:
                carry_out(step, processes)
        except NotRevertedError:
            if not left:
                raise
            time.sleep(0.1)
        else:
            book.reverted(mark.id, by)
            return


def restore(path: Path, *, by: str) -> list[str]:
    """Take back everything that the ledger at `path` still holds, and delete it; returns what was done, in words.

    The stack is ended also when a fault in it could not be reverted: a fault is gone with what it was in. Then
    NotRevertedError is raised all the same, for whoever has to look.
    """
    state = ledger.read(path)
    book = Ledger(path)
    done: list[str] = []
    failures: list[NotRevertedError] = []
    processes = Processes(state.run_id, book)
    processes.adopt(state.processes)
    for mark in reversed(state.undos):
        if _stack_is_gone(state):
            book.reverted(mark.id, by)
            continue
        try:
            revert(mark, book, processes, by=by)
            done.append(f"fault {mark.id} reverted")
        except NotRevertedError as error:
            failures.append(error)
    # Undoing may have started a process: read again.
    state = ledger.read(path)
    live = [mark.name for mark in state.processes if mark.find()]
    end(state.processes, grace_s=GRACE_S)
    sweep(state.run_id)
    done += [f"process {name} ended" for name in live]
    for folder in state.folders:
        if folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
            done.append(f"folder {folder} removed")
    book.close()
    if failures:
        raise failures[0]
    return done


def leftovers(results: Path) -> list[str]:
    """Ids of runs in a results folder that were killed, guard and all, before they had cleaned up."""
    return [path.parent.name for path in sorted(results.glob("*/ledger.jsonl")) if _is_orphan(path)]


def rollback_all(results: Path) -> dict[str, list[str]]:
    """`restore` every leftover of a results folder; returns what was done per run id. Raises NotRevertedError."""
    return {run_id: restore(RunFolder(results / run_id).ledger, by="rollback") for run_id in leftovers(results)}


def _is_orphan(path: Path) -> bool:
    state = ledger.read(path)
    return not any(mark is not None and mark.find() for mark in (state.conductor, state.guard))


def _stack_is_gone(state: LedgerState) -> bool:
    return bool(state.processes) and not any(mark.find() for mark in state.processes)
