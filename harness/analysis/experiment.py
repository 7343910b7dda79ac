"""What is compared with what: the pair of arms, and when the fault was on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.clock import NS
from harness.plan import RETRY_STORM

if TYPE_CHECKING:
    from harness.record.info import FaultInfo
    from harness.record.reader import Event, Record

_APPENDED = ("shed", "return")
_WARM_UPS = ("warm-up", "warmup", "warm_up")


@dataclass(frozen=True, slots=True)
class Window:
    """`[active, clear)` of all faults together, in ns since the arm's start; `cleared` is False when no clear was seen.

    `faults`: ids that were confirmed active. `components`: what they broke. `missing`: planned, never confirmed.
    """

    active_ns: int
    clear_ns: int
    cleared: bool
    faults: tuple[str, ...]
    components: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """How long the fault was on."""
        return (self.clear_ns - self.active_ns) / NS


@dataclass(frozen=True, slots=True)
class Shedding:
    """The end of arms with `hysteresis: on`: no load in `[shed_ns, return_ns)`, then the load before, to `end_ns`."""

    shed_ns: int
    return_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Experiment:
    """One baseline and one fault arm; a name is None when the record has no such arm, `window` when no fault was seen.

    `end_ns`: the end of what both arms saw, or where their load was shed on purpose (see `shedding`).
    `watched_to_ns`: the end less one client timeout, because the outcome of later arrivals is known only when they were
    quick. `aborted`: an abort condition ended an arm.
    `problem`: why the arms cannot be compared, else "".
    """

    baseline: str | None
    fault: str | None
    window: Window | None
    warm_up_ns: int
    end_ns: int
    watched_to_ns: int
    phases: tuple[tuple[str, int, int], ...]
    aborted: bool
    problem: str
    shedding: Shedding | None = None


def find_experiments(record: Record, timeout_ns: int | None) -> tuple[Experiment, ...]:
    """Every pair of arms of a record, in order, and when its fault was on; without a pair, the arm that there is."""
    paired = pairs_of(record, timeout_ns, "planned")
    if paired:
        return paired
    baseline, fault = (next(iter(record.arms_of(kind)), None) for kind in ("baseline", "fault"))
    return (_experiment(record, baseline, fault, timeout_ns, belong=False),)


def pairs_of(record: Record, timeout_ns: int | None, load: Literal["planned", "expected"]) -> tuple[Experiment, ...]:
    """The pairs of arms of one load: the scenario's, or the expected one without its spike."""
    names = record.info.pairs(load)
    return tuple(_experiment(record, baseline, fault, timeout_ns, belong=True) for baseline, fault in names)


def unpaired(record: Record) -> tuple[str, ...]:
    """Arms that have no counterpart in the record, in order."""
    paired = {name for pair in (*record.info.pairs(), *record.info.pairs("expected")) for name in pair}
    return tuple(arm.name for arm in record.info.arms if arm.name not in paired)


def _experiment(
    record: Record, baseline: str | None, fault: str | None, timeout_ns: int | None, *, belong: bool
) -> Experiment:
    names = [name for name in (baseline, fault) if name is not None]
    ends = [_arm_end_ns(record, name) for name in names]
    seen_ns = min(ends) if ends else 0
    phases = tuple((phase.name, round(phase.start_s * NS), round(phase.end_s * NS)) for phase in record.info.phases)
    shedding = _shedding(record.info.scenario, phases, seen_ns - (timeout_ns or 0))
    end_ns = seen_ns if shedding is None else min(seen_ns, shedding.shed_ns)
    window = _window(record, fault, end_ns) if fault is not None else None
    warm_up_ns = max((end for name, _, end in phases if name in _WARM_UPS), default=0)
    if window is not None:
        warm_up_ns = min(warm_up_ns, window.active_ns)
    problem = ""
    if not belong:
        found = " and ".join(f"`{name}`" for name in names) or "none"
        problem = f"a baseline and a fault arm that belong together are needed, the record has {found}"
    elif window is None:
        problem = "no fault was confirmed active in the fault arm, so there is nothing to compare"
    elif window.clear_ns <= window.active_ns:
        problem = "the fault was active only outside the seconds that both arms cover"
    return Experiment(
        baseline=baseline,
        fault=fault,
        window=window,
        warm_up_ns=warm_up_ns,
        end_ns=end_ns,
        watched_to_ns=max(0, min(end_ns, seen_ns - (timeout_ns or 0))),
        phases=phases,
        aborted=any(event.kind == "abort" for event in record.events),
        problem=problem,
        shedding=shedding,
    )


def _shedding(
    scenario: Mapping[str, Any], phases: tuple[tuple[str, int, int], ...], watched_to_ns: int
) -> Shedding | None:
    """The phases that `hysteresis` appended, as far as the outcome of their arrivals is known."""
    if not isinstance(scenario.get("hysteresis"), Mapping) or tuple(name for name, *_ in phases[-2:]) != _APPENDED:
        return None
    (_, shed_ns, return_ns), (_, _, end_ns) = phases[-2:]
    return Shedding(shed_ns, return_ns, min(end_ns, watched_to_ns))


def _arm_end_ns(record: Record, name: str) -> int:
    planned = next(round(arm.duration_s * NS) for arm in record.info.arms if arm.name == name)
    stops = [event.t_ns for event in record.events if event.kind == "abort" and event.arm == name]
    return max(0, min([planned, *stops]))


def _window(record: Record, arm: str, end_ns: int) -> Window | None:
    events = sorted((event for event in record.events if event.arm == arm), key=lambda event: event.t_ns)
    began = [event for event in events if event.kind == "fault.active"]
    if not began:
        return None
    ended = {_fault(event): event.t_ns for event in events if event.kind == "fault.clear"}
    ids = tuple(sorted({_fault(event) for event in began}))
    planned = {fault.id: fault for fault in record.info.faults}
    cleared = all(name in ended for name in ids)
    # Clients that retry at once break nothing: what they overload while something else is broken, that has spread.
    breaking = [event for event in began if not _is_storm(planned, event)] or began
    components = {component for event in breaking for component in _broken(event, planned)}
    return Window(
        active_ns=max(0, began[0].t_ns),
        clear_ns=min(max(ended[name] for name in ids), end_ns) if cleared else end_ns,
        cleared=cleared,
        faults=ids,
        components=tuple(sorted(component for component in components if component)),
        missing=tuple(sorted(set(planned) - set(ids))) if any(ids) else (),
    )


def _is_storm(planned: Mapping[str, FaultInfo], event: Event) -> bool:
    fault = planned.get(_fault(event))
    return fault is not None and fault.kind == RETRY_STORM


def _broken(event: Event, planned: Mapping[str, FaultInfo]) -> set[str]:
    """The components that a fault hits; of several edges, the far ends."""
    edges = [str(place) for place in event.fields.get("places") or () if "->" in str(place)]
    one = event.fields.get("component") or _hit(str(event.fields.get("edge") or "")) or _planned(planned, _fault(event))
    return {_hit(edge) for edge in edges} or {str(one)}


def _fault(event: Event) -> str:
    return str(event.fields.get("fault") or "")


def _hit(edge: str) -> str:
    return edge.partition("->")[2]


def _planned(planned: Mapping[str, FaultInfo], name: str) -> str:
    fault = planned.get(name)
    return (fault.component or _hit(fault.edge or "")) if fault is not None else ""
