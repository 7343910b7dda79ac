"""PostgreSQL: products and orders, over a pool of connections."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from shop.breaker import Breaker
from shop.dependency import Dependency
from shop.errors import Unavailable
from shop.metrics import Metrics
from shop.settings import Settings

NAME = "postgres"
_PRODUCT = "select id, name, price_cents from shop.products, pg_sleep(%s) where id = %s"
_ORDER = "select id, key, product_id, quantity, total_cents from shop.orders where key = %s"
# One statement, so that an order is exactly three round trips: BEGIN, this, COMMIT. The sleep stands for the work of
# a real query. A key that is there already gives the order that has it, also when that one was committed meanwhile.
_PLACE = """
    insert into shop.orders as placed (key, product_id, quantity, total_cents)
    select %(key)s, %(product_id)s, %(quantity)s, %(total_cents)s from pg_sleep(%(hold_seconds)s)
    on conflict (key) do update set attempts = placed.attempts + 1
    returning id, key, product_id, quantity, total_cents, attempts
"""


@dataclass(frozen=True, slots=True)
class Order:
    """An order as it is in the database. `attempts`: how many requests with its key got as far as here."""

    id: int
    key: str
    product_id: int
    quantity: int
    total_cents: int
    attempts: int = 1


class Database:
    """The shop's database; every method takes a connection for as long as it lasts.

    Methods raise Unavailable when no connection came free in time or PostgreSQL failed. There is no breaker here: the
    pool bounds what a slow database can hold, `pool_wait` and the bulkhead bound who waits for it.
    """

    def __init__(self, url: str, settings: Settings, metrics: Metrics) -> None:
        self._hold_seconds = settings.hold_seconds
        self._product_seconds = settings.product_seconds
        self._dependency = Dependency(NAME, metrics, failures=(psycopg.Error,), breaker=Breaker(0, 0.0))
        self._lock = threading.Lock()
        self._in_use = 0
        self._waiting = 0
        self._waited_s = 0.0
        self._was_full = False
        self._pool: ConnectionPool[psycopg.Connection[Any]] = ConnectionPool(
            url,
            min_size=settings.pool_size,
            max_size=settings.pool_size,
            timeout=settings.pool_wait_seconds,
            reconnect_timeout=settings.pool_reconnect_seconds,
            kwargs=_connection_options(settings),
            open=False,
        )
        metrics.gauge("pool_size", "Connections that the pool may hold.", lambda: settings.pool_size)
        metrics.gauge("pool_in_use", "Connections in use.", lambda: self._in_use)
        metrics.gauge("pool_waiting", "Requests waiting for a connection.", lambda: self._waiting)
        metrics.gauge("pool_wait_seconds", "Time spent waiting for a connection, all in all.", lambda: self._waited_s)

    def open(self) -> None:
        """Begin to fill the pool; returns at once."""
        self._pool.open()

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    @property
    def ready(self) -> bool:
        """Whether the pool has been full once. A fault later on does not take that back: a replica that leaves the
        service because its database is down would take the endpoints that need no database with it."""
        if not self._was_full:
            self._was_full = self._pool.get_stats()["pool_available"] >= self._pool.max_size
        return self._was_full

    def product(self, product_id: int) -> dict[str, Any] | None:
        """A product's `id`, `name` and `price_cents`, or None."""
        row = self._fetch(_PRODUCT, self._product_seconds, product_id)
        return dict(zip(("id", "name", "price_cents"), row, strict=True)) if row else None

    def order(self, key: str) -> Order | None:
        """The order with that key, or None."""
        row = self._fetch(_ORDER, key)
        return Order(*row) if row else None

    def place(self, *, key: str, product_id: int, quantity: int, total_cents: int) -> Order:
        """Write an order and return it when it is committed; a key that was used before returns that order."""
        values = {"key": key, "product_id": product_id, "quantity": quantity, "total_cents": total_cents}
        with self._connection() as connection:
            return self._dependency.call(lambda: self._insert(connection, values))

    def _insert(self, connection: psycopg.Connection[Any], values: dict[str, Any]) -> Order:
        with connection.transaction():
            row = connection.execute(_PLACE, values | {"hold_seconds": self._hold_seconds}).fetchone()
        assert row is not None
        return Order(*row)

    def _fetch(self, query: str, *values: object) -> tuple[Any, ...] | None:
        with self._connection() as connection:
            return self._dependency.call(lambda: connection.execute(query, values).fetchone())

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        connection = self._take()
        with self._lock:
            self._in_use += 1
        try:
            yield connection
        finally:
            with self._lock:
                self._in_use -= 1
            self._pool.putconn(connection)

    def _take(self) -> psycopg.Connection[Any]:
        start_s = time.monotonic()
        with self._lock:
            self._waiting += 1
        try:
            return self._pool.getconn()
        except PoolTimeout as error:
            raise Unavailable(NAME, "no connection came free") from error
        finally:
            with self._lock:
                self._waiting -= 1
                self._waited_s += time.monotonic() - start_s


def _connection_options(settings: Settings) -> dict[str, Any]:
    return {
        # Single statements are transactions by themselves: one round trip, not three.
        "autocommit": True,
        # Preparing a statement would be a round trip more for some requests and not for others.
        "prepare_threshold": None,
        "connect_timeout": math.ceil(settings.connect_timeout_seconds),
        "options": f"-c statement_timeout={round(settings.statement_timeout_seconds * 1000)}",
        "application_name": "shop",
    }
