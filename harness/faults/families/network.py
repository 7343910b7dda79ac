"""Network faults that make an edge worse: what passes through it comes late, slowly or in pieces."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping

from harness.faults.base import FaultableStack, FaultableTarget, Param
from harness.faults.catalogue import fault
from harness.faults.edges import TOXICITY, ToxicFault, direction
from harness.faults.exchange import Met, View
from harness.plan import PlannedFault

_LONGEST_WAIT_S = 0.5
"""A delay need not be waited for to its end to be believed."""
_HTTP_RATE_MOST = 100_000
_HTTP_SLICE_MOST = 64
_SETTLED_S = 5.0
_PROBED_S = 0.2
"""How long moving what a probe moves is to take."""


class _Late(ToxicFault):
    """Something that adds a time to a round trip."""

    TOXIC = "latency"
    least_s: float

    def bites(self, view: View) -> bool:
        """A round trip takes nearly that much longer than around the edge, at least."""
        return view.adds(min(_LONGEST_WAIT_S, 0.9 * self.least_s))

    def is_gone(self, view: View) -> bool:
        """It takes less than half of that longer."""
        return view.is_sound() and not view.adds(min(_LONGEST_WAIT_S, 0.5 * self.least_s))


@fault(
    "latency",
    family="network",
    place="edge",
    many=True,
    layer="delay",
    params={
        "latency": Param("duration", "delay added to what passes over the edge", required=True, least=0.001, most=60.0),
        "jitter": Param("duration", "the delay varies uniformly by this much either way", default=0.0, most=60.0),
        "direction": direction(),
        "toxicity": TOXICITY,
    },
)
class Latency(_Late):
    """Answers over a dependency edge arrive late."""

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._latency_s, self._jitter_s = float(planned.params["latency"]), float(planned.params["jitter"])
        # A jitter as large as the latency takes all of it away now and then: then the usual delay is looked for.
        self.least_s = len(self.streams) * (max(0.0, self._latency_s - self._jitter_s) or self._latency_s)

    def attributes(self) -> Mapping[str, int]:
        """In milliseconds."""
        return {"latency": round(self._latency_s * 1000), "jitter": round(self._jitter_s * 1000)}


@fault(
    "jitter",
    family="network",
    place="edge",
    many=True,
    layer="delay",
    params={
        "up-to": Param(
            "duration", "each piece of data waits a random time of up to this", required=True, least=0.004, most=60.0
        ),
        "direction": direction(),
        "toxicity": TOXICITY,
    },
)
class Jitter(_Late):
    """What passes over an edge is delayed by a time that is drawn anew again and again: now fast, now slow."""

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._half_ms = round(float(planned.params["up-to"]) * 500)
        # Of one draw in two it is more.
        self.least_s = self._half_ms / 1000

    def attributes(self) -> Mapping[str, int]:
        """Half of the longest delay, give or take as much."""
        return {"latency": self._half_ms, "jitter": self._half_ms}

    def is_gone(self, view: View) -> bool:
        """Ten round trips, of which one at least would be slow."""
        return all(super(Jitter, self).is_gone(view) for _ in range(10))


class _Throttled(ToxicFault):
    """Something that makes it take long to move much."""

    def bites(self, view: View) -> bool:
        """Moving what the probe moves takes at least half as much longer as the toxic's arithmetic says."""
        size = self.probe_size()
        around = view.around(size=size, timeout_s=5.0)
        if around.end != "answered":
            return False
        due_s = self.due_s(around)
        # To the end, as a rule: Toxiproxy's own server may hang when a slicer is taken off an abandoned connection.
        over = view.over(size=size, timeout_s=around.seconds + min(_SETTLED_S, 2 * due_s + 0.5))
        return over.end in ("answered", "silent") and over.seconds - around.seconds >= 0.5 * due_s

    @abstractmethod
    def probe_size(self) -> int:
        """How many bytes to move each way."""

    @abstractmethod
    def due_s(self, around: Met) -> float:
        """How much longer moving the same takes over the edge."""


