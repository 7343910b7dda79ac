"""The resolved experiment, in absolute seconds: what will happen and when, with nothing left to look up.

A plan is plain data. It is made by `harness.scenario.resolve`, shown by `harness plan`, carried out by
`harness.run`, and its parts travel to the load workers and into run.json.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from harness.allowed import Window
from harness.shapes import Rate, Segment, Wave
from harness.traces import Replay

ArmKind = Literal["baseline", "fault"]
ArmLoad = Literal["planned", "expected"]
LoadModel = Literal["open", "closed"]
Spacing = Literal["poisson", "uniform"]
RetryKind = Literal["none", "immediate", "exponential"]

CLOSED_MODEL_HIDES: Final = (
    "A user who waits for an answer sends nothing, so a slow system gets less load just when it matters: response "
    "times leave out everybody who would have come meanwhile (coordinated omission), and a collapse that feeds on "
    "itself (metastable failure) can hardly show."
)
"""What is said wherever a load of the closed model is described."""

RETRY_STORM: Final = "retry-storm"
"""The fault whose parameter `retries` takes the place of the clients' policies."""

_BOOT_S: Final = 5.0
_RESET_S: Final = 3.0
_ANALYSIS_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Phase:
    """A named stretch of every arm: `[start_s, end_s)` since the arm's start.

    `rate` is its final rate (1/s), the mean one of a sine or a trace; in the closed model the final number of users.
    """

    name: str
    start_s: float
    end_s: float
    rate: float


@dataclass(frozen=True, slots=True)
class Retry:
    """What a client does after a failed attempt.

    `limit` retries at most. `exponential`: waits uniform(0, min(cap_s, base_s * 2**k)) before retry k (full jitter).
    `budget`: share of arrivals that may be retried (0.1 = 10 %), kept per load worker; None = no budget.
    """

    policy: RetryKind = "none"
    limit: int = 0
    base_s: float = 0.1
    cap_s: float = 2.0
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class RetryStorm:
    """A stretch of an arm, in ns since its start, in which clients send at once again what fails, `limit` times.

    It takes the place of the policies of `endpoints`, of all of them when there are none, and knows no budget.
    """

    start_ns: int
    end_ns: int
    limit: int
    endpoints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Load:
    """The traffic of one arm; the same for every arm of a run.

    Open model: `users` virtual users serve the arrivals that come at the rates of `segments`, `waves` and `traces`,
    which take turns; an arrival that finds none free for `patience_s` becomes a `dropped` row. Closed model: `segments`
    are the number of concurrent users, `users` the largest of them; each goes through its tasks with its own wait time,
    so that `spacing` and `patience_s` mean nothing, and there are no waves and traces.
    `retries` maps a request name to its policy; names that are absent do not retry. `options` are for Locust and the
    locustfile, as after `locust` on a command line.
    """

    locustfile: str
    spacing: Spacing
    segments: tuple[Segment, ...]
    seed: int
    users: int
    timeout_s: float
    patience_s: float
    retries: Mapping[str, Retry] = field(default_factory=dict)
    workers: int = 1
    model: LoadModel = "open"
    options: str = ""
    waves: tuple[Wave, ...] = ()
    traces: tuple[Replay, ...] = ()

    @property
    def duration_s(self) -> float:
        """Seconds from the arm's start to the last planned arrival's latest instant."""
        pieces: tuple[Segment | Wave | Replay, ...] = (*self.segments, *self.waves, *self.traces)
        return max(piece.end_s for piece in pieces)

    def expected(self, start_s: float = 0.0, end_s: float = math.inf) -> float:
        """Expected arrivals in `[start_s, end_s)`, of an open model only; a trace's are taken to be spread evenly."""
        rates = (Rate(self.segments), Rate(self.waves))
        total = sum(rate.cumulative(end_s) - rate.cumulative(start_s) for rate in rates)
        for replay in self.traces:
            overlap_s = min(end_s, replay.end_s) - max(start_s, replay.start_s)
            total += replay.arrivals * max(0.0, overlap_s) / (replay.end_s - replay.start_s)
        return total


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One fault at its time: `id` is unique in the plan, `kind` the catalogue's name, `params` in base units.

    `component` is what is hit (the far end of the edge for a network fault); `edge` is `source->destination` or "".
    `places` is all that `on` named, edges or components and their replicas, when that is not just this one.
    """

    id: str
    kind: str
    at_s: float
    for_s: float
    params: Mapping[str, Any]
    component: str
    edge: str = ""
    places: tuple[str, ...] = ()

    @property
    def where(self) -> tuple[str, ...]:
        """Every edge, component or replica that is hit."""
        return self.places or (self.edge or self.component,)

    @property
    def end_s(self) -> float:
        """When it is to be taken back, in seconds since the arm's start."""
        return self.at_s + self.for_s


@dataclass(frozen=True, slots=True)
class Arm:
    """One pass of the load: `baseline-1` without, `fault-1` with the faults; arms run in the plan's order.

    `load`: that of the scenario, or the `expected` one, which never goes above the steady rate (`design: 2x2`).
    """

    name: str
    kind: ArmKind
    pair: int
    load: ArmLoad = "planned"


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole run. `scenario` is the resolved scenario as JSON-ready data, `settings` the target's environment.

    `expected_load` is that of the arms without the spike, where there are such arms. `allowed`: when it may be run; at
    any time when empty.
    """

    name: str
    hypothesis: str
    scenario_file: str
    scenario: Mapping[str, Any]
    scenario_sha256: str
    target_name: str
    target_folder: str
    variant: str
    settings: Mapping[str, str]
    arms: tuple[Arm, ...]
    phases: tuple[Phase, ...]
    load: Load
    faults: tuple[PlannedFault, ...]
    expect: tuple[str, ...]
    abort_when: tuple[str, ...]
    seed: int
    expected_load: Load | None = None
    allowed: tuple[Window, ...] = ()

    def load_of(self, arm: Arm) -> Load:
        """The traffic of an arm."""
        return self.load if arm.load == "planned" or self.expected_load is None else self.expected_load

    @property
    def arm_duration_s(self) -> float:
        """Length of every arm in seconds."""
        return self.phases[-1].end_s

    @property
    def estimate_s(self) -> float:
        """About how long the whole run takes, in seconds."""
        return round(_BOOT_S + len(self.arms) * (self.arm_duration_s + _RESET_S) + _ANALYSIS_S, 1)
