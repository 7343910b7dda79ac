"""Takes back what a run left: its faults first, then its processes, then its folders. Idempotent.

The guard does this when the conductor dies; `harness rollback` does it when the guard died too.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from harness import ledger
from harness.errors import DiskError, NotRevertedError
from harness.faults.moves import Move
from harness.faults.undo import START_TIMEOUT_S, by_hand, carry_out
from harness.ledger import Ledger, LedgerState, UndoMark
from harness.paths import RunFolder
from harness.probes import refused
from harness.processes import Processes, end, sweep

GRACE_S = 1.0
TRIES = 3
RETRY_S = 5.0
REVERT_S = 2 * START_TIMEOUT_S + 5.0
"""A process that is starting is given its time, and then started once more."""


def revert(mark: UndoMark, book: Ledger, processes: Processes, *, by: str) -> None:
    """Carry out every step of one fault's undo, again a few times when one fails at once; at most `REVERT_S` long.

    Raises NotRevertedError when it can't be done, or does not end.
    """
    failures: list[NotRevertedError] = []
    move = Move(lambda: _attempt(mark, processes, failures), f"revert-{mark.id}")
    if not move.returned(REVERT_S):
        raise NotRevertedError(
            f"taking back the fault {mark.id} did not end within {REVERT_S:.0f} s",
            remedy="by hand: " + "; ".join(by_hand(step) for step in mark.steps),
        )
    if move.error is not None:
        raise move.error
    if failures:
        raise failures[0]
    # Without this entry the fault may be taken back once more, which does no harm; a full disk is told by others.
    with contextlib.suppress(DiskError):
        book.reverted(mark.id, by)


def _attempt(mark: UndoMark, processes: Processes, failures: list[NotRevertedError]) -> None:
    """Leaves in `failures` what the last try could not do."""
    deadline = time.monotonic() + RETRY_S
    for _ in range(TRIES):
        failures.clear()
        for step in mark.steps:
            try:
                carry_out(step, processes)
            except NotRevertedError as error:
                failures.append(error)
        if not failures or time.monotonic() > deadline:
            return
        time.sleep(0.1)


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
    processes.adopt(state)
    gone = _stack_is_gone(state)
    for mark, error in _revert_all(state.undos, book, processes, by=by):
        if error is None:
            done.append(f"fault {mark.id} reverted")
        elif gone and not _acts_elsewhere(mark):
            done.append(f"fault {mark.id} is gone with the last process of its run ({error.message})")
        else:
            failures.append(error)
    # Undoing may have started a process: read again.
    state = ledger.read(path)
    live = [mark.name for mark in state.processes if mark.find()]
    end(state.processes, grace_s=GRACE_S)
    sweep(state.run_id, state.folders)
    done += [f"process {name} ended" for name in live]
    for folder in state.folders:
        if folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
            done.append(f"folder {folder} removed")
    book.close()
    if failures:
        raise failures[0]
    return done


def _revert_all(
    marks: Sequence[UndoMark], book: Ledger, processes: Processes, *, by: str
) -> list[tuple[UndoMark, NotRevertedError | None]]:
    """All at the same time: none waits for another one, which may have to start a server."""
    moves = [Move(partial(revert, mark, book, processes, by=by), f"restore-{mark.id}") for mark in marks]
    done: list[tuple[UndoMark, NotRevertedError | None]] = []
    for mark, move in zip(marks, moves, strict=True):
        move.returned(2 * REVERT_S)  # it is bounded itself
        error = move.error
        if error is not None and not isinstance(error, NotRevertedError):
            error = NotRevertedError(f"could not take back {mark.id}: {type(error).__name__}: {error}")
        done.append((mark, error))
    return done


def leftovers(results: Path) -> list[str]:
    """Ids of runs in a results folder that were killed, guard and all, before they had cleaned up."""
    return [path.parent.name for path in sorted(results.glob("*/ledger.jsonl")) if _is_orphan(path)]


def rollback_all(results: Path) -> dict[str, list[str]]:
    """`restore` every leftover of a results folder; returns what was done per run id.

    Raises NotRevertedError, the first one, when every run has been dealt with.
    """
    done: dict[str, list[str]] = {}
    failures: list[NotRevertedError] = []
    for run_id in leftovers(results):
        try:
            done[run_id] = restore(RunFolder(results / run_id).ledger, by="rollback")
        except NotRevertedError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    return done


def _is_orphan(path: Path) -> bool:
    state = ledger.read(path)
    return not any(mark is not None and mark.find() for mark in (state.conductor, state.guard))


def _acts_elsewhere(mark: UndoMark) -> bool:
    """Whether it is on a Toxiproxy server that was not part of the stack: that one is still there."""
    return any("api" in step and not refused(step["api"]) for step in mark.steps)


def _stack_is_gone(state: LedgerState) -> bool:
    return bool(state.processes) and not any(mark.find() for mark in state.processes)
