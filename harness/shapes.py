"""How load goes over time: rates as small immutable values, each with its exact integral and the inverse of that.

    rate = constant(120, for_s=10).then(step(120, 0.3, at_s=5, for_s=20)).then(sine(120, 40, period_s=30, for_s=60))
    rate.at(12.5)          # arrivals per second at t = 12.5 s
    rate.cumulative(12.5)  # arrivals expected up to then
    rate.instant(1500)     # when so many are expected

`Segment` (constant, linear), `Wave` (sine) and `Steps` (a rate that holds until the next one) are pieces; a `Rate` is a
sequence of pieces, and so can do what each of them can. `Instants` are arrivals that are known one by one.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Protocol


class Piece(Protocol):
    """A rate in `[start_s, end_s)`, and zero outside."""

    @property
    def start_s(self) -> float:
        """Where it begins."""
        ...

    @property
    def end_s(self) -> float:
        """Where it ends; above `start_s`."""
        ...

    @property
    def total(self) -> float:
        """Arrivals expected in all of it."""
        ...

    @property
    def peak(self) -> float:
        """A rate that it does not exceed."""
        ...

    def at(self, t_s: float) -> float:
        """Arrivals per second at `t_s`, which is within the piece."""
        ...

    def cumulative(self, t_s: float) -> float:
        """Arrivals expected from its start up to `t_s`, which is within the piece."""
        ...

    def instant(self, expected: float) -> float:
        """The inverse of `cumulative`: when `expected` arrivals, fewer than `total`, have become due."""
        ...

    def shifted(self, by_s: float) -> Piece:
        """The same, `by_s` later."""
        ...


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch in which the arrival rate goes linearly from `rate_start` to `rate_end` (arrivals per second).

    In the closed model these are numbers of concurrent users. Raises `ValueError` when it is empty or negative.
    """

    start_s: float
    end_s: float
    rate_start: float
    rate_end: float

    def __post_init__(self) -> None:
        _check(self, self.rate_start, self.rate_end)

    @property
    def total(self) -> float:
        """Arrivals expected in all of it."""
        return 0.5 * (self.rate_start + self.rate_end) * (self.end_s - self.start_s)

    @property
    def peak(self) -> float:
        """The highest rate."""
        return max(self.rate_start, self.rate_end)

    def at(self, t_s: float) -> float:
        """Arrivals per second at `t_s`."""
        return self.rate_start + self._slope * (t_s - self.start_s)

    def cumulative(self, t_s: float) -> float:
        """Arrivals expected from its start up to `t_s`."""
        into_s = t_s - self.start_s
        return into_s * (self.rate_start + 0.5 * self._slope * into_s)

    def instant(self, expected: float) -> float:
        """When `expected` arrivals have become due."""
        if self.rate_start == self.rate_end:
            if not self.rate_start:
                return self.start_s
            at_s = self.start_s + expected / self.rate_start
            return at_s if at_s < self.end_s else self.end_s  # `min` would take as long as all the rest
        # The root of slope/2 t^2 + rate_start t = expected, in the form that does not cancel when the slope is small.
        root = math.sqrt(max(0.0, self.rate_start**2 + 2 * self._slope * expected))
        if self.rate_start + root == 0:
            return self.start_s
        return min(self.start_s + 2 * expected / (self.rate_start + root), self.end_s)

    def shifted(self, by_s: float) -> Segment:
        """The same, `by_s` later."""
        return replace(self, start_s=self.start_s + by_s, end_s=self.end_s + by_s)

    @property
    def _slope(self) -> float:
        return (self.rate_end - self.rate_start) / (self.end_s - self.start_s)

    def __str__(self) -> str:
        same = self.rate_start == self.rate_end
        rate = f"{self.rate_start:g}/s" if same else f"{self.rate_start:g}/s to {self.rate_end:g}/s"
        return f"{rate} from {self.start_s:g} s to {self.end_s:g} s"


