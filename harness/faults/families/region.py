"""Region faults: what happens to one of several regions that a target stands in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.errors import StackError
from harness.faults.base import FaultableStack, FaultableTarget
from harness.faults.catalogue import fault
from harness.faults.course import Course
from harness.faults.exchange import View
from harness.faults.families.network_cuts import Partition
from harness.plan import PlannedFault


@fault("region-loss", family="region", place="region", capability="region")
class RegionLoss(Partition):
    """A region is cut off: nothing passes between it and the front any more, while everything in it goes on running.

    The front finds out by its readiness probes and sends clients to the other regions then; `component.stopped` and
    `component.started` on record say when, for each replica.
    """

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self.streams = ("upstream", "downstream")
        self._course = Course(self._follow)

    @classmethod
    def out_at_once(cls, planned: PlannedFault, target: FaultableTarget) -> Mapping[str, int]:
        """Everything in the region."""
        (region,) = planned.where
        return {name: len(target.instances(name)) for name in target.in_region(region)}

    def see(self) -> list[View]:
        """The ways from the front to every replica of the region that serves clients."""
        return [
            View(link, upstream)
            for name in self._replicas
            for link, upstream in zip(self.stack.links(name), self._ends(name), strict=True)
        ]

    def inject(self) -> None:
        """Cut it off, and watch what the front makes of it."""
        super().inject()
        self._course.start()

    def halt(self) -> None:
        """Watch no more."""
        self._course.halt()

    def is_clear(self) -> bool:
        """Everything passes, and the front sends clients there again."""
        return super().is_clear() and all(map(self._is_served, self._replicas))

    @property
    def _replicas(self) -> tuple[str, ...]:
        return self.stack.instances(self.planned.component)

    def _ends(self, name: str) -> Iterator[str]:
        yield self.stack.address(name)
        yield self.stack.readiness(name)

    def _is_served(self, name: str) -> bool:
        try:
            return self.stack.endpoints.serves(name)
        except StackError:
            return False

    def _follow(self) -> None:
        served = dict.fromkeys(self._replicas, True)
        while True:
            for name, before in served.items():
                served[name] = self._is_served(name)
                if before != served[name]:
                    self.tell("component.stopped" if before else "component.started", name)
            self._course.wait(0.1)
