"""Failover of a Redis server by its sentinels: they notice, vote and promote, and clients are led to the winner."""

from __future__ import annotations

from collections.abc import Sequence

from harness import units
from harness.clock import now_ns
from harness.faults.base import Fault, FaultableStack, FaultableTarget, Undo
from harness.faults.catalogue import fault
from harness.faults.course import Course
from harness.faults.watched import SETTLING_S, is_paired, start_behind_primary
from harness.plan import PlannedFault
from harness.redis_calls import attempt

ELECTION_S = 3.0
"""What sentinels need after they have noticed: up to a second until one stands for election, then the promotion."""


@fault(
    "sentinel-failover",
    family="cache",
    place="component",
    default_place="redis",
    capability="sentinel",
    protocol="redis",
)
class SentinelFailover(Fault):
    """The primary Redis dies (SIGKILL), its sentinels promote the replica; it comes back as replica of the new one."""

    takes_out = True

    clear_s = SETTLING_S

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._name = planned.component
        self._edges = [edge for edge in stack.edges if edge.destination == self._name]
        self._key = f"harness:probe:{planned.id}"
        self._course = Course(self._watch)

    @classmethod
    def refusal(cls, planned: PlannedFault, target: FaultableTarget) -> str:
        """Too short for an election, or nobody there to be led to the new primary."""
        least_s = target.down_after_s(planned.component) + ELECTION_S
        if planned.for_s < least_s:
            return (
                f"{units.format_duration(planned.for_s)} is too short for a failover: "
                f"give it {units.format_duration(least_s)} at least"
            )
        if not any(edge.endswith(f"->{planned.component}") for edge in target.edge_names):
            return f"no edge leads to `{planned.component}`: nobody would follow the failover"
        return ""

    def undo(self) -> Sequence[Undo]:
        """Start the server again, as a replica if another one is primary by then."""
        return [start_behind_primary(self.stack, self._name)]

    def inject(self) -> None:
        """Kill the primary, and look out for the moment at which writes work again."""
        self.stack.kill(self._name)
        self.tell("component.stopped", self._name)
        self._course.start()

    def halt(self) -> None:
        """Look out no more."""
        self._course.halt()

    def is_active(self) -> bool:
        """A write over an edge fails."""
        return not self._writable()

    def is_clear(self) -> bool:
        """A write over every edge works, and the sentinels' primary has the other server for its replica."""
        return is_paired(self.stack, self._name) and self._writable()

    def _watch(self) -> None:
        died_ns = now_ns()
        self._course.wait_until(lambda: not self._writable())
        self._course.wait_until(self._writable)
        after_ms = round((now_ns() - died_ns) / 1e6, 3)
        self.tell("probe", f"{self._name}-replica", text="writes work again, on the new primary", after_ms=after_ms)

    def _writable(self) -> bool:
        return all(attempt(edge.address, "DEL", self._key) is None for edge in self._edges)
