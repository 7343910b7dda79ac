"""Arrival processes: when requests are due, as small immutable values that anybody can iterate.

    process = Poisson(Rate(segments), seed=7)
    process.rate(12.5)          # arrivals per second at t = 12.5 s
    for instant_s in process:   # ascending, the same for the same seed
        ...

Pure standard library, no Locust. Arrivals are independent of what the system under test does (open model).
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from harness.plan import Load, Segment


@dataclass(frozen=True, slots=True)
class Rate:
    """A piecewise-linear arrival rate; zero outside its segments, which are in order and don't overlap.

    Raises `ValueError` for a segment that is empty, negative or out of order.
    """

    segments: tuple[Segment, ...]
    _masses: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        previous_end_s = -math.inf
        for segment in self.segments:
            if not segment.start_s < segment.end_s:
                raise ValueError(f"a segment must end after it starts: {segment}")
            if segment.start_s < previous_end_s:
                raise ValueError(f"segments must be in order and must not overlap: {segment}")
            if min(segment.rate_start, segment.rate_end) < 0 or not math.isfinite(
                segment.rate_start + segment.rate_end
            ):
                raise ValueError(f"an arrival rate must be finite and not negative: {segment}")
            previous_end_s = segment.end_s
        masses = tuple(accumulate((_mass(segment) for segment in self.segments), initial=0.0))
        object.__setattr__(self, "_masses", masses)

    def at(self, t_s: float) -> float:
        """Arrivals per second at `t_s`."""
        for segment in self.segments:
            if segment.start_s <= t_s < segment.end_s:
                return segment.rate_start + _slope(segment) * (t_s - segment.start_s)
        return 0.0

    @property
    def total(self) -> float:
        """The expected number of arrivals: the integral of the rate."""
        return self._masses[-1]

    def cumulative(self, t_s: float) -> float:
        """The expected number of arrivals up to `t_s`."""
        expected = 0.0
        for segment in self.segments:
            into_s = min(t_s, segment.end_s) - segment.start_s
            if into_s <= 0:
                break
            expected += into_s * (segment.rate_start + 0.5 * _slope(segment) * into_s)
        return expected

    def instant(self, expected: float) -> float:
        """The inverse of `cumulative`: the instant (s) by which `expected` arrivals are due; inf beyond `total`."""
        if expected >= self.total:
            return math.inf
        index = bisect_right(self._masses, expected) - 1
        segment = self.segments[index]
        left = expected - self._masses[index]
        # The root of slope/2 t^2 + rate_start t = left, in the form that does not cancel when the slope is small.
        root = math.sqrt(max(0.0, segment.rate_start**2 + 2 * _slope(segment) * left))
        if segment.rate_start + root == 0:
            return segment.start_s
        return min(segment.start_s + 2 * left / (segment.rate_start + root), segment.end_s)

    def __str__(self) -> str:
        return ", ".join(_segment_words(segment) for segment in self.segments) or "no arrivals"


@dataclass(frozen=True, slots=True)
class Poisson:
    """A Poisson process of the given rate: unit-exponential gaps through the inverse cumulative rate (exact)."""

    profile: Rate
    seed: int

    def rate(self, t_s: float) -> float:
        """Arrivals per second at `t_s`."""
        return self.profile.at(t_s)

    def __iter__(self) -> Iterator[float]:
        gap = random.Random(f"{self.seed}:arrivals").expovariate
        instant = self.profile.instant
        expected = gap(1.0)
        while (t_s := instant(expected)) != math.inf:
            yield t_s
            expected += gap(1.0)

    def __str__(self) -> str:
        return f"poisson arrivals (seed {self.seed}): {self.profile}"


@dataclass(frozen=True, slots=True)
class Uniform:
    """Evenly spaced arrivals: number k comes when k + 1/2 are expected; no randomness."""

    profile: Rate

    def rate(self, t_s: float) -> float:
        """Arrivals per second at `t_s`."""
        return self.profile.at(t_s)

    def __iter__(self) -> Iterator[float]:
        k = 0
        while (t_s := self.profile.instant(k + 0.5)) != math.inf:
            yield t_s
            k += 1

    def __str__(self) -> str:
        return f"uniform arrivals: {self.profile}"


Arrivals = Poisson | Uniform


def arrivals_of(load: Load) -> Arrivals:
    """The arrival process of a planned load, over all of its workers."""
    profile = Rate(load.segments)
    return Poisson(profile, load.seed) if load.spacing == "poisson" else Uniform(profile)


def draw_indices(weights: Sequence[float], seed: int) -> Iterator[int]:
    """Endless seeded draws of an index in proportion to `weights`: which task arrival 0, 1, 2, ... carries out."""
    bounds = list(accumulate(weights))
    if not bounds or bounds[-1] <= 0:
        raise ValueError("there must be a weight above zero to draw from")
    uniform = random.Random(f"{seed}:tasks").random
    last = len(bounds) - 1
    while True:
        yield min(bisect_right(bounds, uniform() * bounds[-1]), last)


def _slope(segment: Segment) -> float:
    return (segment.rate_end - segment.rate_start) / (segment.end_s - segment.start_s)


def _mass(segment: Segment) -> float:
    return 0.5 * (segment.rate_start + segment.rate_end) * (segment.end_s - segment.start_s)


def _segment_words(segment: Segment) -> str:
    if segment.rate_start == segment.rate_end:
        rate = f"{segment.rate_start:g}/s"
    else:
        rate = f"{segment.rate_start:g}/s to {segment.rate_end:g}/s"
    return f"{rate} from {segment.start_s:g} s to {segment.end_s:g} s"
