"""Cache faults: what happens to Redis (or a server that speaks its protocol)."""

from __future__ import annotations

from collections.abc import Sequence

from harness.faults.base import FaultableStack, Undo
from harness.faults.catalogue import fault
from harness.plan import PlannedFault
from harness.probes import probe, refused


@fault("redis-down", family="cache", place="component", default_place="redis", capability="killable")
class RedisDown:
    """Redis dies (SIGKILL), and is started again, empty, when the fault ends."""

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        self._component = planned.component
        self._stack = stack

    def undo(self) -> Sequence[Undo]:
        """Start the server again at its old address."""
        return [self._stack.start_undo(self._component)]

    def inject(self) -> None:
        """Kill the server process."""
        self._stack.kill(self._component)

    def is_active(self) -> bool:
        """Nothing listens at its address any more."""
        return refused(self._stack.address(self._component))

    def is_clear(self) -> bool:
        """It answers PING at its address."""
        return probe("redis", self._stack.address(self._component)).ok
