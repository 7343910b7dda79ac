"""What the processes tell about themselves, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The metrics of one process, in a registry of its own. Label `to` is the component that is called."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter("requests", "Requests answered.", registry=self._registry)
        self.errors = Counter("errors", "Requests answered with a status of 500 or above.", registry=self._registry)
        self.attempts = Counter("attempts", "Calls made, retries included.", ["to"], registry=self._registry)
        self.failures = Counter("failures", "Calls that failed.", ["to"], registry=self._registry)
        self.retries = Counter("retries", "Calls made again after a failure.", ["to"], registry=self._registry)
        self.cache_hits = Counter("cache_hits", "Products found in the cache.", registry=self._registry)
        self.cache_misses = Counter("cache_misses", "Products not found in the cache.", registry=self._registry)
        self.cache_coalesced = Counter(
            "cache_coalesced", "Products that another request was fetching already.", registry=self._registry
        )
        self.breaker_state = Gauge(
            "breaker_state", "0 closed, 1 half open (a trial is on its way), 2 open.", ["to"], registry=self._registry
        )
        self.dependency_seconds = Histogram(
            "dependency_seconds", "Time per call.", ["to"], buckets=_BUCKETS_S, registry=self._registry
        )

    def gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read when the page is asked for."""
        Gauge(name, documentation, registry=self._registry).set_function(read)

    def page(self) -> bytes:
        """The page `/metrics`."""
        return generate_latest(self._registry)
