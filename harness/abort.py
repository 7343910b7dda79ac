"""Abort conditions, watched while an arm runs: `error-rate > 50% for 5s` on a sliding window of one second."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from harness import expectations
from harness.expectations import AbortCondition
from harness.load.spec import Seen
from harness.load.watch import WINDOW_S


@dataclass(slots=True)
class _Followed:
    """A condition, what was seen of its arrivals in the last second, and since when it is breached."""

    condition: AbortCondition
    recent: deque[tuple[float, Seen]] = field(default_factory=deque)
    since_s: float | None = None


class AbortWatch:
    """Feed it what load workers have seen, in the order of the conditions; it says which one is breached."""

    def __init__(self, conditions: Iterable[str]) -> None:
        self._followed = [_Followed(expectations.parse_abort(text)) for text in conditions]

    def feed(self, t_s: float, seen: Sequence[Seen]) -> str:
        """The breached condition in words, or ""; `t_s` is since the arm's start."""
        for one, now in zip(self._followed, seen, strict=True):
            one.recent.append((t_s, now))
            while len(one.recent) > 1 and one.recent[1][0] <= t_s - WINDOW_S:
                one.recent.popleft()
            value = _value(one)
            if value is None or not _beyond(value, one.condition):
                one.since_s = None
                continue
            one.since_s = t_s if one.since_s is None else one.since_s
            if t_s - one.since_s >= one.condition.for_s:
                return f"{one.condition}: it was {one.condition.quantity(value)} at {t_s:.1f} s"
        return ""


def _value(one: _Followed) -> float | None:
    """In base units: a share, or seconds; None when nothing was finished."""
    (_, first), (_, last) = one.recent[0], one.recent[-1]
    if one.condition.quantile is not None:
        return None if last.quantile_ms is None else last.quantile_ms / 1000
    finished = last.finished - first.finished
    return (last.failed - first.failed) / finished if finished else None


def _beyond(value: float, condition: AbortCondition) -> bool:
    return value > condition.bound if condition.sign == ">" else value < condition.bound
