"""How often the class is right: systems whose fate is known, simulated and judged.

A FIFO server of rate mu whose clients time out and try again R times comes back after a stall when less than
mu / (1 + R) arrives per second, and stays down above it. A shop that waits long for its database drags down the pages
that do not need it; one that refuses what it can't serve does not. Each is judged with all telemetry, and with samples
and events alone. The onset is held against the first of five failed requests in a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from types import MappingProxyType
from typing import Any

import numpy as np

from harness import interrupt
from harness.analysis.analyse import analyse
from harness.clock import NS
from harness.exits import Exit
from harness.plan import Load, Phase, Retry
from harness.record.reader import Record, Telemetry
from harness.shapes import Segment
from harness.simulate.effects import Capacity, Effect, Latency
from harness.simulate.experiment import Trial, fifo_server, simulate
from harness.simulate.model import Call, Component, Constant, Edge, Exponential, Hold, Model, Pool, Work
from harness.stats.proportions import exact_limits

AT_S = 35.0
_MU = 100.0
_RETRIES = 3
_WARM_UP_S = 5.0
_IN_A_ROW = 5
_ALL_RIGHT = 0.95
_ONSET_S = 1.0

NAIVE = Retry("immediate", _RETRIES)
POLITE = Retry("exponential", _RETRIES, 0.2, 2.0, 0.1)


@dataclass(frozen=True, slots=True)
class Fate:
    """A system and the class that it deserves; `exact` ones must be right every time."""

    name: str
    truth: str
    trial: Trial
    exact: bool = False


def fates() -> tuple[Fate, ...]:
    """The systems of the study."""
    at_threshold = _MU / (1 + _RETRIES)
    below = [_stalled(share * at_threshold, NAIVE) for share in (0.5, 0.9)]
    above = [_stalled(share * at_threshold, NAIVE) for share in (1.1, 2.0)]
    return (
        Fate("server with half of its workers to spare, a quarter lost", "none", _pooled(40, 0.75, 15, None)),
        Fate("shop, 0.1 ms more on the way to its database", "none", _shop(_model(30.0), NAIVE, 0.0001)),
        Fate("stalled server at 0.5 of the threshold", "contained", below[0], exact=True),
        Fate("stalled server at 0.9 of the threshold", "contained", below[1], exact=True),
        Fate("stalled server at 80/s, retry budget of 10 %", "contained", _stalled(80, replace(NAIVE, budget=0.1))),
        Fate("shop that refuses, polite clients", "contained", _shop(_model(0.25, 8), POLITE)),
        Fate("shop that refuses, clients that try again at once", "contained", _shop(_model(0.25, 8), NAIVE)),
        Fate("shop that waits, no retries", "cascading", _shop(_model(30.0), None)),
        Fate("shop that waits, polite clients", "cascading", _shop(_model(30.0), POLITE)),
        Fate("server with a tenth of its workers, retries on top", "cascading", _pooled(15, 0.1, 20, NAIVE)),
        Fate("shop that waits, clients that try again at once", "metastable", _shop(_model(30.0), NAIVE)),
        Fate("stalled server at 1.1 of the threshold", "metastable", above[0], exact=True),
        Fate("stalled server at 2 of the threshold", "metastable", above[1], exact=True),
    )


@dataclass(frozen=True, slots=True)
class Told:
    """What was made of a fate: how often each class, with telemetry and without, and the errors of onsets in s."""

    fate: Fate
    classes: Mapping[str, int]
    bare: Mapping[str, int]
    onset_errors_s: tuple[float, ...]

    @property
    def seeds(self) -> int:
        """How many records were judged."""
        return sum(self.classes.values())

    @property
    def right(self) -> int:
        """How many of them got the class they deserve."""
        return self.classes.get(self.fate.truth, 0)


@dataclass(frozen=True, slots=True)
class ClassStudy:
    """The whole study."""

    told: tuple[Told, ...]

    @property
    def right(self) -> float:
        """The share of records with the right class."""
        return sum(one.right for one in self.told) / max(1, sum(one.seeds for one in self.told))

    @property
    def onset_error_s(self) -> float:
        """The median error of all onsets."""
        return median([error for one in self.told for error in one.onset_errors_s] or [0.0])

    @property
    def exit_code(self) -> Exit:
        """Whether the study holds: 95 % right over all, all of the exact ones, onsets to 1 s."""
        exact = all(one.right == one.seeds for one in self.told if one.fate.exact)
        return Exit.PASS if exact and self.right >= _ALL_RIGHT and self.onset_error_s <= _ONSET_S else Exit.FAIL

    def text(self) -> str:
        """A table in Markdown, and what it comes to."""
        seeds = sum(one.seeds for one in self.told)
        right = sum(one.right for one in self.told)
        low, _ = exact_limits(right, seeds, 0.95) if seeds else (0.0, 1.0)
        lines = [
            "| system | deserves | right | right from samples alone | else | median onset error |",
            "| --- | --- | ---: | ---: | --- | ---: |",
            *(_row(one) for one in self.told),
            "",
            f"{right} of {seeds} records got the class they deserve ({self.right:.1%}; with 95 % confidence at least "
            f"{low:.1%}). Median onset error {self.onset_error_s:.2f} s.",
        ]
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """For a program."""
        return {
            "right": self.right,
            "onset_error_s": self.onset_error_s,
            "exit_code": int(self.exit_code),
            "systems": [
                {
                    "name": one.fate.name,
                    "truth": one.fate.truth,
                    "exact": one.fate.exact,
                    "classes": dict(one.classes),
                    "samples_only": dict(one.bare),
                    "onset_errors_s": list(one.onset_errors_s),
                }
                for one in self.told
            ],
        }


def run_classes(
    seeds: Sequence[int], chosen: Sequence[Fate] | None = None, say: Callable[[str], None] = lambda _: None
) -> ClassStudy:
    """Judge every fate once per seed. Raises Interrupted when a signal comes."""
    told = []
    for fate in fates() if chosen is None else chosen:
        classes: Counter[str] = Counter()
        bare: Counter[str] = Counter()
        errors: list[float] = []
        for seed in seeds:
            interrupt.check()
            record = simulate(fate.trial, seed)
            cascade = analyse(record).cascade
            classes[cascade.klass] += 1
            bare[analyse(replace(record, telemetry=Telemetry(MappingProxyType({})))).cascade.klass] += 1
            began = dict(_began(record))
            errors += [
                abs(onset.t_s - began[name])
                for onset in cascade.onsets
                if onset.kind == "errors" and (name := onset.series.removesuffix(" errors")) in began
            ]
        told.append(Told(fate, dict(classes), dict(bare), tuple(errors)))
        say(f"{fate.name}: {told[-1].right} of {told[-1].seeds} {fate.truth}")
    return ClassStudy(tuple(told))


def _row(one: Told) -> str:
    others = ", ".join(f"{count} {name}" for name, count in sorted(one.classes.items()) if name != one.fate.truth)
    error = f"{median(one.onset_errors_s):.2f} s" if one.onset_errors_s else "–"
    bare = one.bare.get(one.fate.truth, 0)
    return (
        f"| {one.fate.name} | {one.fate.truth} | {one.right} of {one.seeds} | {bare} of {one.seeds} "
        f"| {others or '–'} | {error} |"
    )


def _began(record: Record) -> Iterator[tuple[str, float]]:
    """When each endpoint of the fault arm began to fail: its first of five failed arrivals in a row, in s."""
    samples = record.arm("fault-1")
    last = np.zeros(len(samples), dtype=np.int64)
    np.maximum.at(last, samples.first_seq, np.arange(len(samples)))
    first = samples.attempt == 0
    failed = samples.error[last[first]] != 0
    at_s, endpoint = samples.intended_ns[first] / NS, samples.endpoint[first]
    for code, name in enumerate(samples.endpoint_names):
        own, own_s = failed[endpoint == code], at_s[endpoint == code]
        running = np.convolve(own & (own_s >= AT_S - 1), np.ones(_IN_A_ROW), mode="valid")
        hits = np.flatnonzero(running == _IN_A_ROW)
        if len(hits):
            yield name, max(AT_S, float(own_s[hits[0]]))


def _trial(
    model: Model, mix: Mapping[str, float], rate: float, end_s: float, retries: Mapping[str, Retry], effect: Effect
) -> Trial:
    load = Load("", "poisson", (Segment(0.0, end_s, rate, rate),), 0, 100_000, 1.0, 1.0, retries)
    phases = (Phase("warm-up", 0.0, _WARM_UP_S, rate), Phase("steady", _WARM_UP_S, end_s, rate))
    return Trial(model, load, mix, (effect,), phases)


def _stalled(rate: float, retry: Retry) -> Trial:
    stall = Capacity("server", AT_S, AT_S + 5, factor=0)
    return _trial(fifo_server(_MU), {"get": 1.0}, rate, 160.0, {"get": retry}, stall)


def _pooled(rate: float, factor: float, lasts_s: float, retry: Retry | None) -> Trial:
    """Ten workers of which some are lost for a while."""
    model = Model("server", {"server": Component(workers=10)}, endpoints={"get": (Work(Exponential(0.1)),)})
    lost = Capacity("server", AT_S, AT_S + lasts_s, factor=factor)
    return _trial(model, {"get": 1.0}, rate, 130.0, {} if retry is None else {"get": retry}, lost)


def _model(wait_s: float, bulkhead: int = 0) -> Model:
    """Two replicas whose checkout holds one of five database connections; the catalogue needs only a thread."""
    checkout: tuple[Hold, ...] = (Hold("database", (Call("postgres", (Work(Constant(0.08)),), trips=3),)),)
    pools = {"database": Pool(5, wait_s=wait_s)}
    if bulkhead:
        pools["bulkhead"] = Pool(bulkhead, wait_s=0.0)
        checkout = (Hold("bulkhead", checkout),)
    return Model(
        entry="app",
        components={"app": Component(replicas=2, workers=16, pools=pools), "postgres": Component()},
        edges={"app->postgres": Edge(trip_s=0.0003)},
        endpoints={"catalog": (Work(Constant(0.002)),), "checkout": checkout},
    )


def _shop(model: Model, retry: Retry | None, latency_s: float = 0.15) -> Trial:
    slow = Latency("app->postgres", AT_S, AT_S + 10, latency_s)
    retries = {} if retry is None else {"checkout": retry}
    return _trial(model, {"catalog": 1.0, "checkout": 2.0}, 90.0, 105.0, retries, slow)
