"""When faults really happened in each arm, and what ended a run before its time: read off the events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis.verdict import FaultTimes, Stop
from harness.clock import NS

if TYPE_CHECKING:
    from harness.record.reader import Event, Record


def fault_times(record: Record) -> tuple[FaultTimes, ...]:
    """Every fault that was begun, by arm and in order of time."""
    found = []
    for arm in record.info.arms:
        begun = sorted(_of(record, arm.name, "fault.requested").items(), key=lambda one: (one[1].t_ns, one[0]))
        rest = {kind: _of(record, arm.name, f"fault.{kind}") for kind in ("active", "clear-requested", "clear")}
        planned = {fault.id: fault.at_s for fault in record.info.faults}
        for name, start in begun:
            at_s = planned.get(name)
            active, asked, clear = (rest[kind].get(name) for kind in ("active", "clear-requested", "clear"))
            found.append(
                FaultTimes(
                    arm=arm.name,
                    fault=name,
                    planned_s=at_s,
                    started_s=start.t_ns / NS,
                    late_ms=None if at_s is None else round((start.t_ns - at_s * NS) / 1e6, 3),
                    active_s=_s(active),
                    active_after_ms=_between_ms(start, active),
                    asked_s=_s(asked),
                    clear_s=_s(clear),
                    clear_after_ms=_between_ms(asked, clear),
                )
            )
    return tuple(found)


def find_stop(record: Record) -> Stop | None:
    """The abort condition that ended the run, if one did."""
    for event in record.events:
        if event.kind == "abort":
            on = [one for one in fault_times(record) if one.arm == event.arm]
            cleared = [one.clear_s for one in on if one.clear_s is not None]
            at_s = event.t_ns / NS
            back_s = max([0.0, *(clear_s - at_s for clear_s in cleared)]) if len(cleared) == len(on) else None
            return Stop(event.arm, at_s, str(event.fields.get("reason") or ""), back_s)
    return None


def _of(record: Record, arm: str, kind: str) -> dict[str, Event]:
    """The first event of a kind for each fault of an arm."""
    events: dict[str, Event] = {}
    for event in record.events:
        if event.arm == arm and event.kind == kind and event.fields.get("fault"):
            events.setdefault(str(event.fields["fault"]), event)
    return events


def _s(event: Event | None) -> float | None:
    return None if event is None else event.t_ns / NS


def _between_ms(first: Event | None, then: Event | None) -> float | None:
    return None if first is None or then is None else round((then.t_ns - first.t_ns) / 1e6, 3)
