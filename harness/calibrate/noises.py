"""Ways in which seconds differ by themselves, and made-up arms that go through them, counted as the analysis counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.cells import Cells
from harness.stats.logbins import EDGES_NS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rng = np.random.Generator

SPEED_SD = 0.15
RISK_SD = 0.2
FAILURES = 0.01
MEDIAN_NS = 20e6
SPREAD = 0.5
_LONGEST_PAUSE_S = 0.5
_SHORTEST_PAUSE_S = 0.05
_BINS = len(EDGES_NS) + 1
_LOWEST = math.log(EDGES_NS[0])
_STEP = math.log(1.01)


@dataclass(frozen=True, slots=True)
class Weather:
    """What an arm goes through, one number per second.

    `speed`, `risk`: logarithms of the factors on response times and on the share of failures (the latter's mean is 1).
    `held_s`: length of a pause in which nothing is answered.
    """

    speed: Floats
    risk: Floats
    held_s: Floats


@dataclass(frozen=True, slots=True)
class Noise:
    """A kind of noise. `correlation`: between neighbouring seconds of what wanders; `heavy`: of the response times."""

    name: str
    says: str
    draw: Callable[[Rng, int], Weather]
    correlation: float = 0.0
    heavy: bool = False


def failures(rng: Rng, arrivals: Ints, weather: Weather, added: float, during: slice) -> Cells:
    """An arm whose arrivals fail, 1 % of them on average, and in the seconds `during` the share `added` more."""
    share = FAILURES * np.exp(weather.risk)
    share[during] *= (FAILURES + added) / FAILURES
    failed = rng.binomial(arrivals, np.minimum(1.0, share))
    nothing = np.zeros((len(arrivals), 1), dtype=np.int32)
    return Cells(arrivals, failed, arrivals - failed, arrivals, arrivals, nothing, 0)


def response_times(rng: Rng, arrivals: Ints, weather: Weather, noise: Noise) -> tuple[Ints, Floats]:
    """The second of every arrival and the logarithm of its response time in ns, none failed."""
    second = np.repeat(np.arange(len(arrivals)), arrivals)
    spread = SPREAD * (rng.standard_t(3, len(second)) if noise.heavy else rng.normal(0.0, 1.0, len(second)))
    took = math.log(MEDIAN_NS) + spread + weather.speed[second]
    held = np.flatnonzero(rng.random(len(second)) < weather.held_s[second])
    left_ns = rng.random(len(held)) * weather.held_s[second[held]] * 1e9
    took[held] = np.log(np.exp(took[held]) + left_ns)
    return second, took


def counted(arrivals: Ints, second: Ints, took: Floats, slower: float, during: slice) -> Cells:
    """The arm of these response times, in the seconds `during` all of them `slower` times as long."""
    factor = np.zeros(len(arrivals))
    factor[during] = math.log(slower)
    # As `bin_of`, but for half a bin in which the edges are rounded to whole ns: much faster, and as good for an arm
    # that is made up.
    at = np.clip((took + factor[second] - _LOWEST) / _STEP + 1, 0, _BINS - 1).astype(np.int64)
    first, last = (int(at.min()), int(at.max()) + 1) if len(at) else (0, 1)
    width = last - first
    felt = np.bincount(second * width + at - first, minlength=len(arrivals) * width).reshape(len(arrivals), width)
    nothing = np.zeros_like(arrivals)
    return Cells(arrivals, nothing, arrivals, arrivals, arrivals, felt.astype(np.int32), first)


def on_one_grid(one: Cells, other: Cells) -> tuple[Cells, Cells]:
    """Both arms with histograms of the same bins."""
    first = min(one.first_bin, other.first_bin)
    last = max(cells.first_bin + cells.felt.shape[1] for cells in (one, other))
    return _padded(one, first, last), _padded(other, first, last)


def _padded(cells: Cells, first: int, last: int) -> Cells:
    before, after = cells.first_bin - first, last - cells.first_bin - cells.felt.shape[1]
    felt = np.pad(cells.felt, ((0, 0), (before, after)))
    counts = (cells.arrivals, cells.failed, cells.good, cells.attempts, cells.attempts_squared)
    return Cells(*counts, felt, first)


def _calm(seconds: int) -> Floats:
    return np.zeros(seconds)


def _independent(_: Rng, seconds: int) -> Weather:
    return Weather(_calm(seconds), _calm(seconds), _calm(seconds))


def _autoregression(correlation: float) -> Callable[[Rng, int], Weather]:
    def draw(rng: Rng, seconds: int) -> Weather:
        shocks = rng.normal(0.0, math.sqrt(1 - correlation**2), seconds).tolist()
        level, levels = float(rng.normal()), []
        for shock in shocks:
            level = correlation * level + shock
            levels.append(level)
        wander = np.array(levels)
        return Weather(SPEED_SD * wander, RISK_SD * wander - RISK_SD**2 / 2, _calm(seconds))

    return draw


def _drift(_: Rng, seconds: int) -> Weather:
    slope = np.linspace(-0.1, 0.1, seconds)
    return Weather(slope, slope, _calm(seconds))


def _pauses(rng: Rng, seconds: int) -> Weather:
    lengths = rng.uniform(_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S, seconds)
    return Weather(_calm(seconds), _calm(seconds), np.where(rng.random(seconds) < 0.2, lengths, 0.0))


def _bursts(rng: Rng, seconds: int) -> Weather:
    bad = np.zeros(seconds + 2)
    for start in np.flatnonzero(rng.random(seconds + 2) < 1 / 15):
        bad[start : start + rng.integers(1, 4)] = 1.0
    bad = bad[2:]
    # A second is bad when a burst began in it, or lasts into it: probabilities 1, 2/3 and 1/3 of a start.
    share = 1 - (1 - 1 / 15) * (1 - 2 / 45) * (1 - 1 / 45)
    return Weather(math.log(2) * bad, math.log(5) * bad - math.log(1 + 4 * share), _calm(seconds))


def _neighbour(rng: Rng, seconds: int) -> Weather:
    here, states = rng.random() < 0.25, []
    for draw in rng.random(seconds).tolist():
        here = draw > 1 / 5 if here else draw < 1 / 15
        states.append(float(here))
    there = np.array(states)
    return Weather(math.log(1.3) * there, math.log(2) * there - math.log(1.25), _calm(seconds))


NOISES = {
    noise.name: noise
    for noise in (
        Noise("independent", "every arrival for itself", _independent),
        Noise("wander 0.3", "the level of each second depends on the last by 0.3 (AR(1))", _autoregression(0.3), 0.3),
        Noise("wander 0.6", "the same by 0.6", _autoregression(0.6), 0.6),
        Noise("wander 0.9", "the same by 0.9: ten seconds are hardly more than one", _autoregression(0.9), 0.9),
        Noise("drift", "20 % slower, and more failures, from the arm's start to its end; in both arms", _drift),
        Noise("pauses", "every fifth second nothing is answered for 50 to 500 ms (garbage collection)", _pauses),
        Noise("bursts", "every 15 s, 1 to 3 s with twice the response times and five times the failures", _bursts, 0.5),
        Noise(
            "neighbour", "a neighbour is there for 5 s of 20: 1.3 times the response times, twice the failures",
            _neighbour, 0.73,
        ),
        Noise("heavy tails", "response times with the tail of Student's t on 3 degrees of freedom, in logarithms",
              _independent, heavy=True),
    )
}  # fmt: skip
"""The family of noises. What wanders does so by 15 % of the response time and 20 % of the share of failures (sd)."""
