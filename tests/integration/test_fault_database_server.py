"""A real PostgreSQL that crashes, a standby that takes its place or falls behind; orders are counted."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import psycopg
import pytest
import requests
from stack_bench import SHOP, Bench

from harness import ledger
from harness.clock import now_ns
from harness.errors import ScenarioError
from harness.faults.replication import is_followed, is_standby, takes_writes
from harness.faults.restore import revert
from harness.faults.undo import by_hand
from harness.probes import refused, wait_for
from harness.processes import Processes
from harness.scenario.manifest import Target, load_target
from harness.telemetry import sources


def with_standby(how: Literal["asynchronous", "synchronous"]) -> Target:
    shop = load_target(SHOP)
    server = shop.servers["postgres"].model_copy(update={"standby": how})
    return shop.model_copy(update={"servers": {**shop.servers, "postgres": server}})


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("server") / "run-server"
    with Bench(folder, target=with_standby("asynchronous")).booted() as bench:
        yield bench


@pytest.fixture(autouse=True)
def at_first(bench: Bench) -> None:
    """Every test begins with the original layout."""
    if not is_original(bench):
        bench.stack.reset()


def place(bench: Bench, key: str) -> bool:
    """Place an order; whether it was acknowledged."""
    url, headers = bench.stack.url + "/checkout", {"Idempotency-Key": key}
    try:
        return requests.post(url, json={"product": 1}, headers=headers, timeout=5).status_code == 201
    except requests.RequestException:
        return False


def places_again(bench: Bench, prefix: str) -> bool:
    return wait_for(lambda: place(bench, f"{prefix}{time.monotonic_ns()}"), timeout_s=20)


def stored(address: str, prefix: str) -> set[str]:
    """Keys of the orders there, as a client reads them."""
    with psycopg.connect(f"postgresql://app@{address}/postgres") as client:
        rows = client.execute("select key from shop.orders where starts_with(key, %s)", (prefix,))
        return {key for (key,) in rows}


def edge(bench: Bench) -> str:
    return bench.stack.edge("app->postgres").address


def is_original(bench: Bench) -> bool:
    first, second = (bench.stack.address(name) for name in ("postgres", "postgres-standby"))
    return is_followed(first) and is_standby(second)


class Buyers:
    """Clients that place orders as fast as they are acknowledged, until they are told to stop."""

    def __init__(self, bench: Bench, prefix: str) -> None:
        self.acknowledged: list[str] = []
        self._bench = bench
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._buy, args=(f"{prefix}{number}-",)) for number in range(4)]

    def __enter__(self) -> "Buyers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _buy(self, prefix: str) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            if place(self._bench, f"{prefix}{number}"):
                self.acknowledged.append(f"{prefix}{number}")


def test_a_crashed_primary_comes_back_with_every_acknowledged_order(bench: Bench) -> None:
    address = bench.stack.address("postgres")
    with Buyers(bench, "crash") as buyers:
        assert wait_for(lambda: len(buyers.acknowledged) >= 10, timeout_s=20)
        with bench.during("primary-crash: {at: 0s, for: 60s}"):
            assert refused(address)
            before = list(buyers.acknowledged)
    assert set(before) <= stored(edge(bench), "crash")
    assert places_again(bench, "crashed")
    assert wait_for(lambda: is_original(bench), timeout_s=20), "the standby follows again"


def test_a_standby_takes_over_and_keeps_what_was_written_since(bench: Bench) -> None:
    first, second = (bench.stack.address(name) for name in ("postgres", "postgres-standby"))
    bench.events.clear()
    with bench.during("failover: {promote-after: 300ms, at: 0s, for: 60s}"):
        assert refused(first)
        assert places_again(bench, "over")
        since = stored(edge(bench), "over")
        assert since == stored(second, "over")
        told = {kind: at for kind, at, _ in bench.events}
        assert 0.3e9 <= told["component.started"] - told["component.stopped"] < 10e9
    assert takes_writes(second)
    assert is_standby(first)
    assert since <= stored(edge(bench), "over")
    assert {("postgres", 0.0), ("postgres-standby", 1.0)} == primaries(bench)
    bench.stack.reset()
    assert is_original(bench)
    assert {("postgres", 1.0), ("postgres-standby", 0.0)} == primaries(bench)
    assert stored(second, "seed-") == stored(first, "seed-")
    assert stored(first, "over") == set()
    assert places_again(bench, "reset")


def primaries(bench: Bench) -> set[tuple[str, float]]:
    servers = ("postgres", *bench.stack.standbys)
    readings = [one for name in servers for one in sources.postgres(name, bench.stack.watch_url(name)).read()]
    return {(name, value) for name, metric, value in readings if metric == "primary"}


def test_a_failover_that_is_cut_short_leaves_the_old_primary(bench: Bench) -> None:
    with bench.during("failover: {promote-after: 50s, at: 0s, for: 60s}"):
        assert refused(bench.stack.address("postgres"))
    assert is_original(bench)
    assert places_again(bench, "short")


@pytest.mark.parametrize(
    "entry", ["failover: {promote-after: 0s, at: 0s, for: 60s}", "primary-crash: {at: 0s, for: 60s}"]
)
def test_anybody_can_bring_a_primary_back(bench: Bench, entry: str) -> None:
    with bench.during(entry):
        if "failover" in entry:
            assert wait_for(lambda: takes_writes(edge(bench)), timeout_s=10)
        state = ledger.read(bench.ledger.path)
        stranger = Processes(bench.processes.run_id, bench.ledger)
        stranger.adopt(state)
        (mark,) = state.undos
        for _ in range(2):
            revert(mark, bench.ledger, stranger, by="guard")
        bench.processes.adopt(ledger.read(bench.ledger.path))
        assert wait_for(lambda: takes_writes(edge(bench)), timeout_s=20), "it has recovered"
        pair = [bench.stack.address(name) for name in ("postgres", "postgres-standby")]
        assert wait_for(lambda: any(map(is_followed, pair)), timeout_s=20)


def test_the_manual_command_makes_the_old_primary_follow(bench: Bench) -> None:
    with bench.during("failover: {promote-after: 0s, at: 0s, for: 60s}"):
        assert wait_for(lambda: takes_writes(edge(bench)), timeout_s=10)
        (mark,) = ledger.read(bench.ledger.path).undos
        (step,) = mark.steps
        subprocess.run(by_hand(step), shell=True, check=True, timeout=30)
        try:
            assert wait_for(lambda: is_followed(bench.stack.address("postgres-standby")), timeout_s=10)
        finally:
            folder = step["server"]["argv"][step["server"]["argv"].index("-D") + 1]
            os.kill(int(Path(folder, "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
        assert wait_for(lambda: refused(bench.stack.address("postgres")), timeout_s=10)


@pytest.mark.parametrize("lag", ["lag: 700ms, ", ""])
def test_a_standby_falls_behind(bench: Bench, lag: str) -> None:
    second = bench.stack.address("postgres-standby")
    key = "late" if lag else "never"
    with bench.during(f"replica-lag: {{{lag}at: 0s, for: 60s}}"):
        assert places_again(bench, key)
        assert stored(bench.stack.address("postgres"), key)
        assert not stored(second, key)
        if lag:
            assert wait_for(lambda: bool(stored(second, key)), timeout_s=10), "late is not never"
        else:
            assert wait_for(lambda: lag_of(bench) > 0.1, timeout_s=5)
    assert wait_for(lambda: bool(stored(second, key)), timeout_s=5)


def lag_of(bench: Bench) -> float:
    readings = sources.postgres("postgres-standby", bench.stack.watch_url("postgres-standby")).read()
    return {metric: value for _, metric, value in readings}["replay_lag_seconds"]


@pytest.mark.parametrize("how", ["asynchronous", "synchronous"])
def test_only_a_synchronous_standby_has_every_acknowledged_order(
    bench: Bench, tmp_path: Path, how: Literal["asynchronous", "synchronous"]
) -> None:
    """The standby is 200 ms away: what was committed in the last of these is not there yet when the primary dies."""
    if how == "synchronous":
        with Bench(tmp_path / "run-synchronous", target=with_standby(how)).booted() as other:
            acknowledged, lost = crash_and_count(other)
            assert not lost, lost
    else:
        acknowledged, lost = crash_and_count(bench)
        assert 0 < len(lost) < len(acknowledged) / 2
    assert len(acknowledged) >= 20


def crash_and_count(bench: Bench) -> tuple[list[str], set[str]]:
    """(orders acknowledged before the crash, those of them that are not there after the failover)."""
    with (
        bench.during("latency: {on: postgres-standby->postgres, latency: 200ms, at: 0s, for: 60s}"),
        Buyers(bench, "count") as buyers,
    ):
        assert wait_for(lambda: len(buyers.acknowledged) >= 20, timeout_s=30)
        with bench.during("failover: {promote-after: 1s, at: 0s, for: 60s}"):
            assert refused(bench.stack.address("postgres"))
            acknowledged = list(buyers.acknowledged)
            assert wait_for(lambda: takes_writes(edge(bench)), timeout_s=10)
    assert places_again(bench, "counted")
    lost = set(acknowledged) - stored(edge(bench), "count")
    assert set(bench.stack.audit(acknowledged).missing) == lost
    return acknowledged, lost


def test_without_a_standby_there_is_no_failover(tmp_path: Path) -> None:
    shop = Bench(tmp_path / "run-plain")
    for kind in ("failover", "replica-lag"):
        with pytest.raises(ScenarioError, match="needs a place that has a standby"):
            shop.plan(f"{kind}: {{at: 0s, for: 5s}}")


def test_a_disk_that_the_standby_shares_is_not_filled(bench: Bench) -> None:
    with pytest.raises(ScenarioError, match="a standby on the same machine would fill the same disk"):
        bench.plan("disk-full: {table: shop.orders, at: 0s, for: 5s}")


def test_a_server_that_has_been_replaced_is_not_crashed_in_the_name_of_the_primary(bench: Bench) -> None:
    with bench.during("failover: {at: 0s, for: 60s, promote-after: 0s}"):
        assert wait_for(lambda: takes_writes(bench.stack.address("postgres-standby")), timeout_s=10)
    timeline = bench.timeline(*bench.plan("primary-crash: {at: 0s, for: 1s}"))
    timeline.start(now_ns())
    timeline.finish()
    assert [str(error) for error in timeline.errors] == ["postgres is not the primary any more"]
