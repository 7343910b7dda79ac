"""A dependency as the shop sees it: every call is counted, timed, retried and broken here, by explicit policy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from shop.breaker import Breaker
from shop.errors import Unavailable
from shop.metrics import Metrics

Result = TypeVar("Result")


class Dependency:
    """Calls to one component.

    `failures` are the exceptions that mean it could not do its work. A failed attempt is retried up to `retries`
    times, after a wait of uniform(0, backoff_s * 2**k) before retry k (0 = at once).
    """

    def __init__(
        self,
        name: str,
        metrics: Metrics,
        *,
        failures: tuple[type[Exception], ...],
        breaker: Breaker,
        retries: int = 0,
        backoff_s: float = 0.0,
    ) -> None:
        self.name = name
        self.breaker = breaker
        self._failures = failures
        retried = metrics.retries.labels(to=name)
        self._retrying = Retrying(
            retry=retry_if_exception_type(failures),
            stop=stop_after_attempt(1 + retries),
            wait=wait_random_exponential(multiplier=backoff_s),
            before_sleep=lambda _: retried.inc(),
            reraise=True,
        )
        metrics.breaker_state.labels(to=name).set_function(lambda: breaker.state)
        self._failed = metrics.failures.labels(to=name)
        self._attempts = metrics.attempts.labels(to=name)
        self._seconds = metrics.dependency_seconds.labels(to=name)

    def call(self, operation: Callable[[], Result]) -> Result:
        """What `operation` returns. Raises Unavailable when every attempt failed or the breaker is open."""
        try:
            return self._retrying(self._attempt, operation)
        except self._failures as error:
            raise Unavailable(self.name, f"{type(error).__name__}: {error}") from error

    def _attempt(self, operation: Callable[[], Result]) -> Result:
        if not self.breaker.admit():
            raise Unavailable(self.name, "circuit open")
        self._attempts.inc()
        start_s = time.monotonic()
        try:
            result = operation()
        except BaseException:
            self._failed.inc()
            self.breaker.failed()
            raise
        finally:
            self._seconds.observe(time.monotonic() - start_s)
        self.breaker.succeeded()
        return result
