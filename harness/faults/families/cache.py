"""Cache faults: what happens to Redis (or a server that speaks its protocol)."""

from __future__ import annotations

from collections.abc import Sequence

from harness.faults.base import Fault, Undo
from harness.faults.catalogue import fault
from harness.probes import probe, refused


@fault("redis-down", family="cache", place="component", default_place="redis", capability="process", protocol="redis")
class RedisDown(Fault):
    """Redis dies (SIGKILL), and is started again, empty, when the fault ends."""

    def undo(self) -> Sequence[Undo]:
        """Start the server again at its old address."""
        return [self.stack.start_undo(self.planned.component)]

    def inject(self) -> None:
        """Kill the server process."""
        self.stack.kill(self.planned.component)

    def is_active(self) -> bool:
        """Nothing listens at its address any more."""
        return refused(self.stack.address(self.planned.component))

    def is_clear(self) -> bool:
        """It answers PING at its address."""
        return probe("redis", self.stack.address(self.planned.component)).ok
