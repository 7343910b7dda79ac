"""Less of the processor, of memory, of descriptors, on the real shop: seen as its clients and the kernel see it."""

import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from stack_bench import Bench

from harness import ledger
from harness.clock import now_ns
from harness.errors import ScenarioError, StackError
from harness.faults.undo import by_hand, carry_out
from harness.probes import probe, wait_for
from harness.processes import Command, Processes

MANY = 40
"""More connections at once than a worker under the limit has descriptors for, however fresh it is."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("resources") / "run-resources", preset="fragile").booted() as bench:
        yield bench


def worker(bench: Bench, name: str) -> psutil.Process:
    """The process that serves: gunicorn's one worker."""
    return psutil.Process(bench.stack.mark(name).pid).children()[0]


def answers(bench: Bench, name: str) -> bool:
    return probe("http", bench.stack.address(name), timeout_s=5).ok


def serves(bench: Bench, name: str, connections: int, timeout_s: float = 5.0) -> bool:
    """Whether one replica answers so many new connections, all open at once."""
    host, port = bench.stack.address(name).split(":")
    with ExitStack() as held:
        for _ in range(connections):
            try:
                connection = held.enter_context(socket.create_connection((host, int(port)), timeout=timeout_s))
                connection.sendall(b"GET /ping HTTP/1.1\r\nHost: test\r\n\r\n")
                if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                    return False
            except OSError:
                return False
    return True


def order(bench: Bench, name: str, size: int) -> int:
    """A checkout with so large a body at one replica; 0 when the connection breaks."""
    body = json.dumps({"product": 0, "note": "x" * size})
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    try:
        return requests.post(
            f"http://{bench.stack.address(name)}/checkout", body, headers=headers, timeout=5
        ).status_code
    except requests.ConnectionError:
        return 0


def spin(process: psutil.Process, seconds: float) -> float:
    """What share of a processor a busy process gets."""
    before, begin = sum(process.cpu_times()[:2]), time.monotonic()
    time.sleep(seconds)
    return (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - begin)


def test_burners_take_the_processor_from_the_target(bench: Bench) -> None:
    everywhere = os.sched_getaffinity(worker(bench, "app-1").pid)
    spinning = Command(
        "busy", (sys.executable, "-c", "while True: pass"), log=str(bench.folder.logs / "busy.log"), nice=5
    )
    busy = bench.processes.spawn(spinning)
    try:
        with bench.during("cpu-burn: {on: app-1, at: 0s, for: 60s, burners: 3}"):
            (cpu,) = os.sched_getaffinity(worker(bench, "app-1").pid)
            os.sched_setaffinity(busy.pid, [cpu])
            assert spin(psutil.Process(busy.pid), 1.0) < 0.5, "one of four that want it"
            assert os.sched_getaffinity(worker(bench, "app-2").pid) == everywhere
            for thread in worker(bench, "app-1").threads():
                assert os.sched_getaffinity(thread.id) == {cpu}
        assert os.sched_getaffinity(worker(bench, "app-1").pid) == everywhere
        assert not companions()
    finally:
        bench.processes.kill("busy")


def test_a_target_that_has_one_processor_only_keeps_it(bench: Bench) -> None:
    pod = _pod(bench, "auth")
    allowed = pod[0].cpu_affinity()
    for process in pod:
        process.cpu_affinity(allowed[-1:])
    try:
        with bench.during("cpu-burn: {on: auth, at: 0s, for: 60s}"):
            pass
    finally:
        for process in pod:
            process.cpu_affinity(allowed)


