"""A stack that a scenario wants otherwise: a standby that commits wait for, a Redis with sentinels, more replicas."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError

import psycopg
import pytest
from stack_bench import Bench

from harness.experiment import plan
from harness.paths import shipped
from harness.stack.sentinel import is_settled

WISHES = (
    "servers={postgres: {standby: synchronous}, redis: {sentinel: true, down_after: 500ms}}",
    "processes={app: {replicas: 3}}",
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    planned = plan(shipped("scenarios") / "quickstart.yaml", overrides=WISHES)
    with Bench(tmp_path_factory.mktemp("wishes") / "run-wishes", target=planned.target).booted() as bench:
        yield bench


def test_redis_has_sentinels_and_the_app_its_replicas(bench: Bench) -> None:
    (group,) = bench.stack.watched
    assert is_settled(group)
    assert group.down_after_s == 0.5
    assert len(bench.stack.endpoints.names) == 3
    assert all(map(bench.stack.is_ready, ("app-1", "app-2", "app-3")))


def test_a_commit_of_the_target_waits_for_its_standby(bench: Bench) -> None:
    """Not only where it is told to: the target's own login and defaults."""
    url = bench.stack.server_url("postgres")

    def commit() -> None:
        with psycopg.connect(url) as shop:
            shop.execute("update shop.products set price_cents = price_cents where id = 1")

    commit()
    standby = bench.processes.mark("postgres-standby").find()
    assert standby is not None
    receivers = [one for one in standby.children() if "walreceiver" in " ".join(one.cmdline())]
    assert receivers
    with ThreadPoolExecutor(1) as threads:
        for one in receivers:
            one.send_signal(signal.SIGSTOP)
        try:
            waiting = threads.submit(commit)
            with pytest.raises(FutureTimeoutError):
                waiting.result(timeout=2)
        finally:
            for one in receivers:
                one.send_signal(signal.SIGCONT)
        waiting.result(timeout=20)
