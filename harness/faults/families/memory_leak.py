"""A memory leak: a resource fault that takes its time, and takes a process with it in the end."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from harness.errors import HarnessError, StackError
from harness.faults.base import Fault, FaultableStack, FaultableTarget, Param, Undo
from harness.faults.catalogue import fault
from harness.faults.course import Course
from harness.faults.families.resources import companion
from harness.faults.lives import LIFE
from harness.faults.members import members, names
from harness.faults.undo import START_TIMEOUT_S, by_hand, carry_out, end_process, undo_action
from harness.ledger import ProcessMark
from harness.plan import PlannedFault
from harness.probes import probe, wait_for
from harness.processes import Processes
from harness.units import format_size

RESTART_S = 15.0
RESERVE = 0.5
"""The share of the machine's free memory that a leak leaves alone."""


@fault(
    "memory-leak",
    family="resources",
    place="component",
    capability="process",
    layer=LIFE,
    params={
        "rate": Param("byte-rate", "how fast it grows", default=20e6, least=1e5, most=2e8),
        "limit": Param(
            "size",
            "what the process and the leak may hold together, as a pod's memory limit; at the limit it is killed",
            default=256e6,
            least=3e7,
        ),
        "back-off": Param(
            "duration", "wait before the first restart; doubled each time, as in a crash loop", default=0.0, most=600.0
        ),
    },
)
class MemoryLeak(Fault):
    """Memory leaks beside a process until both reach their limit: then it is killed and started again, as a pod is.

    The leak is real memory, held by a process of the harness that counts with the target's as one pod. The replica may
    read in its file `{memory}` what they hold together. When one of its processes ends before the limit is reached,
    because it was replaced in time, what leaked is given back, and the leak begins anew.
    """

    takes_out = True
    clear_s = 30.0

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        super().__init__(planned, stack)
        (self._name, *_) = names(self)
        self._limit = float(planned.params["limit"])
        self._rate = float(planned.params["rate"])
        self._leak = companion(self, self._name, "hoard", self._rate, self._limit)
        self._command = stack.command(self._name)
        self._told = stack.memory(self._name)
        self._course = Course(self._grow)
        self._kills = 0

    @classmethod
    def refusal(cls, planned: PlannedFault, target: FaultableTarget) -> str:
        """One pod leaks, not all."""
        if planned.component in planned.where and len(target.instances(planned.component)) > 1:
            one = target.instances(planned.component)[0]
            return f"a leak is in one process: say which replica, such as `on: {one}`"
        return ""

    def prepare(self) -> None:
        """Raise HarnessError unless there is room for the leak, in the limit and on this machine."""
        used = sum(map(_resident, self._pod()))
        if used >= self._limit:
            raise HarnessError(
                f"{self._name} has {format_size(round(used, -5))} already, more than the limit",
                remedy="raise the fault's `limit`",
            )
        free = psutil.virtual_memory().available * RESERVE
        if self._limit - used > free:
            raise HarnessError(
                f"the leak may take {format_size(round(free, -6))} of this machine's memory at most",
                remedy="lower the fault's `limit`",
            )

    def undo(self) -> Sequence[Undo]:
        """End the leak; start the process if it was just killed."""
        return [
            {
                "do": "end-leak",
                "end": end_process(self._leak),
                "file": str(self._told),
                "start": self.stack.start_undo(self._name),
            }
        ]

    def inject(self) -> None:
        """Begin to leak."""
        self.stack.may_die(self._name)
        self.stack.spawn(self._leak)
        self._course.start()

    def halt(self) -> None:
        """Kill and start no more."""
        self._course.halt()

    def is_active(self) -> bool:
        """The leak has grown, or has already cost a life."""
        return self._kills > 0 or self._leaked_bytes() >= min(1e6, self._rate)

    def is_clear(self) -> bool:
        """The memory is given back, and the process is ready."""
        return not self._leaked_bytes() and self.stack.is_ready(self._name)

    def _grow(self) -> None:
        back_off_s = float(self.planned.params["back-off"])
        while True:
            pod = self._pod()
            self._course.wait_until(partial(self._has_turned, pod))
            # The pod is over at its limit, or when its first process has ended; a child alone was replaced in time.
            over = not _has_lost_one(pod) or _has_lost_one(pod[:1])
            self.stack.kill(self._leak.name)
            self._told.unlink(missing_ok=True)
            if over:
                self._kills += 1
                self.stack.kill(self._name)
                self.tell("component.stopped", self._name)
                self._course.wait(back_off_s)
                back_off_s *= 2
                self.stack.spawn(self._command)
                self.stack.may_die(self._name)
            self._course.wait_until(lambda: self.stack.is_ready(self._name), timeout_s=RESTART_S)
            if over:
                self.tell("component.started", self._name)
            self.stack.spawn(self._leak)

    def _has_turned(self, pod: Sequence[ProcessMark]) -> bool:
        """Whether it is at its limit, or one of its processes has ended; tells the replica how much it holds."""
        held = sum(map(_resident, self._pod())) + self._leaked_bytes()
        draft = self._told.with_suffix(".new")
        draft.write_text(f"{held}\n", encoding="ascii")
        draft.replace(self._told)
        return held >= self._limit or _has_lost_one(pod)

    def _pod(self) -> tuple[ProcessMark, ...]:
        try:
            return members(self.stack, self._name)
        except StackError:
            return ()

    def _leaked_bytes(self) -> int:
        try:
            return _resident(self.stack.mark(self._leak.name))
        except StackError:
            return 0


def _has_lost_one(pod: Sequence[ProcessMark]) -> bool:
    return not all(mark.find() for mark in pod)


def _resident(mark: ProcessMark) -> int:
    """Bytes of memory that a process holds (RSS); 0 when it has ended."""
    process = mark.find()
    try:
        return int(process.memory_info().rss) if process else 0
    except psutil.NoSuchProcess:
        return 0


@undo_action(
    "end-leak",
    lambda step: f"{by_hand(step['end'])}; rm -f {shlex.quote(step['file'])}; {by_hand(step['start'])}",
)
def _end_leak(step: Mapping[str, Any], processes: Processes) -> None:
    carry_out(step["end"], processes)
    Path(step["file"]).unlink(missing_ok=True)
    start = step["start"]
    if processes.alive(start["command"]["name"]) and not processes.conductor_is_gone:
        # Its worker may just be replaced: to end it now would cut off what it has promised to finish.
        wait_for(lambda: probe(start["protocol"], start["address"], path=start["path"]).ok, timeout_s=START_TIMEOUT_S)
    carry_out(start, processes)
