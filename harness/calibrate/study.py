"""How often a decision on a number is wrong: made-up pairs of arms whose true difference is known.

Three truths are put to the very functions that judge runs. *Equal*: no difference, as between two arms with nothing
wrong; a fail is a false alarm as users see it. *At the margin*: the true difference is exactly what is allowed, where a
decision is hardest; a fail or a pass there is wrong by as little as can be, and no truth within the margin fails (and
none beyond it passes) more often. *Beyond*: 2 points of errors more, or response times 1.5 times as long; a fail is
right, an inconclusive a want of power.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.analysis.cells import ALL, Cells, Pair
from harness.analysis.comparisons import Material, compare
from harness.analysis.decision import decide
from harness.analysis.experiment import Experiment, Window
from harness.analysis.over_pairs import Question, hold
from harness.analysis.recovery import UNKNOWN, Healing
from harness.analysis.seconds import Seconds, cut_seconds, undisturbed
from harness.analysis.verdict import Cascade, Comparison
from harness.calibrate.noises import NOISES, Rng, Weather, counted, failures, on_one_grid, response_times
from harness.clock import NS
from harness.expectations import Expectation, parse

TRUTHS = ("equal", "margin", "beyond")
TIMEOUT_S = 1
POINTS = (0.0, 0.01, 0.02)
RATIOS = (1.0, 1.2, 1.5)
ASKED = {
    "errors": ("error-rate increases by < 1pp",),
    "times": tuple(f"{quantile} increases by < 20%" for quantile in ("p50", "p95", "p99")),
}
RUN_SD = 0.05
DRIFT = 0.01
Outcomes = dict[str, dict[str, Counter[str]]]
"""Metric -> truth -> how often each outcome."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One setting of the study: `numbers` is `errors` or `times`.

    A fault of `window_s` lies in arms of `arm_s`, after a third of what is left of them. With `repeats` the claim is
    about several pairs of runs that differ by themselves as `between` says: `runs` (sd 5 %) or `order` (each arm is 1 %
    worse than the last, arms interleaved AB BA).
    """

    numbers: str
    noise: str
    arm_s: int
    window_s: int
    rate: int
    repeats: int = 1
    between: str = ""

    @property
    def name(self) -> str:
        """Unique among the cells."""
        repeated = f", {self.repeats} pairs, {self.between}" if self.repeats > 1 else ""
        return f"{self.numbers}, {self.noise}, {self.window_s} of {self.arm_s} s at {self.rate}/s{repeated}"

    @property
    def most_wrong(self) -> float:
        """The largest share of wrong fails (or wrong passes) that is allowed."""
        return 0.065 if self.arm_s >= 60 and NOISES[self.noise].correlation <= 0.6 else 0.10

    @property
    def must_find(self) -> bool:
        """Whether at least 90 % of what is beyond must be found: 60 s compared, 200/s, correlation 0.3."""
        return (self.noise, self.window_s, self.rate, self.repeats) == ("wander 0.3", 60, 200, 1)


def cells() -> tuple[Cell, ...]:
    """The whole study."""
    return (*_single(), *_repeated())


def quick_cells() -> tuple[Cell, ...]:
    """A few cells that show the rest."""
    few = [Cell("errors", noise, 60, 30, 200) for noise in ("independent", "wander 0.3", "wander 0.9")]
    few += [Cell("errors", "wander 0.3", 60, 60, 200), Cell("times", "wander 0.3", 60, 30, 200)]
    return (*few, Cell("errors", "wander 0.3", 60, 30, 200, 3, "runs"))


def _single() -> Iterator[Cell]:
    for numbers, noises in (
        ("errors", [name for name in NOISES if name not in ("pauses", "heavy tails")]),
        ("times", list(NOISES)),
    ):
        for noise in noises:
            for arm_s, window_s in ((30, 10), (60, 10), (60, 30), (60, 60), (300, 30), (300, 300)):
                yield Cell(numbers, noise, arm_s, window_s, 200)
    for noise in ("independent", "wander 0.3", "wander 0.6", "wander 0.9"):
        for arm_s, window_s in ((30, 10), (60, 10), (60, 30), (300, 30)):
            yield Cell("errors", noise, arm_s, window_s, 20)
            yield Cell("errors", noise, arm_s, window_s, 2000)
            yield Cell("times", noise, arm_s, window_s, 20)
        yield Cell("times", noise, 60, 30, 2000)


def _repeated() -> Iterator[Cell]:
    for numbers in ("errors", "times"):
        for between in ("runs", "order"):
            for repeats in (3, 5):
                yield Cell(numbers, "wander 0.3", 60, 30, 200, repeats, between)


def judge(cell: Cell, trials: range, seed: int) -> Outcomes:
    """The outcomes of the trials with these numbers; the same for the same arguments."""
    asked = [(text, parse(text)) for text in ASKED[cell.numbers]]
    found: Outcomes = {expectation.metric: {truth: Counter() for truth in TRUTHS} for _, expectation in asked}
    layout = layout_of(cell)
    for trial in trials:
        for truth, pairs in make_pairs(cell, layout, trial, seed).items():
            for text, expectation in asked:
                found[expectation.metric][truth][_outcome(text, expectation, pairs, layout.seconds)] += 1
    return found


def make_pairs(cell: Cell, layout: Layout, trial: int, seed: int) -> dict[str, list[Pair]]:
    """The pairs of runs of one trial under each truth."""
    rng = np.random.default_rng([seed, zlib.crc32(cell.name.encode()), trial])
    by_truth = [_pairs(cell, rng, layout, orders) for orders in _orders(cell)]
    return {truth: pairs for truth, *pairs in zip(TRUTHS, *by_truth, strict=True)}


@dataclass(frozen=True, slots=True)
class Layout:
    """The seconds of a cell's arms, and in each arm those that no fault touches."""

    seconds: Seconds
    calm_baseline: list[np.ndarray]
    calm_fault: list[np.ndarray]


