"""The shop. Each endpoint needs a different set of dependencies, so that damage can be seen to spread or to stay."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue

from shop.breaker import Breaker
from shop.cache import Cache
from shop.catalogue import PRODUCTS
from shop.database import NAME as DATABASE
from shop.database import Database, Order
from shop.dependency import Dependency
from shop.errors import Unavailable
from shop.flight import SingleFlight
from shop.limits import Bulkhead
from shop.metrics import Metrics
from shop.remote import FAILURES, Remote
from shop.service import Service
from shop.settings import Settings

_MAX_QUANTITY = 100


@dataclass(frozen=True, slots=True)
class Shop:
    """The parts of a replica."""

    settings: Settings
    metrics: Metrics
    database: Database
    cache: Cache
    flights: SingleFlight[bytes | None]
    auth: Remote
    payments: Remote


def create_app() -> Flask:
    """The WSGI application; settings and addresses come from the environment. Fills the database pool by itself."""
    shop = build(Settings.from_environment(os.environ), os.environ)
    shop.database.open()
    return application(shop)


def build(settings: Settings, addresses: Mapping[str, str]) -> Shop:
    """A replica's parts; `addresses` has DATABASE_URL, REDIS_URL, AUTH_URL and PAYMENTS_URL. Connects to nothing."""
    metrics = Metrics()
    limit = settings.breaker_failures if settings.breaker else 0
    breakers = {name: Breaker(limit, settings.breaker_reset_seconds) for name in ("redis", "auth", "payments")}
    metrics.gauge("breaker_open", "Circuit breakers open.", lambda: sum(each.is_open for each in breakers.values()))

    def remote(name: str, timeout_s: float, retries: int) -> Remote:
        dependency = Dependency(
            name,
            metrics,
            failures=FAILURES,
            breaker=breakers[name],
            retries=retries,
            backoff_s=settings.retry_backoff_seconds,
        )
        url = addresses[f"{name.upper()}_URL"]
        return Remote(url, timeout_s=timeout_s, connections=settings.threads, dependency=dependency)

    return Shop(
        settings=settings,
        metrics=metrics,
        database=Database(addresses["DATABASE_URL"], settings, metrics),
        cache=Cache(addresses["REDIS_URL"], settings.redis_timeout_seconds, metrics, breakers["redis"]),
        flights=SingleFlight(
            DATABASE,
            enabled=settings.cache_single_flight,
            wait_s=settings.pool_wait_seconds,
            coalesced=metrics.cache_coalesced,
        ),
        auth=remote("auth", settings.auth_timeout_seconds, settings.auth_retries),
        payments=remote("payments", settings.payments_timeout_seconds, settings.payments_retries),
    )


def application(shop: Shop) -> Flask:
    """The routes over a replica's parts."""
    app = Flask(__name__)
    service = Service(app, shop.metrics, lambda: shop.database.ready)
    checkouts = Bulkhead("checkout", shop.settings.checkout_bulkhead)
    shed_after_s = shop.settings.shed_after_seconds

    @app.before_request
    def shed() -> None:
        # A request that has waited that long is likely to have no client any more.
        if 0.0 < shed_after_s < service.waited_s:
            raise Unavailable("app", "overloaded")

    @app.get("/ping")
    def ping() -> ResponseReturnValue:
        return jsonify(pong=True)

    @app.get("/catalog")
    def catalog() -> ResponseReturnValue:
        return jsonify(products=[dataclasses.asdict(PRODUCTS[number]) for number in range(1, 21)])

    @app.get("/session")
    def session() -> ResponseReturnValue:
        name = request.headers.get("X-Session") or secrets.token_hex(8)
        try:
            return jsonify(session=name, visits=shop.cache.visit(name))
        except Unavailable:
            if not shop.settings.cache_fallback:
                raise
        # Anonymous: the client keeps its name, only what was counted is out of reach.
        return jsonify(session=name, visits=None)

    @app.get("/product/<int:product_id>")
    def product(product_id: int) -> ResponseReturnValue:
        body = _cached_product(shop, product_id)
        if body is None:
            return jsonify(error="no such product"), 404
        return Response(body, mimetype="application/json")

    @app.get("/orders/<key>")
    def order(key: str) -> ResponseReturnValue:
        found = shop.database.order(key)
        return (jsonify(_public(found)), 200) if found else (jsonify(error="no such order"), 404)

    @app.get("/account")
    def account() -> ResponseReturnValue:
        answer = shop.auth.get("/verify", {"Authorization": request.headers.get("Authorization", "")})
        return (jsonify(user=answer.body["user"]), 200) if answer.status == 200 else (jsonify(error="sign in"), 401)

    @app.post("/checkout")
    def checkout() -> ResponseReturnValue:
        key, wanted, quantity = _basket()
        if wanted not in PRODUCTS or not key:
            return jsonify(error="an Idempotency-Key header, product and quantity are needed"), 400
        total_cents = PRODUCTS[wanted].price_cents * quantity
        with checkouts.entered():
            # Before a connection is taken, so that slow payments don't hold the database's.
            charge = shop.payments.post("/charge", {"Idempotency-Key": key}, {"amount_cents": total_cents})
            if charge.status != 200:
                return jsonify(error="payment declined"), 402
            placed = shop.database.place(key=key, product_id=wanted, quantity=quantity, total_cents=total_cents)
        return jsonify(_public(placed)), 201 if placed.attempts == 1 else 200

    return app


def _cached_product(shop: Shop, product_id: int) -> bytes | None:
    """Cache-aside: Redis, else PostgreSQL and then Redis. With `cache_fallback` a dead Redis is an empty one."""
    key = f"product:{product_id}"
    try:
        body = shop.cache.get(key)
    except Unavailable:
        if not shop.settings.cache_fallback:
            raise
        return shop.flights.get(key, lambda: _read_product(shop, product_id))
    if body is not None:
        shop.metrics.cache_hits.inc()
        return body
    shop.metrics.cache_misses.inc()
    return shop.flights.get(key, lambda: _refill(shop, key, product_id))


def _refill(shop: Shop, key: str, product_id: int) -> bytes | None:
    body = _read_product(shop, product_id)
    if body is not None:
        try:
            shop.cache.put(key, body, shop.settings.cache_ttl_seconds)
        except Unavailable:
            if not shop.settings.cache_fallback:
                raise
    return body


def _read_product(shop: Shop, product_id: int) -> bytes | None:
    row = shop.database.product(product_id)
    return None if row is None else json.dumps(row).encode()


def _basket() -> tuple[str, int, int]:
    """Idempotency key, product and quantity of the request; "" and 0 for what is missing or wrong."""
    body = request.get_json(silent=True)
    asked: Mapping[str, Any] = body if isinstance(body, dict) else {}
    product_id, quantity = asked.get("product"), asked.get("quantity", 1)
    key = request.headers.get("Idempotency-Key", "")[:200]
    if type(product_id) is not int or type(quantity) is not int or not 1 <= quantity <= _MAX_QUANTITY:
        return key, 0, 0
    return key, product_id, quantity


def _public(order: Order) -> dict[str, Any]:
    return {"order": order.id, "key": order.key, "product": order.product_id, "total_cents": order.total_cents}
