"""The ledger says what is left to take back, whatever happened to the one who wrote it."""

import subprocess
import sys
from pathlib import Path

from harness import ledger
from harness.ledger import Ledger, ProcessMark, UndoMark


def test_what_was_reverted_is_not_left(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger.jsonl")
    book.run("run-1", ProcessMark("conductor", 1, 2.0, 15))
    book.folder(tmp_path / "scratch")
    book.undo(UndoMark("fault-1:a", 10, ({"do": "remove-toxic"},)))
    book.undo(UndoMark("fault-1:b", 20, ({"do": "remove-toxic"},)))
    book.reverted("fault-1:a", "conductor")
    state = ledger.read(book.path)
    assert state.run_id == "run-1"
    assert [mark.id for mark in state.undos] == ["fault-1:b"]
    assert state.folders == (tmp_path / "scratch",)


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger.jsonl")
    book.run("run-1", ProcessMark("conductor", 1, 2.0, 15))
    with book.path.open("ab") as file:
        file.write(b'{"entry": "undo", "id": "fau')
    assert ledger.read(book.path).undos == ()


def test_closing_leaves_no_ledger(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger.jsonl")
    book.run("run-1", ProcessMark("conductor", 1, 2.0, 15))
    book.close()
    assert not book.path.exists()


def test_a_reused_pid_is_not_taken_for_ours() -> None:
    import os

    assert ledger.mark_of(os.getpid(), "self", 15).find() is not None
    assert ProcessMark("self", os.getpid(), 1.0, 15).find() is None


FILL = """
import resource, sys
from pathlib import Path
from harness.errors import DiskError
from harness.ledger import Ledger

book = Ledger(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    for number in range(1000):
        book.folder(Path(f"/scratch-{number}"))
except DiskError as error:
    print(number, error, sep="|")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
book.folder(Path("/later"))
"""


def test_a_full_disk_is_told_and_leaves_whole_entries(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    done = subprocess.run([sys.executable, "-c", FILL, path], capture_output=True, text=True, check=True)
    number, words = done.stdout.split("|")
    assert "free some space" in words
    assert ledger.read(path).folders == (*(Path(f"/scratch-{n}") for n in range(int(number))), Path("/later"))
