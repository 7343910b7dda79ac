"""Calls to Redis servers and their sentinels: bounded in time, and never made again behind the caller's back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from harness.probes import split

TIMEOUT_S = 1.0


def connect(address: str, timeout_s: float = TIMEOUT_S) -> Redis:
    """A client of the server at `host:port`, which connects with the first command. Use it as a context manager."""
    host, port = split(address)
    return Redis(
        host=host,
        port=port,
        protocol=2,
        decode_responses=True,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
    )


def attempt(address: str, *words: str, timeout_s: float = TIMEOUT_S) -> type[RedisError] | None:
    """Carry out a command; returns the kind of error when there was one."""
    try:
        with connect(address, timeout_s) as server:
            server.execute_command(*words)
    except RedisError as error:
        return type(error)
    return None


def primary(name: str, sentinels: Sequence[str], timeout_s: float = TIMEOUT_S) -> str:
    """`host:port` of the server that most of the sentinels have for the primary of `name`; "" when they don't agree."""
    votes: Counter[str] = Counter()
    for address in sentinels:
        try:
            with connect(address, timeout_s) as sentinel:
                host, port = sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
        except (RedisError, TypeError):  # it does not answer, or knows none
            continue
        votes[f"{host}:{port}"] += 1
    found, count = next(iter(votes.most_common(1)), ("", 0))
    return found if count > len(sentinels) // 2 else ""


def role(address: str, timeout_s: float = TIMEOUT_S) -> str:
    """`master`, `slave` (with its link up), or "" for anything else."""
    try:
        with connect(address, timeout_s) as server:
            answer = server.execute_command("ROLE")
    except RedisError:
        return ""
    linked = answer[0] == "master" or (answer[0] == "slave" and answer[3] == "connected")
    return str(answer[0]) if linked else ""


def replica_of(address: str) -> tuple[str, ...]:
    """The options with which a server starts as a replica of the one at `address`."""
    host, port = split(address)
    return ("--replicaof", host, str(port))
