"""Process faults that a cluster does on purpose: evictions, deploys, drained nodes, fewer replicas."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from harness.errors import StackError
from harness.faults.base import FaultableStack, FaultableTarget, Param
from harness.faults.catalogue import fault
from harness.faults.lives import LEAVING, LIFE, REPLICAS, Leaving, LifeFault
from harness.plan import PlannedFault
from harness.units import format_duration

CUT_SHORT_S = 0.5
"""A fault that ends so much earlier than planned was cut short, by Ctrl-C or an abort."""

RESCHEDULE = {
    "reschedule-after": Param(
        "duration",
        "a fresh process is started so long after the old one has ended: scheduling, pulling the image",
        default=1.0,
        most=600.0,
    )
}


@fault(
    "evict",
    family="process",
    place="component",
    capability="process",
    many=True,
    layer=LIFE,
    params={**REPLICAS, **LEAVING, **RESCHEDULE},
)
class Evict(LifeFault):
    """A replica is evicted: no new connections, told to end, killed after the grace period, started afresh."""

    def steps(self) -> None:
        """Out, and back as soon as may be."""
        self.leave(self.names, Leaving.of(self.planned.params))
        self.course.wait(self.planned.params["reschedule-after"])
        self.come_back(self.names)


@fault(
    "drain",
    family="process",
    place="component",
    capability="process",
    many=True,
    layer=LIFE,
    params={
        "nodes": Param(
            "integer",
            "how many nodes the replicas are spread over: the first on node 1, the second on node 2, and so on",
            default=2,
            least=1,
            most=1000,
        ),
        "node": Param("integer", "the node that is drained", default=1, least=1, most=1000),
        **LEAVING,
        **RESCHEDULE,
    },
)
class Drain(Evict):
    """A node is drained: every replica on it is evicted at the same time, whatever is left of its component."""

    @classmethod
    def hit(cls, planned: PlannedFault, places: FaultableStack | FaultableTarget) -> tuple[str, ...]:
        """Every so many-th replica of each component."""
        first, step = planned.params["node"] - 1, planned.params["nodes"]
        return tuple(name for place in planned.where for name in places.instances(place)[first::step])

    @classmethod
    def refusal(cls, planned: PlannedFault, target: FaultableTarget) -> str:
        """A node that is not there or has nothing on it."""
        if planned.params["node"] > planned.params["nodes"]:
            return f"there are {planned.params['nodes']} `nodes`, so no `node: {planned.params['node']}`"
        for place in planned.where:
            if place not in target.components:
                return f"`{place}` is one replica; name components, whose replicas are spread over the nodes"
        if not cls.hit(planned, target):
            return f"there is no replica on node {planned.params['node']} of {planned.params['nodes']}"
        return super().refusal(planned, target)


@fault(
    "rolling-restart",
    family="process",
    place="component",
    capability="replicas",
    layer=LIFE,
    params={
        "max-unavailable": Param("integer", "how many replicas may be away at the same time", default=1, least=1),
        "min-ready": Param(
            "duration", "how long a fresh replica has to be ready before the next one leaves", default=0.0, most=600.0
        ),
        **LEAVING,
    },
)
class RollingRestart(LifeFault):
    """Every replica is replaced, a few at a time, each by one that has to be ready before others leave: a deploy."""

    @classmethod
    def refusal(cls, planned: PlannedFault, target: FaultableTarget) -> str:
        """One replica is nothing to roll over."""
        if planned.component not in planned.where:
            return f"`{planned.where[0]}` is one replica; name the component"
        batches = math.ceil(len(cls.hit(planned, target)) / planned.params["max-unavailable"])
        least_s = batches * (planned.params["pre-stop"] + planned.params["min-ready"])
        if least_s >= planned.for_s:
            return f"takes {format_duration(least_s)} at least, and `for` gives it {format_duration(planned.for_s)}"
        return super().refusal(planned, target)

    @classmethod
    def out_at_once(cls, planned: PlannedFault, target: FaultableTarget) -> Mapping[str, int]:
        """As many as are allowed to be away."""
        most = min(planned.params["max-unavailable"], len(target.instances(planned.component)))
        return {planned.component: most}

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._begun = 0.0
        self._is_done = False

    def steps(self) -> None:
        """One batch after the other."""
        self._begun = time.monotonic()
        size = self.planned.params["max-unavailable"]
        for start in range(0, len(self.names), size):
            batch = self.names[start : start + size]
            self.leave(batch, Leaving.of(self.planned.params))
            self.come_back(batch)
            self.course.wait(self.planned.params["min-ready"])
        self._is_done = True

    def halt(self) -> None:
        """Raises StackError when its time was too short: half a deploy proves nothing."""
        super().halt()
        had_its_time = time.monotonic() - self._begun > self.planned.for_s - CUT_SHORT_S
        if self._begun and had_its_time and not self._is_done:
            raise StackError(
                f"the rolling restart of {self.planned.component} was not over after {self.planned.for_s:g} s",
                remedy="give it more time with `for`",
            )

    def is_active(self) -> bool:
        """The first ones have left."""
        return any(self.is_out(name) for name in self.names)


@fault(
    "scale-down",
    family="process",
    place="component",
    capability="replicas",
    layer=LIFE,
    params={"to": Param("integer", "how many replicas are left", default=1, least=0), **LEAVING},
)
class ScaleDown(LifeFault):
    """A component has fewer replicas for a while; those that go, the last ones, leave politely."""

    @classmethod
    def hit(cls, planned: PlannedFault, places: FaultableStack | FaultableTarget) -> tuple[str, ...]:
        """The ones after those that are left."""
        return places.instances(planned.where[0])[planned.params["to"] :]

    @classmethod
    def refusal(cls, planned: PlannedFault, target: FaultableTarget) -> str:
        """A number that is no fewer than there are."""
        there = len(target.instances(planned.component))
        if planned.component not in planned.where:
            return f"`{planned.where[0]}` is one replica; name the component"
        if planned.params["to"] >= there:
            return f"`{planned.component}` has {there} replicas, which `to: {planned.params['to']}` does not make fewer"
        return super().refusal(planned, target)

    def steps(self) -> None:
        """They go; what brings them back is the undo."""
        self.leave(self.names, Leaving.of(self.planned.params))
