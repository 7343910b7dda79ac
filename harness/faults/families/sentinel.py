"""Failover of a Redis server by its sentinels: they notice, vote and promote, and clients are led to the winner."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness import units
from harness.clock import now_ns
from harness.faults.base import Fault, FaultableStack, FaultableTarget, Undo
from harness.faults.catalogue import fault
from harness.faults.course import Course
from harness.faults.undo import START_TIMEOUT_S, undo_action
from harness.plan import PlannedFault
from harness.probes import probe, wait_for
from harness.processes import Command, Processes
from harness.redis_calls import attempt, primary, replica_of, role

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

    # A server that comes back as a primary is turned into a replica by the sentinels after some 10 s.
    clear_s = 30.0

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._name = planned.component
        self._sentinels = stack.sentinels(self._name)
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
        return [
            {
                "do": "start-behind-primary",
                "command": self.stack.command(self._name).to_json(),
                "address": self.stack.address(self._name),
                "sentinels": list(self._sentinels),
            }
        ]

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
        addresses = (self.stack.address(self._name), self.stack.address(f"{self._name}-replica"))
        roles = {address: role(address) for address in addresses}
        chosen = primary(self._name, self._sentinels)
        return sorted(roles.values()) == ["master", "slave"] and roles.get(chosen) == "master" and self._writable()

    def _watch(self) -> None:
        died_ns = now_ns()
        self._course.wait_until(lambda: not self._writable())
        self._course.wait_until(self._writable)
        after_ms = round((now_ns() - died_ns) / 1e6, 3)
        self.tell("probe", f"{self._name}-replica", text="writes work again, on the new primary", after_ms=after_ms)

    def _writable(self) -> bool:
        return all(attempt(edge.address, "DEL", self._key) is None for edge in self._edges)


@undo_action("start-behind-primary", lambda step: shlex.join(step["command"]["argv"]))
def _start_behind_primary(step: Mapping[str, Any], processes: Processes) -> None:
    """By hand it is enough to start it: the sentinels turn it into a replica after a while."""

    def answers() -> bool:
        return probe("redis", step["address"]).ok

    if answers():
        return
    command = Command.from_json(step["command"])
    leader = primary(command.name, step["sentinels"])
    if leader not in ("", step["address"]):
        command = replace(command, argv=(*command.argv, *replica_of(leader)))
    processes.kill(command.name)
    processes.spawn(command)
    if not wait_for(answers, timeout_s=START_TIMEOUT_S):
        raise TimeoutError(f"{command.name} does not answer at {step['address']} after {START_TIMEOUT_S:.0f} s")
