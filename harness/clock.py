"""The one clock of a run: CLOCK_MONOTONIC in nanoseconds, the same for every process on a host."""

from __future__ import annotations

import time

NS = 1_000_000_000


now_ns = time.monotonic_ns
"""Nanoseconds of CLOCK_MONOTONIC."""


def sleep_until(at_ns: int) -> None:
    """Sleep until the monotonic instant `at_ns` (returns at once when it has passed)."""
    while (left := at_ns - time.monotonic_ns()) > 0:
        time.sleep(left / NS)


def seconds(duration_ns: int) -> float:
    """Nanoseconds to seconds."""
    return duration_ns / NS
