"""Carries out the planned faults of one arm, each in a thread of its own, on time and always back again.

Order, for each: prepare, undo into the ledger (fsync) -> at the instant inject -> confirm the effect -> wait -> revert
-> confirm it is gone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

from harness.clock import NS, now_ns
from harness.errors import HarnessError, NotRevertedError
from harness.exits import Exit
from harness.faults.base import Fault, FaultableStack
from harness.faults.catalogue import catalogue
from harness.faults.restore import revert
from harness.faults.undo import by_hand
from harness.ledger import Ledger, UndoMark
from harness.plan import PlannedFault
from harness.processes import Processes

PREPARE_S = 2.0
DEADLINE_MARGIN_S = 5.0
CHECK_S = 0.02
State = Literal["waiting", "requested", "active", "clearing", "clear", "failed"]
EventSink = Callable[..., None]


class FaultError(HarnessError):
    """A fault did not take effect: the fault arm is no fault arm."""

    exit_code = Exit.INVALID


class FaultTimeline:
    """The faults of one arm. `start` them at the arm's start; `finish` waits for the last, `revert_now` cuts short."""

    def __init__(
        self,
        planned: Sequence[PlannedFault],
        *,
        arm: str,
        stack: FaultableStack,
        processes: Processes,
        ledger: Ledger,
        on_event: EventSink,
    ) -> None:
        self._arm = arm
        self._stack = stack
        self._processes = processes
        self._ledger = ledger
        self._on_event = on_event
        self._over = threading.Event()
        self._states: dict[str, State] = {one.id: "waiting" for one in planned}
        self._errors: list[HarnessError] = []
        self._threads = [
            threading.Thread(target=self._live, args=(one,), name=f"fault-{one.id}", daemon=True) for one in planned
        ]
        self._t0_ns = 0

    def start(self, t0_ns: int) -> None:
        """Begin; `t0_ns` is the arm's start on the monotonic clock."""
        self._t0_ns = t0_ns
        for thread in self._threads:
            thread.start()

    @property
    def states(self) -> dict[str, State]:
        """Where each fault is, by id."""
        return dict(self._states)

    @property
    def errors(self) -> tuple[HarnessError, ...]:
        """What went wrong so far: FaultError (did not take effect) or NotRevertedError."""
        return tuple(self._errors)

    def revert_now(self) -> None:
        """Take back what is active, let nothing else begin, and return when that is done."""
        self._over.set()
        self.finish()

    def finish(self) -> None:
        """Return when every fault has come and gone."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _live(self, planned: PlannedFault) -> None:
        try:
            if not self._wait_until(planned.at_s - PREPARE_S):
                self._carry_out(planned)
        except HarnessError as error:
            self._fail(planned, error)
        except Exception as error:  # noqa: BLE001  a fault of any make may raise anything; the run must end and say so
            self._fail(planned, FaultError(f"the fault {planned.id} failed: {type(error).__name__}: {error}"))

    def _carry_out(self, planned: PlannedFault) -> None:
        fault = catalogue()[planned.kind].make(planned, self._stack)
        fault.prepare()
        mark = UndoMark(
            id=f"{self._arm}:{planned.id}",
            deadline_ns=self._t0_ns + int((planned.end_s + DEADLINE_MARGIN_S) * NS),
            steps=tuple(fault.undo()),
        )
        self._ledger.undo(mark)
        if self._wait_until(planned.at_s):
            self._ledger.reverted(mark.id, "conductor")
            return
        self._enter(planned, "requested", "fault.requested")
        try:
            fault.inject()
            if self._confirm(fault):
                self._enter(planned, "active", "fault.active")
                self._wait_until(planned.end_s)
            elif not self._over.is_set():
                raise FaultError(
                    f"the fault {planned.id} was injected, but no effect could be seen within {fault.confirm_s:.0f} s",
                    remedy="the run is invalid: nothing was broken",
                )
        finally:
            try:
                self._enter(planned, "clearing", "fault.clear-requested")
            finally:  # also when the event can't be written: the disk may be full
                revert(mark, self._ledger, self._processes, by="conductor")
            self._confirm_clear(planned, fault, mark)

    def _confirm(self, fault: Fault) -> bool:
        deadline_ns = now_ns() + int(fault.confirm_s * NS)
        while not fault.is_active():
            if now_ns() > deadline_ns or self._over.wait(CHECK_S):
                return False
        return True

    def _confirm_clear(self, planned: PlannedFault, fault: Fault, mark: UndoMark) -> None:
        deadline_ns = now_ns() + int(fault.clear_s * NS)
        while not fault.is_clear():
            if now_ns() > deadline_ns:
                raise NotRevertedError(
                    f"the fault {planned.id} was taken back, but its effect is still there after {fault.clear_s:.0f} s",
                    remedy="by hand: " + "; ".join(by_hand(step) for step in mark.steps),
                )
            time.sleep(CHECK_S)
        self._enter(planned, "clear", "fault.clear")

    def _wait_until(self, at_s: float) -> bool:
        """Wait for an instant of the arm; True when it was cut short."""
        at_ns = self._t0_ns + int(at_s * NS)
        return self._over.wait(max(0.0, (at_ns - now_ns()) / NS))

    def _enter(self, planned: PlannedFault, state: State, kind: str) -> None:
        self._states[planned.id] = state
        fields: dict[str, Any] = {"fault": planned.id, "component": planned.component, "edge": planned.edge}
        if planned.places:
            fields["places"] = list(planned.places)
        self._on_event(kind, t_ns=now_ns() - self._t0_ns, **fields)

    def _fail(self, planned: PlannedFault, error: HarnessError) -> None:
        self._states[planned.id] = "failed"
        self._errors.append(error)
