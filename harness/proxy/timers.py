"""Timers with the precision of the kernel's clock.

libuv's own timers count whole milliseconds, which would put up to a millisecond of error on every delayed chunk. One
Linux `timerfd` per loop, armed for the earliest deadline, is as exact as the loop is idle.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import heapq
import itertools
import os
import time
from collections.abc import Callable

NEVER_NS = 2**62
"""A deadline that does not come (146 years of monotonic clock)."""

EARLY_NS = 60_000
"""The kernel's timer is set this much early: a process that sleeps takes about as long to run again (40 to 100 us were
seen), and a delay as seen from outside comes nearer to what was asked for. One that is awake calls as much early."""

_TFD_TIMER_ABSTIME = 1
_FEW_CANCELLED = 64


class Timer:
    """One pending call; `cancel` keeps it from happening."""

    __slots__ = ("_owner", "callback")

    def __init__(self, owner: Timers, callback: Callable[[], None]) -> None:
        self._owner = owner
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Drop the call; harmless when it was made or cancelled before."""
        if self.callback is not None:
            self.callback = None
            self._owner.note_cancelled()


class Timers:
    """The timers of one event loop. `close` when the loop ends."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[int, int, Timer]] = []
        self._order = itertools.count()
        self._cancelled = 0
        self._armed_ns: int | None = None
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            errno = ctypes.get_errno()
            raise OSError(errno, os.strerror(errno))
        loop.add_reader(self._fd, self._fire)

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> Timer:
        """Call back at the monotonic instant `when_ns` (up to `EARLY_NS` early), never from within this call."""
        timer = Timer(self, callback)
        heapq.heappush(self._heap, (min(when_ns, NEVER_NS), next(self._order), timer))
        self._arm()
        return timer

    def note_cancelled(self) -> None:
        """A timer of this heap was cancelled: once most are, clear them out, so that restarts do not pile up."""
        self._cancelled += 1
        if self._cancelled > _FEW_CANCELLED and self._cancelled > len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap)

    def close(self) -> None:
        """Give the kernel's timer back; no call is made afterwards."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._heap.clear()

    def _fire(self) -> None:
        with contextlib.suppress(BlockingIOError):  # re-armed for later since the loop saw it ready
            os.read(self._fd, 8)
        self._armed_ns = None
        # looked at once: calls that set the next one for now must not keep the loop from everything else
        due_ns = time.monotonic_ns() + EARLY_NS
        try:
            while self._heap and self._heap[0][0] <= due_ns:
                timer = heapq.heappop(self._heap)[2]
                callback, timer.callback = timer.callback, None
                if callback is None:
                    self._cancelled -= 1
                else:
                    callback()
        finally:
            self._arm()

    def _arm(self) -> None:
        if not self._heap:
            return
        when_ns = self._heap[0][0]
        if self._armed_ns is not None and self._armed_ns <= when_ns:
            return
        self._armed_ns = when_ns
        setting = _ITimerSpec(_TimeSpec(0, 0), _TimeSpec(*divmod(max(when_ns - EARLY_NS, 1), 1_000_000_000)))
        if self._libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(setting), None) != 0:
            errno = ctypes.get_errno()
            raise OSError(errno, os.strerror(errno))


class _TimeSpec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _ITimerSpec(ctypes.Structure):
    _fields_ = (("it_interval", _TimeSpec), ("it_value", _TimeSpec))
