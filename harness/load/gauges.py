"""Cheap running measurements inside a load worker: a rolling quantile, and the process's own CPU time."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from typing import Final

from harness.clock import NS, now_ns

_BINS_PER_E_FOLD: Final = 50  # 2 % wide bins
_SMALLEST_NS: Final = 1_000


class RollingQuantile:
    """A quantile of durations over the last `turns` turns, to 2 %: `add` many (in ns), `turn` now and then, `read_ms`.

    Log-spaced bins, so that nothing is ever sorted while load is driven. They are counted at the turn, all at once:
    that costs a fraction of what each would cost between two requests.
    """

    __slots__ = ("_fresh_ns", "_past", "add")

    def __init__(self, turns: int) -> None:
        self._past: deque[Counter[int]] = deque(maxlen=turns)
        self._fresh_ns: list[int] = []
        self.add = self._fresh_ns.append

    def turn(self) -> None:
        """Begin the next turn; the oldest is forgotten."""
        log, least, scale = math.log, _SMALLEST_NS, _BINS_PER_E_FOLD
        self._past.append(Counter([int(log(ns / least) * scale) if ns > least else 0 for ns in self._fresh_ns]))
        self._fresh_ns.clear()

    def read_ms(self, quantile: float) -> float | None:
        """The quantile in ms over the finished turns that are remembered; None when nothing was counted in them."""
        counts = sum(self._past, Counter[int]())
        total = counts.total()
        if not total:
            return None
        above = total - quantile * total
        seen = 0
        for index in sorted(counts, reverse=True):
            seen += counts[index]
            if seen > above:
                return _SMALLEST_NS / 1e6 * math.exp((index + 0.5) / _BINS_PER_E_FOLD)
        return 0.0


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