def test_under_memory_pressure_a_large_request_fails_and_is_fine_afterwards(bench: Bench) -> None:
    assert order(bench, "app-1", 40_000_000) == 400
    with bench.during("memory-pressure: {on: app-1, at: 0s, for: 60s}"):
        assert order(bench, "app-1", 40_000_000) in (0, 500)
        assert order(bench, "app-2", 40_000_000) == 400
    assert order(bench, "app-1", 40_000_000) == 400
    assert resource.prlimit(worker(bench, "app-1").pid, resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY


@pytest.mark.parametrize("spare", [0, 7])
def test_without_descriptors_new_connections_are_not_served_and_open_ones_are(bench: Bench, spare: int) -> None:
    with requests.Session() as session:
        url = f"http://{bench.stack.address('app-2')}/ping"
        assert session.get(url, timeout=5).status_code == 200
        before = resource.prlimit(worker(bench, "app-2").pid, resource.RLIMIT_NOFILE)
        with bench.during(f"fd-exhaustion: {{on: app-2, at: 0s, for: 60s, spare: {spare}}}"):
            assert serves(bench, "app-1", MANY)
            # gunicorn's worker ends when it can't accept; a fresh one has fewer open, so that some can be served again.
            assert not serves(bench, "app-2", MANY, timeout_s=0.5)
        assert serves(bench, "app-2", MANY)
        assert resource.prlimit(worker(bench, "app-2").pid, resource.RLIMIT_NOFILE) == before


def test_redis_runs_out_of_descriptors_too(bench: Bench) -> None:
    with bench.during("fd-exhaustion: {on: redis, at: 0s, for: 60s}"):
        assert not probe("redis", bench.stack.address("redis"), timeout_s=0.5).ok
    assert probe("redis", bench.stack.address("redis")).ok


def test_a_leak_ends_in_a_kill_and_a_fresh_process(bench: Bench) -> None:
    used = sum(process.memory_info().rss for process in _pod(bench, "app-1"))
    first = bench.stack.mark("app-1")
    limit_mb = round(used / 1e6) + 30
    with bench.during(f"memory-leak: {{on: app-1, at: 0s, for: 60s, rate: 40MB/s, limit: {limit_mb}MB}}"):
        assert wait_for(lambda: first.find() is None, timeout_s=10), "killed at the limit"
        assert wait_for(lambda: bench.stack.is_ready("app-1"), timeout_s=15)
        assert wait_for(lambda: "component.started" in [kind for kind, _, _ in bench.events], timeout_s=5)
        bench.stack.check()
    assert [kind for kind, _, _ in bench.events if kind.startswith("component.")][:2] == [
        "component.stopped",
        "component.started",
    ]
    assert answers(bench, "app-1")


def test_a_replica_that_ends_by_itself_while_it_leaks_is_started_again(bench: Bench) -> None:
    first = bench.stack.mark("app-1")
    bench.moves.clear()
    with bench.during("memory-leak: {on: app-1, at: 0s, for: 60s, rate: 5MB/s, limit: 900MB}"):
        os.kill(first.pid, signal.SIGKILL)
        # Its worker answers on for a moment; what counts is what the fault has started.
        assert wait_for(lambda: "started" in [kind for kind, _, _ in bench.moves], timeout_s=20)
        assert first.find() is None
        assert bench.stack.is_ready("app-1")
        bench.stack.check()


def test_an_orphan_that_still_answers_is_not_taken_for_its_replica(bench: Bench) -> None:
    as_it_was, first = bench.stack.start_undo("app-1"), bench.stack.mark("app-1")
    os.kill(first.pid, signal.SIGKILL)
    assert wait_for(lambda: first.find() is None, timeout_s=5)
    carry_out(as_it_was, bench.processes)
    assert bench.processes.alive("app-1")
    assert bench.stack.is_ready("app-1")


def test_a_replica_killed_again_as_soon_as_it_was_started_comes_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another fault may do that."""
    spawn = bench.processes.spawn

    def kill_once(command: Command, **streams: Any) -> Any:
        process = spawn(command, **streams)
        if command.name == "app-1":
            monkeypatch.undo()
            bench.processes.kill("app-1")
        return process

    with bench.during("memory-leak: {on: app-1, at: 0s, for: 60s, rate: 5MB/s, limit: 900MB}"):
        monkeypatch.setattr(bench.processes, "spawn", kill_once)
        first = bench.stack.mark("app-1")
        os.kill(first.pid, signal.SIGKILL)
        assert wait_for(lambda: bench.processes.spawn == spawn, timeout_s=20), "killed again"
    assert answers(bench, "app-1")


def test_a_worker_that_leaves_in_time_takes_its_leak_with_it(tmp_path: Path) -> None:
    settings = {"recycle_at": "150", "shutdown_delay": "100ms"}
    with Bench(tmp_path / "run-recycle", preset="fragile", settings=settings).booted() as bench:
        first, master = worker(bench, "app-1"), bench.stack.mark("app-1")
        with bench.during("memory-leak: {on: app-1, at: 0s, for: 60s, rate: 40MB/s, limit: 900MB}"):
            assert wait_for(lambda: not first.is_running(), timeout_s=20), "left before the limit"
            assert wait_for(lambda: bench.stack.is_ready("app-1"), timeout_s=20), "a fresh one took its place"
            assert wait_for(lambda: any(leak.memory_info().rss > 2e7 for leak in companions()), timeout_s=20), "again"
        assert bench.stack.mark("app-1") == master
        assert bench.moves == [], "nothing was killed"
        assert not bench.stack.memory("app-1").exists()


def _pod(bench: Bench, name: str) -> list[psutil.Process]:
    process = psutil.Process(bench.stack.mark(name).pid)
    return [process, *process.children(recursive=True)]


def test_a_leak_that_does_not_fit_is_told_before_it_begins(bench: Bench) -> None:
    timeline = bench.timeline(*bench.plan("memory-leak: {on: app-1, at: 0s, for: 9s, limit: 30MB}"))
    timeline.start(now_ns())
    timeline.finish()
    assert "more than the limit" in str(timeline.errors[0])


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("memory-leak: {on: app, at: 0s, for: 9s}", "say which replica, such as `on: app-1`"),
        ("fd-exhaustion: {on: postgres, at: 0s, for: 9s}", "use `pool-exhaustion`"),
        ("cpu-burn: {on: app, at: 0s, for: 9s, burners: 9}", "`9` is too much; 8 at most"),
        ("memory-leak: {on: app-1, at: 0s, for: 9s, limit: 1MB}", "30MB at least"),
    ],
)
def test_what_cannot_be_done_is_refused(bench: Bench, entry: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        bench.plan(entry)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "entry",
    [
        "cpu-burn: {on: app-1, at: 0s, for: 60s}",
        "memory-pressure: {on: app-1, at: 0s, for: 60s}",
        "fd-exhaustion: {on: app-1, at: 0s, for: 60s}",
        "memory-leak: {on: app-1, at: 0s, for: 60s, rate: 5MB/s, limit: 900MB}",
    ],
)
def test_a_stranger_takes_it_back_from_the_ledger(bench: Bench, entry: str) -> None:
    served = worker(bench, "app-1")
    everywhere = os.sched_getaffinity(served.pid)
    with bench.during(entry) as timeline:
        (mark,) = ledger.read(bench.ledger.path).undos
        stranger = Processes(bench.processes.run_id, bench.ledger)
        stranger.adopt(ledger.read(bench.ledger.path))
        for _ in range(2):
            for step in mark.steps:
                assert by_hand(step) is not None
                carry_out(step, stranger)
        assert answers(bench, "app-1")
        assert order(bench, "app-1", 40_000_000) == 400
        # gunicorn ends when it can't accept a connection for want of descriptors: then another process serves now.
        assert not served.is_running() or os.sched_getaffinity(served.pid) == everywhere
        assert not companions()
        assert timeline.states.popitem()[1] == "active"
        # A process that did not survive was replaced by the stranger's, which is none of the bench's.
        stranger.kill("app-1")
        bench.stack.kill("app-1")
    bench.stack.kill("app-1")
    carry_out(bench.stack.start_undo("app-1"), bench.processes)


def companions() -> list[psutil.Process]:
    """Burners and leaks of this test's."""
    ours = psutil.Process().children(recursive=True)
    return [one for one in ours if "harness.faults.companion" in " ".join(_argv(one))]


def _argv(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline() if process.status() != psutil.STATUS_ZOMBIE else []
    except psutil.NoSuchProcess:
        return []


def test_a_server_that_might_have_died_in_one_arm_may_not_in_the_next(tmp_path: Path) -> None:
    with Bench(tmp_path / "run-excused", preset="fragile").booted() as bench:
        with bench.during("memory-pressure: {on: redis, at: 0s, for: 60s}"):
            pass
        bench.stack.reset()
        os.kill(bench.stack.mark("redis").pid, signal.SIGKILL)
        assert wait_for(lambda: not bench.processes.alive("redis"), timeout_s=5)
        with pytest.raises(StackError, match="redis died"):
            bench.stack.check()
