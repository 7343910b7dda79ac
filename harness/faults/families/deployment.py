"""Process faults that a cluster does on purpose: evictions, deploys, drained nodes, fewer replicas."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

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
        "evict": Param(
            "duration",
            "so long after the first ones were told to go one replica more is evicted, the last one that is there, "
            "whatever the deploy is doing; it is replaced as soon as it has ended; the deploy waits until it is back "
            "and need not replace it again",
            most=600.0,
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
        if (evict_s := planned.params["evict"]) is not None and evict_s >= planned.for_s:
            return f"`evict: {format_duration(evict_s)}` comes after its end; `for` is {format_duration(planned.for_s)}"
        return super().refusal(planned, target)

    @classmethod
    def out_at_once(cls, planned: PlannedFault, target: FaultableTarget) -> Mapping[str, int]:
        """As many as are allowed to be away, and the one that is evicted."""
        most = planned.params["max-unavailable"] + (planned.params["evict"] is not None)
        return {planned.component: min(most, len(target.instances(planned.component)))}

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._begun = 0.0
        self._away = Away(self.names)
        self._eviction = None if planned.params["evict"] is None else Eviction(planned, stack, self._away)
        self._is_done = False

    def inject(self) -> None:
        """Begin with the deploy, and let the eviction come."""
        if self._eviction is not None:
            self._eviction.tell = self.tell
            self._eviction.inject()
        super().inject()

    def steps(self) -> None:
        """One batch after the other, as long as nobody else is away."""
        self._begun = time.monotonic()
        size = self.planned.params["max-unavailable"]
        while True:
            self.course.wait_until(lambda: not self._away.anybody)
            if not (batch := self._away.take(size)):
                break
            self.leave(batch, Leaving.of(self.planned.params))
            self.come_back(batch)
            self._away.give_back(batch)
            self.course.wait(self.planned.params["min-ready"])
        self._is_done = True

    def halt(self) -> None:
        """Raises StackError when its time was too short: half a deploy proves nothing."""
        try:
            super().halt()
        finally:
            if self._eviction is not None:
                self._eviction.halt()
        if not self._begun or time.monotonic() - self._begun <= self.planned.for_s - CUT_SHORT_S:
            return
        if not self._is_done:
            raise StackError(
                f"the rolling restart of {self.planned.component} was not over after {self.planned.for_s:g} s",
                remedy="give it more time with `for`",
            )
        if self._eviction is not None and not self._eviction.is_done:
            raise StackError(
                f"the rolling restart of {self.planned.component} was over before anything could be evicted",
                remedy="give a shorter time with `evict`",
            )

    def is_active(self) -> bool:
        """The first ones have left."""
        return any(self.is_out(name) for name in self.names)

    def is_clear(self) -> bool:
        """All of the processes are ready, and clients get to them."""
        clear = super().is_clear()
        if clear and self._eviction is not None:
            self._eviction.tell_started(self.names)
        return clear


class Away:
    """Which replicas were replaced and which are away now, so that deploy and eviction never move the same one."""

    def __init__(self, names: Sequence[str]) -> None:
        self._old = list(names)
        self._away: set[str] = set()
        self._lock = threading.Lock()

    @property
    def anybody(self) -> bool:
        """Whether any is away."""
        return bool(self._away)

    def take(self, number: int, *, last: bool = False) -> Sequence[str]:
        """Up to so many that were not replaced yet are away from now on: the first of them, or the last."""
        with self._lock:
            taken = self._old[-number:] if last else self._old[:number]
            self._old = [name for name in self._old if name not in taken]
            self._away.update(taken)
            return taken

    def give_back(self, batch: Iterable[str]) -> None:
        """They serve again."""
        with self._lock:
            self._away.difference_update(batch)


class Eviction(LifeFault):
    """The eviction in a deploy: a course of its own beside that of the deploy, whose undo is that of both."""

    def __init__(self, planned: PlannedFault, stack: FaultableStack, away: Away) -> None:
        super().__init__(planned, stack)
        self._away = away
        self.is_done = False

    def steps(self) -> None:
        """Wait for its time, then one goes and is replaced."""
        self.course.wait(self.planned.params["evict"])
        if evicted := self._away.take(1, last=True):
            self.leave(evicted, Leaving.of(self.planned.params))
            self.come_back(evicted)
            self._away.give_back(evicted)
            self.is_done = True


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


@fault(
    "autoscaling-lag",
    family="process",
    place="component",
    capability="replicas",
    layer=LIFE,
    params={"to": Param("integer", "how many replicas there are until the others come", default=1, least=1)},
)
class AutoscalingLag(ScaleDown):
    """The replicas that a spike needs come late: until the end of the fault there are as few as before the spike.

    It begins a few seconds before the spike, when nobody misses them, and its end is that much later than the spike as
    they are late. Those that come are started meanwhile, and serve clients from then on. In the baseline arm they are
    there all the time.
    """

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        params = {**planned.params, **{name: param.default for name, param in LEAVING.items()}}
        super().__init__(replace(planned, params=params), stack)

    def steps(self) -> None:
        """They go, are started again, and are kept from the service until the undo admits them."""
        super().steps()
        for name in self.names:
            self.stack.spawn(self.stack.command(name))

    def is_out(self, name: str) -> bool:
        """Whether the service sends no new connection there."""
        return not self.stack.endpoints.serves(name)
