"""Carries out the planned faults of one arm, each in a thread of its own, on time and always back again.

Order, for each: prepare, undo into the ledger (fsync) -> at the instant inject -> confirm the effect -> wait -> halt it
and revert -> confirm it is gone. Every move of a fault is bounded in time, and none keeps a fault from being taken back
at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal

from harness.clock import NS, now_ns
from harness.errors import HarnessError, NotRevertedError
from harness.exits import Exit
from harness.faults.base import ClientFault, Fault, FaultableClients, FaultableStack
from harness.faults.catalogue import catalogue
from harness.faults.moves import Move, look_for
from harness.faults.restore import REVERT_S, revert
from harness.faults.undo import by_hand
from harness.ledger import Ledger, UndoMark
from harness.plan import PlannedFault
from harness.processes import Processes

PREPARE_S = 2.0
DEADLINE_MARGIN_S = REVERT_S + 5.0
HALT_S = 1.0
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
        clients: FaultableClients | None = None,
    ) -> None:
        self._arm = arm
        self._stack = stack
        self._processes = processes
        self._ledger = ledger
        self._on_event = on_event
        self._clients = clients
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
        """What went wrong so far: FaultError (did not take effect), NotRevertedError, a DiskError of its events."""
        return tuple(self._errors)

    def revert_now(self) -> None:
        """Take back what is active, let nothing else begin, and return when that is done."""
        self._over.set()
        self.finish()

    def finish(self) -> None:
        """Return when every fault has come and gone; none takes longer than its moves are allowed to."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _live(self, planned: PlannedFault) -> None:
        try:
            if not self._wait_until(planned.at_s - PREPARE_S):
                self._carry_out(planned)
        except Exception as error:  # noqa: BLE001  a fault of any make may raise anything; the run must end and say so
            self._fail(planned, error)

    def _carry_out(self, planned: PlannedFault) -> None:
        fault = catalogue()[planned.kind].make(planned, self._stack)
        fault.tell = lambda kind, component, **fields: self._tell(
            planned, kind, now_ns(), component=component, **fields
        )
        if isinstance(fault, ClientFault):
            if self._clients is None:
                raise FaultError(f"the fault {planned.id} is one of clients, and there are none")
            fault.clients = self._clients
        self._prepare(planned, fault)
        if self._over.is_set():
            return
        mark = UndoMark(
            id=f"{self._arm}:{planned.id}",
            deadline_ns=self._t0_ns + int((planned.end_s + DEADLINE_MARGIN_S) * NS),
            steps=tuple(fault.undo()),
        )
        self._ledger.undo(mark)
        if self._wait_until(planned.at_s):
            self._ledger.reverted(mark.id, "conductor")
            return
        begun_ns = now_ns()
        injection = Move(fault.inject, f"inject-{planned.id}")
        late_ns = begun_ns - self._t0_ns - int(planned.at_s * NS)
        self._enter(planned, "requested", "fault.requested", begun_ns, late_ms=_ms(late_ns))
        try:
            self._hold(planned, fault, injection, begun_ns)
        except Exception as error:  # noqa: BLE001  whatever it is: told, and the fault taken back
            self._fail(planned, error)
        self._take_back(planned, fault, injection, mark)

    def _prepare(self, planned: PlannedFault, fault: Fault) -> None:
        left_s = planned.at_s - (now_ns() - self._t0_ns) / NS
        preparation = Move(fault.prepare, f"prepare-{planned.id}")
        if not preparation.returned(max(0.0, left_s) + fault.confirm_s, self._over) and not self._over.is_set():
            raise FaultError(f"the fault {planned.id} could not be prepared in time", remedy="nothing was broken")
        if preparation.error is not None:
            raise preparation.error

    def _hold(self, planned: PlannedFault, fault: Fault, injection: Move, begun_ns: int) -> None:
        """From the injection to the planned end; returns early when that is cut short."""
        end_ns = self._t0_ns + int(planned.end_s * NS)
        if not injection.returned((end_ns - now_ns()) / NS, self._over):
            if not self._over.is_set():
                raise FaultError(f"injecting the fault {planned.id} took longer than the fault was to last")
            return
        if injection.error is not None:
            raise injection.error
        sight = look_for(fault.is_active, fault.confirm_s, self._over)
        if sight.seen:
            self._enter(planned, "active", "fault.active", seen_ns := now_ns(), after_ms=_ms(seen_ns - begun_ns))
            self._wait_until(planned.end_s)
        elif not self._over.is_set():
            raise FaultError(
                f"the fault {planned.id} was injected, but no effect could be seen within {fault.confirm_s:.0f} s"
                + (f" ({sight.trouble})" if sight.trouble else ""),
                remedy="the run is invalid: nothing was broken",
            )

    def _take_back(self, planned: PlannedFault, fault: Fault, injection: Move, mark: UndoMark) -> None:
        asked_ns = now_ns()
        self._enter(planned, "clearing", "fault.clear-requested", asked_ns)
        halting = Move(fault.halt, f"halt-{planned.id}")
        over = halting.returned(HALT_S) and injection.returned(0.0)
        revert(mark, self._ledger, self._processes, by="conductor")
        if not over and injection.returned(fault.clear_s) and halting.returned(fault.clear_s):
            revert(mark, self._ledger, self._processes, by="conductor")  # what it has done in the meantime
        sight = look_for(fault.is_clear, fault.clear_s)
        if not sight.seen:
            raise NotRevertedError(
                f"the fault {planned.id} was taken back, but its effect is still there after {fault.clear_s:.0f} s"
                + (f" ({sight.trouble})" if sight.trouble else ""),
                remedy="by hand: " + "; ".join(by_hand(step) for step in mark.steps),
            )
        self._enter(planned, "clear", "fault.clear", seen_ns := now_ns(), after_ms=_ms(seen_ns - asked_ns))
        if not halting.returned(0.0):
            raise FaultError(f"what the fault {planned.id} does by itself does not end")
        if halting.error is not None:
            raise halting.error

    def _wait_until(self, at_s: float) -> bool:
        """Wait for an instant of the arm; True when it was cut short."""
        at_ns = self._t0_ns + int(at_s * NS)
        return self._over.wait(max(0.0, (at_ns - now_ns()) / NS))

    def _enter(self, planned: PlannedFault, state: State, kind: str, at_ns: int, **measured: float) -> None:
        self._states[planned.id] = state
        fields: dict[str, Any] = {"component": planned.component, "edge": planned.edge}
        if planned.places:
            fields["places"] = list(planned.places)
        self._tell(planned, kind, at_ns, **fields, **measured)

    def _tell(self, planned: PlannedFault, kind: str, at_ns: int, **fields: Any) -> None:
        try:
            self._on_event(kind, t_ns=at_ns - self._t0_ns, fault=planned.id, **fields)
        except HarnessError as error:  # the disk may be full: told as an error, and no reason to keep a fault
            self._errors.append(error)

    def _fail(self, planned: PlannedFault, error: Exception) -> None:
        self._states[planned.id] = "failed"
        if not isinstance(error, HarnessError):
            error = FaultError(f"the fault {planned.id} failed: {type(error).__name__}: {error}")
        elif error.exit_code == Exit.USAGE:
            error = FaultError(f"the fault {planned.id} failed: {error.message}", remedy=error.remedy)
        self._errors.append(error)


def _ms(duration_ns: int) -> float:
    return round(duration_ns / 1e6, 3)
