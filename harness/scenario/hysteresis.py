"""The two phases that `hysteresis: on` appends: no load at all, then the load before."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from harness.plan import Phase, PlannedFault
from harness.scenario.document import Document
from harness.scenario.models import Hysteresis, LoadModel
from harness.shapes import Segment

SHED, RETURN = "shed", "return"
_SHORTEST_SHED_S = 10.0
_RETURN_S = 25.0


def shed_and_return(
    asked: Hysteresis,
    load: LoadModel,
    phases: Sequence[Phase],
    faults: Iterable[PlannedFault],
    wait_s: float,
    document: Document,
) -> tuple[tuple[Phase, Phase], tuple[Segment, Segment]]:
    """The phases after the last one that tell whether shedding all load ends a failure.

    Without a length of its own, `shed` lasts as long as the queues can take to empty in the worst case: one client
    timeout, then `wait_s` (the longest that the target lets a request wait) or the drain of everything that clients
    may have sent since the first fault, at the peak rate (which the baseline arm carries); 10 s at least. `return`
    is long enough to see the system well for 20 s, the last client timeout left out.
    Raises ScenarioError: a phase has one of the names, or the load is of the closed model.
    """
    if load.model == "closed":
        raise document.key_error(
            ("hysteresis",),
            "needs the open model: users who wait for their answer shed the load by themselves",
            remedy="leave `model: closed` or `hysteresis` out",
        )
    for index, phase in enumerate(phases):
        if phase.name in (SHED, RETURN):
            path = ("load", "phases", index)
            raise document.error(
                path, f"`hysteresis` appends a phase `{phase.name}`", remedy="name this one differently"
            )
    last = phases[-1]
    attempts = 1 + max((retry.allowed for retry in load.retries.values()), default=0.0)
    since_s = last.end_s - min(fault.at_s for fault in faults)
    drain_s = since_s * max(0.0, attempts * last.rate / max(phase.rate for phase in phases) - 1)
    shed_s = asked.shed or max(_SHORTEST_SHED_S, math.ceil(load.timeout + max(wait_s, drain_s)))
    return_s = asked.return_ or math.ceil(_RETURN_S + load.timeout)
    back = round(last.end_s + shed_s, 9)
    end = round(back + return_s, 9)
    return (
        (Phase(SHED, last.end_s, back, 0.0), Phase(RETURN, back, end, last.rate)),
        (Segment(last.end_s, back, 0.0, 0.0), Segment(back, end, last.rate, last.rate)),
    )
