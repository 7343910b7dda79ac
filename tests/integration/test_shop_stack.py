"""The shop as it is run: gunicorn, PostgreSQL and Valkey, both presets, as target.yaml says."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.ports import reserve_port
from harness.probes import probe, wait_for
from harness.scenario.manifest import load_target
from harness.stack import postgres, valkey
from harness.stack.account import unprivileged
from harness.stack.local import URLS

TARGET = load_target(Path(__file__).parents[2] / "targets" / "sample-flask-app")
QUICK = {"hold_time": "10ms"}
CALM = QUICK | {"redis_timeout": "2s", "auth_timeout": "5s", "payments_timeout": "5s"}
"""Where timeouts are not what is looked at."""


def fill(text, values):
    return re.sub(r"\{([^{}]+)\}", lambda match: values[match[1]], text)


def launch(argv, environment, log, **options):
    return subprocess.Popen(
        argv, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options
    )


def end(processes, number):
    for process in processes:
        process.send_signal(number)
    for process in processes:
        process.wait(10)


@pytest.fixture(scope="module")
def servers():
    """Addresses of a PostgreSQL and a Valkey."""
    folder = Path(tempfile.mkdtemp(prefix="shop-"))
    folder.chmod(0o711)
    account = unprivileged()
    running, addresses = [], {}
    try:
        for name, engine in (("postgres", postgres), ("redis", valkey)):
            port = reserve_port()
            command = engine.prepare(name, port, folder, folder, account)
            owner = {"user": account.uid, "group": account.gid, "extra_groups": []} if command.account else {}
            with Path(command.log).open("ab") as log:
                running.append(launch(command.argv, command.environment, log, cwd=command.cwd, **owner))
            addresses[name] = f"127.0.0.1:{port}"
            assert wait_for(lambda n=name: probe(n, addresses[n]).ok, timeout_s=20), Path(command.log).read_text()
        yield addresses
    finally:
        end(running, signal.SIGINT)  # both catch it; what a shell starts in the background may ignore SIGQUIT
        shutil.rmtree(folder)


class Stack:
    """A running shop with one replica."""

    def __init__(self, ports, addresses, processes):
        self.processes = processes
        self.addresses = addresses
        self._ports = ports

    def address(self, component):
        return f"127.0.0.1:{self._ports[component]['port']}"

    def get(self, path, component="app", kind="port", **headers):
        return self._answer(
            urllib.request.Request(f"http://127.0.0.1:{self._ports[component][kind]}{path}", None, headers)
        )

    def checkout(self, key, product=3):
        url = f"http://127.0.0.1:{self._ports['app']['port']}/checkout"
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        return self._answer(urllib.request.Request(url, json.dumps({"product": product}).encode(), headers))

    def metric(self, name, component="app", **labels):
        page = self.get("/metrics", component, "management_port")[1]
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        raise KeyError(name)

    @staticmethod
    def _answer(request):
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture
def boot(servers, tmp_path):
    """A function that starts the shop: `boot(preset, {setting: value}, **addresses that are not the real ones)`."""
    running = []
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(lambda: end(running, signal.SIGQUIT))

        def start(preset, settings=QUICK, **replaced):
            ports = {
                name: {"port": str(reserve_port()), "management_port": str(reserve_port())} for name in TARGET.processes
            }
            addresses = servers | {name: f"127.0.0.1:{ports[name]['port']}" for name in ("auth", "payments")} | replaced
            values = {"python": sys.executable, "target": str(TARGET.folder), "replica": "1"}
            values |= {"memory": str(tmp_path / "memory")}
            values |= servers | {f"app->{name}": address for name, address in addresses.items()}
            for name, server in TARGET.servers.items():
                url = URLS[server.engine]
                values |= {f"{name}.url": url.format(servers[name]), f"app->{name}.url": url.format(addresses[name])}
            common = TARGET.environment(preset, settings) | {"PYTHONPATH": str(TARGET.folder)}
            common["PYTHONDONTWRITEBYTECODE"] = "1"
            log = cleanup.enter_context((tmp_path / "log").open("ab"))
            reset = {key: fill(value, values) for key, value in TARGET.reset.environment.items()}
            argv = [fill(part, values) for part in TARGET.reset.command]
            assert launch(argv, common | reset, log, cwd=TARGET.folder).wait(20) == 0, (tmp_path / "log").read_text()
            for name, process in TARGET.processes.items():
                own = values | ports[name]
                environment = common | {key: fill(value, own) for key, value in process.environment.items()}
                argv = [fill(part, own) for part in process.command]
                running.append(launch(argv, environment, log, cwd=TARGET.folder))
            for name, process in TARGET.processes.items():
                address = f"127.0.0.1:{ports[name]['management_port']}"
                ready = wait_for(lambda a=address, p=process.ready: probe("http", a, path=p).ok, timeout_s=20)
                assert ready, (tmp_path / "log").read_text()
            return Stack(ports, addresses, dict(zip(TARGET.processes, running[-len(TARGET.processes) :], strict=True)))

        yield start


@pytest.fixture
def hanging_up():
    """The address of a server that accepts and closes at once, as a proxy does before a dead server."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    server.accept()[0].close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def mute():
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=500) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def refusing():
    """An address that refuses connections."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.mark.parametrize("preset", ["fragile", "hardened"])
def test_every_endpoint_works_and_is_told_by_the_metrics(boot, preset):
    shop = boot(preset, CALM)
    assert shop.get("/ping")[0] == shop.get("/catalog")[0] == 200
    assert [json.loads(shop.get("/session", **{"X-Session": "s"})[1])["visits"] for _ in range(2)] == [1, 2]
    assert shop.get("/product/7") == shop.get("/product/7")
    assert shop.get("/product/7777")[0] == shop.get("/orders/none")[0] == 404
    assert json.loads(shop.get("/orders/seed-3")[1])["product"] == 3
    assert json.loads(shop.get("/account", Authorization="Bearer token-ann")[1]) == {"user": "ann"}
    assert shop.get("/account")[0] == 401
    assert shop.checkout("k")[0] == 201
    assert shop.get("/orders/k")[0] == 200
    assert (shop.metric("cache_hits_total"), shop.metric("cache_misses_total")) == (1, 2)
    attempts = {name: shop.metric("attempts_total", to=name) for name in ("redis", "postgres", "auth", "payments")}
    assert attempts == {"redis": 2 + 4, "postgres": 2 + 1 + 1 + 1 + 1, "auth": 2, "payments": 1}
    assert shop.metric("errors_total") == 0
    assert shop.metric("requests_total", "auth") == 2
    assert shop.metric("requests_total", "payments") == 1
    assert (shop.metric("pool_size"), shop.metric("workers_limit")) == (5, 16)
    for name in attempts:
        told = [shop.metric(metric, to=name) for metric in ("retries_total", "failures_total", "breaker_state")]
        assert told == [0, 0, 0]
        assert shop.metric("dependency_seconds_count", to=name) == attempts[name]
        assert shop.metric("dependency_seconds_sum", to=name) > 0


def test_a_repeated_key_is_one_order_even_at_the_same_time(boot, servers):
    shop = boot("hardened")
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda _: shop.checkout("same"), range(4)))
    assert sorted(status for status, _ in answers) == [200, 200, 200, 201]
    assert len({body for _, body in answers}) == 1
    with psycopg.connect(f"postgresql://postgres@{servers['postgres']}/postgres") as connection:
        assert connection.execute("select attempts from shop.orders where key = 'same'").fetchall() == [(4,)]


@pytest.mark.parametrize("how", ["refusing", "hanging_up", "mute"])
def test_hardened_serves_on_without_redis(boot, request, how):
    shop = boot("hardened", redis=request.getfixturevalue(how))
    statuses = [shop.get(path)[0] for path in ("/session", "/product/7") for _ in range(10)]
    assert statuses == [200] * 20
    assert shop.metric("breaker_open") == 1
    assert shop.metric("breaker_state", to="redis") > 0
    assert shop.metric("breaker_state", to="auth") == 0
    assert shop.metric("failures_total", to="redis") == shop.metric("attempts_total", to="redis")
    assert shop.metric("attempts_total", to="redis") < 20
    assert shop.metric("errors_total") == 0


def test_fragile_fails_without_redis(boot, refusing):
    shop = boot("fragile", redis=refusing)
    assert [shop.get(path)[0] for path in ("/session", "/product/7", "/catalog")] == [503, 503, 200]


def send_and_forget(shop, number):
    """Send that many checkouts that nobody waits for, and wait until they are in."""

    def send(key):
        # The shop may be gone by the time it would answer.
        with contextlib.suppress(OSError):
            shop.checkout(key)

    for key in range(number):
        threading.Thread(target=send, args=(str(key),), daemon=True).start()
    assert wait_for(lambda: shop.metric("workers_busy") + shop.metric("queue_length") >= number, timeout_s=10)


def test_fragile_lets_a_slow_database_take_the_catalogue_with_it(boot):
    shop = boot("fragile", {"hold_time": "5s"})
    send_and_forget(shop, 18)
    assert wait_for(lambda: shop.metric("workers_busy") == 16, timeout_s=5)
    assert wait_for(lambda: shop.metric("pool_in_use") == 5 and shop.metric("pool_waiting") == 11, timeout_s=2)
    assert shop.metric("queue_length") == 2
    with ThreadPoolExecutor(1) as client:
        catalogue = client.submit(shop.get, "/catalog")
        assert wait_for(lambda: shop.metric("queue_length") == 3, timeout_s=4)
        assert not catalogue.done()
        assert catalogue.result()[0] == 200
    assert shop.metric("pool_wait_seconds") > 1.0


def test_hardened_keeps_a_slow_database_to_its_own_threads(boot):
    shop = boot("hardened", {"hold_time": "3s", "statement_timeout": "0s"})
    with ThreadPoolExecutor(14) as clients:
        answers = [clients.submit(shop.checkout, str(number)) for number in range(14)]
        assert wait_for(lambda: shop.metric("pool_in_use") == 5, timeout_s=5)
        assert shop.get("/catalog")[0] == 200
        assert not any(answer.done() and answer.result()[0] == 201 for answer in answers)
        statuses = sorted(answer.result()[0] for answer in answers)
    assert statuses == [201] * 5 + [503] * 9


def test_an_acknowledged_order_is_committed(boot, servers):
    shop = boot("hardened")
    with ThreadPoolExecutor(4) as clients:
        acknowledged = [
            key
            for key, (status, _) in zip("abcdefgh", clients.map(shop.checkout, "abcdefgh"), strict=True)
            if status == 201
        ]
    with psycopg.connect(f"postgresql://postgres@{servers['postgres']}/postgres") as connection:
        stored = {key for (key,) in connection.execute("select key from shop.orders where length(key) = 1")}
    assert acknowledged
    assert set(acknowledged) <= stored


@pytest.mark.parametrize(("preset", "asked"), [("fragile", 4), ("hardened", 1)])
def test_a_product_that_many_miss_is_asked_for_once_when_hardened(boot, preset, asked):
    shop = boot(preset, {"product_time": "1s", "pool_wait": "10s", "redis_timeout": "2s"})
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(shop.get, ["/product/7"] * 4))
    assert [status for status, _ in answers] == [200] * 4
    told = [shop.metric(name) for name in ("cache_misses_total", "cache_coalesced_total")]
    assert told == [4, 4 - asked]
    assert shop.metric("attempts_total", to="postgres") == asked
    assert shop.get("/product/7")[0] == 200
    assert shop.metric("cache_hits_total") == 1


def test_reset_brings_the_same_shop_back(boot, servers):
    def contents():
        with psycopg.connect(f"postgresql://postgres@{servers['postgres']}/postgres") as connection:
            return [connection.execute(f"table shop.{name} order by id").fetchall() for name in ("products", "orders")]

    shop = boot("hardened", CALM)
    fresh = contents()
    shop.checkout("k")
    shop.get("/product/7")
    assert contents() != fresh
    shop = boot("hardened", CALM)
    assert contents() == fresh
    shop.get("/product/7")
    assert shop.metric("cache_misses_total") == 1


def test_a_replica_that_was_told_to_stop_serves_on_for_a_while(boot):
    shop = boot("hardened", {"shutdown_delay": "3s", "hold_time": "10ms"})
    app = shop.processes["app"]
    kept = http.client.HTTPConnection(shop.address("app"), timeout=10)
    kept.request("GET", "/ping")
    assert kept.getresponse().read()
    app.terminate()
    assert wait_for(lambda: shop.get("/readyz", kind="management_port")[0] == 503, timeout_s=2)
    assert shop.checkout("late")[0] == 201, "over a new connection"
    kept.request("GET", "/ping")
    assert kept.getresponse().getheader("Connection") == "close"
    assert app.wait(15) == 0
    with pytest.raises(urllib.error.URLError, match="refused"):
        shop.get("/ping")


@pytest.mark.parametrize(("settings", "said"), [({}, "keep-alive"), ({"keep_alive": "false"}, "close")])
def test_a_connection_is_kept_for_the_next_request_unless_told_otherwise(boot, settings, said):
    client = http.client.HTTPConnection(boot("hardened", settings).address("app"), timeout=10)
    client.request("GET", "/ping")
    assert client.getresponse().getheader("Connection") == said
