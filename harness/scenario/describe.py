"""A plan for people and programs: what would happen, when, where, and what it could reach."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from harness.allowed import moment, next_start
from harness.plan import CLOSED_MODEL_HIDES, Load, Phase, Plan, PlannedFault
from harness.scenario.hysteresis import RETURN, SHED
from harness.scenario.manifest import CLIENT, Target
from harness.scenario.timeline import phase_at
from harness.units import format_percentage, format_rate

WIDTH = 72


def describe(plan: Plan, target: Target) -> dict[str, Any]:
    """The plan as JSON-ready data; times in seconds since an arm's start. `target` tells the blast radius."""
    arms_s = len(plan.arms) * plan.arm_duration_s
    return {
        "name": plan.name,
        "hypothesis": plan.hypothesis,
        "file": plan.scenario_file,
        "sha256": plan.scenario_sha256,
        "target": plan.target_name,
        "variant": plan.variant,
        "seed": plan.seed,
        "arms": [dataclasses.asdict(arm) for arm in plan.arms],
        "phases": [{**dataclasses.asdict(phase), "arrivals": _arrivals(plan.load, phase)} for phase in plan.phases],
        "load": {
            "locustfile": plan.load.locustfile,
            "model": plan.load.model,
            "spacing": plan.load.spacing if plan.load.model == "open" else None,
            "waves": [dataclasses.asdict(wave) for wave in plan.load.waves],
            "traces": [dataclasses.asdict(replay) for replay in plan.load.traces],
            "users": plan.load.users,
            "timeout_s": plan.load.timeout_s,
            "retries": {name: dataclasses.asdict(retry) for name, retry in plan.load.retries.items()},
        },
        "faults": [
            {
                **dataclasses.asdict(fault),
                "params": dict(fault.params),
                "params_as_written": _as_written(fault, written),
                "end_s": fault.end_s,
                "phase": phase_at(fault.at_s, plan.phases).name,
                "blast_radius": blast_radius(fault, target),
            }
            for fault, written in zip(plan.faults, plan.scenario["faults"], strict=True)
        ],
        "touches": sorted({place for fault in plan.faults for place in fault.where}),
        "blast_radius": plan.scenario.get("blast-radius"),
        "allowed": _allowed(plan),
        "expect": list(plan.expect),
        "abort_when": list(plan.abort_when),
        "settings": dict(plan.scenario.get("settings", {})),
        "changes": {
            name: dict(change)
            for part in ("servers", "processes")
            for name, change in plan.scenario.get(part, {}).items()
        },
        "existing": target.existing,
        "audit": target.audit.endpoint if target.audit else None,
        "resets": None if target.reset is None else target.resets,
        "duration_s": {
            "arm": plan.arm_duration_s,
            "arms": arms_s,
            "estimate": plan.estimate_s,
        },
    }


def blast_radius(fault: PlannedFault, target: Target) -> dict[str, list[str]]:
    """Where damage is expected (`components`, `endpoints` with a declared path), and where it could spread to.

    `may_spread_to`: endpoints without a declared path that share a resource with one that has one.
    """
    found = [_reach(fault, place, target) for place in fault.where]
    components, endpoints = ({name for one in found for name in one[part]} for part in (0, 1))
    neighbours = {
        name for shared in target.shared_resources.values() if endpoints.intersection(shared) for name in shared
    }
    return {
        "components": sorted(components),
        "endpoints": sorted(endpoints),
        "may_spread_to": sorted(neighbours - endpoints),
    }


def _reach(fault: PlannedFault, place: str, target: Target) -> tuple[set[str], set[str]]:
    """The components and the endpoints that a fault in one place is expected to reach."""
    if place in target.regions:
        return set(target.in_region(place)), set(target.dependencies)
    source, _, end = place.rpartition("->") if fault.edge else ("", "", target.component_of(place))
    if source == CLIENT:
        return {end}, set(target.dependencies)
    components = {source or end}
    components |= set(_dependents(components, target.component_dependencies))
    endpoints = {name for name, path in target.dependencies.items() if end in path}
    return components, {name for name in endpoints if not source or source in target.dependencies[name]}


