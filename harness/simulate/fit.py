"""A model fitted to a measured run, and how well a simulated run agrees with a measured one.

Fitted from the baseline arms and their telemetry: the time that each endpoint takes beside what the model knows of
(an empirical distribution), the round trip time of the edges that are called while a pool is held, and the limits that
the gauges show. The fault arms are never looked at, so they can be predicted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis.arrivals import Arrivals, client_timeout_ns, join_attempts
from harness.clock import NS
from harness.errors import RecordError
from harness.record.reader import Record
from harness.simulate.experiment import Trial, simulate
from harness.simulate.model import WORKERS, Call, Edge, Empirical, Hold, Model, Step, Work, walk

FEWEST = 30
"""An endpoint with fewer successful requests keeps the times that the model has."""

_PROBABILITIES = np.linspace(0.0, 1.0, 201)
_ROUNDS = 3
_AGAIN = 4


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted model, the endpoints whose times were fitted, and what was found, in words."""

    model: Model
    fitted: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """One endpoint in one stretch of an arm, measured and simulated: shares failed, and p95 (ms) as users felt it."""

    arm: str
    stretch: str
    endpoint: str
    errors_measured: float
    errors_simulated: float
    p95_measured_ms: float
    p95_simulated_ms: float


def fit(measured: Record, trial: Trial, seed: int) -> Fit:
    """The trial's model with times and limits as in the measured run's baseline arms.

    `trial` is that of the measured run: its load, its settings. Raises RecordError when it has no baseline arm.
    """
    baselines = measured.arms_of("baseline")
    if not baselines:
        raise RecordError(f"{measured.folder.root}: there is no baseline arm to fit a model to")
    calm = replace(trial, effects=(), arms=[("baseline-1", "baseline", 1)])
    model, notes = _limits(measured, baselines[0], trial.model)
    seen = _quantiles_ns(measured, baselines)
    expected = _quantiles_ns(simulate(calm, seed), ("baseline-1",))
    wanted = {name: seen[name] for name in seen if name in expected and name in model.endpoints}
    model, more = _trips(measured, baselines, replace(calm, model=model), seed)
    for _ in range(_ROUNDS):
        found = _quantiles_ns(simulate(replace(calm, model=model), seed), ("baseline-1",))
        endpoints = {
            name: _shifted(steps, wanted[name] - found[name]) if name in wanted else steps
            for name, steps in model.endpoints.items()
        }
        model = replace(model, endpoints=endpoints)
    for name in sorted(wanted):
        first = model.endpoints[name][0]
        assert isinstance(first, Work)
        more.append(f"{name}: {first.takes.mean_s * 1000:.1f} ms of work at the entry on average")
    return Fit(model, tuple(sorted(wanted)), (*notes, *more))


def transfer(found: Fit, model: Model) -> Model:
    """`model`, which may have other settings than the fitted one had, with the times that were found.

    Limits are settings: where the gauges of the measured run showed others than its settings say, the notes tell.
    """
    endpoints = {
        name: (found.model.endpoints[name][0], *(steps[1:] if isinstance(steps[0], Work) else steps))
        if name in found.fitted
        else steps
        for name, steps in model.endpoints.items()
    }
    edges = {
        name: replace(edge, trip_s=found.model.edges[name].trip_s if name in found.model.edges else edge.trip_s)
        for name, edge in model.edges.items()
    }
    return replace(model, endpoints=endpoints, edges=edges)


def compare(measured: Record, simulated: Record) -> list[Agreement]:
    """Every endpoint in every phase, and while the faults were on, in the arms that both records have.

    Raises RecordError when they are of different plans: only like can be compared with like.
    """
    if _plan_of(measured) != _plan_of(simulated):
        raise RecordError(
            f"{measured.folder.root}: its phases or faults are others than those of the simulated scenario",
            remedy="compare with a run of the same scenario, with the same overrides",
        )
    found = []
    for arm in measured.info.arms:
        if arm.name not in {other.name for other in simulated.info.arms}:
            continue
        arrivals = [_arrivals(record, arm.name) for record in (measured, simulated)]
        for stretch, start_s, end_s in _stretches(measured, arm.kind):
            tables = [_by_endpoint(one, start_s, end_s) for one in arrivals]
            for endpoint in sorted(set(tables[0]) & set(tables[1])):
                (errors, p95_ms), (errors_too, p95_too_ms) = (table[endpoint] for table in tables)
                found.append(Agreement(arm.name, stretch, endpoint, errors, errors_too, p95_ms, p95_too_ms))
    return found


