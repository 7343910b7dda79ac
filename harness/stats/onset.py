"""When a series left its level: cumulative sums held against the long-run deviation of its undisturbed part.

A rise that lasts to the end, or that ends before it, is the largest climb of the cumulative sum of what exceeds the
mean. Divided by deviation x root(n) it has, of a series that keeps its level, the law of Kuiper's statistic (Proc.
Kon. Ned. Akad. Wet. A 1960) whatever the correlation between seconds, because the deviation is the long-run one. The
moment itself is where two levels fit best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.stats.proportions import NORMAL_95

Floats = NDArray[np.float64]

KUIPER_95 = 1.747
_MOST_LEVELS = 20


@dataclass(frozen=True, slots=True)
class Departure:
    """Indexes into the series: it was up in `[first, stop)`."""

    first: int
    stop: int


def departure(series: Floats, deviation: float, *, earliest: int = 0, freedom: int = 0) -> Departure | None:
    """The first lasting rise of `series` from index `earliest` on, or None.

    `deviation` is the long-run standard deviation of one value: that of the sum of n values is deviation x root(n).
    `freedom`: degrees of freedom it was estimated with, 0 when it is known; the fewer, the higher the threshold.
    When the rise comes in steps, the first that is beyond chance counts. Raises ValueError for a deviation of zero.
    """
    if not deviation > 0:
        raise ValueError(f"expected a positive deviation, got {deviation}")
    threshold = KUIPER_95 * (float(stats.t.ppf(0.975, freedom)) / NORMAL_95 if freedom else 1.0)
    found: Departure | None = None
    stop = len(series)
    for _ in range(_MOST_LEVELS):
        climb = _climb(series[:stop], earliest)
        if climb is None or climb[2] / (deviation * np.sqrt(stop)) <= threshold:
            break
        begins, ends, _ = climb
        first = int(locate(series[None, :ends], earliest)[0])
        first = first if first < ends else begins
        found = Departure(first, ends if found is None else found.stop)
        stop = first
    return found


def locate(series: Floats, earliest: int) -> NDArray[np.intp]:
    """For each row, the index from `earliest` on at which a lower level best gives way to a higher one.

    Least squares. The length of the series where no index splits it so.
    """
    n = series.shape[-1]
    splits = np.arange(max(1, earliest), n)
    nowhere = np.full(series.shape[0], n)
    if not len(splits):
        return nowhere
    running = np.cumsum(series, axis=-1)
    before, total = running[:, splits - 1], running[:, -1:]
    rise = (total - before) / (n - splits) - before / splits
    gain = np.where(rise > 0, rise**2 * splits * (n - splits), -1.0)
    best = np.argmax(gain, axis=-1)
    return np.where(gain[np.arange(len(gain)), best] > 0, splits[best], nowhere)


def _climb(series: Floats, earliest: int) -> tuple[int, int, float] | None:
    """The largest climb of the centred cumulative sum that starts at `earliest` or later: from, to, how high."""
    n = len(series)
    if n - earliest < 1 or n < 2:
        return None
    bridge = np.concatenate(([0.0], np.cumsum(series - series.mean())))
    lowest = np.minimum.accumulate(bridge[earliest:n])
    climbs = bridge[earliest + 1 :] - lowest
    ends = int(np.argmax(climbs))
    begins = earliest + int(np.argmin(bridge[earliest : earliest + ends + 1]))
    return begins, earliest + ends + 1, float(climbs[ends])
