"""Stacks in which something runs already: a shop, its servers, its Toxiproxy. They are used, and left as they were."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
import requests
from stack_bench import SHOP, Bench

from harness.errors import StackError
from harness.faults.restore import restore
from harness.ports import reserve_port
from harness.probes import probe, split
from harness.proxy.client import ToxiproxyClient
from harness.scenario.existing import Existing, with_existing
from harness.scenario.locations import Location
from harness.scenario.manifest import Target, load_target

HELLO = Path(__file__).parents[1] / "targets" / "hello-fastapi"
SHOPS_PROXIES = {"client-app", "app-postgres", "app-redis", "app-auth", "app-payments"}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("theirs") / "run-theirs").booted() as bench:
        yield bench


def existing(folder: Path, **named: str) -> Target:
    given: dict[str, str | None] = {
        "target": None,
        "postgres": None,
        "redis": None,
        "toxiproxy": None,
        "data": None,
        **named,
    }
    return with_existing(load_target(folder), Existing.of(**given))


def ours(folder: Path, target: Target) -> Bench:
    return Bench(folder / "run-ours", target=target, preset="hardened" if target.presets else "")


def proxies(bench: Bench) -> set[str]:
    return set(ToxiproxyClient(*split(bench.stack.proxy_api)).proxies())


def visits(bench: Bench) -> float:
    answer = requests.post(f"{bench.stack.url}/visits/ann", timeout=5)
    assert answer.status_code == 200
    return answer.elapsed.total_seconds()


def test_their_redis_behind_our_proxies_on_their_toxiproxy(theirs: Bench, tmp_path: Path) -> None:
    keeper = redis.Redis.from_url(theirs.stack.server_url("redis"))
    keeper.set("theirs", "kept")
    target = existing(HELLO, redis=theirs.stack.server_url("redis"), toxiproxy=theirs.stack.proxy_api)
    bench = ours(tmp_path, target)
    with bench.booted():
        assert min(visits(bench) for _ in range(3)) < 0.2
        assert len(proxies(theirs) - SHOPS_PROXIES) == 2
        with bench.during("latency: {on: web->redis, latency: 200ms, at: 0s, for: 60s}"):
            assert visits(bench) > 0.2
    assert proxies(theirs) == SHOPS_PROXIES
    assert keeper.get("theirs") == b"kept"


def test_their_servers_with_a_login_and_a_database(theirs: Bench, tmp_path: Path) -> None:
    admin = theirs.stack.watch_url("postgres")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("create role clerk login superuser password 'a/b'")
        connection.execute("create database other owner clerk")
        orders = "select count(*) from shop.orders"
        before = connection.execute(orders).fetchone()
        keeper = redis.Redis.from_url(theirs.stack.server_url("redis"))
        keeper.set("theirs", "kept")
        url = Location.parse(admin).at(theirs.stack.address("postgres")).replace("postgres@", "clerk:a%2Fb@")
        target = existing(
            SHOP,
            postgres=url.removesuffix("postgres") + "other",
            redis=theirs.stack.server_url("redis").removesuffix("0") + "1",
            data="reset",
        )
        with ours(tmp_path, target).booted() as bench:
            answer = requests.post(
                f"{bench.stack.url}/checkout", json={"product": 1}, headers={"Idempotency-Key": "k"}, timeout=5
            )
            assert answer.status_code == 201
            assert requests.get(f"{bench.stack.url}/session", timeout=5).json()["visits"] == 1
        with psycopg.connect(bench.stack.server_url("postgres")) as other:
            assert other.execute("select key from shop.orders where id > 100").fetchall() == [("k",)]
        assert connection.execute(orders).fetchone() == before
        assert keeper.get("theirs") == b"kept"
    assert probe("redis", theirs.stack.address("redis")).ok


def test_their_app_with_the_proxies_that_it_calls(theirs: Bench, tmp_path: Path) -> None:
    target = existing(SHOP, target=theirs.stack.url, toxiproxy=theirs.stack.proxy_api)
    with ours(tmp_path, target).booted() as bench:
        assert bench.stack.url == theirs.stack.url
        assert proxies(theirs) == SHOPS_PROXIES
        order = f"{bench.stack.url}/orders/seed-1"
        with bench.during("latency: {on: app->postgres, latency: 200ms, at: 0s, for: 60s}"):
            assert requests.get(order, timeout=5).elapsed.total_seconds() > 0.2
        assert min(requests.get(order, timeout=5).elapsed.total_seconds() for _ in range(3)) < 0.2
        assert bench.processes.dead() == []
    assert proxies(theirs) == SHOPS_PROXIES
    assert not ToxiproxyClient(*split(theirs.stack.proxy_api)).toxics("app-postgres")
    assert requests.get(f"{theirs.stack.url}/ping", timeout=5).status_code == 200


def test_what_their_proxies_lead_to_may_be_out_of_reach_but_for_a_second_proxy(theirs: Bench, tmp_path: Path) -> None:
    """As in containers, where only their Toxiproxy knows a name; here nobody is where it leads when that is tried."""
    api = ToxiproxyClient(*split(theirs.stack.proxy_api))
    theirs_redis, nowhere = theirs.stack.address("redis"), f"127.0.0.1:{reserve_port()}"
    target = existing(SHOP, target=theirs.stack.url, toxiproxy=theirs.stack.proxy_api)
    api.set_upstream("app-redis", nowhere)
    with ours(tmp_path / "without", target).booted() as bench:
        bench.stack.edge("app->postgres")
        with pytest.raises(StackError, match=f"leads to, {nowhere}, can't be reached from here"):
            bench.stack.edge("app->redis")
    api.create("around-app-redis", f"127.0.0.1:{reserve_port()}", theirs_redis)
    with ours(tmp_path / "with", target).booted() as bench:
        bench.stack.edge("app->redis")
        api.set_upstream("app-redis", theirs_redis)
        with bench.during("latency: {on: app->redis, latency: 200ms, at: 0s, for: 60s}"):
            assert probe("redis", bench.stack.edge("app->redis").address, timeout_s=3).seconds > 0.19
    api.destroy("around-app-redis")


def test_their_app_alone(theirs: Bench, tmp_path: Path) -> None:
    with ours(tmp_path, existing(SHOP, target=theirs.stack.url)).booted() as bench:
        assert [edge.proxy for edge in bench.stack.edges] == ["client-app"]
        assert bench.stack.url != theirs.stack.url
        with bench.during("latency: {on: client->app, latency: 200ms, at: 0s, for: 60s}"):
            assert requests.get(f"{bench.stack.url}/ping", timeout=5).elapsed.total_seconds() > 0.2
            ping = f"{theirs.stack.url}/ping"
            assert min(requests.get(ping, timeout=5).elapsed.total_seconds() for _ in range(3)) < 0.2


def test_what_was_put_on_their_toxiproxy_is_taken_back_after_a_crash(theirs: Bench, tmp_path: Path) -> None:
    target = existing(HELLO, redis=theirs.stack.server_url("redis"), toxiproxy=theirs.stack.proxy_api)
    bench = ours(tmp_path, target)
    bench.stack.up()
    bench.stack.reset()
    assert proxies(theirs) > SHOPS_PROXIES
    bench.processes.stop_all()  # the stack goes with the conductor; their server stays
    assert len(restore(bench.folder.ledger, by="rollback")) == 3  # two proxies and a folder
    assert proxies(theirs) == SHOPS_PROXIES


def test_what_should_run_already_and_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.stack.local.FOREIGN_TIMEOUT_S", 0.2)
    nowhere = f"127.0.0.1:{reserve_port()}"
    for number, named in enumerate(({"target": f"http://{nowhere}"}, {"redis": f"redis://{nowhere}"})):
        bench = ours(tmp_path / str(number), existing(HELLO, **named))
        with pytest.raises(StackError, match=f"should run already, but does not answer at {nowhere}"):
            bench.stack.up()
        bench.stack.down()


def test_an_edge_that_their_toxiproxy_lacks(theirs: Bench, tmp_path: Path) -> None:
    target = existing(HELLO, target=theirs.stack.url, toxiproxy=theirs.stack.proxy_api)
    target = target.model_copy(
        update={"processes": {"web": target.processes["web"].model_copy(update={"ready": "/ping"})}}
    )
    with ours(tmp_path, target).booted() as bench:
        with pytest.raises(StackError, match="no proxy `web-redis`, and what calls redis runs already"):
            bench.stack.edge("web->redis")
        assert proxies(theirs) > SHOPS_PROXIES
    assert proxies(theirs) == SHOPS_PROXIES
