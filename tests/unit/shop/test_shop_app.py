"""The shop's routes without a single server: every dependency refuses connections."""

import urllib.error
import urllib.request

import pytest
from shop import payments
from shop.app import application, build
from shop.database import Order
from shop.errors import Unavailable
from shop.payments import Charges
from shop.remote import Answer
from shop.service import Service
from shop.settings import Settings
from shop.threads import Threads

BASKET = {"json": {"product": 3, "quantity": 2}, "headers": {"Idempotency-Key": "k"}}


@pytest.fixture
def shop_with(dead_address):
    def make(**settings):
        addresses = {
            "DATABASE_URL": f"postgresql://{dead_address}/none",
            "REDIS_URL": f"redis://{dead_address}/0",
            "AUTH_URL": f"http://{dead_address}",
            "PAYMENTS_URL": f"http://{dead_address}",
        }
        return build(Settings(**settings), addresses)

    return make


@pytest.fixture
def client_of(shop_with):
    return lambda **settings: application(shop_with(**settings)).test_client()


def test_ping_and_catalog_need_nothing(client_of):
    client = client_of()
    assert client.get("/ping").status_code == 200
    assert len(client.get("/catalog").json["products"]) == 20


def test_without_redis_and_fallback_a_session_is_an_error(client_of):
    answer = client_of(cache_fallback=False).get("/session")
    assert (answer.status_code, answer.json["error"]) == (503, "redis")
    assert answer.headers["Retry-After"] == "1"


def test_without_redis_but_with_fallback_a_session_keeps_its_name(client_of):
    answer = client_of(cache_fallback=True).get("/session", headers={"X-Session": "ann"})
    assert (answer.status_code, answer.json) == (200, {"session": "ann", "visits": None})


def test_without_redis_and_fallback_a_product_is_an_error(client_of):
    assert client_of().get("/product/3").json["error"] == "redis"


def test_without_redis_but_with_fallback_a_product_comes_from_the_database(shop_with, monkeypatch):
    shop = shop_with(cache_fallback=True)
    monkeypatch.setattr(shop.database, "product", lambda number: {"id": number} if number == 3 else None)
    client = application(shop).test_client()
    assert client.get("/product/3").json == {"id": 3}
    assert client.get("/product/4").status_code == 404


def test_a_dead_redis_opens_the_breaker(shop_with):
    shop = shop_with(cache_fallback=True, breaker=True, breaker_failures=2, breaker_reset_seconds=60.0)
    client = application(shop).test_client()
    for _ in range(5):
        assert client.get("/session").status_code == 200
    assert b'attempts_total{to="redis"} 2.0' in shop.metrics.page()
    assert b"breaker_open 1.0" in shop.metrics.page()


def test_an_account_without_auth_is_an_error_after_the_retries(shop_with):
    shop = shop_with(auth_retries=2)
    assert application(shop).test_client().get("/account").json["error"] == "auth"
    assert b'attempts_total{to="auth"} 3.0' in shop.metrics.page()


@pytest.mark.parametrize(("status", "expected"), [(200, 200), (401, 401)])
def test_an_account_is_what_auth_says(shop_with, monkeypatch, status, expected):
    shop = shop_with()
    monkeypatch.setattr(shop.auth, "get", lambda path, headers: Answer(status, {"user": "ann"}))
    assert application(shop).test_client().get("/account").status_code == expected


@pytest.mark.parametrize(
    "request_parts",
    [
        {"json": {"product": 3}},
        {"json": {"product": 0}, "headers": {"Idempotency-Key": "k"}},
        {"json": {"product": "3"}, "headers": {"Idempotency-Key": "k"}},
        {"json": {"product": True}, "headers": {"Idempotency-Key": "k"}},
        {"json": {"product": 3, "quantity": 0}, "headers": {"Idempotency-Key": "k"}},
        {"json": [3], "headers": {"Idempotency-Key": "k"}},
        {"data": b"{", "headers": {"Idempotency-Key": "k"}},
        {"headers": {"Idempotency-Key": "k"}},
    ],
)
def test_a_bad_basket_is_the_clients_fault(client_of, request_parts):
    assert client_of().post("/checkout", **request_parts).status_code == 400


