"""Single flight: of those who want the same thing at the same time one fetches it, and the others wait for that one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from prometheus_client import Counter

from shop.errors import Unavailable

Value = TypeVar("Value")


class SingleFlight(Generic[Value]):
    """At most one fetch per key at a time in this replica; when not `enabled`, everybody fetches.

    Who comes while a fetch is under way gets what that one gets, its failure too, and waits for it for `wait_s` at
    most: a wait keeps a thread. `coalesced` counts them.
    """

    def __init__(self, part: str, *, enabled: bool, wait_s: float, coalesced: Counter) -> None:
        self._part = part
        self._enabled = enabled
        self._wait_s = wait_s
        self._coalesced = coalesced
        self._lock = threading.Lock()
        self._flights: dict[str, Future[Value]] = {}

    def get(self, key: str, fetch: Callable[[], Value]) -> Value:
        """What `fetch` returns, here or in the request that is at it already. Raises Unavailable after `wait_s`."""
        if not self._enabled:
            return fetch()
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                mine = self._flights[key] = Future()
        if flight is not None:
            return self._joined(flight)
        try:
            value = fetch()
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(value)
            return value
        finally:
            with self._lock:
                del self._flights[key]

    def _joined(self, flight: Future[Value]) -> Value:
        self._coalesced.inc()
        try:
            return flight.result(self._wait_s)
        except TimeoutError as error:
            raise Unavailable(self._part, "somebody else's answer did not come in time") from error
