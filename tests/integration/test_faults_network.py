"""Every network fault on the real stack, as clients meet it: on open connections and on new ones, there and gone.

With TOXIPROXY_SERVER=/path/to/toxiproxy-server everything is seen with the real server as well as with ours.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from fault_client import RedisClient, seconds
from stack_bench import Bench

from harness import ledger
from harness.clock import now_ns
from harness.errors import ScenarioError
from harness.faults.catalogue import catalogue
from harness.faults.exchange import converse, part
from harness.faults.undo import by_hand, carry_out
from harness.probes import wait_for
from harness.processes import Processes

REAL_SERVER = os.environ.get("TOXIPROXY_SERVER", "")


@pytest.fixture(
    scope="module",
    params=[
        "embedded",
        pytest.param(
            "real",
            marks=pytest.mark.skipif(
                not REAL_SERVER, reason="set TOXIPROXY_SERVER to the real server to see faults with it"
            ),
        ),
    ],
)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("network")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "real":
            (folder / "toxiproxy-server").symlink_to(Path(REAL_SERVER).resolve())
            patch.setenv("PATH", str(folder), prepend=os.pathsep)
        with Bench(folder / "run-network").booted() as bench:
            yield bench


@pytest.fixture
def open_line(bench: Bench) -> Iterator[RedisClient]:
    client = RedisClient(bench.stack.edge("app->redis").address)
    assert client.ask() == [b"+PONG\r\n"]
    yield client
    client.close()


def test_latency_delays_both_ways(bench: Bench, open_line: RedisClient) -> None:
    with bench.during("latency: {on: app->redis, at: 0s, for: 60s, latency: 60ms, direction: both}"):
        assert seconds(open_line.ask) >= 0.12
        # Longer than the shop waits for its cache.
        assert requests.get(bench.stack.url + "/session", timeout=5).json()["visits"] is None
    assert min(converse("redis", bench.stack.edge("app->redis").address).seconds for _ in range(3)) < 0.06
    assert open_line.ask() == [b"+PONG\r\n"]


def test_jitter_is_now_long_and_now_short(bench: Bench, open_line: RedisClient) -> None:
    with bench.during("jitter: {on: app->redis, at: 0s, for: 60s, up-to: 100ms}"):
        waits = [seconds(open_line.ask) for _ in range(20)]
        assert max(waits) - min(waits) >= 0.03, "one in a thousand million that 20 draws are so close together"


def test_a_share_of_the_connections_is_drawn(bench: Bench) -> None:
    address = bench.stack.edge("app->redis").address
    with bench.during("reset-peer: {on: app->redis, at: 0s, for: 60s, toxicity: 50%}"):
        assert {converse("redis", address).end for _ in range(40)} == {"reset", "answered"}
    assert {converse("redis", address).end for _ in range(10)} == {"answered"}


def test_bandwidth_makes_much_slow(bench: Bench, open_line: RedisClient) -> None:
    with bench.during("bandwidth: {on: app->redis, at: 0s, for: 60s, rate: 20KB/s}"):
        assert seconds(lambda: open_line.ask(5000)) >= 0.2
    assert seconds(lambda: open_line.ask(5000)) < 0.2


def test_a_slicer_cuts_answers_into_pieces(bench: Bench, open_line: RedisClient) -> None:
    with bench.during("slicer: {on: app->redis, at: 0s, for: 60s, size: 100B, delay: 20ms}"):
        pieces = open_line.ask(1000)
        assert len(pieces) >= 8
        assert b"".join(pieces) == b"$1000\r\n" + b"x" * 1000 + b"\r\n"
    assert len(open_line.ask(1000)) == 1


@pytest.mark.parametrize("direction", ["upstream", "downstream"])
def test_a_timeout_swallows_what_is_sent(bench: Bench, open_line: RedisClient, direction: str) -> None:
    with bench.during(f"timeout: {{on: app->redis, at: 0s, for: 60s, direction: {direction}}}"):
        with pytest.raises(TimeoutError):
            open_line.ask(timeout_s=0.3)
        assert converse("redis", bench.stack.edge("app->redis").address, timeout_s=0.3).end == "silent"
    assert open_line.ends(), "it has lost data"


def test_a_timeout_may_close(bench: Bench, open_line: RedisClient) -> None:
    with bench.during("timeout: {on: app->redis, at: 0s, for: 60s, close-after: 100ms}"):
        assert open_line.ask() == []


def test_reset_peer_resets_when_data_comes(bench: Bench, open_line: RedisClient) -> None:
    with bench.during("reset-peer: {on: app->redis, at: 0s, for: 60s, direction: upstream}"):
        # The real server only closes a connection that was open when the toxic came.
        with contextlib.suppress(ConnectionResetError):
            assert open_line.ask() == []
        with pytest.raises(ConnectionResetError):
            RedisClient(bench.stack.edge("app->redis").address).ask()


def test_limit_data_cuts_in_the_middle(bench: Bench, open_line: RedisClient) -> None:
    with bench.during("limit-data: {on: app->redis, at: 0s, for: 60s, bytes: 100B}"):
        assert open_line.ask(500) == [b"$500\r\n" + b"x" * 94]


def test_slow_close_keeps_the_end_from_the_caller(bench: Bench, open_line: RedisClient) -> None:
    with bench.during("slow-close: {on: app->redis, at: 0s, for: 60s, delay: 400ms}"):
        assert seconds(lambda: (open_line.quit(), open_line.ends())) >= 0.399
    edge = bench.stack.edge("app->payments")
    assert part(edge.protocol, edge.address).end == "answered"


def test_down_closes_and_refuses(bench: Bench, open_line: RedisClient) -> None:
    with bench.during("down: {on: app->redis, at: 0s, for: 60s}"):
        assert open_line.ends()
        assert converse("redis", bench.stack.edge("app->redis").address).end == "refused"
        assert converse("redis", bench.stack.address("redis")).end == "answered", "only the way there is gone"


def test_flapping_goes_down_and_up_and_ends_up(bench: Bench) -> None:
    edge = bench.stack.edge("app->redis")

    def answers() -> bool:
        return converse("redis", edge.address).end == "answered"

    with bench.during("flapping: {on: app->redis, at: 0s, for: 60s, down: 200ms, up: 200ms, vary: 50%}"):
        for _ in range(3):
            assert wait_for(answers, timeout_s=5)
            assert wait_for(lambda: not answers(), timeout_s=5)
    assert not wait_for(lambda: not answers(), timeout_s=1.0)


@pytest.mark.parametrize("direction", ["both", "upstream", "downstream"])
def test_a_partition_cuts_several_edges(bench: Bench, direction: str) -> None:
    edges = ("app->redis", "app->postgres", "app->auth")
    where = ", ".join(edges)
    with bench.during(f"partition: {{on: [{where}], at: 0s, for: 60s, direction: {direction}}}"):
        for edge in map(bench.stack.edge, edges):
            assert converse(edge.protocol, edge.address, timeout_s=0.3).end == "silent"
        edge = bench.stack.edge("app->payments")
        assert converse(edge.protocol, edge.address).end == "answered"
    for edge in bench.stack.edges:
        assert converse(edge.protocol, edge.address).end == "answered"


EVERYWHERE = [
    "latency: {latency: 50ms}",
    "jitter: {up-to: 60ms}",
    "bandwidth: {rate: 20KB/s, direction: both}",
    "slicer: {}",
    "timeout: {}",
    "partition: {}",
    "down: {}",
    "flapping: {down: 100ms, up: 10s}",
    "reset-peer: {}",
    "limit-data: {bytes: 2KB}",
    "slow-close: {delay: 100ms}",
]


@pytest.mark.parametrize("edge", ["client->app", "app->postgres"])
def test_each_is_confirmed_in_every_protocol(bench: Bench, edge: str) -> None:
    for entry in EVERYWHERE:
        with bench.during(entry.replace("{", f"{{on: {edge}, at: 0s, for: 60s, ")):
            continue


@pytest.mark.parametrize("entry", EVERYWHERE)
def test_whoever_finds_the_ledger_can_take_it_back(bench: Bench, entry: str) -> None:
    """By the undo's data alone; before the injection and twice it does no harm; and so it can be by hand."""
    (planned,) = bench.plan(entry.replace("{", "{on: app->redis, at: 0s, for: 60s, "))
    fault = catalogue()[planned.kind].make(planned, bench.stack)
    undo = fault.undo()
    stranger = Processes(bench.processes.run_id, bench.ledger)
    stranger.adopt(ledger.read(bench.ledger.path))
    for step in undo:
        carry_out(step, stranger)
    assert not all(fault.is_active() for _ in range(3)), "what is not there is not seen, however noisy the machine"
    fault.inject()
    assert wait_for(fault.is_active, timeout_s=5)
    if planned.kind != "flapping":
        assert not all(fault.is_gone(view) for _ in range(3) for view in fault.views), "however slow the way around is"
    fault.halt()
    for step in (*undo, *undo):
        carry_out(step, stranger)
    assert wait_for(fault.is_clear, timeout_s=5)
    fault = catalogue()[planned.kind].make(planned, bench.stack)
    fault.inject()
    assert wait_for(fault.is_active, timeout_s=5)
    fault.halt()
    for step in undo:
        assert os.system(by_hand(step) + " >/dev/null 2>&1") == 0
    assert wait_for(fault.is_clear, timeout_s=5)


