"""Faults about whole processes, on the real stack: what clients of the shop see of them, and that it goes away."""

import os
import re
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psutil
import pytest
import requests
from stack_bench import Bench

from harness import ledger
from harness.clock import now_ns
from harness.errors import StackError
from harness.faults.catalogue import catalogue
from harness.faults.moves import look_for
from harness.faults.restore import revert
from harness.faults.undo import by_hand, carry_out, status_of
from harness.ledger import ProcessMark, UndoMark
from harness.probes import probe, refused, split, wait_for
from harness.processes import Processes

APP = ("app-1", "app-2")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("process") / "run-process").booted() as bench:
        yield bench


@pytest.fixture(autouse=True)
def nothing_is_left(bench: Bench) -> Iterator[None]:
    bench.moves.clear()
    yield
    bench.stack.check()
    for name in APP:
        assert wait_for(lambda name=name: bench.stack.endpoints.serves(name), timeout_s=5)
        assert bench.stack.is_ready(name)


@contextmanager
def shoppers(url: str, number: int = 6) -> Iterator[Counter[str]]:
    """Clients that check out one time after the other, half of them on connections that they keep; yields the counts
    of what came back, by status, or `dropped` when nothing did."""
    counts: Counter[str] = Counter()
    over, lock = threading.Event(), threading.Lock()

    def shop(keeps_connections: bool) -> None:
        with requests.Session() as session:
            while not over.is_set():
                try:
                    headers = {"Idempotency-Key": uuid.uuid4().hex}
                    answer = session.post(url + "/checkout", json={"product": 1}, headers=headers, timeout=20)
                    seen = str(answer.status_code)
                except requests.ConnectionError:
                    seen = "dropped"
                with lock:
                    counts[seen] += 1
                if not keeps_connections:
                    session.close()

    threads = [threading.Thread(target=shop, args=(one % 2 == 0,), daemon=True) for one in range(number)]
    for thread in threads:
        thread.start()
    try:
        assert wait_for(lambda: counts["201"] >= 2 * number, timeout_s=10)
        yield counts
    finally:
        over.set()
        for thread in threads:
            thread.join(30)


def pids(bench: Bench, *names: str) -> dict[str, int]:
    return {name: bench.stack.mark(name).pid for name in names}


def metric(bench: Bench, name: str, metric: str) -> float:
    replica = next(one for one in bench.stack.replicas if one.name == name)
    page = requests.get(f"http://{replica.management_address}/metrics", timeout=5).text
    found = re.search(rf"^{metric} (\S+)$", page, re.MULTILINE)
    assert found, page
    return float(found[1])


def moved(bench: Bench, *moves: str) -> bool:
    """Whether these have been told, such as `stopped app-2`."""
    return {f"{kind} {component}" for kind, _, component in bench.moves}.issuperset(moves)


def test_an_eviction_with_grace_drops_nothing(bench: Bench) -> None:
    before = pids(bench, *APP)
    with shoppers(bench.stack.url) as counts:
        with bench.during("evict: {on: app-2, at: 0s, for: 60s, pre-stop: 500ms, reschedule-after: 0s}"):
            assert not bench.stack.endpoints.serves("app-2")
            assert wait_for(lambda: moved(bench, "stopped app-2", "started app-2"), timeout_s=20)
            assert bench.stack.is_ready("app-2"), "back while the fault is on, as a pod is"
        assert wait_for(lambda: metric(bench, "app-2", "requests_total") > 0, timeout_s=20)
    after = pids(bench, *APP)
    assert (before["app-1"] == after["app-1"], before["app-2"] == after["app-2"]) == (True, False)
    assert counts["dropped"] == 0


def test_an_eviction_without_grace_that_the_service_hears_of_late_drops_requests(bench: Bench) -> None:
    with (
        shoppers(bench.stack.url) as counts,
        bench.during("evict: {on: app, at: 0s, for: 60s, grace-period: 0s, endpoint-lag: 500ms, reschedule-after: 0s}"),
    ):
        assert wait_for(lambda: moved(bench, "stopped app-2", "started app-2"), timeout_s=20)
    assert counts["dropped"] > 0


