"""The full table: every endpoint, metric and stretch of time, beyond what the scenario asks about.

A row's p-value is its interval turned round, so it is below 0.05 where the interval leaves zero out. The rows of the
fault window and after it are adjusted (Holm); all rows together get Benjamini-Hochberg values for exploring.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from harness.analysis.cells import ALL, Cells, Pair
from harness.analysis.effects import (
    Effect,
    attempts_effect,
    failure_effect,
    goodput_effect,
    quantile_effect,
    quantile_ms,
)
from harness.analysis.experiment import Experiment
from harness.analysis.seconds import Seconds
from harness.analysis.verdict import Contrast, Distribution, Interval, Usual
from harness.stats.multiple import benjamini_hochberg, holm
from harness.stats.noise import Noise
from harness.stats.whole import distance

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
CONFIRMED = ("fault", "after")
FEWEST_FOR_P999 = 10_000
_SMALLEST_P = 1e-12
_FARTHEST = 8.0
_HALVINGS = 8
_LONGEST_BLOCK_S = 15


def contrasts(pairs: Mapping[str, Pair], seconds: Seconds, experiment: Experiment) -> tuple[Contrast, ...]:
    """The rows of one pair of arms, by endpoint, then metric, then time; without adjusted p-values."""
    stretches = _stretches(seconds, experiment)
    return tuple(row for pair in pairs.values() for row in _rows(pair, stretches))


def adjusted(rows: Sequence[Contrast]) -> tuple[Contrast, ...]:
    """The rows with `p_adjusted` (Holm, over those of the fault window and after it) and `q_exploratory` (all rows).

    They are a family of their own. What the scenario bounds is answered first and apart, and does not gate them: a
    scenario that bounds one spared endpoint only would make everything that broke beside it look undecided.
    """
    strict_rows = [at for at, row in enumerate(rows) if row.p is not None and row.phase in CONFIRMED]
    known = [at for at, row in enumerate(rows) if row.p is not None]
    strict = dict(zip(strict_rows, holm([rows[at].p or 0.0 for at in strict_rows]), strict=True)) if strict_rows else {}
    loose = dict(zip(known, benjamini_hochberg([rows[at].p or 0.0 for at in known]), strict=True)) if known else {}
    return tuple(
        replace(
            row,
            p_adjusted=_short(strict[at]) if at in strict else None,
            q_exploratory=_short(loose[at]) if at in loose else None,
        )
        for at, row in enumerate(rows)
    )


def distributions(pairs: Mapping[str, Pair], seconds: Seconds, seed: int) -> tuple[Distribution, ...]:
    """The response times of every endpoint as a whole, while the fault was on."""
    return tuple(found for pair in pairs.values() if (found := _distribution(pair, seconds.during, seed)) is not None)


def usual(pairs: Mapping[str, Pair]) -> tuple[Usual, ...]:
    """What every endpoint's error rate and response times are in the baseline arm, and how much they wander."""
    everything = int(pairs[ALL].baseline.arrivals.sum())
    return tuple(found for pair in pairs.values() for found in _usual(pair, everything)) if everything else ()


def named(endpoint: str) -> str:
    """The endpoint's name in a verdict: "" for all together."""
    return "" if endpoint == ALL else endpoint


def _stretches(seconds: Seconds, experiment: Experiment) -> dict[str, slice]:
    """Non-empty stretches of time by name. Phases are whole: their bins lie side by side."""
    found = {"fault": seconds.during, "after": seconds.after}
    for number, (name, _, _) in enumerate(experiment.phases):
        bins = np.flatnonzero(seconds.phase == number)
        if len(bins):
            found[f"phase:{name}"] = slice(int(bins[0]), int(bins[-1]) + 1)
    return {name: bins for name, bins in found.items() if bins.stop > bins.start}


def _rows(pair: Pair, stretches: Mapping[str, slice]) -> Iterator[Contrast]:
    failures = pair.noise_of_failures()
    noises = {metric: pair.noise_of_quantile(share) for metric, share in QUANTILES.items()}
    for phase, bins in stretches.items():
        summed = Pair(pair.endpoint, _summed(pair.baseline, bins), _summed(pair.fault, bins), (), ())
        effects: dict[str, Callable[[float, Noise], Effect | None]] = {
            "error-rate": partial(_errors, pair, bins),
            "goodput": partial(_goodput, summed, float(bins.stop - bins.start)),
            "attempts": partial(_attempts, summed),
            **{metric: partial(_quantile, summed, share) for metric, share in QUANTILES.items()},
        }
        for metric, effect_at in effects.items():
            yield from _row(pair.endpoint, metric, phase, noises.get(metric, failures), effect_at)


def _summed(cells: Cells, bins: slice) -> Cells:
    """The cells of some bins as one bin, so that many looks at them cost little."""
    return Cells(
        arrivals=cells.arrivals[bins].sum(keepdims=True),
        failed=cells.failed[bins].sum(keepdims=True),
        good=cells.good[bins].sum(keepdims=True),
        attempts=cells.attempts[bins].sum(keepdims=True),
        attempts_squared=cells.attempts_squared[bins].sum(keepdims=True),
        felt=cells.felt[bins].sum(axis=0, keepdims=True),
        first_bin=cells.first_bin,
    )


