"""Third-party faults: what a service that one calls over HTTP does to its callers without having been cut off.

While such a fault is on, the edge's proxy leads to an interposer (`harness.faults.interposer`), and that to the far
end. Leading it there and back closes the edge's connections, as proxies do; callers connect again.
"""

from __future__ import annotations

import json
import math
import sys
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import StackError
from harness.faults.base import FaultableStack, FaultableTarget, Param, Undo
from harness.faults.catalogue import fault
from harness.faults.edges import EdgeFault
from harness.faults.exchange import HttpAnswer, Line, View
from harness.faults.interposer import MARK, PROBE
from harness.faults.undo import end_process, undo_action
from harness.plan import PlannedFault
from harness.ports import reserve_port
from harness.probes import refused, split, wait_for
from harness.processes import Command, Processes
from harness.proxy.client import ToxiproxyClient

_START_S = 10.0
_ANSWER_S = 4.0
_TRIES_MISSED = 0.001
_HEALTH = "/healthz"
_HERE = ("127.0.0.1", "localhost", "::1")

_SHARE = Param("percentage", "share of the requests that are hit, drawn for each", default=1.0, least=0.01, most=1.0)
_PATH = Param("string", "only requests whose path begins with this are hit", default="/")


class HttpFault(EdgeFault):
    """A rule of an interposer on one edge."""

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        (self.view,) = self.views
        self._address = f"127.0.0.1:{reserve_port()}"
        share = float(planned.params.get("share", 1.0))
        self._tries = 1 if share == 1.0 else math.ceil(math.log(_TRIES_MISSED) / math.log(1 - share))
        spec = {
            "listen": self._address,
            "upstream": self.view.upstream,
            "fault": self.planned.id,
            "path": self.planned.params["path"],
            "seed": stack.seed,
            "rule": self.rule(),
        }
        argv = (sys.executable, "-m", "harness.faults.interposer", json.dumps(spec))
        name = f"interposer-{self.planned.id}"
        self._command = Command(name, argv, log=str(self.stack.scratch / f"{name}.log"))

    @classmethod
    def refusal(cls, planned: PlannedFault, target: FaultableTarget) -> str:  # noqa: ARG003
        """A path begins with a slash."""
        path = str(planned.params["path"])
        return "" if path.startswith("/") else f"the path is to begin with `/`, got `{path}`"

    @abstractmethod
    def rule(self) -> Mapping[str, Any]:
        """The interposer's rule (see `harness.faults.rules`)."""

    def prepare(self) -> None:
        """Start the interposer, which nobody talks to yet."""
        host = split(self.stack.proxy_api)[0]
        if host not in _HERE:
            raise StackError(f"`{self.planned.kind}` needs a proxy on this machine, and that of the edge is on {host}")
        self.stack.spawn(self._command)
        if not wait_for(lambda: not refused(self._address), timeout_s=_START_S):
            raise StackError(
                f"{self._command.name} does not listen after {_START_S:.0f} s", remedy=f"see {self._command.log}"
            )

    def undo(self) -> Sequence[Undo]:
        """Lead the proxy back, and end the interposer."""
        view = self.view
        back = {"do": "set-upstream", "api": self.stack.proxy_api, "proxy": view.edge.proxy, "upstream": view.upstream}
        return [back, end_process(self._command)]

    def inject(self) -> None:
        """Lead the proxy to the interposer."""
        self.api.set_upstream(self.view.edge.proxy, self._address)

    def is_active(self) -> bool:
        """A request is hit, of several at least one."""
        return any(self.bites(self.view) for _ in range(self._tries))

    def is_gone(self, view: View) -> bool:
        """The proxy leads to the far end again, and answers as well as that does."""
        if self.api.proxies()[view.edge.proxy].upstream != view.upstream:
            return False
        # What toxics on the same edge do to answers is not this fault's.
        return bool(self.api.toxics(view.edge.proxy)) or view.is_sound()

    def ask(self) -> HttpAnswer:
        """As much of an answer over the edge as comes in a while, to a probe that this fault hits."""
        path = self.planned.params["path"]
        request = (
            f"GET {_HEALTH if path == '/' else path} HTTP/1.1\r\nHost: probe\r\n{PROBE}: {self.planned.id}\r\n\r\n"
        )
        answer = HttpAnswer()
        with Line(self.view.edge.address, self.patience_s) as line:
            line.meet(lambda: _hear(line, request.encode(), answer))
        return answer

    @property
    def patience_s(self) -> float:
        """How long to wait for an answer."""
        return _ANSWER_S

    def is_ours(self, answer: HttpAnswer, status: int) -> bool:
        """Whether it is an answer of this fault, and as it should be."""
        return answer.status == status and answer.headers.get(MARK.lower()) == self.planned.id


