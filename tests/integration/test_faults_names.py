"""A name that no longer resolves, for the processes of the real stack that call by it, and for nobody else."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator

import pytest
import requests
from stack_bench import Bench, plan_for

from harness import ledger
from harness.errors import ScenarioError, StackError
from harness.faults.catalogue import catalogue
from harness.faults.private_hosts import resolves, unable
from harness.faults.undo import by_hand, carry_out
from harness.paths import shipped
from harness.probes import wait_for
from harness.processes import Processes
from harness.scenario.manifest import load_target

EDGE = "app->auth"
needs_hosts = pytest.mark.skipif(bool(unable()), reason=f"no hosts file of its own for a process here: {unable()}")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("names") / "run-names", named=[EDGE]).booted() as bench:
        yield bench


def account(bench: Bench) -> int:
    """Ask for what needs auth; 401 is auth's own answer."""
    return requests.get(f"{bench.stack.url}/account", timeout=10).status_code


@needs_hosts
def test_new_connections_fail_and_open_ones_go_on(bench: Bench) -> None:
    assert {account(bench) for _ in range(8)} == {401}, "both replicas have a connection to auth now"
    name = bench.stack.lookup(EDGE).name
    with bench.during(f"dns-failure: {{on: {EDGE}, at: 0s, for: 60s}}"):
        assert not resolves(name, bench.stack.mark("app-1").pid)
        assert {account(bench) for _ in range(8)} == {401}
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo(name, None)  # for nobody else was there ever such a name


@needs_hosts
def test_with_its_connections_dropped_the_dependency_is_out_of_reach(bench: Bench) -> None:
    assert account(bench) == 401
    with bench.during(f"dns-failure: {{on: {EDGE}, at: 0s, for: 60s, open-connections: drop}}"):
        assert {account(bench) for _ in range(4)} == {503}
        assert requests.get(f"{bench.stack.url}/catalog", timeout=5).status_code == 200
        auth = f"http://{bench.stack.edge(EDGE).address}/healthz"
        assert requests.get(auth, timeout=5).status_code == 200, "it is there, under its address"
    # The shop's breaker lets a trial through after a second.
    assert wait_for(lambda: account(bench) == 401, timeout_s=10)


@needs_hosts
def test_whoever_finds_the_ledger_can_take_it_back(bench: Bench) -> None:
    (planned,) = bench.plan(f"dns-failure: {{on: {EDGE}, at: 0s, for: 60s}}")
    fault = catalogue()[planned.kind].make(planned, bench.stack)
    (step,) = fault.undo()
    stranger = Processes(bench.processes.run_id, bench.ledger)
    stranger.adopt(ledger.read(bench.ledger.path))
    for _ in range(2):
        carry_out(step, stranger)
        assert fault.is_clear()
        fault.inject()
        assert fault.is_active()
    subprocess.run(by_hand(step), shell=True, check=True, capture_output=True)
    assert fault.is_clear()
    carry_out({**step, "hosts": "/nowhere/at-all"}, stranger)


@needs_hosts
def test_a_replica_that_is_started_again_goes_by_the_name_too(bench: Bench) -> None:
    undo = bench.stack.start_undo("app-2", afresh=True)
    carry_out(undo, bench.processes)
    assert resolves(bench.stack.lookup(EDGE).name, bench.stack.mark("app-2").pid)
    with pytest.raises(StackError, match="not called by a name"):
        bench.stack.lookup("app->payments")


def test_it_is_refused_where_it_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = load_target(shipped("targets") / "sample-flask-app")
    with pytest.raises(ScenarioError, match="called by a process that the harness started, which `client->app` is not"):
        plan_for(shop, "dns-failure: {on: client->app, at: 0s, for: 1s}")
    monkeypatch.setattr("harness.faults.families.names.unable", lambda: "no mounts here")
    with pytest.raises(ScenarioError, match="a hosts file of their own: no mounts here"):
        plan_for(shop, "dns-failure: {on: app->auth, at: 0s, for: 1s}")


@needs_hosts
def test_a_name_comes_back_over_an_edge_that_is_slow_meanwhile(bench: Bench) -> None:
    slow = f"latency: {{on: {EDGE}, at: 0s, for: 60s, latency: 2s}}"
    with bench.during(slow), bench.during(f"dns-failure: {{on: {EDGE}, at: 0s, for: 60s}}"):
        pass
