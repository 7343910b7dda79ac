"""Where gauges come from: one small function per kind of source, each returning `(component, metric, value)`.

A source raises OSError or SourceError when it has nothing to say; a silent second is then missing from the record,
which is the truth.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psycopg
import redis
from prometheus_client.parser import text_string_to_metric_families

from harness.probes import split
from harness.proxy.client import ToxiproxyClient
from harness.redis_calls import connect

Reading = tuple[str, str, float]
TIMEOUT_S = 1.0
_OF_NO_INTEREST = ("python_", "process_")


class SourceError(Exception):
    """A source answered, but not with gauges."""


@dataclass(frozen=True, slots=True)
class Source:
    """A named source of readings, to be read every `period_s`."""

    name: str
    read: Callable[[], list[Reading]]
    period_s: float = 0.5


def metrics_page(component: str, address: str) -> Source:
    """A `/metrics` page in Prometheus' text format.

    A sample without labels keeps its name. `attempts_total{to="auth"}` becomes `attempts_total:<component>` of `auth`:
    attempts are told where they arrive. Any other label value is appended to the metric's name.
    """
    return Source(component, lambda: list(_parse(component, _get(address, "/metrics"))))


def postgres(component: str, url: str) -> Source:
    """Connections and transactions of a PostgreSQL server, over a connection of its own per reading.

    `primary` is 1 where writes are taken and 0 on a standby, which tells its `replay_lag_seconds`; a primary with a
    standby tells how many bytes that one has not shown yet, `standby_lag_bytes`.
    """
    return Source(component, lambda: _postgres(component, url))


def valkey(component: str, url: str) -> Source:
    """Clients, commands and memory of a Redis or Valkey server, and whether it is a `primary` (1) or a replica (0)."""
    return Source(component, lambda: _redis(component, url))


def sentinel(component: str, address: str) -> Source:
    """What a sentinel has seen: clients, commands, and whether it takes the primary to be `down` (1) or not (0)."""
    return Source(component, lambda: _sentinel(component, address))


def proxies(api: str, component_of: dict[str, str]) -> Source:
    """Bytes through each proxy; `component_of` maps a proxy's name to its telemetry component."""

    def read() -> list[Reading]:
        metrics = ToxiproxyClient(*split(api)).metrics()
        return [
            (component_of[proxy], f"{kind}_bytes_total:{direction}", float(value))
            for (proxy, direction, kind), value in metrics.items()
            if proxy in component_of
        ]

    return Source("proxies", read)


def _get(address: str, path: str) -> str:
    connection = http.client.HTTPConnection(*split(address), timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        if response.status in (301, 302, 307, 308):
            # An ASGI app that is mounted at /metrics sends everybody to /metrics/ first.
            response.read()
            connection.request("GET", urlsplit(response.headers.get("Location", "")).path)
            response = connection.getresponse()
        if response.status != 200:
            raise SourceError(f"HTTP status {response.status}")
        return response.read().decode()
    except http.client.HTTPException as error:
        raise SourceError(str(error)) from error
    finally:
        connection.close()


def _parse(component: str, page: str) -> Iterator[Reading]:
    try:
        families = list(text_string_to_metric_families(page))
    except ValueError as error:
        raise SourceError(f"{component} has no page of metrics: {error}") from error
    for family in families:
        if family.name.startswith(_OF_NO_INTEREST):
            continue
        for sample in family.samples:
            if sample.name.endswith("_created") or "le" in sample.labels:
                continue
            if sample.name == "attempts_total" and "to" in sample.labels:
                yield sample.labels["to"], f"attempts_total:{component}", float(sample.value)
            else:
                yield component, ":".join((sample.name, *sample.labels.values())), float(sample.value)


def _postgres(component: str, url: str) -> list[Reading]:
    try:
        with psycopg.connect(
            url, autocommit=True, connect_timeout=1, application_name="harness-telemetry"
        ) as connection:
            row = connection.execute(
                "select count(*) filter (where state = 'active'), count(*), max(setting::int),"
                " (select sum(xact_commit + xact_rollback) from pg_stat_database), not pg_is_in_recovery(),"
                " case when pg_is_in_recovery() then case when pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()"
                " then extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) else 0 end end,"
                " case when not pg_is_in_recovery() then"
                " (select max(pg_current_wal_lsn() - replay_lsn) from pg_stat_replication) end"
                " from pg_stat_activity, pg_settings where backend_type = 'client backend' and name = 'max_connections'"
            ).fetchone()
    except psycopg.Error as error:
        raise SourceError(str(error)) from error
    names = (
        *("connections_active", "connections", "connections_limit", "requests_total"),
        *("primary", "replay_lag_seconds", "standby_lag_bytes"),
    )
    readings = zip(names, row or (), strict=True)
    return [(component, name, float(value)) for name, value in readings if value is not None]


def _redis(component: str, url: str) -> list[Reading]:
    info = _info(redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S))
    return [
        (component, "connections", float(info["connected_clients"])),
        (component, "requests_total", float(info["total_commands_processed"])),
        (component, "memory_bytes", float(info["used_memory"])),
        (component, "primary", float(info["role"] == "master")),
    ]


def _sentinel(component: str, address: str) -> list[Reading]:
    info = _info(connect(address, TIMEOUT_S))
    return [
        (component, "connections", float(info["connected_clients"])),
        (component, "requests_total", float(info["total_commands_processed"])),
        (component, "down", float(info["master0"]["status"] != "ok")),
    ]


def _info(server: redis.Redis) -> dict[str, Any]:
    try:
        with server:
            info = server.info()
    except redis.RedisError as error:
        raise SourceError(str(error)) from error
    assert isinstance(info, dict)
    return info
