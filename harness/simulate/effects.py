"""What is done to a simulated stack at planned times: the scenario's faults, and what studies need besides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.clock import NS
from harness.errors import ScenarioError
from harness.plan import PlannedFault
from harness.simulate import layout as k
from harness.simulate.model import WORKERS, Model, ModelError
from harness.simulate.program import Program, table


@dataclass(frozen=True, slots=True)
class Latency:
    """Every answer over an edge comes later, by `latency_s` plus or minus up to `jitter_s`."""

    edge: str
    from_s: float
    to_s: float
    latency_s: float
    jitter_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Down:
    """A component is gone, with all that it was doing and the content of its caches."""

    component: str
    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """A limit of every replica of a component is multiplied: its workers, or one of its pools. 0 is a stall.

    What is being done goes on to its end. A component without that limit can't have it changed.
    """

    component: str
    from_s: float
    to_s: float
    factor: float
    pool: str = WORKERS


Effect = Latency | Down | Capacity


def effect_of(fault: PlannedFault) -> Effect:
    """What a planned fault does to a model. Raises ScenarioError for one that can't be simulated."""
    match fault.kind:
        case "latency":
            if fault.places or fault.params["direction"] != "downstream" or fault.params["toxicity"] < 1:
                raise ScenarioError(
                    f"the fault `{fault.id}` can't be simulated",
                    remedy="latency can be on one edge, downstream and on every connection",
                )
            latency_s, jitter_s = float(fault.params["latency"]), float(fault.params["jitter"])
            return Latency(fault.edge, fault.at_s, fault.end_s, latency_s, jitter_s)
        case "redis-down":
            return Down(fault.component, fault.at_s, fault.end_s)
        case _:
            raise ScenarioError(
                f"the fault `{fault.kind}` can't be simulated", remedy="can be simulated: latency, redis-down"
            )


def to_controls(effects: Sequence[Effect], program: Program, model: Model) -> Any:
    """The effects as rows for the event loop, in order of time. Raises ModelError for what the model lacks."""
    rows = [row for effect in effects for row in _rows(effect, program, model)]
    return table(sorted(rows, key=lambda row: row[k.AT_NS]), k.CONTROL_COLUMNS)


def _rows(effect: Effect, program: Program, model: Model) -> Iterator[list[int]]:
    from_ns, to_ns = round(effect.from_s * NS), round(effect.to_s * NS)
    match effect:
        case Latency():
            if effect.edge not in program.edge_of:
                raise ModelError(f"nothing is called over the edge `{effect.edge}`; used: {', '.join(program.edge_of)}")
            edge = program.edge_of[effect.edge]
            latency_ns, jitter_ns = round(effect.latency_s * NS), round(effect.jitter_s * NS)
            yield [from_ns, k.SET_LATENCY, edge, latency_ns, jitter_ns, to_ns]
            # So that the first round trip that begins before it knows when it comes.
            yield [-1, k.SET_LATENCY, edge, 0, 0, 0]
        case Down():
            if effect.component not in program.component_of:
                raise ModelError(f"there is no component `{effect.component}`")
            component = program.component_of[effect.component]
            yield [from_ns, k.SET_DOWN, component, 0, 0, 0]
            yield [to_ns, k.SET_UP, component, 0, 0, 0]
            for name, cache in model.caches.items():
                if cache.component == effect.component:
                    yield [from_ns, k.EMPTY_CACHE, program.cache_of[name], 0, 0, 0]
        case Capacity():
            first = program.resource_of.get((effect.component, effect.pool))
            if first is None or program.resources[first][k.CAPACITY] < 0:
                raise ModelError(f"{effect.component} has no limit of {effect.pool} that could change")
            size = program.resources[first][k.CAPACITY]
            for replica in range(model.components[effect.component].replicas):
                yield [from_ns, k.SET_CAPACITY, first + replica, round(size * effect.factor), 0, 0]
                yield [to_ns, k.SET_CAPACITY, first + replica, size, 0, 0]