def timeline_text(plan: Plan, target: Target) -> str:
    """The plan in a terminal's words: phases and faults on one axis, then load, blast radius, expectations."""
    return "\n".join(line.rstrip() for line in _lines(plan, describe(plan, target)))


def _lines(plan: Plan, data: Mapping[str, Any]) -> Iterator[str]:
    yield f"{plan.name} ({plan.variant}) on {plan.target_name}"
    yield f"  {plan.hypothesis}"
    yield ""
    yield from _axis(plan)
    yield ""
    yield from _load_lines(plan, data)
    yield ""
    yield "faults, in the fault arms only"
    for fault in data["faults"]:
        yield from _fault_lines(fault)
    yield ""
    if data["changes"]:
        yield "not as in the target's manifest"
        for name, change in data["changes"].items():
            yield f"  {name}: " + ", ".join(f"{key} {value}" for key, value in change.items())
        yield ""
    yield from _limit_lines(plan, data)
    yield "expected"
    yield from (f"  {sentence}" for sentence in plan.expect)
    if data["audit"]:
        yield f"  (what {data['audit']} has acknowledged is looked up after every arm)"
    yield from (f"  abort when {sentence}" for sentence in plan.abort_when)
    yield ""
    if data["existing"]:
        yield "runs already: the harness neither starts nor kills it, nor brings it to the same state before every arm"
        yield from (f"  {name} at {where}" for name, where in data["existing"].items())
        if data["resets"] is not None:
            yield f"  the target's reset command is {'' if data['resets'] else 'not '}run before every arm"
        yield ""
    arms = " ".join(arm.name for arm in plan.arms)
    yield f"arms  {arms}, {_s(plan.arm_duration_s)} each"
    yield f"takes about {_s(round(data['duration_s']['estimate']))} in all"
    yield f"seed  {plan.seed}"


def _axis(plan: Plan) -> Iterator[str]:
    def column(at_s: float) -> int:
        return round(at_s / plan.arm_duration_s * WIDTH)

    ticks, bars = [" "] * (WIDTH + 8), ["-"] * WIDTH + ["|"]
    for phase in plan.phases:
        start, room = column(phase.start_s), column(phase.end_s) - column(phase.start_s)
        _write(ticks, start, _s(phase.start_s)[: max(room - 1, 0)])
        _write(bars, start, ("|" + phase.name)[:room])
    _write(ticks, WIDTH, _s(plan.arm_duration_s))
    yield "  " + "".join(ticks)
    yield "  " + "".join(bars)
    for fault in plan.faults:
        start = column(fault.at_s)
        length = max(1, column(fault.end_s) - start)
        yield "  " + " " * start + "#" * length + f" {fault.id}"


def _s(seconds: float) -> str:
    return f"{seconds:.10g}s"


def _write(line: list[str], at: int, text: str) -> None:
    line[at : at + len(text)] = text


def _load_lines(plan: Plan, data: Mapping[str, Any]) -> Iterator[str]:
    yield "load, the same in every arm"
    for phase in data["phases"]:
        when = f"{_s(phase['start_s'])} to {_s(phase['end_s'])}"
        if plan.load.model == "closed":
            yield f"  {phase['name']:<12} {when:<14} {phase['rate']:g} users"
        else:
            rate = format_rate(round(phase["rate"], 3))
            yield f"  {phase['name']:<12} {when:<14} {rate:<10} {phase['arrivals']} arrivals{_course(plan.load, phase)}"
    load = plan.load
    if load.model == "closed":
        yield f"  closed model: at most {load.users} users, timeout {_s(load.timeout_s)}"
        yield from textwrap.wrap(CLOSED_MODEL_HIDES, 100, initial_indent="  ", subsequent_indent="  ")
    else:
        yield f"  {load.users} virtual users, {load.spacing} arrivals, timeout {_s(load.timeout_s)}"
    if isinstance(plan.scenario.get("hysteresis"), Mapping):
        yield f"  `{SHED}`: no load until the queues are empty; `{RETURN}`: the load before. Does that end a collapse?"
    for name, retry in load.retries.items():
        budget = "" if retry.budget is None else f", budget {format_percentage(retry.budget)}"
        yield f"  {name}: {retry.policy} retries, at most {retry.limit}{budget}"


