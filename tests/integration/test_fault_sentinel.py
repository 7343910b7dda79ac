"""A Redis with a replica and three sentinels: they elect for real, and the shop is led to the new primary and back."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from redis import Redis
from stack_bench import SHOP, Bench

from harness import ledger
from harness.errors import ScenarioError
from harness.faults.undo import carry_out
from harness.probes import split, wait_for
from harness.processes import TAG, Processes
from harness.proxy.client import ToxiproxyClient
from harness.redis_calls import attempt, primary, role
from harness.scenario.manifest import load_target
from harness.stack.sentinel import is_settled


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("sentinel")
    shop = shutil.copytree(SHOP, folder / "shop", ignore=shutil.ignore_patterns("__pycache__"))
    manifest = (shop / "target.yaml").read_text()
    (shop / "target.yaml").write_text(manifest.replace("{engine: redis}", "{engine: redis, sentinel: true}"))
    with Bench(folder / "run-sentinel", target=load_target(shop), preset="fragile").booted() as bench:
        yield bench


def session(bench: Bench) -> int:
    return requests.get(bench.stack.url + "/session", timeout=10).status_code


def upstream(bench: Bench) -> str:
    return ToxiproxyClient(*split(bench.stack.proxy_api)).proxies()["app-redis"].upstream


def server(bench: Bench, name: str) -> Redis:
    host, port = split(bench.stack.address(name))
    return Redis(host, port, decode_responses=True)


def test_three_sentinels_and_a_replica_watch_over_the_server(bench: Bench) -> None:
    assert session(bench) == 200
    (group,) = bench.stack.watched
    assert is_settled(group)
    assert wait_for(lambda: server(bench, "redis-replica").dbsize() == server(bench, "redis").dbsize(), timeout_s=5)
    for name in (group.name, group.replica, *group.sentinels):
        process = bench.processes.mark(name).find()
        assert process is not None
        assert process.environ()[TAG] == bench.processes.run_id, "a sweep for what was left finds it"
    assert attempt(bench.stack.address("redis-replica"), "SET", "a", "b") is not None, "a replica takes no writes"


def test_the_sentinels_promote_the_replica_and_the_reset_restores_the_layout(bench: Bench) -> None:
    first, second = bench.stack.address("redis"), bench.stack.address("redis-replica")
    sentinels = bench.stack.sentinels("redis")
    server(bench, "redis").set("kept", "1")
    assert wait_for(lambda: server(bench, "redis-replica").get("kept") == "1", timeout_s=5)
    with bench.during("sentinel-failover: {at: 0s, for: 60s}"):
        assert session(bench) >= 500
        assert wait_for(lambda: session(bench) == 200, timeout_s=20), "writes work again through the edge"
        assert primary("redis", sentinels) == second
        assert upstream(bench) == second
        assert server(bench, "redis-replica").get("kept") == "1"
        assert wait_for(lambda: "probe" in [kind for kind, _, _ in bench.events], timeout_s=5), "and this is on record"
        # A stranger takes it back, twice; what the bench does then is the third time.
        stranger = Processes(bench.processes.run_id, bench.ledger)
        for step in [step for mark in ledger.read(bench.ledger.path).undos for step in mark.steps] * 2:
            carry_out(step, stranger)
        bench.processes.adopt(ledger.read(bench.ledger.path))
        assert wait_for(lambda: role(first) == "slave", timeout_s=20)
    assert role(second) == "master"
    assert server(bench, "redis").get("kept") == "1", "copied from the new primary"
    assert session(bench) == 200
    bench.stack.check()

    bench.stack.reset()
    assert primary("redis", sentinels) == first
    assert (role(first), role(second)) == ("master", "slave")
    assert upstream(bench) == first
    assert server(bench, "redis").get("kept") is None, "every arm starts from the same data"
    assert session(bench) == 200


def test_a_dead_server_is_replaced_while_the_fault_lasts_and_comes_back_behind_the_other(bench: Bench) -> None:
    bench.stack.reset()
    first, second = bench.stack.address("redis"), bench.stack.address("redis-replica")
    with bench.during("redis-down: {at: 0s, for: 60s}"):
        assert wait_for(lambda: session(bench) == 200, timeout_s=20), "nobody but the sentinels did that"
        assert upstream(bench) == second
    assert (role(first), role(second)) == ("slave", "master")
    assert session(bench) == 200
    bench.stack.check()
    with bench.during("latency: {on: app->redis, latency: 200ms, at: 0s, for: 60s}"):
        assert upstream(bench) == second, "a fault on the edge is compared with the server that it leads to now"


def test_what_cannot_fail_over_is_refused(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="too short for a failover"):
        bench.plan("sentinel-failover: {at: 0s, for: 2s}")
    plain = load_target(SHOP)
    bench.target, watched = plain, bench.target
    try:
        with pytest.raises(ScenarioError, match="sentinel: true"):
            bench.plan("sentinel-failover: {at: 0s, for: 60s}")
    finally:
        bench.target = watched
    (tmp_path / "target.yaml").write_text(
        (SHOP / "target.yaml").read_text().replace("{engine: postgres}", "{engine: postgres, sentinel: true}")
    )
    with pytest.raises(ScenarioError, match="watch over Redis only"):
        load_target(tmp_path)
