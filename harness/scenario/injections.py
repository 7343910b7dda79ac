"""The faults of a scenario, held against the catalogue, the target and the phases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness import units
from harness.errors import nearest
from harness.faults.base import CAPABILITIES, FaultType, Param
from harness.faults.lives import LIFE
from harness.plan import Phase, PlannedFault
from harness.scenario.document import Document, Keys
from harness.scenario.manifest import CLIENT, Target
from harness.scenario.models import FAULT_KEYS, FaultEntry
from harness.scenario.timeline import instant

_WRITTEN = {
    "duration": units.format_duration,
    "percentage": units.format_percentage,
    "size": units.format_size,
    "rate": units.format_rate,
    "byte-rate": units.format_byte_rate,
}
_SEEN_S = 2.0
"""Time enough to see the effect of a fault on an edge, or that it is gone."""
_BACK_S = 5.0
"""What a fault has ended is started at its end, and has to run when the next one is prepared, before it begins."""


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
        places = _places(entry, fault_type, target, document, path)
        component = _component(places[0], fault_type, target)
        edge = places[0] if fault_type.place in ("edge", "clients") else ""
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
            places=() if places in ((component,), (edge,)) else places,
        )
        if reason := fault_type.refusal(fault, target):
            raise document.error(path, reason)
        for other in planned:
            gap_s = _BACK_S if _may_end_processes(fault_type, catalogue[other.kind]) else 0.0
            if not (fault.at_s < other.end_s + gap_s and other.at_s < fault.end_s + gap_s):
                continue
            if _exclude((fault, fault_type), (other, catalogue[other.kind]), target):
                raise document.error(
                    path,
                    f"overlaps `{other.id}` on {', '.join(other.where)}, where only one of the two can be at a time",
                    remedy=f"`{other.id}` is there from {units.format_duration(other.at_s)} "
                    f"to {units.format_duration(other.end_s)}"
                    + (f", and takes {units.format_duration(gap_s)} to be over" if gap_s else ""),
                )
        planned.append(fault)
    return tuple(planned)


def _instant(entry: FaultEntry, phases: Sequence[Phase], document: Document, path: Keys) -> float:
    try:
        return instant(entry.at, phases)
    except ValueError as error:
        raise document.error((*path, "at"), str(error)) from error


def _places(
    entry: FaultEntry, fault_type: FaultType, target: Target, document: Document, path: Keys
) -> tuple[str, ...]:
    """The edges, components or replicas that a fault hits, each checked for what the fault needs of it."""
    where = (*path, "on")
    if fault_type.place == "clients":
        if entry.on:
            raise document.error(where, f"`{entry.kind}` is about the clients", remedy="leave `on` out")
        return (f"{CLIENT}->{target.entry}",)
    places = tuple("->".join(part.strip() for part in on.split("->")) for on in entry.on)
    if not places and fault_type.default_place:
        places = (fault_type.default_place,)
    if not places:
        known = {"edge": target.edge_names, "component": target.components, "region": target.regions}[fault_type.place]
        raise document.error(path, f"`on` is missing: which {fault_type.place}", remedy=nearest("", known))
    if len(places) > 1 and not fault_type.many:
        raise document.error(where, f"`{entry.kind}` hits one {fault_type.place} at a time, got {len(places)}")
    for index, place in enumerate(places):
        if place in places[:index]:
            raise document.error(where, f"`{place}` is there twice")
        _check_place(place, entry.kind, fault_type, target, document, where)
    return places


def _check_place(place: str, kind: str, fault_type: FaultType, target: Target, document: Document, where: Keys) -> None:
    if fault_type.place == "region":
        known = list(target.regions)
    elif fault_type.place == "edge":
        known = list(target.edge_names)
    else:
        instances = (name for component in target.components for name in target.instances(component))
        known = list(dict.fromkeys((*target.components, *instances)))
    if place not in known:
        remedy = nearest(place, known) or "a scenario spreads its target with `regions: [east, west]`"
        raise document.error(where, f"the target has no {fault_type.place} `{place}`", remedy=remedy)

    def able(one: str) -> bool:
        return fault_type.capability in _capabilities(one, fault_type, target)

    def fitting(one: str) -> bool:
        spoken = target.component_protocol(_component(one, fault_type, target))
        return fault_type.protocol in ("", spoken)

    if not able(place):
        what = CAPABILITIES.get(fault_type.capability, f"offers `{fault_type.capability}`")
        raise document.error(
            where,
            f"`{kind}` needs a place that {what}, which `{place}` is not",
            remedy=nearest(place, filter(able, known)) or "this target has none",
        )
    if not fitting(place):
        raise document.error(
            where,
            f"`{kind}` is for {fault_type.protocol}, not for "
            f"{target.component_protocol(_component(place, fault_type, target))}",
            remedy=nearest(place, (one for one in known if able(one) and fitting(one))) or "this target has none",
        )


def _capabilities(place: str, fault_type: FaultType, target: Target) -> frozenset[str]:
    if fault_type.place == "edge":
        if place not in target.proxied_edges:
            return frozenset()
        source = place.partition("->")[0]
        return frozenset({"edge", "name"} if source != CLIENT and target.is_ours(source) else {"edge"})
    if fault_type.place == "region":
        return frozenset({"region"})
    return target.capabilities(target.component_of(place))


def _component(place: str, fault_type: FaultType, target: Target) -> str:
    """What is hit; of an edge, its far end; of a region, what it serves clients with."""
    if fault_type.place == "region":
        return f"{target.entry}-{place}"
    return target.component_of(place) if fault_type.place == "component" else place.partition("->")[2]


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
            return _bounded(units.parse_duration(text), text, param)
        case "percentage":
            return _bounded(units.parse_percentage(text), text, param)
        case "integer":
            if not (text.isascii() and text.isdigit() and len(text) <= 18):
                raise ValueError(f"expected a whole number, got `{text}`")
            return int(_bounded(int(text), text, param))
        case "number":
            try:
                number = float(text)
            except ValueError:
                raise ValueError(f"expected a number, got `{text}`") from None
            if not abs(number) < float("inf"):
                raise ValueError(f"expected a finite number, got `{text}`")
            return _bounded(number, text, param)
        case "choice":
            if text not in param.choices:
                raise ValueError(f"expected a choice, got `{text}`; {nearest(text, param.choices)}")
            return text
        case "size":
            return _bounded(units.parse_size(text), text, param)
        case "rate":
            return _bounded(units.parse_rate(text), text, param)
        case "byte-rate":
            return _bounded(units.parse_byte_rate(text), text, param)
        case "string":
            return text


def _bounded(value: float, text: str, param: Param) -> float:
    if param.least is not None and value < param.least:
        raise ValueError(f"`{text}` is too little; {_WRITTEN.get(param.kind, str)(param.least)} at least")
    if param.most is not None and value > param.most:
        raise ValueError(f"`{text}` is too much; {_WRITTEN.get(param.kind, str)(param.most)} at most")
    return value


def _exclude(one: tuple[PlannedFault, FaultType], other: tuple[PlannedFault, FaultType], target: Target) -> bool:
    """Whether two faults meet in a place where they can't both be at the same time."""
    if "clients" in (one[1].place, other[1].place):
        return one[1].place == other[1].place
    layers = {one[1].layer, other[1].layer}
    excluded = {*one[1].excludes, *other[1].excludes}
    if "" not in layers and len(layers) == 2 and not layers & excluded:
        if _shuts_out(one, other) or _shuts_out(other, one):
            return bool(_hit(one[0], target) & _hit(other[0], target))
        return _silences(one, other[0], target) or _silences(other, one[0], target)
    if one[0].edge and other[0].edge:
        return bool(set(one[0].where) & set(other[0].where))
    return bool(_hit(one[0], target) & _hit(other[0], target))


