"""How much a number differs between the arms, with an interval that survives dependence in time.

Levels and counts are of `[active, clear)`, or other seconds, in both arms; the noise is measured on undisturbed
seconds only, so that the effect itself never counts as correlation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.analysis.cells import Cells, Pair
from harness.stats.logbins import fewest_for, quantile_bin, quantile_estimate
from harness.stats.noise import NO_NOISE, Noise
from harness.stats.proportions import Estimate, difference, ratio, wilson

Where = slice | NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Effect:
    """One number in both arms, and how they differ.

    `baseline`, `fault`: the two values. `change`: fault - baseline. `relative`: fault / baseline - 1, None when the
    baseline is zero. `*_plain`: the same as if arrivals were independent, for overwhelming effects.
    `noise`: what the intervals are widened by. `fewest`: effective observations that the smaller arm needs.
    `typical`: of a quantile, how much it rose in the typical second (`relative` for the medians over the seconds).
    """

    baseline: Estimate
    fault: Estimate
    change: Estimate
    relative: Estimate | None
    change_plain: Estimate
    relative_plain: Estimate | None
    n_baseline: int
    n_fault: int
    noise: Noise
    fewest: int = 1
    typical: float = math.inf

    @property
    def effective(self) -> float:
        """Independent observations that the smaller arm is worth."""
        return min(self.n_baseline, self.n_fault) / self.noise.design_effect

    @property
    def enough(self) -> bool:
        """Whether there are the fewest effective observations."""
        return self.effective >= self.fewest


def failure_effect(pair: Pair, where: Where, level: float = 0.95, noise: Noise | None = None) -> Effect | None:
    """The failed share of arrivals; None when an arm has no arrival there. `noise`: when it was measured before."""
    n_1, n_0 = _total(pair.fault.arrivals, where), _total(pair.baseline.arrivals, where)
    x_1, x_0 = _total(pair.fault.failed, where), _total(pair.baseline.failed, where)
    length_s = float(len(pair.fault.arrivals[where]))
    return _share_effect((x_1, n_1), (x_0, n_0), noise or pair.noise_of_failures(), length_s, level)


def goodput_effect(
    pair: Pair, where: Where, length_s: float, level: float = 0.95, noise: Noise | None = None
) -> Effect | None:
    """Right answers within the client's timeout, per second; None when an arm has no arrival there.

    The interval is that of the share of good arrivals: how many arrivals were offered is known, not sampled.
    """
    n_1, n_0 = _total(pair.fault.arrivals, where), _total(pair.baseline.arrivals, where)
    x_1, x_0 = _total(pair.fault.good, where), _total(pair.baseline.good, where)
    if not n_1 or not n_0 or length_s <= 0:
        return None
    noise = noise or pair.noise_of_failures()

    def rates(noise: Noise | None) -> tuple[Estimate, Estimate]:
        one, other = _share(x_1, n_1, noise, length_s, level), _share(x_0, n_0, noise, length_s, level)
        return one.scaled(n_1 / length_s), other.scaled(n_0 / length_s)

    return _effect(rates(noise), rates(None), n_1, n_0, noise, 1)


def quantile_effect(
    pair: Pair, where: Where, share: float, level: float = 0.95, noise: Noise | None = None
) -> Effect | None:
    """A quantile of the response time in ms; None when an arm has no arrival there."""
    one, other = pair.fault.felt[where].sum(axis=0), pair.baseline.felt[where].sum(axis=0)
    n_1, n_0 = int(one.sum()), int(other.sum())
    if not n_1 or not n_0:
        return None
    noise = noise or pair.noise_of_quantile(share)

    def values(noise: Noise) -> tuple[Estimate, Estimate]:
        critical, deff = noise.critical(level), noise.design_effect
        middles = pair.fault.middles_ms
        return (
            quantile_estimate(one, middles, share, n_1 / deff, critical),
            quantile_estimate(other, middles, share, n_0 / deff, critical),
        )

    found = _effect(values(noise), values(NO_NOISE), n_1, n_0, noise, fewest_for(share))
    return replace(found, typical=_typical(pair.fault, where, share) / _typical(pair.baseline, where, share) - 1)


def _typical(cells: Cells, where: Where, share: float) -> float:
    """The median over the seconds of each second's own quantile, in ms: what a few seconds can't move."""
    at = quantile_bin(cells.felt[where], share)
    return float(cells.middles_ms[int(np.median(at[at >= 0]))])


def quantile_ms(cells: Cells, where: Where, share: float) -> float | None:
    """A quantile of the response time in one arm; None without arrivals."""
    at = int(quantile_bin(cells.felt[where].sum(axis=0), share))
    return float(cells.middles_ms[at]) if at >= 0 else None


def attempts_effect(pair: Pair, where: Where, level: float = 0.95, noise: Noise | None = None) -> Effect | None:
    """Attempts per arrival; None when an arm has no arrival there."""
    noise = noise or pair.noise_of_failures()
    n_1, n_0 = _total(pair.fault.arrivals, where), _total(pair.baseline.arrivals, where)
    if not n_1 or not n_0:
        return None

    def means(noise: Noise) -> tuple[Estimate, Estimate]:
        spread = noise.critical(level) * math.sqrt(noise.design_effect)
        return _mean(pair.fault, where, n_1, spread), _mean(pair.baseline, where, n_0, spread)

    return _effect(means(noise), means(NO_NOISE), n_1, n_0, noise, 10)


def _mean(cells: Cells, where: Where, n: int, spread: float) -> Estimate:
    mean = _total(cells.attempts, where) / n
    variance = max(0.0, _total(cells.attempts_squared, where) / n - mean * mean)
    half = spread * math.sqrt(variance / n)
    return Estimate(mean, max(0.0, mean - half), mean + half)


def _share_effect(
    one: tuple[int, int], other: tuple[int, int], noise: Noise, length_s: float, level: float
) -> Effect | None:
    if not one[1] or not other[1]:
        return None

    def shares(noise: Noise | None) -> tuple[Estimate, Estimate]:
        return _share(*one, noise, length_s, level), _share(*other, noise, length_s, level)

    return _effect(shares(noise), shares(None), one[1], other[1], noise, 1)


def _share(events: int, n: int, noise: Noise | None, length_s: float, level: float) -> Estimate:
    """A share with its interval; without a `noise` as if arrivals were independent."""
    here = NO_NOISE if noise is None else noise.at(events / n, n / length_s)
    return wilson(events / here.design_effect, n / here.design_effect, here.critical(level))


def _effect(
    widened: tuple[Estimate, Estimate], plain: tuple[Estimate, Estimate], n_1: int, n_0: int, noise: Noise, fewest: int
) -> Effect:
    return Effect(
        baseline=widened[1],
        fault=widened[0],
        change=difference(*widened),
        relative=_relative(*widened),
        change_plain=difference(*plain),
        relative_plain=_relative(*plain),
        n_baseline=n_0,
        n_fault=n_1,
        noise=noise,
        fewest=fewest,
    )


def _relative(one: Estimate, other: Estimate) -> Estimate | None:
    if not other.value > 0:
        return None
    found = ratio(one, other)
    return Estimate(found.value - 1, found.low - 1, found.high - 1)


def _total(counts: NDArray[np.int64], where: Where) -> int:
    return int(counts[where].sum())