def test_a_process_that_is_killed_comes_back_when_it_is_due(bench: Bench) -> None:
    before = pids(bench, *APP, "auth")
    with bench.during("kill: {on: [app, auth], at: 0s, for: 60s, restart-after: 100ms}"):
        assert wait_for(lambda: moved(bench, "started app-2", "started auth"), timeout_s=20)
        after = pids(bench, *APP, "auth")
    assert {name for name in before if before[name] != after[name]} == {"app-2", "auth"}
    with bench.during("kill: {on: app-2, at: 0s, for: 60s}"):
        assert refused(bench.stack.address("app-2"))


def test_a_paused_process_takes_connections_and_answers_nothing(bench: Bench) -> None:
    address = bench.stack.address("app-2")
    with bench.during("pause: {on: app, at: 0s, for: 60s}"):
        socket.create_connection(split(address), timeout=5).close()
        assert probe("http", address, timeout_s=0.5).error == "timed out"
        assert probe("http", bench.stack.address("app-1"), timeout_s=5).ok
    assert probe("http", address, timeout_s=5).ok


def test_the_command_by_hand_lets_a_paused_process_and_its_children_go_on(bench: Bench) -> None:
    for name in ("app-2", "postgres"):  # whose children are in groups of their own
        (planned,) = bench.plan(f"pause: {{on: {name}, at: 0s, for: 60s}}")
        fault = catalogue()["pause"].make(planned, bench.stack)
        (step,) = fault.undo()
        fault.inject()
        assert wait_for(fault.is_active, timeout_s=5)
        fault.halt()
        subprocess.run(by_hand(step), shell=True, check=True, timeout=10)
        assert wait_for(fault.is_clear, timeout_s=10)
        states = {status_of(one) for one in psutil.Process(bench.stack.mark(name).pid).children(recursive=True)}
        assert psutil.STATUS_STOPPED not in states


def test_the_command_by_hand_starts_a_process_as_it_was(bench: Bench) -> None:
    as_it_was = bench.stack.start_undo("app-2")
    bench.stack.kill("app-2")
    with subprocess.Popen(by_hand(as_it_was), shell=True, start_new_session=True) as started:
        try:
            assert wait_for(lambda: bench.stack.is_ready("app-2"), timeout_s=20)
            assert metric(bench, "app-2", "pool_size") == 5
        finally:
            os.killpg(started.pid, signal.SIGKILL)
    carry_out(as_it_was, bench.processes)


def test_one_that_is_starting_already_is_not_started_again(bench: Bench) -> None:
    as_it_was = bench.stack.start_undo("app-2")
    bench.stack.kill("app-2")
    bench.stack.spawn(bench.stack.command("app-2"))
    started = bench.stack.mark("app-2")
    assert not bench.stack.is_ready("app-2")
    carry_out(as_it_was, bench.processes)
    assert bench.stack.mark("app-2") == started
    assert bench.stack.is_ready("app-2")


def test_without_a_conductor_a_process_need_only_run_again(bench: Bench) -> None:
    """What it needs to become ready has ended with the conductor, as PostgreSQL seems to have here."""
    as_it_was = bench.stack.start_undo("app-2")
    stranger = Processes(bench.processes.run_id, bench.ledger)
    stranger.adopt(replace(ledger.read(bench.ledger.path), conductor=ProcessMark("conductor", 1, 0.0, signal.SIGTERM)))
    with bench.during("pause: {on: postgres, at: 0s, for: 60s}"):
        bench.stack.kill("app-2")
        carry_out(as_it_was, stranger)
        assert not bench.stack.is_ready("app-2")
    assert wait_for(lambda: bench.stack.is_ready("app-2"), timeout_s=20)
    stranger.kill("app-2")
    carry_out(as_it_was, bench.processes)


def test_a_rolling_restart_replaces_all_and_drops_nothing(bench: Bench) -> None:
    before = pids(bench, *APP)
    with (
        shoppers(bench.stack.url) as counts,
        bench.during("rolling-restart: {on: app, at: 0s, for: 60s, pre-stop: 500ms}"),
    ):
        assert wait_for(lambda: moved(bench, "started app-1", "started app-2"), timeout_s=30)
    assert [f"{kind} {name}" for kind, _, name in bench.moves] == [
        f"{kind} {name}" for name in APP for kind in ("stopped", "started")
    ]
    after = pids(bench, *APP)
    assert all(before[name] != after[name] for name in APP)
    assert counts["dropped"] == 0


