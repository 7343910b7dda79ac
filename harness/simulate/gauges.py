"""What can be read of a simulated stack while it runs, under the names that a measured record has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.clock import NS
from harness.plan import Load
from harness.simulate import layout as k
from harness.simulate.model import CLIENT, WORKERS, Model, Pool
from harness.simulate.program import Program, table

GAUGED_REPLICAS = 8
"""Of a component with more replicas than this, the first ones are read; they stand for the others."""

Key = tuple[str, str]
Series = tuple[NDArray[np.int64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number of the event loop's arrays that belongs to the series `key`; a series is `plus` + the sum of its gauges
    times `unit`."""

    key: Key
    source: int
    index: int
    column: int = 0
    unit: float = 1.0
    plus: float = 0.0


def list_gauges(program: Program, model: Model, load: Load) -> tuple[Gauge, ...]:
    """Everything that is read at each tick."""
    return (*_of_components(program, model), *_of_calls(program, model), *_of_load(program, load))


def to_rows(gauges: Sequence[Gauge]) -> Any:
    """The gauges for the event loop."""
    return table([[gauge.source, gauge.index, gauge.column] for gauge in gauges], k.GAUGE_COLUMNS)


def to_series(gauges: Sequence[Gauge], ticks: NDArray[np.int64], tick_ns: int) -> dict[Key, Series]:
    """The readings (one row per tick, one column per gauge) as times and values per (component, metric)."""
    t_ns = np.arange(ticks.shape[0]) * tick_ns
    values: dict[Key, Any] = {}
    for column, gauge in enumerate(gauges):
        reading = gauge.plus + gauge.unit * ticks[:, column]
        values[gauge.key] = values[gauge.key] + reading if gauge.key in values else reading
    return {key: (t_ns, value) for key, value in values.items()}


def replica_name(model: Model, component: str, replica: int) -> str:
    """What a replica is called: as in a measured run, the only one of a component has no number."""
    if model.components[component].replicas == 1 and component != model.entry:
        return component
    return f"{component}-{replica + 1}"


def _of_components(program: Program, model: Model) -> Iterator[Gauge]:
    for name, component in model.components.items():
        for replica in range(min(component.replicas, GAUGED_REPLICAS)):
            who = replica_name(model, name, replica)
            row = program.replica_of[name] + replica
            yield Gauge((who, "requests_total"), k.OF_REPLICA, row, k.REQUESTS)
            yield Gauge((who, "errors_total"), k.OF_REPLICA, row, k.ERRORS)
            if component.workers is not None:
                row = program.resource_of[name, WORKERS] + replica
                yield Gauge((who, "workers_busy"), k.OF_RESOURCE, row, k.IN_USE)
                yield Gauge((who, "workers_limit"), k.OF_RESOURCE, row, k.CAPACITY)
                yield Gauge((who, "queue_length"), k.OF_RESOURCE, row, k.WAITING)
            for pool, suffix in _limited(component.pools):
                row = program.resource_of[name, pool] + replica
                yield Gauge((who, f"pool_in_use{suffix}"), k.OF_RESOURCE, row, k.IN_USE)
                yield Gauge((who, f"pool_size{suffix}"), k.OF_RESOURCE, row, k.CAPACITY)
                yield Gauge((who, f"pool_waiting{suffix}"), k.OF_RESOURCE, row, k.WAITING)
                yield Gauge((who, f"pool_wait_seconds{suffix}"), k.OF_RESOURCE, row, k.WAITED_NS, 1 / NS)
            for edge, first in program.breaker_of.items():
                if edge.startswith(f"{name}->"):
                    yield Gauge((who, "breaker_open"), k.OF_BREAKER, first + replica)


def _of_calls(program: Program, model: Model) -> Iterator[Gauge]:
    for source, destination, first, count in program.counters:
        if source != CLIENT:
            for replica in range(min(count, GAUGED_REPLICAS)):
                metric = f"attempts_total:{replica_name(model, source, replica)}"
                yield Gauge((destination, metric), k.OF_ATTEMPTS, first + replica)


def _of_load(program: Program, load: Load) -> Iterator[Gauge]:
    users = program.resource_of[CLIENT, "users"]
    yield Gauge(("load-worker-0", "users_free"), k.OF_RESOURCE, users, k.IN_USE, -1.0, load.users)
    for metric, index in (("finished_total", k.FINISHED), ("failed_total", k.FAILED), ("attempts_total", k.ATTEMPTS)):
        yield Gauge(("load-worker-0", metric), k.OF_CLOCK, index)


def _limited(pools: Mapping[str, Pool]) -> Iterator[tuple[str, str]]:
    """Pools that are a limit, with what is added to their metrics' names: nothing for the first one that requests wait
    for, which is what a connection pool is; `:name` for others."""
    limited = [name for name, pool in pools.items() if pool.size > 0]
    waited = [name for name in limited if pools[name].wait_s > 0]
    for name in limited:
        yield name, "" if waited[:1] == [name] else f":{name}"
