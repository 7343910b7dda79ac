"""Process faults that nobody wanted: crashes, crash loops, processes that stand still."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Iterator, Mapping, Sequence

import psutil

from harness.faults.base import FaultableStack, FaultableTarget, Param, Undo
from harness.faults.catalogue import fault
from harness.faults.course import CHECK_S
from harness.faults.lives import LIFE, REPLICAS, LifeFault
from harness.faults.undo import continue_process, family_of, status_of
from harness.plan import PlannedFault


@fault(
    "kill",
    family="process",
    place="component",
    capability="process",
    many=True,
    layer=LIFE,
    params={
        **REPLICAS,
        "restart-after": Param(
            "duration",
            "started again so long after it died, as a kubelet does; when absent, at the end of the fault",
            most=600.0,
        ),
    },
)
class Kill(LifeFault):
    """A process dies at once (SIGKILL), with all that it was doing, and nobody has told the service."""

    def steps(self) -> None:
        """Dead, and perhaps back."""
        self.kill(self.names)
        if self.planned.params["restart-after"] is not None:
            self.course.wait(self.planned.params["restart-after"])
            self.come_back(self.names)


@fault(
    "crash-loop",
    family="process",
    place="component",
    capability="process",
    many=True,
    layer=LIFE,
    params={
        **REPLICAS,
        "lives": Param("duration", "how long it serves after each start before it dies again", default=1.0, most=600.0),
        "back-off": Param("duration", "wait before the first restart; doubled each time", default=1.0, most=600.0),
        "back-off-cap": Param("duration", "no wait is longer than this", default=300.0, most=600.0),
    },
)
class CrashLoop(LifeFault):
    """A process dies, is started again after a wait that doubles, and dies again (CrashLoopBackOff)."""

    def steps(self) -> None:
        """Until it is halted."""
        wait_s, cap_s = self.planned.params["back-off"], self.planned.params["back-off-cap"]
        while True:
            self.kill(self.names)
            self.course.wait(min(wait_s, cap_s))
            wait_s *= 2
            self.come_back(self.names)
            self.course.wait(self.planned.params["lives"])


@fault(
    "random-kills",
    family="process",
    place="component",
    capability="process",
    many=True,
    layer=LIFE,
    params={
        "every": Param("duration", "mean time between kills; they come at random (Poisson)", default=5.0, least=0.1),
        "at-most": Param(
            "integer", "how many may be dead at the same time; a kill beyond that is left out", default=1, least=1
        ),
        "restart-after": Param("duration", "each is started again so long after it died", default=1.0, most=600.0),
        "seed": Param("integer", "the seed of instants and victims; that of the run when absent"),
    },
)
class RandomKills(LifeFault):
    """Now and then one process dies, drawn by lot, the first one at once: in the manner of Chaos Monkey."""

    @classmethod
    def out_at_once(cls, planned: PlannedFault, target: FaultableTarget) -> Mapping[str, int]:
        """As many as are allowed to be dead, of every component."""
        every = super().out_at_once(planned, target)
        return {component: min(number, planned.params["at-most"]) for component, number in every.items()}

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._restarts: dict[str, float] = {}
        self._starting: set[str] = set()

    def steps(self) -> None:
        """Kills at the instants that are drawn, restarts in between, until it is halted."""
        begun = time.monotonic()
        seed = self.stack.seed if self.planned.params["seed"] is None else self.planned.params["seed"]
        for after_s, order in draw_kills(self.names, self.planned.params["every"], seed):
            while (left_s := begun + after_s - time.monotonic()) > 0:
                self._mend()
                self.course.wait(min(left_s, CHECK_S))
            dead = self._starting.union(self._restarts)
            if len(dead) < min(self.planned.params["at-most"], len(self.names)):
                victim = next(name for name in order if name not in dead)
                self.kill([victim])
                self._restarts[victim] = time.monotonic() + self.planned.params["restart-after"]

    def is_active(self) -> bool:
        """The first one is dead."""
        return any(self.is_out(name) for name in self.names)

    def _mend(self) -> None:
        """Start what is due, and see who is back."""
        for name in [name for name, at in self._restarts.items() if time.monotonic() >= at]:
            del self._restarts[name]
            self.start(self.stack.command(name))
            self._starting.add(name)
        for name in [name for name in self._starting if self.is_back(name)]:
            self._starting.discard(name)
            self.tell_started([name])


def draw_kills(names: Sequence[str], every_s: float, seed: int) -> Iterator[tuple[float, Sequence[str]]]:
    """For ever: when the next kill comes (seconds since the first), and the names in the order of the lot."""
    drawn = random.Random(f"random-kills {seed}")
    after_s = 0.0
    while True:
        yield after_s, drawn.sample(names, len(names))
        after_s += drawn.expovariate(1.0 / every_s)


@fault(
    "pause",
    family="process",
    place="component",
    capability="process",
    many=True,
    layer=LIFE,
    params=REPLICAS,
)
class Pause(LifeFault):
    """A process stands still (SIGSTOP): connecting to it works, and nothing is answered."""

    def undo(self) -> Sequence[Undo]:
        """Let every one go on."""
        return [continue_process(self.stack.mark(name)) for name in self.names]

    def steps(self) -> None:
        """Stop each with its children; a parent first, so that it makes no more of them."""
        for name in self.names:
            mark = self.stack.mark(name)
            while going := [one for one in family_of(mark) if status_of(one) != psutil.STATUS_STOPPED]:
                for process in going:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.send_signal(signal.SIGSTOP)
                self.course.wait(0.001)

    def is_active(self) -> bool:
        """All of them are stopped, children included."""
        return all(
            status_of(process) == psutil.STATUS_STOPPED
            for name in self.names
            for process in family_of(self.stack.mark(name))
        )