@dataclass(frozen=True, slots=True)
class Wave:
    """A sine: `mean` arrivals per second, give or take `amplitude`, once in `period_s`; first up from the mean.

    Raises `ValueError` when it is empty, or would go below zero.
    """

    start_s: float
    end_s: float
    mean: float
    amplitude: float
    period_s: float

    def __post_init__(self) -> None:
        _check(self, self.mean, self.amplitude, self.mean - self.amplitude)
        if not 0 < self.period_s < math.inf:
            raise ValueError(f"a period must be above zero: {self!r}")

    @property
    def total(self) -> float:
        """Arrivals expected in all of it."""
        return self.cumulative(self.end_s)

    @property
    def peak(self) -> float:
        """The highest rate."""
        return self.mean + self.amplitude

    def at(self, t_s: float) -> float:
        """Arrivals per second at `t_s`."""
        return self.mean + self.amplitude * math.sin(math.tau * (t_s - self.start_s) / self.period_s)

    def cumulative(self, t_s: float) -> float:
        """Arrivals expected from its start up to `t_s`."""
        into_s = t_s - self.start_s
        # 1 - cos(2 x) as 2 sin(x)^2, which does not cancel near the start.
        half = math.sin(math.pi * into_s / self.period_s)
        return self.mean * into_s + self.amplitude * self.period_s / math.pi * half * half

    def instant(self, expected: float) -> float:
        """When `expected` arrivals have become due."""
        if self.mean == 0:
            return self.start_s
        # The integral lies between mean * t and mean * t + amplitude * period / pi. Newton's steps from in there, and
        # halves where they would leave it: at the bottom of a wave that touches zero there is no slope to go by.
        mean, turn, most = self.mean, math.pi / self.period_s, self.amplitude * self.period_s / math.pi
        latest = min(expected / mean, self.end_s - self.start_s)
        earliest = max(0.0, (expected - most) / mean)
        into_s = 0.5 * (earliest + latest)
        while earliest < into_s < latest:
            half = math.sin(turn * into_s)
            excess = mean * into_s + most * half * half - expected
            if excess > 0:
                latest = into_s
            else:
                earliest = into_s
            rate = mean + 2 * self.amplitude * half * math.cos(turn * into_s)
            guess = into_s - excess / rate if rate > 0 else math.nan
            if abs(guess - into_s) <= 1e-12 * (1 + into_s):
                into_s = guess
                break
            into_s = guess if earliest < guess < latest else 0.5 * (earliest + latest)
        return min(max(self.start_s + into_s, self.start_s), self.end_s)

    def shifted(self, by_s: float) -> Wave:
        """The same, `by_s` later."""
        return replace(self, start_s=self.start_s + by_s, end_s=self.end_s + by_s)

    def __str__(self) -> str:
        return (
            f"sine of {self.mean:g}/s +- {self.amplitude:g}/s every {self.period_s:g} s "
            f"from {self.start_s:g} s to {self.end_s:g} s"
        )


