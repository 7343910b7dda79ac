"""Bring the data to the state in which every arm starts: `python -m shop.reset`.

DATABASE_URL and REDIS_URL name the servers themselves, not proxies. Makes the schema `shop` anew with the catalogue's
products and a hundred orders, and empties the Redis database. The same every time.
"""

from __future__ import annotations

import os

import psycopg
from redis import Redis

from shop.catalogue import PRODUCTS

SEEDED_ORDERS = 100
_SCHEMA = """
    set client_min_messages = warning;
    drop schema if exists shop cascade;
    create schema shop;
    create table shop.products (
        id integer primary key,
        name text not null,
        price_cents integer not null
    );
    create table shop.orders (
        id bigint generated always as identity primary key,
        key text not null unique,
        product_id integer not null references shop.products,
        quantity integer not null,
        total_cents integer not null,
        attempts integer not null default 1
    );
"""


def main() -> None:
    """Reset both servers."""
    reset_database(os.environ["DATABASE_URL"])
    reset_cache(os.environ["REDIS_URL"])


def reset_database(url: str) -> None:
    """Drop and make the schema, in one transaction. Raises psycopg.Error."""
    products = [(product.id, product.name, product.price_cents) for product in PRODUCTS.values()]
    with psycopg.connect(url, connect_timeout=5) as connection, connection.cursor() as cursor:
        cursor.execute(_SCHEMA)
        cursor.executemany("insert into shop.products values (%s, %s, %s)", products)
        cursor.execute(
            "insert into shop.orders (key, product_id, quantity, total_cents)"
            " select 'seed-' || id, id, 1, price_cents from shop.products where id <= %s order by id",
            (SEEDED_ORDERS,),
        )
        cursor.execute("analyze shop.products, shop.orders")


def reset_cache(url: str) -> None:
    """Empty the database that the URL names, and no other one of that server. Raises redis.RedisError."""
    with Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as redis:
        redis.flushdb()


if __name__ == "__main__":
    main()
