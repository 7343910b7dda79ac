"""Resource faults: a part of the target gets less of the processor, of memory, of descriptors or of disk than it needs.

Only the target's own processes are limited, and what competes with them is bounded in size and time: the machine and
the load generator keep theirs.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

import psutil

from harness.faults.base import Fault, FaultableStack, FaultableTarget, Param, Undo
from harness.faults.catalogue import fault
from harness.faults.disks import BALLAST, fill, may_mount, remove_ballast
from harness.faults.limits import (
    descriptor_limit,
    get_limit,
    lower_limit,
    pin,
    private_bytes,
    restore_cpus,
    restore_limits,
)
from harness.faults.lives import LIFE
from harness.faults.members import members, names
from harness.faults.undo import end_process
from harness.ledger import ProcessMark
from harness.plan import PlannedFault
from harness.probes import split
from harness.processes import Command

MARGIN_S = 10.0
"""A companion ends by itself so long after the fault should have ended."""
ANSWER_S = 0.3
ROUNDS = 10
LOOK = 1 << 16
"""Bytes by which a disk is tried."""
CHECK_S = 0.1
_HELLO = {"redis": b"PING\r\n", "http": b"GET /healthz HTTP/1.1\r\nHost: probe\r\n\r\n"}
"""Something to answer, after which the connection stays open."""


def companion(fault: Fault, name: str, *words: object) -> Command:
    """A companion of a target's process, beside it and as important as it."""
    beside = fault.stack.command(name)
    seconds = fault.planned.for_s + MARGIN_S
    work, *numbers = words
    return Command(
        name=f"{fault.planned.id}-{name}",
        argv=(sys.executable, "-m", "harness.faults.companion", str(work), f"{seconds:g}", *map(str, numbers)),
        log=beside.log,
        nice=beside.nice,
    )


@fault(
    "cpu-burn",
    family="resources",
    place="component",
    capability="process",
    layer="processor",
    excludes=(LIFE,),
    params={
        "burners": Param(
            "integer",
            "processes that compete on the same processor, each as important as the target: with 3 of them a busy "
            "target gets a quarter",
            default=3,
            least=1,
            most=8,
        )
    },
)
class CpuBurn(Fault):
    """A part of the target shares one processor with others that use all they get."""

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._names = names(self)
        self._burners = [
            Command(f"{base.name}-{number}", base.argv, base.log, nice=base.nice)
            for base in (companion(self, self._names[0], "burn"),)
            for number in range(1, int(planned.params["burners"]) + 1)
        ]
        self._running: list[ProcessMark] = []
        self._marks: tuple[ProcessMark, ...] = ()
        self._before: tuple[float, float] | None = None

    def prepare(self) -> None:
        """Find the processes, and the processor that they will have."""
        self._marks = tuple(mark for name in self._names for mark in members(self.stack, name))
        allowed = os.sched_getaffinity(self._marks[0].pid)
        self._cpu, self._has_others = max(allowed), len(allowed) > 1

    def undo(self) -> Sequence[Undo]:
        """End the burners, and let the target run everywhere again."""
        return [*(end_process(burner) for burner in self._burners), restore_cpus(self._marks)]

    def inject(self) -> None:
        """Put the target on one processor, and the burners beside it."""
        for mark in self._marks:
            pin(mark.pid, [self._cpu])
        for burner in self._burners:
            self.stack.spawn(burner)
            mark = self.stack.mark(burner.name)
            pin(mark.pid, [self._cpu])
            self._running.append(mark)

    def is_active(self) -> bool:
        """Together the burners get at least a third of the processor's time, as measured by the kernel."""
        now = time.monotonic(), sum(_cpu_seconds(mark) for mark in self._running)
        if self._before is None:
            self._before = now
        elapsed_s = now[0] - self._before[0]
        return elapsed_s >= CHECK_S and (now[1] - self._before[1]) / elapsed_s >= 1 / 3

    def is_clear(self) -> bool:
        """No burner runs, and the target may use other processors."""
        free = all(len(os.sched_getaffinity(mark.pid)) > 1 for mark in self._marks if mark.find())
        return not any(mark.find() for mark in self._running) and (free or not self._has_others)


@fault(
    "memory-pressure",
    family="resources",
    place="component",
    capability="process",
    layer="memory",
    excludes=(LIFE,),
    params={
        "headroom": Param(
            "size", "what each process may still take, beyond what it has when the fault begins", default=2e6, least=0
        )
    },
)
class MemoryPressure(Fault):
    """The kernel gives a part of the target hardly any more memory: what it asks for beyond that fails."""

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._names = names(self)
        self._headroom = int(planned.params["headroom"])
        self._marks: tuple[ProcessMark, ...] = ()
        self._limits: dict[int, int] = {}

    def undo(self) -> Sequence[Undo]:
        """Give the processes their limits back; start what did not survive."""
        self._marks = tuple(mark for name in self._names for mark in members(self.stack, name))
        return [restore_limits("data", self._marks), *map(self.stack.start_undo, self._names)]

    def inject(self) -> None:
        """Lower the limit of private memory of every process to what it has, plus the headroom."""
        for name in self._names:
            self.stack.may_die(name)
        for mark in self._marks:
            with contextlib.suppress(ProcessLookupError):
                self._limits[mark.pid] = private_bytes(mark.pid) + self._headroom
                lower_limit(mark.pid, "data", self._limits[mark.pid])

    def is_active(self) -> bool:
        """No process has more room than that, as the kernel counts, or one has failed for want of it."""
        return all(self._room(mark) <= self._headroom for mark in self._marks)

    def is_clear(self) -> bool:
        """The processes are ready, and have other limits than those of the fault."""
        return all(map(self.stack.is_ready, self._names)) and not any(
            get_limit(mark.pid, "data")[0] in self._limits.values()
            for name in self._names
            for mark in members(self.stack, name)
        )

    def _room(self, mark: ProcessMark) -> float:
        try:
            limit, _ = get_limit(mark.pid, "data")
            return float("inf") if limit < 0 else limit - private_bytes(mark.pid)
        except ProcessLookupError:
            return 0.0