def _may_end_processes(one: FaultType, other: FaultType) -> bool:
    """Whether one of two faults of components decides whether a process runs that the other one needs."""
    return one.place == other.place == "component" and bool({"", LIFE} & {one.layer, other.layer})


def _shuts_out(one: tuple[PlannedFault, FaultType], other: tuple[PlannedFault, FaultType]) -> bool:
    """Whether a fault leaves no connection to one of the same server that begins later, and would need one."""
    return one[1].layer == "connections" and other[1].protocol == one[1].protocol and one[0].at_s < other[0].at_s


def _silences(one: tuple[PlannedFault, FaultType], other: PlannedFault, target: Target) -> bool:
    """Whether a fault takes away all that is at the far end of the other one's edge: nobody could see its effect.

    One that begins well before that and ends well after it is seen to begin, and to end.
    """
    if not other.edge or one[0].edge:
        return False
    if other.at_s + _SEEN_S <= one[0].at_s and one[0].end_s + _SEEN_S <= other.end_s:
        return False
    out = one[1].out_at_once(one[0], target)
    ends = {place.partition("->")[2] for place in other.where}
    return any(out.get(end, 0) >= len(target.instances(end)) for end in ends)


def _hit(fault: PlannedFault, target: Target) -> set[str]:
    """The processes that a fault hits; of an edge, those at its far end."""
    ends = [place.rpartition("->")[2] for place in fault.where]
    ends = [name for end in ends for name in (target.in_region(end) if end in target.regions else (end,))]
    whole = (*target.components, target.entry)
    return {name for end in ends for name in (target.instances(end) if end in whole else (end,))}
