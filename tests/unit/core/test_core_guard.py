"""The guard of a conductor that lives: it takes back what is past its deadline, once, and is replaced when it dies."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import ledger
from harness.faults.guard import Guard
from harness.faults.undo import remove_toxic
from harness.ledger import Ledger, UndoMark, mark_of
from harness.ports import reserve_port
from harness.probes import wait_for

LATER_NS = 2**62


@pytest.fixture
def book(tmp_path: Path) -> Ledger:
    book = Ledger(tmp_path / "ledger.jsonl")
    book.run("run-x", mark_of(os.getpid(), "conductor", signal.SIGTERM))
    return book


@pytest.fixture
def guard(book: Ledger, tmp_path: Path) -> Iterator[Guard]:
    guard = Guard(book, tmp_path / "guard.log")
    yield guard
    book.close()
    guard.dismiss()


def _undo(book: Ledger, name: str, deadline_ns: int) -> None:
    gone = remove_toxic(f"127.0.0.1:{reserve_port()}", "app-redis", "slow")
    book.undo(UndoMark(f"fault-1:{name}", deadline_ns, (gone,)))


def test_a_fault_past_its_deadline_is_taken_back_although_the_conductor_lives(
    book: Ledger, guard: Guard, tmp_path: Path
) -> None:
    _undo(book, "now", 0)
    _undo(book, "later", LATER_NS)
    assert wait_for(lambda: [mark.id for mark in ledger.read(book.path).undos] == ["fault-1:later"], timeout_s=20)
    log = tmp_path / "guard.log"
    assert wait_for(lambda: "fault-1:now was past its deadline: reverted" in log.read_text(), timeout_s=20)


def test_what_cannot_be_taken_back_is_told_once(book: Ledger, guard: Guard, tmp_path: Path) -> None:
    log = tmp_path / "guard.log"
    book.undo(UndoMark("fault-1:stuck", 0, ({"do": "unheard-of"},)))
    assert wait_for(lambda: "could not take back" in log.read_text(), timeout_s=20)
    _undo(book, "next", 0)
    assert wait_for(lambda: "fault-1:next was past its deadline" in log.read_text(), timeout_s=20)
    assert log.read_text().count("could not take back") == 1


def test_a_guard_that_died_is_replaced(book: Ledger, guard: Guard) -> None:
    first = ledger.read(book.path).guard
    assert first is not None
    guard.keep()
    assert ledger.read(book.path).guard == first
    os.kill(first.pid, signal.SIGKILL)
    assert wait_for(lambda: first.find() is None, timeout_s=20)
    guard.keep()
    second = ledger.read(book.path).guard
    assert second is not None
    assert second.find() is not None
    assert second.pid != first.pid
