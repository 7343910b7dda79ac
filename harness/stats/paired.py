"""Repeated runs: the run is the unit, so what counts is how the pairs' differences agree with each other.

Paired t for the interval and the p-value; exact sign flips beside it, which assume nothing but symmetry and need five
pairs to reach 1 in 32.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from harness.stats.proportions import Estimate

Floats = NDArray[np.float64]

FEWEST_FOR_FLIPS = 5
_MOST_EXACT = 14
_SAMPLED_FLIPS = 1 << _MOST_EXACT


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean difference of `pairs` pairs and the standard deviation between them.

    `own_below`, `own_above`: the standard error of the mean towards lower and higher values by each run's own interval.
    When counts are few, pairs agree by chance, so no claim is surer than these allow.
    """

    value: float
    deviation: float
    own_below: float
    own_above: float
    pairs: int

    @property
    def error(self) -> float:
        """The standard error of the mean by how the pairs differ."""
        return self.deviation / math.sqrt(self.pairs)

    def interval(self, level: float) -> Estimate:
        """Two-sided: Student's t on `pairs - 1` degrees of freedom, no narrower than the runs' own (normal) errors."""
        upper = 0.5 + level / 2
        between = float(special.stdtrit(self.pairs - 1, upper)) * self.error
        below, above = (max(between, float(special.ndtri(upper)) * own) for own in (self.own_below, self.own_above))
        return Estimate(self.value, self.value - below, self.value + above)

    def p_above(self, bound: float) -> float:
        """One-sided p-value of `the true difference is at most the bound`: small when it is larger."""
        return self._p(self.value - bound, self.own_below)

    def p_below(self, bound: float) -> float:
        """One-sided p-value of `the true difference is at least the bound`: small when it is smaller."""
        return self._p(bound - self.value, self.own_above)

    def _p(self, distance: float, own: float) -> float:
        if distance == 0:
            return 0.5
        by_pairs = float(special.stdtr(self.pairs - 1, -distance / self.error)) if self.error else float(distance < 0)
        by_runs = float(special.ndtr(-distance / own)) if own else float(distance < 0)
        return max(by_pairs, by_runs) if distance > 0 else min(by_pairs, by_runs)


def mean_of(differences: Sequence[float], own: Sequence[tuple[float, float]] = ()) -> Mean:
    """The mean of the pairs' `differences`; `own` are each pair's standard errors (below, above) within the run.

    Raises ValueError for fewer than two pairs.
    """
    count = len(differences)
    if count < 2:
        raise ValueError(f"expected at least two pairs, got {count}")
    value = math.fsum(differences) / count
    deviation = math.sqrt(math.fsum((one - value) ** 2 for one in differences) / (count - 1))
    below, above = (math.sqrt(math.fsum(errors[side] ** 2 for errors in own)) / count for side in (0, 1))
    return Mean(value, deviation, below, above, count)


def sign_flips(excesses: Floats) -> list[float]:
    """One-sided p-values that the mean of each column is above zero, adjusted for all columns (Westfall and Young).

    `excesses` has one row per pair and one column per question: the difference less its bound. All signs of a pair are
    flipped together, so that the dependence between the columns is kept; the largest t of each flip is the yardstick,
    step-down. Exact up to 14 pairs, a fixed sample of the flips beyond. One column gives the plain sign-flip test.
    """
    pairs, columns = excesses.shape
    observed = _t(excesses[None])[0]
    flips = _flips(pairs)
    statistics = np.concatenate([_t(part[:, :, None] * excesses[None]) for part in np.array_split(flips, 16)])
    order = np.argsort(-observed, kind="stable")
    largest = np.maximum.accumulate(statistics[:, order[::-1]], axis=1)[:, ::-1]
    stepped = np.maximum.accumulate((largest >= observed[order] - 1e-9).mean(axis=0))
    placed = np.empty(columns)
    placed[order] = stepped
    return [float(value) for value in placed]


def _flips(pairs: int) -> Floats:
    """Every assignment of signs; beyond 14 pairs a sample with the observed one in it."""
    if pairs <= _MOST_EXACT:
        return np.array(list(itertools.product((1.0, -1.0), repeat=pairs)))
    drawn = np.random.default_rng(pairs).choice([-1.0, 1.0], size=(_SAMPLED_FLIPS, pairs))
    drawn[0] = 1.0
    return drawn


def _t(values: Floats) -> Floats:
    """Student's t along axis 1; where nothing varies, the mean's sign times a large number."""
    mean = values.mean(axis=1)
    error = np.sqrt(values.var(axis=1, ddof=1) / values.shape[1])
    tiny = 1e-12 * np.maximum(1.0, np.abs(mean))
    return np.asarray(np.where(error > tiny, mean / np.maximum(error, tiny), np.sign(mean) * 1e9))


def detectable(deviation: float, pairs: int, power: float, alpha: float = 0.05) -> float:
    """The true difference that a one-sided paired t-test finds with `power`; inf for fewer than two pairs.

    `deviation` is the standard deviation of a pair's difference. Exact, by the noncentral t distribution.
    """
    if pairs < 2:
        return math.inf
    freedom = pairs - 1
    critical = float(special.stdtrit(freedom, 1 - alpha))

    def missing(shift: float) -> float:
        return float(stats.nct.sf(critical, freedom, shift)) - power

    return float(optimize.brentq(missing, 0.0, 200.0)) * deviation / math.sqrt(pairs)
