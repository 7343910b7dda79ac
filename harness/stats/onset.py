"""When a series left its level: Page's cumulative sum (Biometrika 1954)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SLACK = 1.0
_ALARM = 5.0


@dataclass(frozen=True, slots=True)
class Departure:
    """Indexes into the series: the excursion began with `first` and was beyond doubt with `alarm`."""

    first: int
    alarm: int


def departure(series: Sequence[float], scale: float) -> Departure | None:
    """The first lasting rise of `series` above zero, or None.

    `scale` is the series' long-run standard deviation where it is undisturbed. Each value counts as its excess over
    one scale; the alarm is at five scales of accumulated excess, and the rise began where the sum last left zero.
    """
    if scale <= 0:
        raise ValueError(f"expected a positive scale, got {scale}")
    total, first = 0.0, 0
    for at, value in enumerate(series):
        if total == 0:
            first = at
        total = max(0.0, total + value / scale - _SLACK)
        if total > _ALARM:
            return Departure(first, at)
    return None
