"""One timer for the timeouts of all requests in flight."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from gevent.hub import get_hub

from harness.clock import NS, now_ns


class DeadlineExpired(BaseException):
    """Thrown into a greenlet whose request has taken too long; not an `Exception`, so that no handler swallows it."""


class Timed(Protocol):
    """What can be timed: `turn` changes at the end of every attempt, `greenlet` is blocked in the hub meanwhile."""

    turn: int
    greenlet: Any


class Deadlines:
    """Expires attempts after `timeout_s`, all alike: they expire in the order in which they were started.

    A timer per request would cost more than the request's own I/O; here, an attempt that ends in time costs one
    entry in a queue, and the one timer wakes about once per timeout.
    """

    __slots__ = ("_armed", "_expired", "_loop", "_queue", "_timer", "timeout_ns")

    def __init__(self, timeout_s: float, expired: Callable[[], BaseException] = DeadlineExpired) -> None:
        self.timeout_ns = int(timeout_s * NS)
        self._expired = expired
        self._queue: deque[tuple[int, Timed, int]] = deque()
        self._loop = get_hub().loop
        self._timer: Any = None
        self._armed = False

    def start(self, timed: Timed, start_ns: int) -> None:
        """Have `expired()` thrown into `timed.greenlet` when `timed.turn` is still the same after the timeout.

        The greenlet must do nothing but wait in the hub between this call and the change of its `turn`.
        """
        self._queue.append((start_ns + self.timeout_ns, timed, timed.turn))
        if not self._armed:
            self._arm(self.timeout_ns)

    def _arm(self, delay_ns: int) -> None:
        self._armed = True
        self._timer = self._loop.timer(max(delay_ns, NS // 1000) / NS)
        self._timer.start(self._expire, update=True)

    def _expire(self) -> None:
        # Runs in the hub, so every greenlet in the queue is blocked and nothing can finish between check and throw.
        # Still armed meanwhile: an attempt that a thrown greenlet starts must not put the timer off for the others.
        self._timer.close()
        queue = self._queue
        while queue:
            deadline_ns, timed, turn = queue[0]
            if timed.turn == turn and (left_ns := deadline_ns - now_ns()) > 0:
                self._arm(left_ns)
                return
            queue.popleft()
            if timed.turn == turn:
                timed.greenlet.throw(self._expired())
        self._armed = False
