"""Intervals for shares: Wilson for one, Newcombe for the difference of two, MOVER for differences and ratios.

`critical` is the two-sided critical value: 1.96 for 95 % with the normal law, more with Student's t. Counts may be
fractional, because a correlated sample of n counts as n / (design effect) independent observations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats

NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval `[low, high]`, in whatever unit the value has."""

    value: float
    low: float
    high: float

    def scaled(self, factor: float) -> Estimate:
        """The same in another unit; `factor` is positive."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


def wilson(events: float, n: float, critical: float = NORMAL_95) -> Estimate:
    """The share `events / n` with Wilson's score interval (Wilson, JASA 1927). Raises ValueError unless n > 0."""
    if not n > 0 or not 0 <= events <= n:
        raise ValueError(f"expected 0 <= events <= n and n > 0, got {events} of {n}")
    share, square = events / n, critical * critical
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = critical * math.sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    low = 0.0 if events == 0 else max(0.0, centre - half)
    high = 1.0 if events == n else min(1.0, centre + half)
    return Estimate(share, low, high)


def newcombe(events_1: float, n_1: float, events_0: float, n_0: float, critical: float = NORMAL_95) -> Estimate:
    """`events_1 / n_1 - events_0 / n_0` with the hybrid score interval: method 10 of Newcombe, Stat. Med. 1998."""
    return difference(wilson(events_1, n_1, critical), wilson(events_0, n_0, critical))


def exact_limits(events: int, n: int, confidence: float) -> tuple[float, float]:
    """One-sided exact limits, lower and upper, of the share behind `events` of `n` (Clopper and Pearson 1934).

    None of 59 shows at most 5 % with 95 % confidence. Raises ValueError unless n > 0.
    """
    if not n > 0 or not 0 <= events <= n:
        raise ValueError(f"expected 0 <= events <= n and n > 0, got {events} of {n}")
    low = float(stats.beta.ppf(1 - confidence, events, n - events + 1)) if events else 0.0
    high = float(stats.beta.ppf(confidence, events + 1, n - events)) if events < n else 1.0
    return low, high


def difference(one: Estimate, other: Estimate) -> Estimate:
    """`one - other` of two independent estimates: their distances to their limits are squared and added (MOVER).

    Zou and Donner, Stat. Med. 2008; for Wilson intervals it is Newcombe's method.
    """
    value = one.value - other.value
    below = math.hypot(one.value - one.low, other.high - other.value)
    above = math.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value, value - below, value + above)


def ratio(one: Estimate, other: Estimate) -> Estimate:
    """`one / other` of two independent estimates, MOVER on their logarithms. Raises ValueError unless other > 0.

    A limit of `one` at zero makes the lower limit zero, one of `other` makes the upper limit infinite.
    """
    if not other.value > 0 or one.value < 0:
        raise ValueError(f"expected a ratio of positive values, got {one.value} / {other.value}")
    if one.value == 0:
        return Estimate(0.0, 0.0, one.high / other.low if other.low > 0 else math.inf)
    value = one.value / other.value
    below = math.hypot(_log_ratio(one.value, one.low), _log_ratio(other.high, other.value))
    above = math.hypot(_log_ratio(one.high, one.value), _log_ratio(other.value, other.low))
    return Estimate(value, value * math.exp(-below), value * math.exp(above) if above < math.inf else math.inf)


def _log_ratio(larger: float, smaller: float) -> float:
    return math.log(larger / smaller) if smaller > 0 else math.inf
