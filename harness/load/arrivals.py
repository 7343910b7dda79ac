"""Arrival processes: when requests are due, as small immutable values that anybody can iterate.

    process = Poisson(step(120, 0.3, at_s=10, for_s=50), seed=7)
    process.rate(12.5)          # arrivals per second at t = 12.5 s
    for instant_s in process:   # ascending, the same for the same seed
        ...
    print(process)              # what it is, in words

`Poisson` and `Uniform` space arrivals along a rate (see `harness.shapes`: constant, ramp, step, sine, and any sequence
of these), `Instants` are arrivals at recorded instants, `Merged` are several processes at once; `replayed` reads a
trace.
Pure standard library, no Locust. Arrivals are independent of what the system under test does (open model).
"""

from __future__ import annotations

import heapq
import math
import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count, islice, repeat
from pathlib import Path

from harness.plan import Load
from harness.shapes import Instants, Piece, Rate, Steps, constant, ramp, sine, step
from harness.traces import Replay

__all__ = [
    "Arrivals",
    "Instants",
    "Merged",
    "Poisson",
    "Rate",
    "Uniform",
    "arrivals_of",
    "constant",
    "draw_indices",
    "ramp",
    "replayed",
    "schedule",
    "sine",
    "step",
]


@dataclass(frozen=True, slots=True)
class Poisson:
    """A Poisson process of the given rate: unit-exponential gaps through the inverse cumulative rate (exact)."""

    profile: Rate
    seed: int

    def rate(self, t_s: float) -> float:
        """Arrivals per second at `t_s`."""
        return self.profile.at(t_s)

    def __iter__(self) -> Iterator[float]:
        uniform, log = random.Random(f"{self.seed}:arrivals").random, math.log
        yield from self.profile.instants(accumulate(-log(1.0 - uniform()) for _ in repeat(None)))

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
        yield from self.profile.instants(count(0.5))

    def __str__(self) -> str:
        return f"uniform arrivals: {self.profile}"


@dataclass(frozen=True, slots=True)
class Merged:
    """Several processes at once, as one."""

    processes: tuple[Arrivals, ...]

    def rate(self, t_s: float) -> float:
        """Arrivals per second at `t_s`."""
        return sum(process.rate(t_s) for process in self.processes)

    def __iter__(self) -> Iterator[float]:
        return heapq.merge(*self.processes)

    def __str__(self) -> str:
        return "; ".join(str(process) for process in self.processes)


Arrivals = Poisson | Uniform | Instants | Merged


def arrivals_of(load: Load) -> Arrivals:
    """The arrival process of a planned load of the open model, over all of its workers.

    Reads the traces that it replays; raises `ScenarioError` for one that can't be read or has changed.
    """
    shapes = [replay.shape_of(replay.read()) for replay in load.traces]
    recorded = [shape for shape in shapes if isinstance(shape, Instants)]
    pieces: list[Piece] = [*load.segments, *load.waves, *(shape for shape in shapes if isinstance(shape, Steps))]
    profile = Rate(tuple(sorted(pieces, key=lambda piece: piece.start_s)))
    spaced = Poisson(profile, load.seed) if load.spacing == "poisson" else Uniform(profile)
    return Merged((spaced, *recorded)) if recorded else spaced


def replayed(
    file: Path, *, for_s: float, from_s: float = 0.0, speed: float = 1.0, scale: float = 1.0, seed: int = 0
) -> Arrivals:
    """`for_s` seconds of the trace in `file`: its own instants, or Poisson arrivals at its rates.

    `from_s` is where in the trace to begin, `speed` compresses its time, `scale` multiplies its arrivals. Raises
    `ScenarioError` for a file that is not a trace.
    """
    replay = Replay(0.0, for_s, str(file), from_s=from_s, speed=speed, scale=scale)
    shape = replay.shape_of(replay.read())
    return shape if isinstance(shape, Instants) else Poisson(Rate((shape,)), seed)


def schedule(load: Load, weights: Sequence[float], worker: int, workers: int) -> Iterator[tuple[float, int]]:
    """The (instant in s, index of the task) of each arrival of one worker, ascending.

    The schedule of all workers together is the same for the same seed; arrival k is worker `k % workers`'s.
    """
    everything = zip(arrivals_of(load), draw_indices(weights, load.seed), strict=False)
    return islice(everything, worker, None, workers)


def draw_indices(weights: Sequence[float], seed: int) -> Iterator[int]:
    """Endless seeded draws of an index in proportion to `weights`: which task arrival 0, 1, 2, ... carries out."""
    bounds = list(accumulate(weights))
    if not bounds or bounds[-1] <= 0:
        raise ValueError("there must be a weight above zero to draw from")
    if len(bounds) == 1:
        yield from repeat(0)
    uniform = random.Random(f"{seed}:tasks").random
    last, total = len(bounds) - 1, bounds[-1]
    while True:
        yield bisect_right(bounds, uniform() * total, 0, last)