def _course(load: Load, phase: Mapping[str, Any]) -> str:
    """What a phase's rate does, when it does not just stay what it is."""
    for wave in load.waves:
        if phase["start_s"] <= wave.start_s < phase["end_s"]:
            return f", sine of {format_rate(wave.amplitude)} up and down every {_s(wave.period_s)}"
    for replay in load.traces:
        if phase["start_s"] <= replay.start_s < phase["end_s"]:
            speed = "" if replay.speed == 1 else f" at {format_percentage(replay.speed)} speed"
            scale = "" if replay.scale == 1 else f", {format_percentage(replay.scale)} of its arrivals"
            return f", {Path(replay.file).name} from {_s(replay.from_s)} on{speed}{scale}"
    return ""


def _fault_lines(fault: Mapping[str, Any]) -> Iterator[str]:
    where = ", ".join(fault["places"]) or fault["edge"] or fault["component"]
    yield (f"  {fault['id']} on {where}: {_s(fault['at_s'])} to {_s(fault['end_s'])} of the arm, in {fault['phase']}")
    if fault["params_as_written"]:
        yield "    " + ", ".join(f"{name} {value}" for name, value in fault["params_as_written"].items())
    reach = fault["blast_radius"]
    yield f"    declared to be hit: {', '.join(reach['endpoints']) or 'no endpoint'}"
    if reach["may_spread_to"]:
        yield f"    must not be hit, but share something: {', '.join(reach['may_spread_to'])}"


def _allowed(plan: Plan) -> dict[str, Any] | None:
    """When the plan may be run, whether now is such a time, and when the next one begins."""
    if not plan.allowed:
        return None
    now = datetime.now(UTC)
    begin = next_start(plan.allowed, now, timedelta(seconds=plan.estimate_s))
    return {
        "windows": [str(window) for window in plan.allowed],
        "now": begin == now,
        "next_start": None if begin is None else begin.isoformat(timespec="seconds"),
    }


def _limit_lines(plan: Plan, data: Mapping[str, Any]) -> Iterator[str]:
    radius, allowed = data["blast_radius"], data["allowed"]
    if not radius and not allowed:
        return
    yield "allowed"
    if radius:
        where = f"only {', '.join(radius['only'])}" if "only" in radius else "any place"
        at_once = f", {radius['replicas']} of a component's processes at a time" if "replicas" in radius else ""
        yield f"  faults may touch {where}{at_once}"
    if allowed:
        yield "  only " + "; ".join(allowed["windows"])
        begin = datetime.fromisoformat(allowed["next_start"])
        when = "now" if allowed["now"] else moment(begin, ZoneInfo(plan.allowed[0].timezone))
        yield f"  it may start {when}"
    yield ""


def _as_written(fault: PlannedFault, written: Mapping[str, Any]) -> dict[str, str]:
    """The fault's parameters in the scenario's own words, units and all."""
    return {name: str(value) for name, value in written[fault.kind].items() if name in fault.params}


def _dependents(components: set[str], dependencies: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Whoever calls one of `components`, directly or through others."""
    found, border = set(components), set(components)
    while border:
        border = {name for name, needs in dependencies.items() if border.intersection(needs)} - found
        found |= border
        yield from border


def _arrivals(load: Load, phase: Phase) -> int | None:
    """Expected arrivals in a phase; None in the closed model, where nobody knows."""
    return round(load.expected(phase.start_s, phase.end_s)) if load.model == "open" else None
