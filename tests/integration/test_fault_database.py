"""Database faults against the real shop: seen as its clients and as a client of PostgreSQL see them, and seen gone."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import requests
from psycopg import errors
from stack_bench import Bench

from harness import ledger
from harness.errors import ScenarioError
from harness.faults.families import database_disk
from harness.faults.families.database import PoolExhaustion
from harness.faults.restore import revert
from harness.faults.sql import clients, connect
from harness.faults.undo import by_hand, carry_out
from harness.ports import reserve_port
from harness.probes import wait_for
from harness.processes import Processes

NO_CONNECTION = r"remaining connection slots are reserved|too many clients already"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("database") / "run-database").booted() as bench:
        yield bench


@pytest.fixture(autouse=True)
def healthy(bench: Bench) -> Iterator[None]:
    """Before and after each test the shop can place an order, and no session of the harness is left."""
    assert wait_for(lambda: orders(bench) and places(bench), timeout_s=20)
    yield
    assert wait_for(lambda: not of_the_harness(bench), timeout_s=5), of_the_harness(bench)
    assert wait_for(lambda: orders(bench) and places(bench), timeout_s=20)


def places(bench: Bench) -> bool:
    """Whether an order can be placed, as a client of the shop sees it."""
    key = {"Idempotency-Key": str(time.monotonic_ns())}
    return requests.post(bench.stack.url + "/checkout", json={"product": 1}, headers=key, timeout=10).status_code == 201


def orders(bench: Bench) -> bool:
    """Whether an order can be looked up."""
    return requests.get(bench.stack.url + "/orders/seed-3", timeout=10).status_code == 200


def as_target(bench: Bench) -> psycopg.Connection:
    """A connection as the shop makes them, over its edge."""
    address = bench.stack.edge("app->postgres").address
    return psycopg.connect(f"postgresql://app@{address}/postgres", connect_timeout=5, autocommit=True)


def of_the_harness(bench: Bench) -> list[str]:
    with connect(bench.stack.address("postgres"), "test") as session:
        rows = session.execute("select application_name from pg_stat_activity where application_name like 'harness%'")
        return [name for (name,) in rows]


def shop_sessions(bench: Bench) -> set[int]:
    with connect(bench.stack.address("postgres"), "harness-test") as session:
        return set(clients(session))


def timed(action: Callable[[], object]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


def test_exhausted_connections_refuse_the_shop(bench: Bench) -> None:
    with bench.during("pool-exhaustion: {at: 0s, for: 60s}"):
        with pytest.raises(psycopg.OperationalError, match=NO_CONNECTION):
            as_target(bench)
        assert not orders(bench)
        # An attempt of its pool to connect again is listed too, until it has been refused.
        assert wait_for(lambda: shop_sessions(bench) == set(), timeout_s=5)
        with connect(bench.stack.address("postgres"), "harness-test") as session:
            assert session.execute("select 1").fetchone() == (1,), "the superuser's reserve is left alone"
    as_target(bench).close()


def test_others_may_take_connections_while_it_counts_them(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    free, taken = PoolExhaustion._free, iter([6])
    monkeypatch.setattr(PoolExhaustion, "_free", lambda fault: free(fault) + next(taken, 0))
    with bench.during("pool-exhaustion: {at: 0s, for: 60s}"):
        with pytest.raises(psycopg.OperationalError, match=NO_CONNECTION):
            as_target(bench)
        connect(bench.stack.address("postgres"), "harness-test").close()


def test_a_few_connections_can_be_left(bench: Bench) -> None:
    with bench.during("pool-exhaustion: {at: 0s, for: 60s, leave: 3}"):
        assert wait_for(lambda: len(shop_sessions(bench)) == 3, timeout_s=10)
        assert wait_for(lambda: orders(bench), timeout_s=10), "the replica that has them goes on"
        with pytest.raises(psycopg.OperationalError, match=NO_CONNECTION):
            as_target(bench)


def test_sessions_that_are_there_can_be_kept(bench: Bench) -> None:
    before = shop_sessions(bench)
    with bench.during("pool-exhaustion: {at: 0s, for: 60s, sessions: keep}"):
        with pytest.raises(psycopg.OperationalError, match=NO_CONNECTION):
            as_target(bench)
        assert before <= shop_sessions(bench)
        assert wait_for(lambda: places(bench), timeout_s=10), "with what it has"


def test_killed_connections_are_made_again(bench: Bench) -> None:
    before = shop_sessions(bench)
    mine = as_target(bench)
    with bench.during("kill-connections: {at: 0s, for: 60s}"):
        with pytest.raises(psycopg.OperationalError):
            mine.execute("select 1")
        assert not before & shop_sessions(bench)
        lives = as_target(bench)
        assert wait_for(lambda: orders(bench), timeout_s=10), "once is once"
    assert lives.execute("select 1").fetchone() == (1,)
    lives.close()


def test_connections_can_be_killed_again_and_again(bench: Bench) -> None:
    with bench.during("kill-connections: {at: 0s, for: 60s, every: 100ms}"):
        for _ in range(3):
            with pytest.raises(psycopg.OperationalError):
                as_target(bench).execute("select pg_sleep(10)")
    with as_target(bench) as lives:
        lives.execute("select pg_sleep(0.3)")


def test_a_lock_on_a_table_makes_statements_wait(bench: Bench) -> None:
    with as_target(bench) as client:
        client.execute("set lock_timeout = '200ms'")
        with bench.during("lock: {table: shop.orders, at: 0s, for: 60s}"):
            with pytest.raises(errors.LockNotAvailable):
                client.execute("select from shop.orders limit 1")
            assert client.execute("select id from shop.products limit 1").fetchone()
            with pytest.raises(requests.Timeout):
                requests.get(bench.stack.url + "/orders/seed-3", timeout=0.5)
        client.execute("select from shop.orders limit 1")


@pytest.mark.parametrize("mode", ["exclusive", "share"])
def test_a_milder_lock_lets_reads_go_on(bench: Bench, mode: str) -> None:
    with as_target(bench) as client:
        client.execute("set lock_timeout = '200ms'")
        with bench.during(f"lock: {{table: shop.orders, mode: {mode}, at: 0s, for: 60s}}"):
            assert orders(bench)
            with pytest.raises(errors.LockNotAvailable):
                client.execute("update shop.orders set attempts = attempts where id = 1")


def test_a_lock_on_rows_hits_only_them(bench: Bench) -> None:
    update = "update shop.products set name = name where id = %s"
    with as_target(bench) as client:
        client.execute("set lock_timeout = '200ms'")
        with bench.during("lock: {table: shop.products, rows: id < 10, at: 0s, for: 60s}"):
            with pytest.raises(errors.LockNotAvailable):
                client.execute(update, (9,))
            client.execute(update, (10,))
        client.execute(update, (9,))


def test_what_can_not_be_locked_is_told(bench: Bench) -> None:
    for params, message in (
        ("table: shop.order", r"no table `shop.order`\n  there are: shop.orders, shop.products"),
        ("table: shop.orders, rows: id < 0", "no row of shop.orders meets `id < 0`"),
    ):
        timeline = bench.timeline(*bench.plan(f"lock: {{{params}, at: 0s, for: 1s}}"))
        timeline.start(time.monotonic_ns())
        timeline.finish()
        (error,) = timeline.errors
        with pytest.raises(type(error), match=message):
            raise error
    with pytest.raises(ScenarioError, match="expected a choice"):
        bench.plan("lock: {table: t, mode: hard, at: 0s, for: 1s}")


def test_a_read_only_server_refuses_writes_in_open_sessions_too(bench: Bench) -> None:
    with as_target(bench) as client:
        with bench.during("read-only: {at: 0s, for: 60s}"):
            with pytest.raises(errors.ReadOnlySqlTransaction):
                client.execute("update shop.products set name = name")
            assert orders(bench)
            assert not places(bench)
        client.execute("update shop.products set name = name")


def test_slow_queries_take_longer_and_hold_their_connection(bench: Bench) -> None:
    with as_target(bench) as client:
        with bench.during("slow-queries: {delay: 400ms, at: 0s, for: 60s}"):
            assert 0.4 <= timed(lambda: client.execute("select from shop.orders, shop.products limit 1")) < 0.8
            assert 0.4 <= timed(lambda: client.execute("update shop.products set name = name where id = 1")) < 0.8
            assert timed(lambda: client.execute("select 1")) < 0.3
            assert timed(lambda: orders(bench)) >= 0.4
            assert timed(lambda: places(bench)) >= 0.48
        assert timed(lambda: client.execute("select from shop.orders, shop.products limit 1")) < 0.3


def test_a_share_of_the_queries_on_one_table_is_slow(bench: Bench) -> None:
    with as_target(bench) as client:
        client.execute("select setseed(0.5)")
        with bench.during("slow-queries: {delay: 50ms, share: 30%, table: shop.orders, at: 0s, for: 60s}"):
            times = [timed(lambda: client.execute("select from shop.orders limit 1")) for _ in range(60)]
            assert 6 <= sum(seconds >= 0.05 for seconds in times) <= 32
            others = [timed(lambda: client.execute("select from shop.products limit 1")) for _ in range(60)]
            assert sum(seconds >= 0.05 for seconds in others) < 6


def test_a_slow_query_in_progress_ends_with_the_fault(bench: Bench) -> None:
    took: list[float] = []
    with as_target(bench) as client:
        with bench.during("slow-queries: {delay: 30s, table: shop.products, at: 0s, for: 60s}", timeout_s=60):
            waiting = threading.Thread(
                target=lambda: took.append(timed(lambda: client.execute("select from shop.products limit 1")))
            )
            waiting.start()
            time.sleep(0.2)
        waiting.join(10)
    assert took
    assert took[0] < 10


needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount the small disk that is filled")


@needs_mount
def test_a_full_disk_refuses_what_needs_room(bench: Bench) -> None:
    rows = "insert into shop.orders (key, product_id, quantity, total_cents) select 'full-' || n, 1, 1, 1"
    with as_target(bench) as client:
        with bench.during("disk-full: {table: shop.orders, at: 0s, for: 60s}"):
            with pytest.raises(errors.DiskFull, match="No space left on device"):
                client.execute(f"{rows} from generate_series(1, 10000) n")
            assert wait_for(lambda: not places(bench), timeout_s=20), "what is left in the table's pages is soon used"
            assert orders(bench)
            client.execute("update shop.products set name = name where id = 1")
        client.execute(f"{rows} from generate_series(1, 10000) n")
    assert not any("harness" in line for line in Path("/proc/mounts").read_text().splitlines() if "disk-full" in line)


@needs_mount
def test_the_disk_goes_also_when_its_server_has_gone(bench: Bench, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=True)
    for _ in range(2):
        carry_out(database_disk.free_disk(f"127.0.0.1:{reserve_port()}", "postgres", "t", tmp_path), bench.processes)
        assert not tmp_path.exists()


def test_who_can_not_mount_is_told_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_disk, "may_mount", lambda: False)
    with pytest.raises(ScenarioError, match="only root can mount the small disk that it fills"):
        bench.plan("disk-full: {table: shop.orders, at: 0s, for: 9s}")


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param("disk-full: {table: shop.orders, at: 0s, for: 60s}", marks=needs_mount),
        "pool-exhaustion: {at: 0s, for: 60s}",
        "kill-connections: {at: 0s, for: 60s, every: 200ms}",
        "lock: {table: shop.orders, at: 0s, for: 60s}",
        "read-only: {at: 0s, for: 60s}",
        "slow-queries: {delay: 50ms, at: 0s, for: 60s}",
    ],
)
def test_anybody_can_take_it_back_from_the_ledger(bench: Bench, entry: str) -> None:
    """As the guard does it when the conductor hangs: with its sessions still open."""
    with bench.during(entry) as timeline:
        state = ledger.read(bench.ledger.path)
        stranger = Processes(bench.processes.run_id, bench.ledger)
        (mark,) = state.undos
        for _ in range(2):
            revert(mark, bench.ledger, stranger, by="guard")
        assert wait_for(lambda: orders(bench) and places(bench), timeout_s=10)
        with as_target(bench) as client:
            update = "update shop.orders set attempts = 1 where id = 1"
            assert min(timed(lambda: client.execute(update)) for _ in range(3)) < 0.05, "slow ones all take longer"
        assert set(timeline.states.values()) == {"active"}


@pytest.mark.parametrize(
    "entry",
    [
        "lock: {table: shop.orders, at: 0s, for: 60s}",
        "read-only: {at: 0s, for: 60s}",
        pytest.param("disk-full: {table: shop.orders, at: 0s, for: 60s}", marks=needs_mount),
    ],
)
def test_the_manual_command_takes_it_back(bench: Bench, entry: str) -> None:
    with bench.during(entry):
        (mark,) = ledger.read(bench.ledger.path).undos
        for step in mark.steps:
            subprocess.run(by_hand(step), shell=True, check=True, stdout=subprocess.DEVNULL)
        assert wait_for(lambda: places(bench), timeout_s=10)


def test_faults_of_different_layers_overlap(bench: Bench) -> None:
    with (
        bench.during(
            "pool-exhaustion: {leave: 4, at: 0s, for: 60s}",
            "lock: {table: shop.products, rows: id = 1, at: 0s, for: 60s}",
            "read-only: {at: 0s, for: 60s}",
            "latency: {on: app->postgres, latency: 20ms, at: 0s, for: 60s}",
        ),
    ):
        assert not places(bench)
    with pytest.raises(ScenarioError, match="only one of the two"):
        bench.plan("lock: {table: shop.products, at: 0s, for: 9s}", "slow-queries: {delay: 50ms, at: 1s, for: 9s}")