@dataclass(frozen=True, slots=True)
class Steps:
    """Many rates, each of which holds from its time until the next one's; the last one until `end_s`.

    `times_s` and `rates` are packed, because a trace may have millions of them. Raises `ValueError` when they are
    not of one length, empty, not ascending or negative.
    """

    end_s: float
    times_s: array[float]
    rates: array[float]
    _masses: array[float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        times_s, rates = self.times_s, self.rates
        if len(times_s) != len(rates) or not times_s:
            raise ValueError(f"as many rates as times are needed, got {len(rates)} and {len(times_s)}")
        _check(self, *rates)
        ends = [*times_s[1:], self.end_s]
        if any(not start < end for start, end in zip(times_s, ends, strict=True)):
            raise ValueError("the times of the rates must ascend, and end before the end")
        masses = ((end - start) * rate for start, end, rate in zip(times_s, ends, rates, strict=True))
        object.__setattr__(self, "_masses", array("d", accumulate(masses, initial=0.0)))

    @property
    def start_s(self) -> float:
        """Where it begins: with the first rate."""
        return self.times_s[0]

    @property
    def total(self) -> float:
        """Arrivals expected in all of it."""
        return self._masses[-1]

    @property
    def peak(self) -> float:
        """The highest rate."""
        return max(self.rates)

    def at(self, t_s: float) -> float:
        """Arrivals per second at `t_s`."""
        return self.rates[self._index(t_s)]

    def cumulative(self, t_s: float) -> float:
        """Arrivals expected from its start up to `t_s`."""
        index = self._index(t_s)
        return self._masses[index] + self.rates[index] * (t_s - self.times_s[index])

    def instant(self, expected: float) -> float:
        """When `expected` arrivals have become due."""
        index = min(bisect_right(self._masses, expected) - 1, len(self.rates) - 1)
        rate = self.rates[index]
        end_s = self.times_s[index + 1] if index + 1 < len(self.rates) else self.end_s
        return min(self.times_s[index] + (expected - self._masses[index]) / rate, end_s) if rate else end_s

    def shifted(self, by_s: float) -> Steps:
        """The same, `by_s` later."""
        return Steps(self.end_s + by_s, array("d", (t_s + by_s for t_s in self.times_s)), self.rates)

    def _index(self, t_s: float) -> int:
        return max(0, bisect_right(self.times_s, t_s) - 1)

    def __str__(self) -> str:
        return f"{len(self.rates)} rates up to {self.peak:g}/s from {self.start_s:g} s to {self.end_s:g} s"


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate made of pieces, which are in order and don't overlap; zero outside of them.

    Raises `ValueError` for a piece that is out of order.
    """

    segments: tuple[Piece, ...]
    _starts: tuple[float, ...] = field(init=False, repr=False, compare=False)
    _masses: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        previous_end_s = -math.inf
        for segment in self.segments:
            if segment.start_s < previous_end_s:
                raise ValueError(f"segments must be in order and must not overlap: {segment!r}")
            previous_end_s = segment.end_s
        object.__setattr__(self, "_starts", tuple(segment.start_s for segment in self.segments))
        masses = accumulate((segment.total for segment in self.segments), initial=0.0)
        object.__setattr__(self, "_masses", tuple(masses))

    @property
    def start_s(self) -> float:
        """Where its first piece begins; 0 without one."""
        return self._starts[0] if self.segments else 0.0

    @property
    def end_s(self) -> float:
        """Where its last piece ends; 0 without one."""
        return self.segments[-1].end_s if self.segments else 0.0

    @property
    def total(self) -> float:
        """The expected number of arrivals: the integral of the rate."""
        return self._masses[-1]

    @property
    def peak(self) -> float:
        """The highest rate."""
        return max((segment.peak for segment in self.segments), default=0.0)

    def at(self, t_s: float) -> float:
        """Arrivals per second at `t_s`."""
        index = bisect_right(self._starts, t_s) - 1
        if index < 0 or t_s >= self.segments[index].end_s:
            return 0.0
        return self.segments[index].at(t_s)

    def cumulative(self, t_s: float) -> float:
        """The expected number of arrivals up to `t_s`."""
        index = bisect_right(self._starts, t_s) - 1
        if index < 0:
            return 0.0
        segment = self.segments[index]
        return self._masses[index + 1] if t_s >= segment.end_s else self._masses[index] + segment.cumulative(t_s)

    def instant(self, expected: float) -> float:
        """The inverse of `cumulative`: the instant (s) by which `expected` arrivals are due; inf beyond `total`."""
        if expected >= self.total:
            return math.inf
        index = bisect_right(self._masses, expected) - 1
        return self.segments[index].instant(expected - self._masses[index])

    def instants(self, expected: Iterable[float]) -> Iterator[float]:
        """`instant` of each of these ascending numbers, up to the first one that is never due."""
        segments, masses = iter(self.segments), iter(self._masses)
        before = upto = next(masses)
        for number in expected:
            while number >= upto:
                segment = next(segments, None)
                if segment is None:
                    return
                before, upto, instant = upto, next(masses), segment.instant
            yield instant(number - before)

    def shifted(self, by_s: float) -> Rate:
        """The same, `by_s` later."""
        return Rate(tuple(segment.shifted(by_s) for segment in self.segments))

    def then(self, other: Rate) -> Rate:
        """This, and then `other`, from the end of this on."""
        return Rate((*self.segments, *other.shifted(self.end_s - other.start_s).segments))

    def __str__(self) -> str:
        return ", ".join(str(segment) for segment in self.segments) or "no arrivals"


@dataclass(frozen=True, slots=True)
class Instants:
    """Arrivals at known instants (s, ascending) in `[start_s, end_s)`, packed; a process that needs no spacing."""

    start_s: float
    end_s: float
    times_s: array[float]

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self.times_s)

    @property
    def peak(self) -> float:
        """The most arrivals in any second."""
        first, most = 0, 0
        for last, t_s in enumerate(self.times_s):
            while t_s - self.times_s[first] >= 1.0:
                first += 1
            most = max(most, last - first + 1)
        return float(most)

    def rate(self, t_s: float) -> float:
        """Arrivals per second at `t_s`: those in the second around it."""
        return float(bisect_left(self.times_s, t_s + 0.5) - bisect_left(self.times_s, t_s - 0.5))

    def __iter__(self) -> Iterator[float]:
        return iter(self.times_s)

    def __str__(self) -> str:
        return f"{self.total} arrivals at recorded instants from {self.start_s:g} s to {self.end_s:g} s"


def constant(rate: float, *, for_s: float) -> Rate:
    """Always `rate` arrivals per second."""
    return Rate((Segment(0.0, for_s, rate, rate),))


def ramp(rate_start: float, rate_end: float, *, for_s: float) -> Rate:
    """Linearly from one rate to another."""
    return Rate((Segment(0.0, for_s, rate_start, rate_end),))


def step(rate: float, by: float, *, at_s: float, for_s: float) -> Rate:
    """First `rate`, and from `at_s` on more of it by the share `by` (0.3 for +30 %)."""
    return constant(rate, for_s=at_s).then(constant(rate * (1 + by), for_s=for_s - at_s))


def sine(mean: float, amplitude: float, *, period_s: float, for_s: float) -> Rate:
    """Up and down around `mean` by `amplitude` arrivals per second, once in `period_s`."""
    return Rate((Wave(0.0, for_s, mean, amplitude, period_s),))


def _check(piece: Segment | Wave | Steps, *rates: float) -> None:
    if not -math.inf < piece.start_s < piece.end_s < math.inf:
        raise ValueError(f"a segment must end after it starts: {piece!r}")
    if any(not 0 <= rate < math.inf for rate in rates):
        raise ValueError(f"an arrival rate must be finite and not negative: {piece!r}")