def test_faults_of_different_layers_come_and_go_on_one_edge(bench: Bench, open_line: RedisClient) -> None:
    planned = bench.plan(
        "latency: {on: app->redis, at: 0s, for: 6s, latency: 100ms}",
        "bandwidth: {on: [app->redis, app->postgres], at: 300ms, for: 4200ms, rate: 20KB/s}",
        "slicer: {on: app->redis, at: 600ms, for: 4500ms, size: 500B}",
        "slow-close: {on: app->redis, at: 100ms, for: 5400ms, delay: 200ms}",
        "down: {on: app->payments, at: 500ms, for: 1s}",
    )
    timeline = bench.timeline(*planned)
    timeline.start(now_ns())
    together = {"latency": "active", "bandwidth": "active", "slicer": "active", "slow-close": "active"}
    assert wait_for(lambda: together.items() <= timeline.states.items(), timeout_s=10), timeline.states
    assert seconds(lambda: open_line.ask(2000)) >= 0.2
    timeline.finish()
    assert timeline.errors == ()
    assert set(timeline.states.values()) == {"clear"}
    assert seconds(lambda: open_line.ask(2000)) < 0.1


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        (["latency: {latency: 1ms}", "jitter: {up-to: 10ms}"], "only one of the two"),
        (["latency: {latency: 1ms}", "down: {}"], "only one of the two"),
        (["partition: {}", "bandwidth: {rate: 1KB/s}"], "only one of the two"),
        (["bandwidth: {rate: 1500B/s}"], "whole KB/s"),
        (["bandwidth: {rate: 10KB/s, toxicity: 0%}"], "too little"),
        (["limit-data: {bytes: 2MB}"], "too much"),
        (["slicer: {size: 10B, variation: 20B}"], "less than the size"),
        (["reset-peer: {direction: both}"], "expected a choice"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_planned(bench: Bench, entries: list[str], reason: str) -> None:
    with pytest.raises(ScenarioError, match=reason):
        bench.plan(*(entry.replace("{", "{on: app->redis, at: 0s, for: 60s, ") for entry in entries))


@pytest.mark.parametrize("entry", ["bandwidth: {rate: 200KB/s}", "slicer: {size: 1KB}", "limit-data: {bytes: 60KB}"])
def test_what_cannot_be_seen_over_http_is_refused(bench: Bench, entry: str) -> None:
    with pytest.raises(ScenarioError, match="only small answers"):
        bench.plan(entry.replace("{", "{on: app->payments, at: 0s, for: 60s, "))
