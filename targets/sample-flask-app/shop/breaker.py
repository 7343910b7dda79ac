"""A circuit breaker: after some failures in a row, calls are refused at once instead of waiting for another one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Breaker:
    """Closed, open, or half open; see Nygard, "Release It!", chapter 5. Safe to share between threads.

    Opens after `limit` failures in a row (0 = never opens). `reset_s` seconds later one call is let through as a
    trial: its success closes the breaker, its failure opens it again for as long.
    The lock is held only to look at the state, never during a call: it would make the calls wait for each other.
    That, and the single trial, are why it is our own: pybreaker 1.4 holds its lock during the call (16 threads with
    calls of 50 ms take 0.8 s), or, by its context manager, lets all 16 through as trials; so does circuitbreaker 2.1.
    """

    def __init__(self, limit: int, reset_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._reset_s = reset_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._opened_s: float | None = None
        self._on_trial = False

    @property
    def is_open(self) -> bool:
        """Whether calls are being refused; still True while a trial is on its way."""
        return self._opened_s is not None

    @property
    def state(self) -> int:
        """0 closed, 1 half open: a trial is on its way, 2 open."""
        return (1 if self._on_trial else 2) if self.is_open else 0

    def admit(self) -> bool:
        """Whether a call may go out now. Each True must be followed by `succeeded` or `failed`."""
        with self._lock:
            if self._opened_s is None:
                return True
            if self._on_trial or self._clock() - self._opened_s < self._reset_s:
                return False
            self._on_trial = True
            return True

    def succeeded(self) -> None:
        """A call came back well."""
        with self._lock:
            self._failures = 0
            self._opened_s = None
            self._on_trial = False

    def failed(self) -> None:
        """A call failed."""
        with self._lock:
            self._failures += 1
            self._on_trial = False
            if 0 < self._limit <= self._failures:
                self._opened_s = self._clock()