@fault(
    "http-errors",
    family="third party",
    place="edge",
    protocol="http",
    layer="http",
    params={
        "status": Param("integer", "the HTTP status of the answers", default=503, least=400, most=599),
        "share": _SHARE,
        "path": _PATH,
    },
)
class HttpErrors(HttpFault):
    """Requests over an edge are answered with an error, at once, and don't reach the far end."""

    def rule(self) -> Mapping[str, Any]:
        """A share of errors."""
        return {"do": "reply", "status": self.planned.params["status"], "share": self.planned.params["share"]}

    def bites(self, view: View) -> bool:  # noqa: ARG002
        """An error comes back."""
        return self.is_ours(self.ask(), int(self.planned.params["status"]))


@fault(
    "rate-limit",
    family="third party",
    place="edge",
    protocol="http",
    layer="http",
    params={
        "allow": Param("rate", "how many requests are let through", required=True, least=0.1, most=100_000),
        "retry-after": Param(
            "duration", "what the answers ask callers to wait, in whole seconds", default=1.0, least=0.0, most=3600.0
        ),
        "path": _PATH,
    },
)
class RateLimit(HttpFault):
    """Of the requests over an edge only so many a second are let through; the rest is answered 429 with Retry-After.

    A token bucket that holds what one second allows.
    """

    @classmethod
    def refusal(cls, planned: PlannedFault, target: FaultableTarget) -> str:
        """The field Retry-After knows no fractions."""
        wait_s = float(planned.params["retry-after"])
        if not wait_s.is_integer():
            return f"Retry-After is in whole seconds, got {wait_s:g} s"
        return super().refusal(planned, target)

    def rule(self) -> Mapping[str, Any]:
        """A limit."""
        params = self.planned.params
        return {"do": "limit", "per_s": params["allow"], "retry_after_s": int(params["retry-after"])}

    def bites(self, view: View) -> bool:  # noqa: ARG002
        """Of two requests right after each other the second is refused; probes are let through once a second."""
        return any(self.is_ours(answer := self.ask(), 429) and "retry-after" in answer.headers for _ in range(2))


@fault(
    "slow-body",
    family="third party",
    place="edge",
    protocol="http",
    layer="http",
    params={
        "takes": Param(
            "duration", "how long each body takes to come, drop by drop", required=True, least=0.1, most=3600.0
        ),
        "share": _SHARE,
        "path": _PATH,
    },
)
class SlowBody(HttpFault):
    """Answers over an edge begin at once, but their bodies dribble in: no wait for the next bytes takes long."""

    def rule(self) -> Mapping[str, Any]:
        """A share of dribbles."""
        return {"do": "dribble", "takes_s": self.planned.params["takes"], "share": self.planned.params["share"]}

    @property
    def patience_s(self) -> float:
        """Less than a body takes."""
        return min(0.5, 0.8 * float(self.planned.params["takes"]))

    def bites(self, view: View) -> bool:  # noqa: ARG002
        """The head has come, and the body is not complete after a while in which it could have been."""
        answer = self.ask()
        return answer.status > 0 and not answer.complete


def _hear(line: Line, request: bytes, answer: HttpAnswer) -> None:
    line.send(request)
    while not answer.complete:
        answer.feed(line.receive())


def _by_hand(step: Mapping[str, Any]) -> str:
    wanted = json.dumps({"upstream": step["upstream"]})
    return f"curl -d '{wanted}' http://{step['api']}/proxies/{step['proxy']}"


@undo_action("set-upstream", _by_hand)
def _set_upstream(step: Mapping[str, Any], _processes: Processes) -> None:
    if not refused(step["api"]):
        ToxiproxyClient(*split(step["api"])).set_upstream(step["proxy"], step["upstream"])
