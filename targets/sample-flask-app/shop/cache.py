"""Redis: cached products and sessions."""

from __future__ import annotations

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from shop.breaker import Breaker
from shop.dependency import Dependency
from shop.metrics import Metrics

NAME = "redis"
_SESSION_TTL_S = 1800


class Cache:
    """A Redis server; every method is one round trip and raises Unavailable when Redis can't do it.

    redis-py's own retries are off: they would be calls that nobody counts.
    """

    def __init__(self, url: str, timeout_s: float, metrics: Metrics, breaker: Breaker) -> None:
        self._redis = Redis.from_url(
            url, protocol=2, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
        )
        self._dependency = Dependency(NAME, metrics, failures=(RedisError,), breaker=breaker)

    def get(self, key: str) -> bytes | None:
        """The value, or None when there is none."""
        value = self._dependency.call(lambda: self._redis.get(key))
        assert value is None or isinstance(value, bytes)
        return value

    def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep a value for `ttl_s` seconds."""
        self._dependency.call(lambda: self._redis.set(key, value, px=max(1, round(ttl_s * 1000))))

    def visit(self, session: str) -> int:
        """Count a visit in a session and keep the session alive; returns the number of visits."""
        key = f"session:{session}"
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.incr(key)
        pipeline.expire(key, _SESSION_TTL_S)
        return int(self._dependency.call(pipeline.execute)[0])
