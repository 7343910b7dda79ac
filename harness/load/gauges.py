"""Cheap running measurements inside a load worker: a rolling quantile, and the process's own CPU time."""

from __future__ import annotations

import time
from array import array
from collections import deque
from itertools import chain

from harness.clock import NS, now_ns


class RollingQuantile:
    """A quantile of durations over the last `turns` turns: `add` many (in ns), `turn` now and then, `read_ms`.

    A turn's durations are sorted all at once, which costs a fraction of what finding each one's place would cost
    between two requests.
    """

    __slots__ = ("_fresh_ns", "_past", "add")

    def __init__(self, turns: int) -> None:
        self._past: deque[array[int]] = deque(maxlen=turns)
        self._fresh_ns: list[int] = []
        self.add = self._fresh_ns.append

    def turn(self) -> None:
        """Begin the next turn; the oldest is forgotten."""
        self._past.append(array("q", sorted(self._fresh_ns)))
        self._fresh_ns.clear()

    def read_ms(self, quantile: float) -> float | None:
        """The quantile in ms over the finished turns that are remembered; None when nothing was counted in them."""
        total = sum(map(len, self._past))
        if not total:
            return None
        # It is among the longest of all, and so among the longest of its turn.
        longest = min(total, int(total - quantile * total) + 1)
        return sorted(chain.from_iterable(one[-longest:] for one in self._past))[-longest] / 1e6


class CpuMeter:
    """The CPU time of this process as a percentage of one core, between two readings."""

    __slots__ = ("_cpu_ns", "_wall_ns")

    def __init__(self) -> None:
        self._wall_ns = now_ns()
        self._cpu_ns = time.process_time_ns()

    def read_percent(self) -> float:
        """Percent of one core since the last reading (or since this meter was made)."""
        wall_ns, cpu_ns = now_ns(), time.process_time_ns()
        spent_ns, passed_ns = cpu_ns - self._cpu_ns, wall_ns - self._wall_ns
        self._wall_ns, self._cpu_ns = wall_ns, cpu_ns
        return 100.0 * spent_ns / max(passed_ns, NS // 1000)