@fault(
    "bandwidth",
    family="network",
    place="edge",
    many=True,
    layer="rate",
    params={
        "rate": Param(
            "byte-rate", "what each connection may carry, in whole KB/s", required=True, least=1000, most=1_000_000
        ),
        "direction": direction(),
        "toxicity": TOXICITY,
    },
)
class Bandwidth(_Throttled):
    """Every connection over an edge carries only so many bytes a second."""

    TOXIC = "bandwidth"

    @classmethod
    def refusal(cls, planned: PlannedFault, target: FaultableTarget) -> str:
        """The toxic counts in KB/s, and what is to be confirmed must be small beside the time of a tiny request."""
        rate = int(planned.params["rate"])
        if rate % 1000:
            return f"the rate is to be in whole KB/s (1 KB = 1000 bytes), got {rate} B/s"
        if rate > _HTTP_RATE_MOST and _speaks_http(planned, target):
            return "over HTTP, where only small answers can be asked for, no rate above 100 KB/s can be confirmed"
        return ""

    def attributes(self) -> Mapping[str, int]:
        """In KB/s."""
        return {"rate": int(self.planned.params["rate"]) // 1000}

    def probe_size(self) -> int:
        """What the rate carries in a while."""
        return round(int(self.planned.params["rate"]) * _PROBED_S)

    def due_s(self, around: Met) -> float:
        """Bytes by rate, both ways one after the other."""
        moved = {"upstream": around.sent, "downstream": around.received}
        return sum(moved[stream] for stream in self.streams) / int(self.planned.params["rate"])


@fault(
    "slicer",
    family="network",
    place="edge",
    many=True,
    layer="slices",
    params={
        "size": Param("size", "how large the pieces are on average", default=64, least=1, most=65_536),
        "variation": Param("size", "the pieces' size varies by up to this much either way", default=0, most=65_536),
        "delay": Param("duration", "pause after each piece", default=0.01, least=0.001, most=10.0),
        "direction": direction(),
        "toxicity": TOXICITY,
    },
)
class Slicer(_Throttled):
    """What passes over an edge is cut into small pieces that come one after the other."""

    TOXIC = "slicer"

    @classmethod
    def refusal(cls, planned: PlannedFault, target: FaultableTarget) -> str:
        """The sizes must make sense, and some answer must be cut at all."""
        size, variation = int(planned.params["size"]), int(planned.params["variation"])
        if variation >= size > 1 or variation > size:
            return f"the variation, {variation} bytes, is to be less than the size, {size} bytes"
        if size + variation > _HTTP_SLICE_MOST and _speaks_http(planned, target):
            return (
                f"over HTTP, where only small answers can be asked for, pieces of more than {_HTTP_SLICE_MOST} bytes "
                "can't be told from whole answers"
            )
        return ""

    def attributes(self) -> Mapping[str, int]:
        """Bytes, bytes and microseconds."""
        params = self.planned.params
        return {
            "average_size": int(params["size"]),
            "size_variation": int(params["variation"]),
            "delay": round(float(params["delay"]) * 1e6),
        }

    def probe_size(self) -> int:
        """Enough pieces for their pauses to be seen."""
        return min(200_000, 1 + self._largest() * max(3, math.ceil(_PROBED_S / float(self.planned.params["delay"]))))

    def due_s(self, around: Met) -> float:
        """One pause less than there are pieces."""
        moved = {"upstream": around.sent, "downstream": around.received}
        pieces = sum(moved[stream] for stream in self.streams) // self._largest()
        return max(0, pieces - 1) * float(self.planned.params["delay"])

    def _largest(self) -> int:
        return int(self.planned.params["size"]) + int(self.planned.params["variation"])


def _speaks_http(planned: PlannedFault, target: FaultableTarget) -> bool:
    return any(target.component_protocol(edge.partition("->")[2]) == "http" for edge in planned.where)