_ONE = slice(0, 1)


def _errors(pair: Pair, bins: slice, level: float, noise: Noise) -> Effect | None:
    return failure_effect(pair, bins, level, noise)


def _goodput(pair: Pair, length_s: float, level: float, noise: Noise) -> Effect | None:
    return goodput_effect(pair, _ONE, length_s, level, noise)


def _attempts(pair: Pair, level: float, noise: Noise) -> Effect | None:
    return attempts_effect(pair, _ONE, level, noise)


def _quantile(pair: Pair, share: float, level: float, noise: Noise) -> Effect | None:
    return quantile_effect(pair, _ONE, share, level, noise)


def _row(
    endpoint: str, metric: str, phase: str, noise: Noise, effect_at: Callable[[float, Noise], Effect | None]
) -> Iterator[Contrast]:
    effect = effect_at(0.95, noise)
    if effect is None:
        return
    points = metric == "error-rate"
    shown = effect.change if points else effect.relative
    enough = effect.enough and noise.known and (metric != "p99.9" or effect.n_fault >= FEWEST_FOR_P999)
    yield Contrast(
        endpoint=named(endpoint),
        metric=metric,
        phase=phase,
        baseline=effect.baseline.value,
        fault=effect.fault.value,
        difference=None if shown is None else shown.value * 100,
        interval=Interval(None, None) if shown is None else Interval(_finite(shown.low), _finite(shown.high)),
        unit="pp" if points else "%",
        p=_p(noise, lambda level: _apart(effect_at(level, noise), points)) if enough else None,
        p_adjusted=None,
        q_exploratory=None,
        n_baseline=effect.n_baseline,
        n_fault=effect.n_fault,
        enough=enough,
    )


def _p(noise: Noise, apart: Callable[[float], bool]) -> float:
    """Two-sided p-value of no difference: that of the widest interval that still leaves it out.

    Found by halving, because the limits of quantiles move in steps; exact to a few percent, and exact on which side of
    0.05 it lies.
    """
    usual = noise.critical(0.95)
    low, high = (usual, max(_FARTHEST, usual)) if apart(0.95) else (0.0, usual)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if apart(1 - 2 * noise.tail(middle)) else (low, middle)
    return _short(max(_SMALLEST_P, min(1.0, 2 * noise.tail(low))))


def _apart(effect: Effect | None, points: bool) -> bool:
    """Whether the interval leaves out no difference, on the scale that is shown."""
    assert effect is not None, "the same seconds gave an effect before"
    shown = effect.change if points or effect.relative is None else effect.relative
    return shown.low > 0 or shown.high < 0


def _distribution(pair: Pair, during: slice, seed: int) -> Distribution | None:
    noises = (pair.noise_of_quantile(0.5), pair.noise_of_quantile(0.95))
    longest_s = max(noise.correlation_s for noise in noises)
    # Three correlation times: what is left of a correlation that falls to 1/e in one is then 5 %.
    block_s = max(1, min(_LONGEST_BLOCK_S, math.ceil(3 * longest_s) if math.isfinite(longest_s) else _LONGEST_BLOCK_S))
    found = distance(pair.fault.felt[during], pair.baseline.felt[during], pair.fault.middles_ms, block_s, seed)
    if found is None:
        return None
    return Distribution(
        named(pair.endpoint), found.ks, found.ks_p, found.wasserstein, found.wasserstein_p, found.blocks, block_s
    )


def _usual(pair: Pair, everything: int) -> Iterator[Usual]:
    cells, name = pair.baseline, named(pair.endpoint)
    n = int(cells.arrivals.sum())
    if not n:
        return
    share, failed = n / everything, int(cells.failed.sum()) / n
    effect = pair.noise_of_failures().design_effect
    yield Usual(name, "error-rate", share, failed, math.sqrt(effect * failed * (1 - failed)), effect)
    whole = slice(0, len(cells.arrivals))
    for metric, level in QUANTILES.items():
        effect = pair.noise_of_quantile(level).design_effect
        value, slope = quantile_ms(cells, whole, level), _slope(cells, whole, level, n)
        if value is not None and slope is not None:
            yield Usual(name, metric, share, value, math.sqrt(effect * level * (1 - level)) * slope, effect)


def _slope(cells: Cells, whole: slice, level: float, n: int) -> float | None:
    """How fast the logarithm of the quantile rises with its share; None with too few arrivals beyond it."""
    step = min(2 * math.sqrt(level * (1 - level) / n), 0.5 * (1 - level))
    if (1 - level) * n < 5:
        return None
    low, high = (quantile_ms(cells, whole, level + side * step) for side in (-1, 1))
    return None if low is None or high is None else math.log(high / low) / (2 * step)


def _finite(value: float) -> float | None:
    return value * 100 if abs(value) < math.inf else None


def _short(p_value: float) -> float:
    return float(f"{p_value:.6g}")
