"""Processes that a run started are ended, whoever has to do it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness import ledger
from harness.faults.restore import leftovers, rollback_all
from harness.faults.undo import carry_out, start_process
from harness.ledger import Ledger, mark_of
from harness.ports import reserve_port
from harness.processes import TAG, Command, Processes, _Foundling, sweep

CHILD_AND_GRANDCHILD = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)']);"
    "time.sleep(300)"
)

CONDUCTOR = """
import os, sys, time
from pathlib import Path
from harness.faults.guard import Guard
from harness.ledger import Ledger, mark_of
from harness.processes import Command, Processes

folder = Path(sys.argv[1])
book = Ledger(folder / "ledger.jsonl")
book.run(folder.name, mark_of(os.getpid(), "conductor", 15))
guard = Guard(book, folder / "guard.log")
scratch = folder / "scratch"
book.folder(scratch)
scratch.mkdir()
processes = Processes(folder.name, book)
spawned = processes.spawn(Command("sleeper", (sys.executable, "-c", sys.argv[2]), log=str(folder / "log")))
print(guard._process.pid, spawned.pid, flush=True)
time.sleep(300)
"""


def _ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _wait(condition: object, timeout_s: float = 20.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _tagged(run_id: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(TAG) == run_id and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_stopping_ends_the_grandchildren_too(tmp_path: Path) -> None:
    run_id = f"test-{os.getpid()}-stop"
    processes = Processes(run_id, Ledger(tmp_path / "ledger.jsonl"))
    processes.spawn(Command("a", (sys.executable, "-c", CHILD_AND_GRANDCHILD), log=str(tmp_path / "log")))
    assert _wait(lambda: len(_tagged(run_id)) == 2)
    processes.stop_all()
    assert _tagged(run_id) == []


def test_the_sweep_finds_what_left_its_session(tmp_path: Path) -> None:
    run_id = f"test-{os.getpid()}-sweep"
    code = (
        "import subprocess, sys;"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'], start_new_session=True)"
    )
    processes = Processes(run_id, Ledger(tmp_path / "ledger.jsonl"))
    processes.spawn(Command("a", (sys.executable, "-c", code), log=str(tmp_path / "log"))).wait()
    assert _wait(lambda: len(_tagged(run_id)) == 1)
    sweep(run_id)
    assert _tagged(run_id) == []


def test_a_command_that_does_not_exist_is_a_clear_error(tmp_path: Path) -> None:
    from harness.errors import StackError

    processes = Processes("none", Ledger(tmp_path / "ledger.jsonl"))
    with pytest.raises(StackError, match="a could not be started: No such file"):
        processes.spawn(Command("a", ("/does/not/exist",), log=str(tmp_path / "log")))


def _start_conductor(folder: Path) -> tuple[subprocess.Popen[str], int, int]:
    folder.mkdir()
    conductor = subprocess.Popen(
        [sys.executable, "-c", CONDUCTOR, str(folder), CHILD_AND_GRANDCHILD], stdout=subprocess.PIPE, text=True
    )
    assert conductor.stdout is not None
    guard_pid, sleeper_pid = map(int, conductor.stdout.readline().split())
    return conductor, guard_pid, sleeper_pid


def test_the_guard_cleans_up_after_a_killed_conductor(tmp_path: Path) -> None:
    folder = tmp_path / "run-guarded"
    conductor, guard_pid, sleeper_pid = _start_conductor(folder)
    conductor.kill()
    conductor.wait()
    assert _wait(lambda: not (folder / "ledger.jsonl").exists()), (folder / "guard.log").read_text()
    assert _ended(sleeper_pid)
    assert _tagged(folder.name) == []
    assert not (folder / "scratch").exists()
    assert _wait(lambda: _ended(guard_pid))


def test_rollback_cleans_up_when_the_guard_was_killed_too(tmp_path: Path) -> None:
    folder = tmp_path / "run-unguarded"
    conductor, guard_pid, _ = _start_conductor(folder)
    assert leftovers(tmp_path) == [], "a run that is still on is nobody's leftover"
    os.kill(guard_pid, signal.SIGKILL)
    conductor.kill()
    conductor.wait()
    assert _wait(lambda: leftovers(tmp_path) == [folder.name])
    done = rollback_all(tmp_path)
    assert "process sleeper ended" in done[folder.name]
    assert _tagged(folder.name) == []
    assert not (folder / "scratch").exists()
    assert leftovers(tmp_path) == []
    assert rollback_all(tmp_path) == {}, "doing it twice is harmless"


def test_a_ledger_mark_finds_only_the_living() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mark = mark_of(process.pid, "short", 15)
    assert mark.find() is not None
    process.kill()
    assert _wait(lambda: mark.find() is None)
    process.wait()
    assert ledger.ProcessMark("gone", process.pid, mark.created, 15).find() is None


def test_reserved_ports_differ() -> None:
    assert len({reserve_port() for _ in range(50)}) == 50


def test_the_shell_of_the_user_does_not_reconfigure_what_we_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c nonsense=1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--threads 1")
    monkeypatch.setenv("MY_APP_KEY", "kept")
    processes = Processes(f"test-{os.getpid()}-env", Ledger(tmp_path / "ledger.jsonl"))
    show = "import os; print(sorted(set(os.environ) & {'PGOPTIONS', 'http_proxy', 'GUNICORN_CMD_ARGS', 'MY_APP_KEY'}))"
    processes.spawn(Command("show", (sys.executable, "-c", show), log=str(tmp_path / "log"))).wait()
    assert (tmp_path / "log").read_text().strip() == "['MY_APP_KEY']"


def test_a_process_that_ends_while_it_is_asked_about_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    process = psutil.Process()

    def gone() -> str:
        raise psutil.NoSuchProcess(process.pid)

    monkeypatch.setattr(process, "status", gone)
    assert _Foundling(process).poll() == 0


SLOW_TO_START = (
    "import sys, time, http.server as h; time.sleep(11);"
    "h.test(h.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind='127.0.0.1')"
)


def test_a_process_may_take_as_long_to_start_again_as_when_the_stack_came_up(tmp_path: Path) -> None:
    processes = Processes("slow", Ledger(tmp_path / "ledger.jsonl"))
    port = reserve_port()
    command = Command("app", (sys.executable, "-c", SLOW_TO_START, str(port)), log=str(tmp_path / "log"))
    try:
        carry_out(start_process(command, "http", f"127.0.0.1:{port}", path="/"), processes)
    finally:
        processes.kill("app")


def test_there_is_one_process_of_a_name(tmp_path: Path) -> None:
    """Also when two want to start it: two faults of one process that are taken back at the same time."""
    processes = Processes("twice", Ledger(tmp_path / "ledger.jsonl"))
    command = Command("app", ("sleep", "60"), log=str(tmp_path / "log"))
    first = processes.spawn(command)
    second = processes.spawn(command)
    try:
        assert first.poll() is not None
        assert second.poll() is None
    finally:
        processes.kill("app")
        first.kill()


SPAWN_AND_LOOK = """
import os, sys
from pathlib import Path
from harness.ledger import Ledger
from harness.processes import Command, Processes
folder = Path(sys.argv[1])
processes = Processes("nice", Ledger(folder / "ledger.jsonl"))
spawned = processes.spawn(Command("app", ("sleep", "60"), log=str(folder / "log"), nice=5))
print(os.getpriority(os.PRIO_PROCESS, spawned.pid) - os.getpriority(os.PRIO_PROCESS, 0))
processes.kill("app")
"""


def test_who_gives_way_does_so_to_the_conductor_however_nice_that_is(tmp_path: Path) -> None:
    """An ordinary user can't give a process back what the conductor was started without."""
    argv = ["nice", "-n", "7", sys.executable, "-c", SPAWN_AND_LOOK, str(tmp_path)]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "5\n"
