"""Replicas that leave and come back, as Kubernetes moves pods: what the faults about whole processes have in common."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.faults.base import Fault, FaultableStack, FaultableTarget, Param, Undo
from harness.faults.course import Course
from harness.faults.undo import START_TIMEOUT_S, admit_endpoint
from harness.ledger import ProcessMark
from harness.plan import PlannedFault
from harness.probes import refused
from harness.processes import Command

LIFE = "process"
"""The layer of faults that decide whether processes run."""

REPLICAS = {
    "replicas": Param("integer", "how many replicas of a component, the last ones first", default=1, least=1, most=1000)
}
LEAVING = {
    "grace-period": Param(
        "duration", "time between being told to end (SIGTERM) and being killed (SIGKILL)", default=30.0, most=600.0
    ),
    "pre-stop": Param(
        "duration",
        "the replica is told to end only so long after the service was; part of the grace period",
        default=0.0,
        most=600.0,
    ),
    "endpoint-lag": Param(
        "duration",
        "how late the service learns that it is to send nothing there any more; "
        "what it still sends to a replica that has ended already is lost",
        default=0.0,
        most=60.0,
    ),
}
"""Parameters of every fault in which replicas leave politely."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """How a replica leaves politely; all in seconds from the decision."""

    grace_period_s: float
    pre_stop_s: float
    endpoint_lag_s: float

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Leaving:
        """What the parameters `LEAVING` say."""
        return cls(*(float(params[name]) for name in LEAVING))


class LifeFault(Fault):
    """A fault that ends processes of the target and starts them again, by `steps` that go on by themselves.

    `names` are the processes that it may touch. The undo starts every one of them as it was, unless it runs like that,
    and lets the service send connections to it.
    """

    clear_s = START_TIMEOUT_S

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self.names = self.hit(planned, stack)
        # One that stands behind no service is out only when it has ended.
        self.confirm_s += max(float(planned.params.get(name, 0.0)) for name in ("grace-period", "endpoint-lag"))
        self.course = Course(self.steps)
        self._marks: dict[str, ProcessMark] = {}
        self._ended: set[str] = set()

    @classmethod
    def refusal(cls, planned: PlannedFault, target: FaultableTarget) -> str:
        """Parameters that can't be met."""
        for place in planned.where:
            there = len(target.instances(place))
            if (wanted := planned.params.get("replicas", 0)) > there:
                return f"`{place}` is {there} process{'es' if there > 1 else ''}, and `replicas` asks for {wanted}"
        if planned.params.get("pre-stop", 0.0) > planned.params.get("grace-period", 0.0):
            return "`pre-stop` is part of the grace period and can't be longer than `grace-period`"
        return ""

    @classmethod
    def hit(cls, planned: PlannedFault, places: FaultableStack | FaultableTarget) -> tuple[str, ...]:
        """The processes it touches: of each component the last `replicas`, or all when there is no such parameter."""
        last = planned.params.get("replicas", 0)
        return tuple(name for place in planned.where for name in places.instances(place)[-last:])

    @classmethod
    def out_at_once(cls, planned: PlannedFault, target: FaultableTarget) -> Mapping[str, int]:
        """All that it hits."""
        return Counter(target.component_of(name) for name in cls.hit(planned, target))

    @abstractmethod
    def steps(self) -> None:
        """What happens from the injection on; waits only by the course."""

    def undo(self) -> Sequence[Undo]:
        """Start what does not run as it did before, and let clients reach it."""
        return [step for name in self.names for step in (self.stack.start_undo(name), *self.admit_undo(name))]

    def admit_undo(self, name: str) -> Sequence[Undo]:
        """The step that puts a process back behind the service, if it stands behind it."""
        endpoints = self.stack.endpoints
        return [admit_endpoint(endpoints.control, name)] if name in endpoints.names else []

    def inject(self) -> None:
        """Begin with the steps."""
        self.course.start()

    def halt(self) -> None:
        """Make no further step."""
        self.course.halt()

    def is_active(self) -> bool:
        """No new connection gets to any of the processes."""
        return all(self.is_out(name) for name in self.names)

    def is_clear(self) -> bool:
        """All of the processes are ready, and clients get to them."""
        clear = all(self.is_back(name) for name in self.names)
        if clear:
            self.tell_started(self.names)
        return clear

    def is_out(self, name: str) -> bool:
        """Whether no new connection gets to a process: the service sends none, or nothing listens there."""
        behind = name in self.stack.endpoints.names
        return (behind and not self.stack.endpoints.serves(name)) or refused(self.stack.address(name))

    def is_back(self, name: str) -> bool:
        """Whether a process is ready and, behind the service, gets connections."""
        served = name not in self.stack.endpoints.names or self.stack.endpoints.serves(name)
        return served and self.stack.is_ready(name)

    def kill(self, names: Collection[str]) -> None:
        """A step: they die at once, and nobody has told the service."""
        for name in names:
            self._kill(name)

    def leave(self, names: Collection[str], how: Leaving) -> None:
        """Steps: they leave together, politely; over when all have ended and the service knows."""
        begun = time.monotonic()
        self._marks |= {name: self.stack.mark(name) for name in names}
        moves = (
            (how.endpoint_lag_s, self._withdraw),
            (how.pre_stop_s, self.stack.terminate),
            (how.grace_period_s, self._kill),
        )
        for after_s, move in sorted(moves, key=lambda one: one[0]):
            self._wait(names, begun + after_s, for_the_end=move == self._kill)
            for name in names:
                move(name)

    def come_back(self, names: Collection[str], settings: Mapping[str, str] | None = None) -> None:
        """Steps: they are started afresh, perhaps with other settings; over when clients get to them."""
        for name in names:
            self.start(self.stack.command(name, settings))
        self.course.wait_until(lambda: all(map(self.is_back, names)))
        self.tell_started(names)

    def start(self, command: Command) -> None:
        """A step: a process is started; the service sends connections to it when it is ready, and not before."""
        self._withdraw(command.name)
        self.stack.spawn(command)
        if command.name in self.stack.endpoints.names:
            self.stack.endpoints.admit(command.name)

    def tell_started(self, names: Collection[str]) -> None:
        """Put on record that those that had ended are back."""
        for name in sorted(self._ended.intersection(names)):
            self._ended.discard(name)
            self.tell("component.started", name)

    def _withdraw(self, name: str) -> None:
        if name in self.stack.endpoints.names:
            self.stack.endpoints.withdraw(name)

    def _kill(self, name: str) -> None:
        self.stack.kill(name)
        self._tell_stopped(name)

    def _wait(self, names: Collection[str], until: float, *, for_the_end: bool) -> None:
        """Wait until that time, or until all have ended."""

        def over() -> bool:
            ended = [name for name in names if self._marks[name].find() is None]
            for name in ended:
                self._tell_stopped(name)
            return for_the_end and len(ended) == len(names)

        self.course.wait_until(over, timeout_s=until - time.monotonic())

    def _tell_stopped(self, name: str) -> None:
        if name not in self._ended:
            self._ended.add(name)
            self.tell("component.stopped", name)