def test_checkout_charges_before_it_takes_a_connection(shop_with, monkeypatch):
    shop = shop_with()
    steps = []

    def charge(path, headers, body):
        steps.append(("charge", headers["Idempotency-Key"], body["amount_cents"]))
        return Answer(200, {})

    def place(**order):
        steps.append(("place", order["key"], order["total_cents"]))
        return Order(1, order["key"], order["product_id"], order["quantity"], order["total_cents"])

    monkeypatch.setattr(shop.payments, "post", charge)
    monkeypatch.setattr(shop.database, "place", place)
    answer = application(shop).test_client().post("/checkout", **BASKET)
    assert answer.status_code == 201
    total = answer.json["total_cents"]
    assert steps == [("charge", "k", total), ("place", "k", total)]


def test_a_declined_payment_is_no_order(shop_with, monkeypatch):
    shop = shop_with()
    monkeypatch.setattr(shop.payments, "post", lambda *_: Answer(402, {}))
    monkeypatch.setattr(shop.database, "place", lambda **_: pytest.fail("an order was placed"))
    assert application(shop).test_client().post("/checkout", **BASKET).status_code == 402


def test_a_full_bulkhead_refuses_checkouts_only(shop_with, monkeypatch):
    shop = shop_with(checkout_bulkhead=1)
    client = application(shop).test_client()
    inner = []

    def charge(path, headers, body):
        inner.append(client.post("/checkout", **BASKET))
        inner.append(client.get("/catalog"))
        raise Unavailable("payments", "test")

    monkeypatch.setattr(shop.payments, "post", charge)
    client.post("/checkout", **BASKET)
    assert [answer.status_code for answer in inner] == [503, 200]
    assert inner[0].json["error"] == "checkout"


def test_a_request_that_waited_too_long_is_shed(shop_with, monkeypatch):
    app = application(shop_with(shed_after_seconds=0.5))
    monkeypatch.setattr(Service, "waited_s", 0.4)
    assert app.test_client().get("/ping").status_code == 200
    monkeypatch.setattr(Service, "waited_s", 0.6)
    assert app.test_client().get("/ping").json["error"] == "app"


def test_counts_requests_and_errors(shop_with):
    shop = shop_with()
    client = application(shop).test_client()
    for path in ("/ping", "/nowhere", "/session"):
        client.get(path)
    assert b"\nrequests_total 3.0" in shop.metrics.page()
    assert b"\nerrors_total 1.0" in shop.metrics.page()


def test_the_management_port_tells_metrics_health_and_readiness(shop_with):
    service = Service.of(application(shop_with()))
    threads = Threads(3)
    service.attach(threads, lambda: False)
    with service.management(0) as server:
        server.start()
        base = f"http://127.0.0.1:{server.port}"
        with urllib.request.urlopen(f"{base}/metrics") as page:
            text = page.read().decode()
        assert urllib.request.urlopen(f"{base}/healthz").status == 200
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{base}/readyz")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{base}/nowhere")
        server.shutdown()
    threads.shutdown()
    names = {line.split()[0].partition("{")[0] for line in text.splitlines() if not line.startswith("#")}
    assert {
        *("workers_busy", "workers_limit", "queue_length"),
        *("pool_in_use", "pool_size", "pool_waiting", "pool_wait_seconds", "breaker_open"),
        *("requests_total", "errors_total", "attempts_total", "retries_total"),
        *("cache_hits_total", "cache_misses_total", "cache_coalesced_total"),
        *("dependency_seconds_sum", "dependency_seconds_count"),
    } <= names


def test_a_key_is_charged_once():
    charges = Charges()
    assert [charges.charge("a", 100), charges.charge("a", 999), charges.charge("b", 5)] == [100, 100, 5]


def test_the_payment_service_wants_a_key_and_an_amount(monkeypatch):
    monkeypatch.setenv("SHOP_PAYMENTS_SECONDS", "0")
    client = payments.create_app().test_client()
    charge = {"json": {"amount_cents": 5}}
    assert client.post("/charge", **charge).status_code == 400
    assert client.post("/charge", **charge, headers={"Idempotency-Key": "k"}).json == {"charged_cents": 5}
    assert client.get("/healthz").status_code == 200
