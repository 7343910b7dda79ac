"""Abort conditions, watched while an arm runs: `error-rate > 50% for 5s` on a sliding window of one second."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from harness import expectations
from harness.expectations import AbortCondition

WINDOW_S = 1.0


@dataclass(frozen=True, slots=True)
class Counts:
    """What the load engine reports as it goes: arrivals finished and failed so far, p95 of late in seconds."""

    t_s: float
    finished: int
    failed: int
    p95_s: float | None


class AbortWatch:
    """Feed it counts; it says which condition is breached, and since when."""

    def __init__(self, conditions: Iterable[str]) -> None:
        self._conditions = [expectations.parse_abort(text) for text in conditions]
        self._since: dict[AbortCondition, float] = {}
        self._recent: deque[Counts] = deque()

    def feed(self, now: Counts) -> str:
        """The breached condition in words, or ""."""
        self._recent.append(now)
        while len(self._recent) > 1 and self._recent[1].t_s <= now.t_s - WINDOW_S:
            self._recent.popleft()
        for condition in self._conditions:
            value = self._value(condition)
            if value is None or not _beyond(value, condition):
                self._since.pop(condition, None)
                continue
            since = self._since.setdefault(condition, now.t_s)
            if now.t_s - since >= condition.for_s:
                return f"{condition}: it was {value:.3g} at {now.t_s:.1f} s"
        return ""

    def _value(self, condition: AbortCondition) -> float | None:
        first, last = self._recent[0], self._recent[-1]
        if condition.quantile is not None:
            return last.p95_s
        finished = last.finished - first.finished
        return (last.failed - first.failed) / finished if finished else None


def _beyond(value: float, condition: AbortCondition) -> bool:
    return value > condition.bound if condition.sign == ">" else value < condition.bound
