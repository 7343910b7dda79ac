"""A shop in two regions behind one front: one is cut off, the other serves everybody, and both do in the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import requests
from stack_bench import SHOP, Bench

from harness import ledger
from harness.errors import ScenarioError
from harness.faults.undo import carry_out
from harness.probes import wait_for
from harness.processes import Processes
from harness.scenario.manifest import load_target
from harness.scenario.regions import spread

CLIENT_S = 1.0


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    target = spread(load_target(SHOP), ("east", "west"))
    with Bench(tmp_path_factory.mktemp("region") / "run-region", target=target).booted() as bench:
        yield bench


class Clients:
    """New clients, one after the other in each of several threads, and what became of them."""

    def __init__(self, url: str, threads: int = 4) -> None:
        self._url = url
        self._over = threading.Event()
        self.seen: list[tuple[float, bool]] = []
        self._threads = [threading.Thread(target=self._come) for _ in range(threads)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def share_failed(self, since: float) -> float:
        """Of those who came since then, and have an answer or gave up."""
        came = [ok for at, ok in list(self.seen) if at >= since]
        return 1 - sum(came) / len(came) if came else 0.0

    def _come(self) -> None:
        while not self._over.wait(0.02):
            at = time.monotonic()
            try:
                ok = requests.get(f"{self._url}/ping", timeout=CLIENT_S).ok
            except requests.RequestException:
                ok = False
            self.seen.append((at, ok))


def test_regions_have_data_of_their_own(bench: Bench) -> None:
    east, west = (f"http://{bench.stack.address(f'app-{region}')}" for region in ("east", "west"))
    headers = {"Idempotency-Key": "regional"}
    assert requests.post(f"{east}/checkout", json={"product": 1}, headers=headers, timeout=5).status_code == 201
    assert requests.get(f"{east}/orders/regional", timeout=5).status_code == 200
    assert requests.get(f"{west}/orders/regional", timeout=5).status_code == 404


def test_some_fail_until_the_front_has_noticed_and_then_the_survivor_serves_everybody(bench: Bench) -> None:
    endpoints = bench.stack.endpoints
    bench.events.clear()
    with Clients(bench.stack.url) as clients:
        begun = time.monotonic()
        with bench.during("region-loss: {on: east, at: 0s, for: 60s}"):
            assert wait_for(lambda: not endpoints.serves("app-east-1"), timeout_s=15)
            noticed = time.monotonic()
            assert clients.share_failed(begun) > 0.05, "those who were sent to the lost region"
            assert bench.stack.is_ready("app-east-1"), "the region itself is alive"
            time.sleep(CLIENT_S)
            after = time.monotonic()
            assert wait_for(lambda: sum(at >= after for at, _ in clients.seen) > 20, timeout_s=10)
            assert clients.share_failed(after) == 0.0, f"noticed after {noticed - begun:.1f} s"
        assert endpoints.serves("app-east-1")
        healed = time.monotonic()
        assert wait_for(lambda: sum(at >= healed for at, _ in clients.seen) > 20, timeout_s=10)
    assert clients.share_failed(healed) == 0.0
    kinds = [(kind, fault) for kind, _, fault in bench.events if kind.startswith("component.")]
    assert kinds == [("component.stopped", "region-loss")]


def test_a_stranger_takes_it_back_from_the_ledger(bench: Bench) -> None:
    with bench.during("region-loss: {on: west, at: 0s, for: 60s}"):
        assert wait_for(lambda: not bench.stack.endpoints.serves("app-west-1"), timeout_s=15)
        (mark,) = ledger.read(bench.ledger.path).undos
        stranger = Processes(bench.processes.run_id, bench.ledger)
        for step in (*mark.steps, *mark.steps):
            carry_out(step, stranger)
        assert wait_for(lambda: bench.stack.endpoints.serves("app-west-1"), timeout_s=5)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("region-loss: {on: north, at: 0s, for: 9s}", "no region `north`"),
        ("latency: {on: app->redis, latency: 9ms, at: 0s, for: 9s}", "did you mean `app-"),
    ],
)
def test_what_is_not_there_is_refused(bench: Bench, entry: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        bench.plan(entry)
    assert said in str(caught.value)


def test_faults_inside_a_region_and_its_loss_exclude_each_other(bench: Bench) -> None:
    inside = "redis-down: {on: redis-east, at: 0s, for: 9s}"
    with pytest.raises(ScenarioError, match="overlaps"):
        bench.plan(inside, "region-loss: {on: east, at: 0s, for: 9s}")
    bench.plan(inside, "region-loss: {on: west, at: 0s, for: 9s}")