def test_an_eviction_in_a_deploy_is_one_replica_more(bench: Bench) -> None:
    before = pids(bench, *APP)
    deploy = "rolling-restart: {on: app, at: 1s, for: 9s, pre-stop: 500ms, evict: 200ms}"
    with bench.during(deploy, timeout_s=20):
        assert wait_for(lambda: len(bench.moves) >= 4, timeout_s=20)
    out = [(kind, name) for kind, _, name in sorted(bench.moves, key=lambda move: move[1])]
    assert {name for _, name in out[:2]} == set(APP), "app-2 goes before app-1 is back"
    assert sorted(out) == sorted((kind, name) for kind in ("stopped", "started") for name in APP), "each one once"
    after = pids(bench, *APP)
    assert all(before[name] != after[name] for name in APP)


def test_an_eviction_that_finds_the_deploy_over_is_told(bench: Bench) -> None:
    timeline = bench.timeline(*bench.plan("rolling-restart: {on: app, at: 1s, for: 20s, evict: 19s}"))
    timeline.start(now_ns())
    timeline.finish()
    assert "was over before anything could be evicted" in str(timeline.errors[0])


def test_a_rolling_restart_that_gets_too_little_time_is_told(bench: Bench) -> None:
    timeline = bench.timeline(*bench.plan("rolling-restart: {on: app, at: 1s, for: 1s, min-ready: 400ms}"))
    timeline.start(now_ns())
    timeline.finish()
    assert "the rolling restart of app was not over after 1 s" in str(timeline.errors[0])


def test_a_drained_node_takes_all_that_is_on_it_with_it(bench: Bench) -> None:
    with bench.during("drain: {on: [app, auth], at: 0s, for: 60s, reschedule-after: 60s}"):
        assert wait_for(lambda: moved(bench, "stopped app-1", "stopped auth"), timeout_s=20)
        assert refused(bench.stack.address("app-1"))
        assert refused(bench.stack.address("auth"))
        assert requests.get(bench.stack.url + "/ping", timeout=5).ok
        assert bench.stack.endpoints.serves("app-2")


def test_a_component_scaled_down_serves_on_with_what_is_left(bench: Bench) -> None:
    with bench.during("scale-down: {on: app, at: 0s, for: 60s}"):
        assert wait_for(lambda: moved(bench, "stopped app-2"), timeout_s=20)
        assert [requests.get(bench.stack.url + "/ping", timeout=5).status_code for _ in range(8)] == [200] * 8
        assert bench.stack.endpoints.states()["app-2"].admitted is False


def test_replicas_that_come_late_are_ready_by_then_and_serve_at_the_end(bench: Bench) -> None:
    before = pids(bench, *APP)
    with bench.during("autoscaling-lag: {on: app, at: 0s, for: 60s}"):
        assert wait_for(lambda: moved(bench, "stopped app-2") and bench.stack.is_ready("app-2"), timeout_s=20)
        assert not bench.stack.endpoints.serves("app-2"), "it is there, and nobody is sent to it"
        late = pids(bench, *APP)
    assert bench.stack.endpoints.serves("app-2")
    assert moved(bench, "started app-2")
    after = pids(bench, *APP)
    assert before["app-1"] == after["app-1"]
    assert before["app-2"] != late["app-2"] == after["app-2"], "started once, before the end"


def test_a_crash_loop_waits_twice_as_long_each_time_up_to_a_limit(bench: Bench) -> None:
    loop = "crash-loop: {on: app-2, at: 0s, for: 60s, lives: 0s, back-off: 200ms, back-off-cap: 400ms}"
    with bench.during(loop):
        assert wait_for(lambda: len(bench.moves) >= 6, timeout_s=60)
    assert [kind for kind, _, _ in bench.moves[:6]] == ["stopped", "started"] * 3
    waits_s = [(bench.moves[one + 1][1] - bench.moves[one][1]) / 1e9 for one in (0, 2, 4)]
    assert all(wait >= least for wait, least in zip(waits_s, (0.2, 0.4, 0.4), strict=True))