def summary(agreements: Sequence[Agreement]) -> dict[str, float]:
    """The error of a prediction: points of the error rate, and relative error of p95, at the median and at worst."""
    points = np.array([abs(one.errors_simulated - one.errors_measured) * 100 for one in agreements])
    ratios = np.array([abs(one.p95_simulated_ms / one.p95_measured_ms - 1) for one in agreements])
    return {
        "cells": len(agreements),
        "errors_median_points": float(np.median(points)),
        "errors_worst_points": float(points.max()),
        "p95_median_relative": float(np.median(ratios)),
        "p95_worst_relative": float(ratios.max()),
    }


def table_of(agreements: Sequence[Agreement]) -> str:
    """The comparison as a Markdown table."""
    lines = [
        "| arm | stretch | endpoint | errors measured | simulated | p95 measured | simulated |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.arm} | {one.stretch} | {one.endpoint} | {one.errors_measured:.1%} | {one.errors_simulated:.1%} "
        f"| {one.p95_measured_ms:.0f} ms | {one.p95_simulated_ms:.0f} ms |"
        for one in agreements
    ]
    return "\n".join(lines) + "\n"


def _limits(measured: Record, arm: str, model: Model) -> tuple[Model, list[str]]:
    """Workers and connections as the gauges of the replicas show them, where there are any."""
    notes, components = [], dict(model.components)
    for name, component in model.components.items():
        replica = f"{name}-1" if component.replicas > 1 or name == model.entry else name
        workers = _last(measured, arm, replica, "workers_limit")
        if workers and component.workers is not None and workers != component.workers:
            notes.append(f"{name}: {workers:.0f} {WORKERS}, the model has {component.workers}")
            components[name] = replace(components[name], workers=int(workers))
        size = _last(measured, arm, replica, "pool_size")
        pool = next((key for key, one in component.pools.items() if one.size > 0 and one.wait_s > 0), None)
        if size and pool is not None and size != component.pools[pool].size:
            notes.append(f"{name}: {size:.0f} places in {pool}, the model has {component.pools[pool].size}")
            pools = {**component.pools, pool: replace(component.pools[pool], size=int(size))}
            components[name] = replace(components[name], pools=pools)
    return replace(model, components=components), notes


def _trips(measured: Record, baselines: Sequence[str], calm: Trial, seed: int) -> tuple[Model, list[str]]:
    """Round trips over the edges that are called while the entry's connection pool is held, by Little's law.

    Connections in use on average = calls per second x time held; what the model misses of it is put on its trips.
    """
    model, entry = calm.model, calm.model.entry
    edge, trips = _pooled_trips(model, calm.mix)
    rate = calm.load.expected() / calm.duration_s * trips
    used = np.mean([_mean_in_use(measured, arm, entry) for arm in baselines])
    if edge is None or rate == 0 or not np.isfinite(used):
        return model, []
    again = range(seed, seed + _AGAIN)
    known = np.mean([_mean_in_use(simulate(calm, other), "baseline-1", entry) for other in again])
    trip_s = max(0.0, model.edge(*edge).trip_s + float(used - known) / rate)
    name = "->".join(edge)
    edges = {**model.edges, name: replace(model.edges.get(name, Edge()), trip_s=trip_s)}
    return replace(model, edges=edges), [f"{name}: {trip_s * 1000:.2f} ms per round trip, from the connections in use"]


