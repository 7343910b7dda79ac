"""Restoring goes on when one fault can't be taken back, and says so at the end."""

import os
import socket
import threading
from pathlib import Path

import pytest

from harness.errors import NotRevertedError
from harness.faults.restore import restore, rollback_all
from harness.faults.undo import remove_toxic
from harness.ledger import Ledger, ProcessMark, UndoMark, mark_of
from harness.ports import reserve_port


def test_the_rest_is_taken_back_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.faults.restore._stack_is_gone", lambda _state: False)
    book = Ledger(tmp_path / "ledger.jsonl")
    book.run("run-x", mark_of(os.getpid(), "conductor", 15))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    book.folder(scratch)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        threading.Thread(target=_hang_up, args=(mute,), daemon=True).start()
        api = f"127.0.0.1:{mute.getsockname()[1]}"
        book.undo(UndoMark("fault-1:slow", 0, (remove_toxic(api, "app-redis", "slow"),)))
        with pytest.raises(NotRevertedError, match="curl -X DELETE") as caught:
            restore(book.path, by="rollback")
    assert caught.value.exit_code == 70
    assert not scratch.exists()
    assert not book.path.exists()


def _hang_up(server: socket.socket) -> None:
    """Accept, and close without an answer."""
    while True:
        try:
            server.accept()[0].close()
        except OSError:
            return


def test_a_toxic_is_gone_with_its_proxy_server(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger.jsonl")
    book.run("run-x", mark_of(os.getpid(), "conductor", 15))
    nobody = f"127.0.0.1:{reserve_port()}"
    book.undo(UndoMark("fault-1:slow", 0, (remove_toxic(nobody, "app-redis", "slow"),)))
    assert restore(book.path, by="rollback") == ["fault fault-1:slow reverted"]


def test_one_run_that_cannot_be_restored_does_not_keep_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.faults.restore._stack_is_gone", lambda _state: False)
    nobody = ProcessMark("conductor", 2**30, 1.0, 15)
    books = {name: Ledger(tmp_path / name / "ledger.jsonl") for name in ("run-a", "run-b")}
    for name, book in books.items():
        book.path.parent.mkdir()
        book.run(name, nobody)
    books["run-a"].undo(UndoMark("fault-1:odd", 0, ({"do": "unheard-of"},)))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    books["run-b"].folder(scratch)
    with pytest.raises(NotRevertedError, match="unheard-of"):
        rollback_all(tmp_path)
    assert not scratch.exists()
