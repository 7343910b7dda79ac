"""How much a share wanders from second to second beyond chance: design effect and degrees of freedom.

The long-run variance of a per-second series of counts is the mean square of its first few cosine coefficients
(equal-weighted cosines: Lazarus, Lewis, Stock and Watson, JBES 2018). It is estimated on stretches of undisturbed
seconds, each around its own level, and pooled over them. Sums are exactly rounded (`math.fsum`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Counts = NDArray[np.integer]

SHORTEST_STRETCH_S = 3
_SECONDS_PER_COSINE = 5
_MOST_COSINES = 4
_CORRELATION_TIMES = 30
_FEW_EVENTS = 10


@dataclass(frozen=True, slots=True)
class Noise:
    """What undisturbed seconds say about a share.

    `design_effect`: variance of the share over that of independent arrivals, at least 1. `freedom`: degrees of
    freedom behind it. `correlation_s`: time in which the correlation between seconds falls to 1/e. `seconds`:
    undisturbed seconds that were used. `events`: events seen in them.
    """

    design_effect: float
    freedom: int
    correlation_s: float
    seconds: int
    events: int

    @property
    def known(self) -> bool:
        """Whether the undisturbed part is long enough: 30 correlation times; with few events it always is."""
        if self.events < _FEW_EVENTS:
            return True
        return self.freedom > 0 and self.seconds >= _CORRELATION_TIMES * self.correlation_s

    def critical(self, level: float = 0.95) -> float:
        """The two-sided critical value: Student's t, or the normal law when too few events give a variance."""
        upper = 0.5 + level / 2
        return float(special.stdtrit(self.freedom, upper) if self._widens else special.ndtri(upper))

    def tail(self, critical: float) -> float:
        """The one-sided p-value of a critical value; `critical(1 - 2 * tail(c))` is c."""
        return float(special.stdtr(self.freedom, -critical) if self._widens else special.ndtr(-critical))

    @property
    def _widens(self) -> bool:
        return self.events >= _FEW_EVENTS and self.freedom > 0


NO_NOISE = Noise(1.0, 0, 0.0, 0, 0)
"""Independent arrivals: plain binomial intervals."""


def measure(stretches: Sequence[tuple[Counts, Counts]]) -> Noise:
    """The noise of a share over stretches of seconds, each `(events per second, arrivals per second)`."""
    squares: list[float] = []
    expected: list[float] = []
    products: list[float] = []
    powers: list[float] = []
    seconds, events, levels = 0, 0, 0
    for happened, arrivals in stretches:
        total = int(arrivals.sum())
        if len(arrivals) < SHORTEST_STRETCH_S or total == 0:
            continue
        seconds += len(arrivals)
        events += int(happened.sum())
        levels += 1
        share = int(happened.sum()) / total
        excess = [int(x) - share * int(n) for x, n in zip(happened, arrivals, strict=True)]
        count = max(1, min(_MOST_COSINES, len(excess) // _SECONDS_PER_COSINE))
        squares += [_cosine(excess, order) ** 2 for order in range(1, count + 1)]
        expected += [share * (1 - share) * total / len(excess)] * count
        powers += [value * value for value in excess]
        products += [one * two for one, two in itertools.pairwise(excess)]
    chance = math.fsum(expected)
    effect = max(1.0, math.fsum(squares) / chance) if chance > 0 else 1.0
    return Noise(effect, len(squares), _correlation_time(products, powers, levels), seconds, events)


def _cosine(series: Sequence[float], order: int) -> float:
    n = len(series)
    turn = math.pi * order / n
    return math.sqrt(2 / n) * math.fsum(value * math.cos(turn * (at + 0.5)) for at, value in enumerate(series))


def _correlation_time(products: Sequence[float], powers: Sequence[float], levels: int) -> float:
    power = math.fsum(powers)
    if power <= 0 or not products:
        return 0.0
    raw = math.fsum(products) / power * len(powers) / len(products)
    # Centring each stretch on its own mean biases the lag-1 correlation downwards by about (1 + 3 phi) per length.
    corrected = raw + (1 + 3 * raw) * levels / len(powers)
    if corrected <= 0:
        return 0.0
    return -1 / math.log(corrected) if corrected < 1 else math.inf