def _pooled_trips(model: Model, mix: Mapping[str, float]) -> tuple[tuple[str, str] | None, float]:
    """The edge that is called while a pool of the entry is held, and its round trips per arrival."""
    total, weights = 0.0, sum(mix.values())
    edge: tuple[str, str] | None = None
    for endpoint, steps in model.endpoints.items():
        for component, step in walk(model.entry, steps):
            waits = isinstance(step, Hold) and model.components[component].pools[step.pool].wait_s > 0
            if component == model.entry and isinstance(step, Hold) and waits:
                for inner in step.steps:
                    if isinstance(inner, Call):
                        edge = component, inner.component
                        total += inner.trips * mix.get(endpoint, 0.0) / weights
    return edge, total


def _shifted(steps: Sequence[Step], by_ns: NDArray[np.float64]) -> tuple[Step, ...]:
    """The steps with an empirical time first, that is `by_ns` longer at each quantile than what was there."""
    first, rest = (steps[0], steps[1:]) if steps and isinstance(steps[0], Work) else (None, steps)
    before_ns = np.zeros_like(by_ns)
    if first is not None:
        known = first.takes.quantiles_s if isinstance(first.takes, Empirical) else [first.takes.mean_s] * len(by_ns)
        before_ns = np.asarray(known) * NS
    # Quantiles of a sum are not the sum of quantiles: sorted, so that it stays a distribution, and done again.
    after_s = np.sort(np.maximum(0.0, before_ns + by_ns)) / NS
    return (Work(Empirical(tuple(after_s.tolist()))), *rest)


def _quantiles_ns(record: Record, arms: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """How long successful requests of each endpoint took, at equal steps of probability, after the warm-up."""
    took: dict[str, list[Any]] = {}
    warm_ns = _warm_up_s(record) * NS
    for arm in arms:
        samples = record.arm(arm)
        for code, name in enumerate(samples.endpoint_names):
            chosen = (samples.endpoint == code) & (samples.error == 0) & (samples.intended_ns >= warm_ns)
            took.setdefault(name, []).append((samples.end_ns - samples.start_ns)[chosen])
    joined = {name: np.concatenate(parts) for name, parts in took.items()}
    return {name: np.quantile(values, _PROBABILITIES) for name, values in joined.items() if values.size >= FEWEST}


def _mean_in_use(record: Record, arm: str, component: str) -> float:
    total = 0.0
    for name, one, metric in record.telemetry.available():
        if name == arm and metric == "pool_in_use" and one.rpartition("-")[0] == component:
            t_ns, value = record.telemetry.series(name, one, metric)
            total += float(value[t_ns >= _warm_up_s(record) * NS].mean())
    return total or float("nan")


def _last(record: Record, arm: str, component: str, metric: str) -> float | None:
    _, value = record.telemetry.series(arm, component, metric)
    return float(value[-1]) if value.size and np.isfinite(value[-1]) else None


def _arrivals(record: Record, arm: str) -> Arrivals:
    samples = record.arm(arm)
    return join_attempts(samples, client_timeout_ns(record.info.scenario, [samples]))


def _stretches(record: Record, kind: str) -> list[tuple[str, float, float]]:
    phases = [(phase.name, phase.start_s, phase.end_s) for phase in record.info.phases]
    stretches = [phase for phase in phases if phase[0] != "warm-up"]
    if kind == "fault":
        for fault in record.info.faults:
            if fault.at_s is not None and fault.for_s is not None:
                stretches.append((f"{fault.id} on", fault.at_s, fault.at_s + fault.for_s))
    return stretches


def _plan_of(record: Record) -> list[tuple[str, float | None, float | None]]:
    phases = [(phase.name, phase.start_s, phase.end_s) for phase in record.info.phases]
    return [*phases, *((fault.id, fault.at_s, fault.for_s) for fault in record.info.faults)]


def _by_endpoint(arrivals: Arrivals, start_s: float, end_s: float) -> dict[str, tuple[float, float]]:
    inside = arrivals.only((arrivals.intended_ns >= start_s * NS) & (arrivals.intended_ns < end_s * NS))
    return {
        name: (float(one.failed.mean()), float(np.quantile(one.felt_ns, 0.95)) / 1e6)
        for name, one in inside.by_endpoint()
        if one.failed.size >= FEWEST
    }


def _warm_up_s(record: Record) -> float:
    return max((phase.end_s for phase in record.info.phases if phase.name == "warm-up"), default=0.0)
