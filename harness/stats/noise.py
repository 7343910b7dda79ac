"""How much a share wanders from second to second beyond chance: design effect and degrees of freedom.

The long-run variance of a per-second series of counts is the mean square of its first few cosine coefficients
(equal-weighted cosines: Lazarus, Lewis, Stock and Watson, JBES 2018). It is estimated on stretches of undisturbed
seconds, each around its own level, and pooled over them. Sums are exactly rounded (`math.fsum`).

What cannot be told from so few seconds is declined rather than guessed: wandering that is slow against their number,
and variance that a handful of bursts make. `harness calibrate` measures what these rules are worth.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

Counts = NDArray[np.integer]

SHORTEST_STRETCH_S = 3
_CORRELATION_TIMES = 30
_FEW_EVENTS = 10
_FEWEST_BURSTS = 5
_BURSTY = 2.0
_MOST_SCALING = 10.0
# How much wandering a single coefficient may fail to show, in units of chance's variance; k of them, 1/sqrt(k) of it.
# Twice as much would count the variance as wholly unknown (Student's t on the coefficients alone), which is
# over-careful, because chance's part of it is known.
_DOUBT = 0.65
# Wandering slower than this many standard errors of chance's variance can hide is not seen in single seconds.
_HIDDEN = 2.5
# The long-run variance, relative to the square of the share, that is assumed where too few events were seen to
# measure it: a level that wanders by a quarter from second to second.
ASSUMED_WANDER = 0.1


@dataclass(frozen=True, slots=True)
class Noise:
    """What undisturbed seconds say about a share.

    `design_effect`: variance of the share over that of independent arrivals, at least 1. `freedom`: how many
    coefficients it rests on. `correlation_s`: time in which the correlation between seconds falls to 1/e.
    `seconds`: undisturbed seconds that were used. `events`: events seen in them, `share`: of their arrivals.
    `bursts`: how many equal seconds would make the variance that was seen. `scaling`: by how much the excess over
    chance was scaled to another share (`at`).
    """

    design_effect: float
    freedom: int
    correlation_s: float
    seconds: int
    events: int
    share: float = 0.0
    bursts: float = math.inf
    scaling: float = 1.0

    @property
    def few(self) -> bool:
        """Whether there were too few events to measure anything."""
        return self.events < _FEW_EVENTS

    @property
    def known(self) -> bool:
        """Whether the undisturbed part is long enough: 30 correlation times, 5 bursts; with few events it always is."""
        if self.few:
            return True
        if self.design_effect > _BURSTY and self.bursts < _FEWEST_BURSTS:
            return False
        return self.freedom > 0 and self.seconds >= _CORRELATION_TIMES * self.correlation_s

    def at(self, share: float, arrivals_per_s: float) -> Noise:
        """The noise at another level of the share.

        What makes a share wander multiplies its odds, so that the excess over chance grows with `share (1 - share)`
        (at most tenfold, beyond that nothing was measured).
        """
        if self.few:
            excess = ASSUMED_WANDER * arrivals_per_s * share * (1 - share)
            return replace(self, design_effect=1 + excess, share=share)
        usual = self.share * (1 - self.share)
        scaling = min(_MOST_SCALING, share * (1 - share) / usual) if usual > 0 else 1.0
        return replace(self, design_effect=1 + (self.design_effect - 1) * scaling, share=share, scaling=scaling)

    def critical(self, level: float = 0.95) -> float:
        """The two-sided critical value: Student's t, or the normal law when too few events give a variance."""
        upper = 0.5 + level / 2
        return float(special.stdtrit(self._freedom, upper) if self._widens else special.ndtri(upper))

    def tail(self, critical: float) -> float:
        """The one-sided p-value of a critical value; `critical(1 - 2 * tail(c))` is c."""
        return float(special.stdtr(self._freedom, -critical) if self._widens else special.ndtr(-critical))

    @property
    def _widens(self) -> bool:
        return not self.few and self.freedom > 0

    @property
    def _freedom(self) -> float:
        """Satterthwaite's degrees of freedom: chance's part of the variance is known, the excess is estimated."""
        doubt = self.scaling * _DOUBT / math.sqrt(self.freedom)
        share_estimated = (self.design_effect - 1 + doubt) / self.design_effect
        return max(1.0, self.freedom / max(share_estimated, 1e-3) ** 2)


