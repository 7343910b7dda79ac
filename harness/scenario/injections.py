"""The faults of a scenario, held against the catalogue, the target and the phases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness import units
from harness.errors import nearest
from harness.faults.base import FaultType, Param
from harness.plan import Phase, PlannedFault
from harness.scenario.document import Document, Keys
from harness.scenario.manifest import Target
from harness.scenario.models import FAULT_KEYS, FaultEntry
from harness.scenario.timeline import instant


def plan_faults(
    entries: Sequence[FaultEntry],
    catalogue: Mapping[str, FaultType],
    target: Target,
    phases: Sequence[Phase],
    document: Document,
) -> tuple[PlannedFault, ...]:
    """The faults in absolute seconds, in the file's order. Raises ScenarioError for anything that can't be done."""
    planned: list[PlannedFault] = []
    for index, entry in enumerate(entries):
        path: Keys = ("faults", index, entry.kind)
        if entry.kind not in catalogue:
            raise document.key_error(path, "unknown fault", remedy=nearest(entry.kind, catalogue))
        fault_type = catalogue[entry.kind]
        edge, component = _place(entry, fault_type, target, document, path)
        at_s = _instant(entry, phases, document, path)
        ends = round(at_s + entry.for_, 9)
        if ends > phases[-1].end_s:
            raise document.error(
                (*path, "for"),
                f"the fault would end at {units.format_duration(ends)}, after the arm",
                remedy=f"the last phase ends at {units.format_duration(phases[-1].end_s)}",
            )
        same = sum(other.kind == entry.kind for other in planned)
        fault = PlannedFault(
            id=entry.kind if not same else f"{entry.kind}-{same + 1}",
            kind=entry.kind,
            at_s=at_s,
            for_s=entry.for_,
            params=_params(entry, fault_type, document, path),
            component=component,
            edge=edge,
        )
        for other in planned:
            if _same_place(fault, other) and fault.at_s < other.end_s and other.at_s < fault.end_s:
                raise document.error(
                    path,
                    f"overlaps `{other.id}` on {other.edge or other.component}, where only one can be at a time",
                    remedy=f"`{other.id}` is there from {units.format_duration(other.at_s)} "
                    f"to {units.format_duration(other.end_s)}",
                )
        planned.append(fault)
    return tuple(planned)


def _instant(entry: FaultEntry, phases: Sequence[Phase], document: Document, path: Keys) -> float:
    try:
        return instant(entry.at, phases)
    except ValueError as error:
        raise document.error((*path, "at"), str(error)) from error


def _place(entry: FaultEntry, fault_type: FaultType, target: Target, document: Document, path: Keys) -> tuple[str, str]:
    """(edge, component) of a fault; the component of an edge is its far end."""
    on, where = entry.on or fault_type.default_place, (*path, "on")
    known = target.edge_names if fault_type.place == "edge" else target.components
    if not on:
        raise document.error(path, f"`on` is missing: which {fault_type.place}", remedy=nearest("", known))
    on = "->".join(part.strip() for part in on.split("->"))
    if on not in known:
        raise document.error(where, f"the target has no {fault_type.place} `{on}`", remedy=nearest(on, known))
    if fault_type.place == "edge":
        return on, on.partition("->")[2]
    able = [name for name in target.components if fault_type.capability in target.capabilities(name)]
    if on not in able:
        raise document.error(where, f"`{on}` is not {fault_type.capability} here", remedy=nearest(on, able))
    own = fault_type.default_place
    if own in target.components and target.component_protocol(on) != target.component_protocol(own):
        raise document.error(
            where, f"`{entry.kind}` is for {target.component_protocol(own)}, not for {target.component_protocol(on)}"
        )
    return "", on


def _params(entry: FaultEntry, fault_type: FaultType, document: Document, path: Keys) -> dict[str, Any]:
    for name in entry.params:
        if name not in fault_type.params:
            raise document.key_error(
                (*path, name), "unknown parameter", remedy=nearest(name, (*fault_type.params, *FAULT_KEYS))
            )
    values: dict[str, Any] = {}
    for name, param in fault_type.params.items():
        if name not in entry.params:
            if param.required:
                raise document.error(path, f"`{name}` is missing", remedy=param.help)
            values[name] = param.default
            continue
        try:
            values[name] = _value(entry.params[name], param)
        except ValueError as error:
            raise document.error((*path, name), str(error), remedy=param.help) from error
    return values


def _value(text: str, param: Param) -> Any:
    match param.kind:
        case "duration":
            return units.parse_duration(text)
        case "percentage":
            return units.parse_percentage(text)
        case "integer":
            if not (text.isascii() and text.isdigit() and len(text) <= 18):
                raise ValueError(f"expected a whole number, got `{text}`")
            return int(text)
        case "number":
            try:
                number = float(text)
            except ValueError:
                raise ValueError(f"expected a number, got `{text}`") from None
            if not abs(number) < float("inf"):
                raise ValueError(f"expected a finite number, got `{text}`")
            return number
        case "choice":
            if text not in param.choices:
                raise ValueError(f"expected a choice, got `{text}`; {nearest(text, param.choices)}")
            return text
        case "string":
            return text


def _same_place(one: PlannedFault, other: PlannedFault) -> bool:
    """The same edge, or one hits the very component that the other's edge leads to."""
    if one.edge and other.edge:
        return one.edge == other.edge
    return one.component == other.component
