"""Cache faults on the real shop, seen as its clients see them: the effect, and the effect gone."""

import subprocess
from collections.abc import Iterator

import pytest
import requests
from redis import Redis
from redis.exceptions import OutOfMemoryError
from stack_bench import Bench

from harness import ledger
from harness.clock import now_ns
from harness.errors import ScenarioError
from harness.faults.undo import by_hand, carry_out
from harness.probes import split
from harness.processes import Processes


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The fragile shop: without Redis its requests fail, so that clients see what happens to it."""
    with Bench(tmp_path_factory.mktemp("cache") / "run-cache", preset="fragile").booted() as bench:
        yield bench


def redis(bench: Bench) -> Redis:
    host, port = split(bench.stack.address("redis"))
    return Redis(host, port, decode_responses=True)


def status(bench: Bench, path: str, timeout_s: float = 5.0) -> int:
    """What a client gets; 0 when nothing comes in time."""
    try:
        return requests.get(bench.stack.url + path, timeout=timeout_s).status_code
    except requests.Timeout:
        return 0


def fill(bench: Bench, products: int = 40) -> None:
    for number in range(1, products + 1):
        assert status(bench, f"/product/{number}") == 200


def test_a_restart_breaks_nothing_for_long_and_loses_everything(bench: Bench) -> None:
    fill(bench)
    assert redis(bench).dbsize() >= 40
    with bench.during("redis-restart-empty: {at: 0s, for: 60s}"):
        assert redis(bench).dbsize() == 0
        statuses = [status(bench, "/product/1") for _ in range(40)]
        assert statuses[-1] == 200, "the shop finds the new process"
    assert bench.stack.mark("redis").find()


def test_a_flush_empties_the_cache_and_the_shop_fills_it_again(bench: Bench) -> None:
    fill(bench)
    with bench.during("flush: {at: 0s, for: 60s}"):
        assert redis(bench).dbsize() == 0
        fill(bench, 3)
        assert redis(bench).dbsize() == 3


def test_flushing_an_empty_cache_is_no_fault(bench: Bench) -> None:
    redis(bench).flushall()
    timeline = bench.timeline(*bench.plan("flush: {at: 0s, for: 60s}"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.faults.families.cache.Flush.confirm_s", 0.2)
        timeline.start(now_ns())
        timeline.finish()
    assert "no effect could be seen" in str(timeline.errors[0])


def test_a_paused_server_answers_nothing_and_goes_on_where_it_was(bench: Bench) -> None:
    fill(bench, 1)
    with bench.during("redis-pause: {at: 0s, for: 60s}"):
        assert status(bench, "/session", timeout_s=0.5) == 0
        assert status(bench, "/catalog") == 200
    assert status(bench, "/session") == 200
    assert redis(bench).dbsize() >= 1, "nothing was lost"


def test_a_server_whose_writes_are_paused_serves_reads(bench: Bench) -> None:
    fill(bench, 1)
    with bench.during("redis-pause: {at: 0s, for: 60s, what: writes}"):
        assert status(bench, "/product/1") == 200
        assert status(bench, "/session", timeout_s=0.5) == 0
    assert status(bench, "/session") == 200


def test_a_full_server_refuses_writes(bench: Bench) -> None:
    fill(bench, 1)
    with bench.during("maxmemory: {at: 0s, for: 60s}"):
        assert status(bench, "/product/1") == 200, "it is read from the cache"
        assert status(bench, "/session") >= 500
        with pytest.raises(OutOfMemoryError):
            redis(bench).set("more", "1")
    assert status(bench, "/session") == 200
    assert redis(bench).config_get("maxmemory*")["maxmemory"] == "0"


def test_a_small_server_evicts_some_of_its_keys(bench: Bench) -> None:
    server = redis(bench)
    server.mset({f"ballast:{number}": "x" * 10_000 for number in range(400)})
    with bench.during("maxmemory: {at: 0s, for: 60s, policy: allkeys-random, keep: 50%}"):
        assert 100 < server.dbsize() < 300
        assert status(bench, "/session") == 200, "there is room for new keys"
    server.mset({f"ballast:{number}": "x" * 10_000 for number in range(400)})
    assert server.dbsize() >= 400, "nothing is evicted any more"
    server.flushall()


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        ("redis-pause: {at: 0s, for: 60s}", "/session"),
        ("redis-pause: {at: 0s, for: 60s, what: writes}", "/session"),
        ("maxmemory: {at: 0s, for: 60s}", "/session"),
    ],
)
@pytest.mark.parametrize("how", ["ledger", "hand"])
def test_a_stranger_takes_it_back_from_the_ledger_or_by_hand(bench: Bench, entry: str, path: str, how: str) -> None:
    with bench.during(entry):
        assert status(bench, path, timeout_s=0.5) != 200
        stranger = Processes(bench.processes.run_id, bench.ledger)
        for step in [step for mark in ledger.read(bench.ledger.path).undos for step in mark.steps] * 2:
            if how == "hand":
                subprocess.run(by_hand(step), shell=True, check=True, capture_output=True, timeout=10)
            else:
                carry_out(step, stranger)
        assert status(bench, path) == 200


def test_a_fault_of_the_data_overlaps_a_slow_edge_but_not_another_of_the_data(bench: Bench) -> None:
    fill(bench)
    with bench.during("flush: {at: 0s, for: 60s}", "latency: {on: app->redis, at: 0s, for: 60s, latency: 50ms}"):
        assert status(bench, "/session") == 200
    with pytest.raises(ScenarioError, match="only one of the two"):
        bench.plan("flush: {at: 0s, for: 60s}", "maxmemory: {at: 0s, for: 60s}")
    with pytest.raises(ScenarioError, match="for redis"):
        bench.plan("flush: {on: postgres, at: 0s, for: 60s}")
