"""One timer for the timeouts of all requests in flight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gevent.hub import get_hub

from harness.clock import NS, now_ns


class DeadlineExpired(BaseException):
    """Thrown into a greenlet whose request has taken too long; not an `Exception`, so that no handler swallows it."""


class Timed(Protocol):
    """What can be timed: `greenlet` is blocked in the hub meanwhile."""

    greenlet: Any


class Deadlines:
    """Expires attempts after `timeout_s`, all alike: they expire in the order in which they were started.

    A timer per request would cost more than the request's own I/O; here, an attempt that ends in time costs one
    entry in a dictionary, and the one timer wakes about once per timeout. What has ended is not kept: entries that
    stay until their time is up would be many megabytes at some thousand requests per second, and each request would
    find its memory cold.
    """

    __slots__ = ("_armed", "_expired", "_loop", "_pending", "_timer", "timeout_ns")

    def __init__(self, timeout_s: float, expired: Callable[[], BaseException] = DeadlineExpired) -> None:
        self.timeout_ns = int(timeout_s * NS)
        self._expired = expired
        self._pending: dict[Timed, int] = {}
        self._loop = get_hub().loop
        self._timer: Any = None
        self._armed = False

    def start(self, timed: Timed, start_ns: int) -> None:
        """Have `expired()` thrown into `timed.greenlet` after the timeout, unless `end` is called before.

        The greenlet must do nothing but wait in the hub between these two calls.
        """
        self._pending[timed] = start_ns + self.timeout_ns
        if not self._armed:
            self._arm(self.timeout_ns)

    def end(self, timed: Timed) -> None:
        """The attempt is over, in time or not."""
        self._pending.pop(timed, None)

    def _arm(self, delay_ns: int) -> None:
        self._armed = True
        self._timer = self._loop.timer(max(delay_ns, NS // 1000) / NS)
        self._timer.start(self._expire, update=True)

    def _expire(self) -> None:
        # Runs in the hub, so everything that is pending is blocked and nothing can finish between check and throw.
        # Still armed meanwhile: an attempt that a thrown greenlet starts must not put the timer off for the others.
        self._timer.close()
        pending = self._pending
        while pending:
            for timed, deadline_ns in list(pending.items()):
                if pending.get(timed) != deadline_ns:
                    continue  # ended by what another one did when it expired
                if (left_ns := deadline_ns - now_ns()) > 0:
                    self._arm(left_ns)
                    return
                del pending[timed]
                timed.greenlet.throw(self._expired())
        self._armed = False