NO_NOISE = Noise(1.0, 0, 0.0, 0, 0)
"""Independent arrivals: plain binomial intervals."""


def measure(stretches: Sequence[tuple[Counts, Counts]]) -> Noise:
    """The noise of a share over stretches of seconds, each `(events per second, arrivals per second)`."""
    squares: list[float] = []
    expected: list[float] = []
    parts: list[_Moments] = []
    events = arrived = 0
    for happened, arrivals in stretches:
        total, n = int(arrivals.sum()), len(arrivals)
        if n < SHORTEST_STRETCH_S or total == 0:
            continue
        count = int(happened.sum())
        events, arrived, share = events + count, arrived + total, count / total
        excess: list[float] = (happened - share * arrivals).tolist()
        cosines = _cosines(n)
        squares += [math.fsum(map(operator.mul, excess, _cosine(n, order))) ** 2 for order in range(1, cosines + 1)]
        chance = share * (1 - share) * total
        expected += [chance / n] * cosines
        powers = list(map(operator.mul, excess, excess))
        parts.append(
            _Moments(
                n,
                chance,
                math.fsum(powers),
                math.fsum(map(operator.mul, excess, excess[1:])),
                math.fsum(map(operator.mul, powers, powers)),
            )
        )
    by_chance = math.fsum(expected)
    effect = max(1.0, math.fsum(squares) / by_chance) if by_chance > 0 else 1.0
    return Noise(
        design_effect=effect,
        freedom=len(squares),
        correlation_s=_correlation_time(parts, effect),
        seconds=sum(part.seconds for part in parts),
        events=events,
        share=events / arrived if arrived else 0.0,
        bursts=_bursts(parts),
    )


@dataclass(frozen=True, slots=True)
class _Moments:
    """Sums over the seconds of a stretch: variance by chance; of the excess its square, lag-1 product and 4th power."""

    seconds: int
    chance: float
    power: float
    product: float
    fourth: float


def _cosines(seconds: int) -> int:
    """How many coefficients a stretch gives: one for 10 s, at most 8, at least 4 where each still spans 5 s."""
    return max(1, min(4, seconds // 5), min(8, seconds // 10))


@lru_cache(maxsize=4096)
def _cosine(n: int, order: int) -> tuple[float, ...]:
    turn = math.pi * order / n
    return tuple(math.sqrt(2 / n) * math.cos(turn * (at + 0.5)) for at in range(n))


def _correlation_time(parts: Sequence[_Moments], effect: float) -> float:
    """From the lag-1 correlation of what wanders, without chance, which hides it in single seconds."""
    seconds, levels = sum(part.seconds for part in parts), len(parts)
    power = math.fsum(part.power for part in parts)
    if power <= 0 or seconds <= levels:
        return 0.0
    chance = math.fsum(part.chance for part in parts) / seconds
    # Centring each stretch on its own mean takes the variance of that mean from every product.
    centring = effect * chance * levels / seconds
    product = math.fsum(part.product for part in parts) / (seconds - levels) + centring
    wander = max(power / seconds + centring - chance, _HIDDEN * chance * math.sqrt(2 / seconds))
    if product <= 0:
        return 0.0
    return -1 / math.log(product / wander) if product < wander else math.inf


def _bursts(parts: Sequence[_Moments]) -> float:
    fourth = math.fsum(part.fourth for part in parts)
    return math.fsum(part.power for part in parts) ** 2 / fourth if fourth > 0 else math.inf
