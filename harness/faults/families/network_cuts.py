"""Network faults that cut: data is swallowed, connections end early or can't be made."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence

from harness.faults.base import FaultableStack, FaultableTarget, Param, Undo
from harness.faults.catalogue import fault
from harness.faults.course import Course
from harness.faults.edges import TOXICITY, EdgeFault, ToxicFault, direction
from harness.faults.exchange import View, part
from harness.faults.undo import enable_proxy
from harness.plan import PlannedFault
from harness.probes import refused

_SILENCE_S = 0.2
"""How much longer than the far end takes by itself nothing must come, to be called nothing."""
_HTTP_LIMIT_MOST = 50_000
_MARGIN_S = 5.0


class _Swallowed(ToxicFault):
    """Something that lets connections be made, and no data through."""

    TOXIC = "timeout"

    def bites(self, view: View) -> bool:
        """Nothing comes back where the far end itself answers, or the connection ends without an answer."""
        around = view.around()
        over = view.over(timeout_s=around.seconds + _SILENCE_S)
        return around.end == "answered" and over.end in ("silent", "closed")


@fault(
    "timeout",
    family="network",
    place="edge",
    many=True,
    params={
        "close-after": Param(
            "duration", "a connection is closed when no data has come for so long; 0s: never", default=0.0, most=3600.0
        ),
        "direction": direction(),
        "toxicity": TOXICITY,
    },
)
class Timeout(_Swallowed):
    """A black hole: connections over an edge can be made and stay open, but what is sent does not arrive.

    When it ends, those connections are closed.
    """

    def attributes(self) -> Mapping[str, int]:
        """In milliseconds; 0 means never, so the least is 1."""
        close_s = float(self.planned.params["close-after"])
        return {"timeout": max(1, round(close_s * 1000)) if close_s else 0}


@fault("partition", family="network", place="edge", many=True, params={"direction": direction("both")})
class Partition(_Swallowed):
    """Nothing passes over one edge or several at once, in both directions or in one.

    A proxy still accepts connections; what is sent on them does not arrive. When it ends, they are closed.
    """

    def attributes(self) -> Mapping[str, int]:
        """Never closed."""
        return {"timeout": 0}


class _Refused(EdgeFault):
    """Something that closes the proxies."""

    def undo(self) -> Sequence[Undo]:
        """Open the proxies."""
        return [enable_proxy(self.stack.proxy_api, view.edge.proxy) for view in self.views]

    def bites(self, view: View) -> bool:
        """Nothing listens."""
        return refused(view.edge.address)

    def let(self, *, through: bool) -> None:
        """Open or close the proxies."""
        api = self.api
        for view in self.views:
            api.set_enabled(view.edge.proxy, enabled=through)


@fault("down", family="network", place="edge", many=True)
class Down(_Refused):
    """Connections over an edge are refused, and those that were open are closed."""

    def inject(self) -> None:
        """Close the proxies."""
        self.let(through=False)


@fault(
    "flapping",
    family="network",
    place="edge",
    many=True,
    params={
        "down": Param("duration", "how long it is down each time", default=1.0, least=0.1, most=3600.0),
        "up": Param("duration", "how long it is up each time", default=1.0, least=0.1, most=3600.0),
        "vary": Param(
            "percentage", "each time is drawn, uniformly, from so far below to so far above", default=0.0, most=1.0
        ),
    },
)
class Flapping(_Refused):
    """An edge is down, up, down, up: while it is down connections are refused, and those that were open are closed."""

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._course = Course(self._flap)

    def inject(self) -> None:
        """Down for the first time; the rest goes on by itself."""
        self._course.start()

    def halt(self) -> None:
        """No more of it."""
        self._course.halt()

    def _flap(self) -> None:
        params = self.planned.params
        draw, vary = random.Random(f"{self.stack.seed} {self.planned.id}"), float(params["vary"])
        # Not for ever, should nobody halt it.
        last = time.monotonic() + self.planned.for_s + _MARGIN_S
        while time.monotonic() < last:
            for up, mean_s in ((False, float(params["down"])), (True, float(params["up"]))):
                self.let(through=up)
                self._course.wait(mean_s * draw.uniform(1 - vary, 1 + vary))


@fault(
    "reset-peer",
    family="network",
    place="edge",
    many=True,
    params={
        "after": Param("duration", "how long after data has come the reset follows", default=0.0, most=60.0),
        "direction": Param(
            "choice",
            "downstream: an answer sets it off, so the work has been done; upstream: a request does, before it arrives",
            default="downstream",
            choices=("downstream", "upstream"),
        ),
        "toxicity": TOXICITY,
    },
)
class ResetPeer(ToxicFault):
    """Connections over an edge are reset (RST) at both ends as soon as data comes."""

    TOXIC = "reset_peer"

    def attributes(self) -> Mapping[str, int]:
        """In milliseconds."""
        return {"timeout": round(float(self.planned.params["after"]) * 1000)}

    def bites(self, view: View) -> bool:
        """A conversation ends in a reset."""
        return view.over(timeout_s=1.0 + float(self.planned.params["after"])).end == "reset"


@fault(
    "limit-data",
    family="network",
    place="edge",
    many=True,
    params={
        "bytes": Param("size", "how much a connection may carry from now on", required=True, most=1_000_000),
        "direction": Param(
            "choice",
            "downstream: what comes back is counted and cut; upstream: what is sent",
            default="downstream",
            choices=("downstream", "upstream"),
        ),
        "toxicity": TOXICITY,
    },
)
class LimitData(ToxicFault):
    """A connection over an edge is closed, in the middle of whatever passes, when it has carried so many bytes."""

    TOXIC = "limit_data"

    @classmethod
    def refusal(cls, planned: PlannedFault, target: FaultableTarget) -> str:
        """What is to be confirmed must be possible to move."""
        http = any(target.component_protocol(edge.partition("->")[2]) == "http" for edge in planned.where)
        if http and int(planned.params["bytes"]) > _HTTP_LIMIT_MOST:
            return "over HTTP, where only small answers can be asked for, no limit above 50 KB can be confirmed"
        return ""

    def attributes(self) -> Mapping[str, int]:
        """In bytes."""
        return {"bytes": int(self.planned.params["bytes"])}

    def bites(self, view: View) -> bool:
        """A conversation that needs more is cut short."""
        return view.over(size=self._too_much(), timeout_s=3.0).end in ("closed", "reset")

    def is_gone(self, view: View) -> bool:
        """It is not."""
        size = self._too_much()
        return view.over(size=size, timeout_s=3.0).end == "answered" or view.around().end != "answered"

    def _too_much(self) -> int:
        return int(self.planned.params["bytes"]) + 1


@fault(
    "slow-close",
    family="network",
    place="edge",
    many=True,
    layer="close",
    params={
        "delay": Param("duration", "how late a client learns of it", required=True, least=0.01, most=3600.0),
        "toxicity": TOXICITY,
    },
)
class SlowClose(ToxicFault):
    """When the far end closes a connection over an edge, the caller learns of it late."""

    TOXIC = "slow_close"

    def attributes(self) -> Mapping[str, int]:
        """In milliseconds."""
        return {"delay": round(float(self.planned.params["delay"]) * 1000)}

    def bites(self, view: View) -> bool:
        """The end of a connection takes that much longer to be seen than around the edge."""
        bar_s = min(0.5, 0.9 * float(self.planned.params["delay"]))
        around = part(view.edge.protocol, view.upstream)
        if around.end != "answered":
            return False
        return part(view.edge.protocol, view.edge.address, timeout_s=around.seconds + bar_s).end == "silent"