@fault(
    "fd-exhaustion",
    family="resources",
    place="component",
    capability="process",
    layer="descriptors",
    excludes=(LIFE,),
    params={
        "spare": Param(
            "integer", "descriptors that it may open beyond those it has when the fault begins", default=0, most=200
        )
    },
)
class FdExhaustion(Fault):
    """A part of the target runs out of descriptors (EMFILE): it gets no new connection or file; some programs end."""

    takes_out = True

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._names = names(self)
        self._spare = int(planned.params["spare"])
        self._marks: dict[str, tuple[ProcessMark, ...]] = {}

    @classmethod
    def refusal(cls, planned: PlannedFault, target: FaultableTarget) -> str:
        """PostgreSQL serves every connection with a process of its own."""
        if target.component_protocol(planned.component) == "postgres":
            return (
                "PostgreSQL has a process, and so descriptors of its own, for every connection: use `pool-exhaustion`"
            )
        return ""

    def undo(self) -> Sequence[Undo]:
        """Give the processes their limits back; start what did not survive."""
        self._marks = {name: members(self.stack, name) for name in self._names}
        every = [mark for marks in self._marks.values() for mark in marks]
        return [restore_limits("nofile", every), *map(self.stack.start_undo, self._names)]

    def inject(self) -> None:
        """One limit for all processes of a replica, as `ulimit` would have it: that of the one that has most open."""
        for name, marks in self._marks.items():
            self.stack.may_die(name)
            limit = max(descriptor_limit(mark.pid, self._spare) for mark in marks if mark.find())
            for mark in marks:
                with contextlib.suppress(ProcessLookupError):
                    lower_limit(mark.pid, "nofile", limit)

    def is_active(self) -> bool:
        """Once the spare ones are taken, a new connection gets no answer."""
        return all(self._turns_away(name) for name in self._names)

    def is_clear(self) -> bool:
        """New connections are served beyond the spare ones."""
        return not any(self._turns_away(name) for name in self._names)

    def _turns_away(self, name: str) -> bool:
        """Whether one of some more connections than the spare ones, all open at once, is not answered."""
        protocol, address = self.stack.protocol(self.planned.component), split(self.stack.address(name))
        with ExitStack() as held:
            for _ in range(self._spare + ROUNDS):
                try:
                    connection = held.enter_context(socket.create_connection(address, timeout=ANSWER_S))
                    connection.sendall(_HELLO[protocol])
                    if not connection.recv(4096):
                        return True
                except OSError:
                    return True
        return False


def _cpu_seconds(mark: ProcessMark) -> float:
    process = mark.find()
    try:
        return sum(process.cpu_times()[:2]) if process else 0.0
    except psutil.NoSuchProcess:
        return 0.0


@fault(
    "disk-fill",
    family="resources",
    place="component",
    capability="disk",
    params={"leave": Param("size", "room that is left on the disk", default=0.0, least=0)},
)
class DiskFill(Fault):
    """The disk of a part of the target is full: it can write nothing more, and may end over it."""

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        self._names = names(self)
        self._leave = float(planned.params["leave"])

    @classmethod
    def refusal(cls, planned: PlannedFault, target: FaultableTarget) -> str:  # noqa: ARG003  every target is alike
        """Only who may mount can make a disk that is small enough to be filled without harm."""
        return "" if may_mount() else "only root can mount the small disk that it fills"

    def undo(self) -> Sequence[Undo]:
        """Make room again; start what did not survive."""
        disks = (self.stack.disk(name) for name in self._names)
        return [*map(remove_ballast, disks), *map(self.stack.start_undo, self._names)]

    def inject(self) -> None:
        """Fill it."""
        for name in self._names:
            self.stack.may_die(name)
            fill(self.stack.disk(name), self._leave)

    def is_active(self) -> bool:
        """A file that needs more than what was left can't be written."""
        return not any(map(self._has_room, self._names))

    def is_clear(self) -> bool:
        """It can be written, and the processes are ready."""
        return all(map(self._has_room, self._names)) and all(map(self.stack.is_ready, self._names))

    def _has_room(self, name: str) -> bool:
        test = self.stack.disk(name) / f"{BALLAST}-look"
        try:
            test.write_bytes(bytes(int(self._leave) + LOOK))
        except OSError:
            return False
        finally:
            test.unlink(missing_ok=True)
        return True