def test_random_kills_take_no_more_than_allowed_at_a_time(bench: Bench) -> None:
    with bench.during("random-kills: {on: app, at: 0s, for: 60s, every: 200ms, restart-after: 0s, seed: 3}"):
        assert wait_for(lambda: len(bench.moves) >= 6, timeout_s=60)
    kinds = [kind for kind, _, _ in bench.moves]
    assert kinds == ["stopped", "started"] * (len(kinds) // 2)


def test_one_replica_drifts_and_comes_back_to_what_it_was(bench: Bench) -> None:
    with (
        shoppers(bench.stack.url) as counts,
        bench.during("config-drift: {on: app-2, at: 0s, for: 60s, set: 'pool_size=2', pre-stop: 500ms}", timeout_s=30),
    ):
        assert [metric(bench, name, "pool_size") for name in APP] == [5, 2]
        drifted = pids(bench, *APP)
    assert [metric(bench, name, "pool_size") for name in APP] == [5, 5]
    back = pids(bench, *APP)
    assert (drifted["app-1"] == back["app-1"], drifted["app-2"] == back["app-2"]) == (True, False)
    assert counts["dropped"] == 0


def test_a_setting_that_is_so_already_is_no_drift(bench: Bench) -> None:
    timeline = bench.timeline(*bench.plan("config-drift: {on: app-2, at: 0s, for: 1s, set: pool_size=5}"))
    timeline.start(now_ns())
    timeline.finish()
    assert "app-2 runs with `pool_size=5` already" in str(timeline.errors[0])


def test_a_slow_network_and_an_eviction_overlap(bench: Bench) -> None:
    front = bench.stack.edge("client->app").address
    with bench.during(
        "latency: {on: client->app, at: 0s, for: 60s, latency: 200ms}", "evict: {on: app, at: 0s, for: 60s}"
    ):
        assert probe("http", front, timeout_s=5).seconds >= 0.2
        assert not bench.stack.endpoints.serves("app-2")
        assert wait_for(lambda: moved(bench, "started app-2"), timeout_s=20)


@pytest.mark.parametrize(
    "entry",
    [
        "evict: {on: app-2, at: 0s, for: 60s, reschedule-after: 60s}",
        "kill: {on: app-2, at: 0s, for: 60s}",
        "pause: {on: app-2, at: 0s, for: 60s}",
        "scale-down: {on: app, at: 0s, for: 60s}",
        "autoscaling-lag: {on: app, at: 0s, for: 60s}",
        "config-drift: {on: app-2, at: 0s, for: 60s, set: pool_size=2}",
    ],
)
def test_a_stranger_takes_it_back_with_nothing_but_the_ledger(bench: Bench, entry: str) -> None:
    (planned,) = bench.plan(entry)
    as_it_was = bench.stack.start_undo("app-2")
    fault = catalogue()[planned.kind].make(planned, bench.stack)
    fault.prepare()
    mark = UndoMark("it", 0, tuple(fault.undo()))
    bench.ledger.undo(mark)
    fault.inject()
    assert look_for(fault.is_active, 20.0).seen
    fault.halt()
    stranger = Processes(bench.processes.run_id, bench.ledger)
    stranger.adopt(ledger.read(bench.ledger.path))
    for _ in range(2):
        (found,) = ledger.read(bench.ledger.path).undos
        revert(found, bench.ledger, stranger, by="guard")
        assert look_for(fault.is_clear, 20.0).seen
        assert metric(bench, "app-2", "pool_size") == 5
        bench.ledger.undo(mark)
    bench.ledger.reverted(mark.id, "test")
    # What the stranger has started is his: put our own in its place.
    stranger.kill("app-2")
    bench.stack.kill("app-2")
    carry_out(as_it_was, bench.processes)


def test_more_may_be_dead_than_there_are(bench: Bench) -> None:
    with bench.during("random-kills: {on: app, every: 100ms, at-most: 5, restart-after: 60s, at: 0s, for: 60s}"):
        assert wait_for(lambda: all(refused(bench.stack.address(name)) for name in APP), timeout_s=10)
        time.sleep(1.0)


def test_nobody_is_evicted_after_a_deploy_that_has_failed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (planned,) = bench.plan("rolling-restart: {on: app, evict: 500ms, at: 0s, for: 60s}")
    fault = catalogue()[planned.kind].make(planned, bench.stack)
    before = [bench.stack.mark(name) for name in APP]
    monkeypatch.setattr(fault, "leave", lambda *_: bench.stack.mark("nobody"))
    fault.inject()
    with pytest.raises(StackError, match="nobody does not run"):
        fault.halt()
    time.sleep(1.0)
    assert [bench.stack.mark(name) for name in APP] == before