def layout_of(cell: Cell) -> Layout:
    """Where the fault lies in the arms of a cell; everything is one steady phase."""
    # A window as long as the arm needs the last client timeout, in which nothing is compared, on top.
    arm_s = cell.arm_s + TIMEOUT_S if cell.window_s == cell.arm_s else cell.arm_s
    before_s = (cell.arm_s - cell.window_s) // 3
    window = Window(before_s * NS, (before_s + cell.window_s) * NS, True, ("fault",), ("component",), ())
    experiment = Experiment(
        baseline="baseline-1",
        fault="fault-1",
        window=window,
        warm_up_ns=0,
        end_ns=arm_s * NS,
        watched_to_ns=(arm_s - TIMEOUT_S) * NS,
        phases=(("steady", 0, arm_s * NS),),
        aborted=False,
        problem="",
    )
    seconds = cut_seconds(experiment)
    calm = [list(undisturbed(seconds, experiment, kind, TIMEOUT_S * NS)) for kind in ("baseline", "fault")]
    return Layout(seconds, *calm)


def _orders(cell: Cell) -> list[tuple[int, int]]:
    """When the baseline and the fault arm of each pair are run, counted over all arms."""
    return [(2 * pair, 2 * pair + 1) if pair % 2 == 0 else (2 * pair + 1, 2 * pair) for pair in range(cell.repeats)]


def _pairs(cell: Cell, rng: Rng, layout: Layout, orders: tuple[int, int]) -> list[Pair]:
    """One pair of runs under each truth: the same arrivals and the same weather, as far as they are not the effect."""
    length, during = len(layout.seconds.edges_ns) - 1, layout.seconds.during
    arrivals = rng.poisson(cell.rate, length).astype(np.int64)
    calm, hit = (_weather(cell, rng, length, order) for order in orders)
    made: list[tuple[Cells, Cells]] = []
    if cell.numbers == "errors":
        without = failures(rng, arrivals, calm, 0.0, during)
        made = [(without, failures(rng, arrivals, hit, added, during)) for added in POINTS]
    else:
        noise = NOISES[cell.noise]
        without = counted(arrivals, *response_times(rng, arrivals, calm, noise), 1.0, during)
        drawn = response_times(rng, arrivals, hit, noise)
        made = [on_one_grid(without, counted(arrivals, *drawn, ratio, during)) for ratio in RATIOS]
    return [Pair("", *arms, layout.calm_baseline, layout.calm_fault) for arms in made]


def _weather(cell: Cell, rng: Rng, seconds: int, order: int) -> Weather:
    weather = NOISES[cell.noise].draw(rng, seconds)
    shift = {"": 0.0, "runs": float(rng.normal(0.0, RUN_SD)), "order": DRIFT * order}[cell.between]
    return Weather(weather.speed + shift, weather.risk + shift, weather.held_s)


def _outcome(text: str, expectation: Expectation, pairs: list[Pair], seconds: Seconds) -> str:
    if len(pairs) == 1:
        return decide(expectation, pairs[0], seconds.during, seconds.length_s(seconds.during)).outcome
    each = [_comparison(text, expectation, pair, seconds) for pair in pairs]
    answers, _ = hold({0: Question(expectation, each)}, None)
    return answers[0].outcome


def _comparison(text: str, expectation: Expectation, pair: Pair, seconds: Seconds) -> Comparison:
    material = Material(
        pairs={ALL: pair},
        successes={},
        seconds=seconds,
        cascade=Cascade("none", "", (), ()),
        healing=Healing(UNKNOWN, 0, 0),
        problem="",
        missing=(),
        faults=(),
    )
    return compare(text, expectation, material)[0]
