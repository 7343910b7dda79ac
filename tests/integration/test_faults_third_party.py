"""Third parties that misbehave, on the real stack: what the shop and its clients get from them, and that it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count

import pytest
import requests
from stack_bench import Bench

from harness import ledger
from harness.clock import now_ns
from harness.errors import ScenarioError
from harness.faults.catalogue import catalogue
from harness.faults.exchange import converse
from harness.faults.undo import by_hand, carry_out
from harness.probes import wait_for
from harness.processes import Processes

_keys = count()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("party") / "run-party").booted() as bench:
        yield bench


def checkout(bench: Bench) -> int:
    answer = requests.post(
        f"{bench.stack.url}/checkout", json={"product": 1}, headers={"Idempotency-Key": f"k{next(_keys)}"}, timeout=10
    )
    return answer.status_code


def verify(bench: Bench, **options: object) -> requests.Response:
    """Ask auth over the edge, as the shop does."""
    return requests.get(f"http://{bench.stack.edge('app->auth').address}/verify", timeout=10, **options)


def test_payments_that_answer_503_stop_checkouts_and_nothing_else(bench: Bench) -> None:
    with bench.during("http-errors: {on: app->payments, at: 0s, for: 60s, status: 503}"):
        assert checkout(bench) >= 500
        assert requests.get(f"{bench.stack.url}/catalog", timeout=5).status_code == 200
        payments = f"http://{bench.stack.address('payments')}/healthz"
        assert requests.get(payments, timeout=5).status_code == 200, "it is well, only its callers are told otherwise"
    # The shop's breaker lets a trial through after a second.
    assert wait_for(lambda: checkout(bench) == 201, timeout_s=10)


def test_a_share_of_errors_on_one_path_for_the_clients(bench: Bench) -> None:
    with (
        bench.during("http-errors: {on: client->app, at: 0s, for: 60s, status: 500, share: 50%, path: /cat}"),
        requests.Session() as session,
    ):
        assert {session.get(f"{bench.stack.url}/catalog", timeout=5).status_code for _ in range(40)} == {200, 500}
        assert {session.get(f"{bench.stack.url}/ping", timeout=5).status_code for _ in range(20)} == {200}
    assert {requests.get(f"{bench.stack.url}/catalog", timeout=5).status_code for _ in range(10)} == {200}


def test_a_rate_limit_tells_when_to_come_again(bench: Bench) -> None:
    with bench.during("rate-limit: {on: app->auth, at: 0s, for: 60s, allow: 5/s, retry-after: 3s}"):
        answers = [verify(bench) for _ in range(30)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert {answer.headers["Retry-After"] for answer in refused} == {"3"}
        assert [answer.status_code == 429 for answer in answers[:5]] == [False] * 5, "looking has used up nothing"
        assert len(refused) >= 5
    assert {verify(bench).status_code for _ in range(30)} == {401}


def test_a_slow_body_escapes_a_timeout_of_single_reads(bench: Bench) -> None:
    with bench.during("slow-body: {on: app->auth, at: 0s, for: 60s, takes: 1s}"):
        started = time.monotonic()
        answer = verify(bench, stream=True)
        assert time.monotonic() - started < 0.9, "the head comes at once"
        assert answer.status_code == 401
        assert answer.content
        assert time.monotonic() - started >= 0.9
    started = time.monotonic()
    assert verify(bench).content
    assert time.monotonic() - started < 0.9


def test_whoever_finds_the_ledger_can_take_it_back(bench: Bench) -> None:
    (planned,) = bench.plan("http-errors: {on: app->payments, at: 0s, for: 60s}")
    fault = catalogue()[planned.kind].make(planned, bench.stack)
    fault.prepare()
    undo = fault.undo()
    interposer = bench.processes.mark("interposer-http-errors")
    fault.inject()
    assert wait_for(fault.is_active, timeout_s=5)
    stranger = Processes(bench.processes.run_id, bench.ledger)
    stranger.adopt(ledger.read(bench.ledger.path))
    for step in (*undo, *undo):
        carry_out(step, stranger)
    assert fault.is_clear()
    assert interposer.find() is None
    assert by_hand(undo[0]).startswith('curl -d \'{"upstream": "127.0.0.1:')


def test_errors_and_a_bad_network_come_and_go_on_one_edge(bench: Bench) -> None:
    edge = bench.stack.edge("app->payments")
    planned = bench.plan(
        "http-errors: {on: app->payments, at: 300ms, for: 4s, share: 50%}",
        "latency: {on: app->payments, at: 0s, for: 3800ms, latency: 50ms}",
        "bandwidth: {on: app->payments, at: 600ms, for: 4s, rate: 50KB/s}",
        "down: {on: app->auth, at: 500ms, for: 3s}",
    )
    timeline = bench.timeline(*planned)
    timeline.start(now_ns())
    together = {"http-errors": "active", "latency": "active", "bandwidth": "active", "down": "active"}
    assert wait_for(lambda: together.items() <= timeline.states.items(), timeout_s=10), timeline.states
    timeline.finish()
    assert timeline.errors == ()
    assert set(timeline.states.values()) == {"clear"}
    assert converse("http", edge.address).end == "answered"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("http-errors: {on: app->redis, at: 0s, for: 1s}", "is for http, not for redis"),
        ("http-errors: {on: app->auth, at: 0s, for: 1s, status: 200}", "too little"),
        ("http-errors: {on: app->auth, at: 0s, for: 1s, path: verify}", "begin with `/`"),
        ("rate-limit: {on: app->auth, at: 0s, for: 1s, allow: 5/s, retry-after: 1500ms}", "whole seconds"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_planned(bench: Bench, entry: str, reason: str) -> None:
    with pytest.raises(ScenarioError, match=reason):
        bench.plan(entry)


def test_two_faults_that_answer_for_one_service_exclude_each_other(bench: Bench) -> None:
    with pytest.raises(ScenarioError, match="only one of the two"):
        bench.plan(
            "http-errors: {on: app->auth, at: 0s, for: 1s}", "rate-limit: {on: app->auth, at: 0s, for: 1s, allow: 5/s}"
        )
