"""Whether an endpoint was damaged beyond doubt: more errors by over 1 point, or a p95 up by over 20 % and 10 ms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from harness.analysis.cells import ALL, Pair
from harness.analysis.effects import Effect, failure_effect, quantile_effect
from harness.analysis.seconds import Seconds
from harness.stats.proportions import Estimate

ERROR_POINTS = 0.01
P95_INCREASE = 0.2
P95_ON_TOP_MS = 10.0
_FALSE = 0.05
_FEWEST_ARRIVALS = 10
_OVERWHELMING_ERRORS = 4 * ERROR_POINTS + 0.04
_SLOW = 0.05
# One arrival in 20 is slower than the p95. A few pauses of a machine move the p95 far, but never make so many slow.
_OVERWHELMING_SLOW = 4 * _SLOW + 0.04
_TAIL_S = 10


@dataclass(frozen=True, slots=True)
class Damage:
    """One endpoint in one stretch of seconds (`fault`, `after` or `tail`: the last 10 s).

    `errors` and `slower` are None where it can't be judged. `failure` and `p95` are what they were judged on.
    """

    endpoint: str
    stretch: str
    errors: bool | None
    slower: bool | None
    failure: Effect | None
    p95: Effect | None

    @property
    def met(self) -> bool | None:
        """Damaged in either way; None when neither is seen and one can't be judged."""
        if self.errors or self.slower:
            return True
        return False if self.errors is False and self.slower is False else None


def stretches(seconds: Seconds) -> Mapping[str, slice]:
    """The bins of the fault window, of the time after it, and of its last seconds; empty ones are left out."""
    after = seconds.after
    tail = slice(max(after.start, after.stop - _TAIL_S), after.stop)
    found = {"fault": seconds.during, "after": after, "tail": tail}
    return {name: bins for name, bins in found.items() if bins.stop > bins.start}


def assess(pairs: Mapping[str, Pair], seconds: Seconds) -> tuple[Damage, ...]:
    """Every endpoint (and all together) in every stretch.

    Only what is worse counts, so 5 % are shared one-sided among all looks at single endpoints (Bonferroni): many
    endpoints do not make a cascade out of noise.
    """
    where = stretches(seconds)
    looks = max(1, 2 * len(where) * (len(pairs) - 1))
    level = 1 - 2 * _FALSE / looks
    return tuple(_assess(pair, name, bins, level) for pair in pairs.values() for name, bins in where.items())


def single(damages: Iterable[Damage], *stretch: str) -> tuple[Damage, ...]:
    """The damage of single endpoints in the given stretches."""
    return tuple(damage for damage in damages if damage.endpoint != ALL and damage.stretch in stretch)


def _assess(pair: Pair, stretch: str, bins: slice, level: float) -> Damage:
    failure = failure_effect(pair, bins, level)
    p95 = quantile_effect(pair, bins, 0.95, level)
    few = min(int(np.sum(cells.arrivals[bins])) for cells in (pair.baseline, pair.fault)) < _FEWEST_ARRIVALS
    if failure is None or p95 is None or few:
        return Damage(pair.endpoint, stretch, None, None, failure, p95)
    slower = _slower(p95, _slow_share(pair, bins, p95.baseline.value))
    return Damage(pair.endpoint, stretch, _more_errors(failure), slower, failure, p95)


def slow_limit_ms(p95_ms: float) -> float:
    """From when on a response is slow where the baseline arm's p95 is `p95_ms`."""
    return max(p95_ms * (1 + P95_INCREASE), p95_ms + P95_ON_TOP_MS)


def _slow_share(pair: Pair, bins: slice, p95_ms: float) -> float:
    """The share of the fault arm's arrivals that are slow."""
    felt = pair.fault.felt[bins].sum(axis=0)
    beyond = int(np.searchsorted(pair.fault.middles_ms, slow_limit_ms(p95_ms), side="right"))
    return float(felt[beyond:].sum() / felt.sum())


def _more_errors(effect: Effect) -> bool | None:
    if effect.change.value > _OVERWHELMING_ERRORS and effect.change_plain.low > ERROR_POINTS:
        return True
    if effect.change.low > ERROR_POINTS:
        return True if effect.noise.known else None
    return False


def _slower(effect: Effect, slow_share: float) -> bool | None:
    relative, plain = effect.relative, effect.relative_plain
    if relative is None or plain is None:
        return None
    if slow_share > _OVERWHELMING_SLOW and _beyond(plain, effect.change_plain) and effect.n_fault >= effect.fewest:
        return True
    if _beyond(relative, effect.change):
        return True if effect.noise.known and effect.enough else None
    return False


def _beyond(relative: Estimate, change_ms: Estimate) -> bool:
    return relative.low > P95_INCREASE and change_ms.low >= P95_ON_TOP_MS
