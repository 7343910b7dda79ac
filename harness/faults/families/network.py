"""Network faults: what a dependency edge does to the bytes that pass through it."""

from __future__ import annotations

from collections.abc import Sequence

from harness.faults.base import Fault, FaultableStack, Param, Undo
from harness.faults.catalogue import fault
from harness.faults.undo import remove_toxic
from harness.plan import PlannedFault
from harness.probes import Answer, probe, split
from harness.proxy.client import ToxiproxyClient


@fault(
    "latency",
    family="network",
    place="edge",
    layer="delay",
    params={
        "latency": Param("duration", "delay added to everything that comes back over the edge", required=True),
        "jitter": Param("duration", "the delay varies uniformly by this much either way", default=0.0),
    },
)
class Latency(Fault):
    """Answers over a dependency edge arrive late."""

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._edge = stack.edge(planned.edge)
        self._api = stack.proxy_api
        self._toxic = planned.id
        self._latency_s = float(planned.params["latency"])
        self._jitter_s = float(planned.params["jitter"])
        # The bar between "slow because of us" and "slow anyway": half of the least delay we add.
        self._threshold_s = max(0.001, (self._latency_s - self._jitter_s) * 0.9)

    def undo(self) -> Sequence[Undo]:
        """Take the toxic off the edge's proxy."""
        return [remove_toxic(self._api, self._edge.proxy, self._toxic)]

    def inject(self) -> None:
        """Put a latency toxic on the answers."""
        attributes = {"latency": round(self._latency_s * 1000), "jitter": round(self._jitter_s * 1000)}
        ToxiproxyClient(*split(self._api)).add_toxic(self._edge.proxy, self._toxic, "latency", "downstream", attributes)

    def is_active(self) -> bool:
        """An exchange over the edge takes at least the delay."""
        answer = self._exchange()
        return answer.ok and answer.seconds >= self._threshold_s

    def is_clear(self) -> bool:
        """An exchange over the edge is fast again."""
        answer = self._exchange()
        return answer.ok and answer.seconds < self._threshold_s

    def _exchange(self) -> Answer:
        return probe(self._edge.protocol, self._edge.address, timeout_s=2.0 + 2 * (self._latency_s + self._jitter_s))
