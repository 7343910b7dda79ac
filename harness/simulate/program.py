"""From a model to the arrays of the event loop: steps become a program with jumps, names become numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.clock import NS
from harness.plan import Load, Retry
from harness.simulate import layout as k
from harness.simulate.model import (
    CLIENT,
    WORKERS,
    Breaker,
    Cached,
    Call,
    Component,
    Constant,
    Edge,
    Empirical,
    Exponential,
    Hold,
    Lognormal,
    Model,
    Pool,
    Step,
    Time,
    Work,
)

BUDGET_BURST = 10.0
"""The retries that a budget holds at most; `harness.load.retries` has the same number."""

_BALANCE = {
    "round-robin": k.ROUND_ROBIN,
    "random": k.RANDOM,
    "least-busy": k.LEAST_BUSY,
    "connection": k.CONNECTION,
}
_PENDING = -1


@dataclass(slots=True)
class Program:
    """A model as rows of numbers (columns as in `harness.simulate.layout`), and where its parts are found in them.

    `resource_of`: (component, pool) -> the first of its resources, one per replica. `replica_of`: component -> its
    first row of `replicas`. `counters`: (caller, callee, first of its `attempts`, replicas of the caller).
    `breaker_of`: edge -> its first breaker.
    """

    ops: list[list[int]] = field(default_factory=list)
    resources: list[list[int]] = field(default_factory=list)
    components: list[list[int]] = field(default_factory=list)
    replicas: int = 0
    calls: list[list[int]] = field(default_factory=list)
    edges: list[list[int]] = field(default_factory=list)
    breakers: list[list[int]] = field(default_factory=list)
    budgets: list[list[float]] = field(default_factory=list)
    attempts: int = 0
    caches: list[list[int]] = field(default_factory=list)
    keys: int = 0
    distributions: list[list[float]] = field(default_factory=list)
    quantiles: list[float] = field(default_factory=list)
    programs: list[int] = field(default_factory=list)
    users: int = 0
    component_of: dict[str, int] = field(default_factory=dict)
    resource_of: dict[tuple[str, str], int] = field(default_factory=dict)
    replica_of: dict[str, int] = field(default_factory=dict)
    edge_of: dict[str, int] = field(default_factory=dict)
    breaker_of: dict[str, int] = field(default_factory=dict)
    cache_of: dict[str, int] = field(default_factory=dict)
    counters: list[tuple[str, str, int, int]] = field(default_factory=list)


def compile_model(model: Model, load: Load, scale: int = 1) -> Program:
    """The program of a model under a load: its users, their timeout and their retries are part of it.

    `scale` retry budgets of the load are one.
    """
    return _Compiler(model, load, scale).compile()


class _Compiler:
    def __init__(self, model: Model, load: Load, scale: int) -> None:
        self._model = model
        self._load = load
        self._burst = BUDGET_BURST * scale
        self._out = Program()

    def compile(self) -> Program:
        for name, component in self._model.components.items():
            self._component(name, component)
        for name, cache in self._model.caches.items():
            self._out.cache_of[name] = len(self._out.caches)
            self._out.caches.append([self._out.keys, cache.keys, _ns(cache.ttl_s)])
            self._out.keys += cache.keys
        self._out.users = self._load.users
        users = Pool(self._load.users, wait_s=self._load.patience_s)
        self._out.resource_of[CLIENT, "users"] = self._resource(users, 1)
        self._edge(CLIENT, self._model.entry)
        for endpoint, steps in self._model.endpoints.items():
            self._endpoint(endpoint, steps)
        return self._out

    def _component(self, name: str, component: Component) -> None:
        out, count = self._out, component.replicas
        workers = Pool(component.workers or 0, queue=component.queue)
        first = len(out.resources)
        for pool_name, pool in {WORKERS: workers, **component.pools}.items():
            out.resource_of[name, pool_name] = self._resource(pool, count)
        out.component_of[name] = len(out.components)
        out.replica_of[name] = out.replicas
        balance = _BALANCE[component.balance]
        out.components.append([count, out.replicas, 0, 0, balance, first, 1 + len(component.pools)])
        out.replicas += count

    def _resource(self, pool: Pool, count: int) -> int:
        first = len(self._out.resources)
        capacity = pool.size or -1
        bound = -1 if pool.queue is None else pool.queue
        row = [capacity, 0, -1, -1, 0, _ns(pool.wait_s), bound, 0]
        self._out.resources += [list(row) for _ in range(count)]
        return first

    def _edge(self, source: str, destination: str) -> int:
        name = f"{source}->{destination}"
        if name not in self._out.edge_of:
            self._out.edge_of[name] = len(self._out.edges)
            trip_ns = _ns(self._model.edge(source, destination).trip_s)
            self._out.edges.append([trip_ns, 0, 0, 0, k.FOREVER])
        return self._out.edge_of[name]

    def _endpoint(self, endpoint: str, steps: Sequence[Step]) -> None:
        """The client's part, which `advance` relies on: a user is taken, then the call is made."""
        program = self._callee(self._model.entry, steps)
        entry = self._model.entry
        retry = self._load.retries.get(endpoint, Retry())
        wire = self._model.edge(CLIENT, entry)
        edge = Edge(trip_s=wire.trip_s, timeout_s=self._load.timeout_s)
        call = self._call(CLIENT, entry, edge, program, 1)
        self._retries(call, retry)
        self._out.programs.append(len(self._out.ops))
        at = len(self._out.ops)
        users = self._out.resource_of[CLIENT, "users"]
        self._out.ops += [
            [k.TAKE, users, 0, at + 5],
            [k.CALL, call, 0, at + 4],
            [k.GIVE, users, 0, 0],
            [k.RETURN, 1, 0, 0],
            [k.GIVE, users, 0, 0],
            [k.RETURN, 0, 0, 0],
        ]

    def _retries(self, call: int, retry: Retry) -> None:
        row = self._out.calls[call]
        if retry.policy == "none":
            return
        row[k.RETRIES] = retry.limit
        if retry.policy == "exponential":
            row[k.BACKOFF_NS], row[k.CAP_NS] = _ns(retry.base_s), _ns(retry.cap_s)
        if retry.budget is not None:
            row[k.BUDGET] = len(self._out.budgets)
            self._out.budgets += [[self._burst, retry.budget, self._burst] for _ in range(self._load.workers)]

    def _callee(self, component: str, steps: Sequence[Step]) -> int:
        """The program of a request at `component`: a worker is taken for all of its steps."""
        ops, start = self._out.ops, len(self._out.ops)
        workers = self._out.resource_of[component, WORKERS]
        refused: list[int] = []
        failures: list[int] = []
        self._op(k.TAKE, workers, failures=refused)
        shed_after_s = self._model.components[component].shed_after_s
        if shed_after_s > 0:
            self._op(k.SHED, _ns(shed_after_s), failures=failures)
        self._steps(component, steps, failures)
        self._op(k.GIVE, workers)
        self._op(k.RETURN, 1)
        self._land(failures)
        self._op(k.GIVE, workers)
        self._land(refused)
        self._op(k.RETURN, 0)
        # The programs of calls inside were written behind their own jumps, so the start is where it was.
        assert ops[start][k.OP] == k.TAKE
        return start

    def _steps(self, component: str, steps: Sequence[Step], failures: list[int]) -> None:
        for step in steps:
            match step:
                case Work():
                    self._op(k.WORK, self._distribution(step.takes))
                case Hold():
                    self._hold(component, step, failures)
                case Call():
                    self._step_call(component, step, failures)
                case Cached():
                    self._cached(component, step, failures)

    def _hold(self, component: str, step: Hold, failures: list[int]) -> None:
        pool = self._out.resource_of[component, step.pool]
        inside: list[int] = []
        self._op(k.TAKE, pool, failures=failures)
        self._steps(component, step.steps, inside)
        self._op(k.GIVE, pool)
        if not inside:
            return
        over = self._op(k.JUMP, _PENDING)
        self._land(inside)
        self._op(k.GIVE, pool)
        # A jump to where the outer failures will land.
        self._op(k.JUMP, _PENDING, failures=failures)
        self._out.ops[over][k.A] = len(self._out.ops)

    def _step_call(self, component: str, step: Call, failures: list[int]) -> None:
        call = self._inner_call(component, step.component, step.steps, step.trips)
        tolerated: list[int] = []
        self._op(k.CALL, call, failures=tolerated if step.tolerated else failures)
        self._land(tolerated)

    def _cached(self, component: str, step: Cached, failures: list[int]) -> None:
        cache = self._out.cache_of[step.cache]
        server = self._model.caches[step.cache].component
        lost: list[int] = []
        get = self._inner_call(component, server, (), 1)
        put = self._inner_call(component, server, (), 1)
        self._op(k.CALL, get, failures=lost if step.fallback else failures)
        looked_up = self._op(k.LOOKUP, cache)
        self._steps(component, step.miss, failures)
        unfilled: list[int] = []
        self._op(k.CALL, put, failures=unfilled if step.fallback else failures)
        self._op(k.FILL, cache)
        over = self._op(k.JUMP, _PENDING) if step.fallback else None
        if over is not None:
            self._land(lost)
            self._steps(component, step.miss, failures)
            self._out.ops[over][k.A] = len(self._out.ops)
            self._land(unfilled)
        self._out.ops[looked_up][k.B] = len(self._out.ops)

    def _inner_call(self, source: str, destination: str, steps: Sequence[Step], trips: int) -> int:
        over = self._op(k.JUMP, _PENDING)
        program = self._callee(destination, steps)
        self._out.ops[over][k.A] = len(self._out.ops)
        return self._call(source, destination, self._model.edge(source, destination), program, trips)

    def _call(self, source: str, destination: str, edge: Edge, program: int, trips: int) -> int:
        out = self._out
        count = self._model.components[source].replicas if source != CLIENT else 1
        out.counters.append((source, destination, out.attempts, count))
        out.calls.append(
            [
                out.component_of[destination],
                program,
                trips,
                _ns(edge.timeout_s),
                self._edge(source, destination),
                edge.retries,
                _ns(edge.backoff_s),
                k.FOREVER,
                self._breaker(f"{source}->{destination}", edge.breaker, count),
                -1,
                out.attempts,
            ]
        )
        out.attempts += count
        return len(out.calls) - 1

    def _breaker(self, edge: str, breaker: Breaker | None, count: int) -> int:
        out = self._out
        if breaker is None or breaker.failures == 0:
            return -1
        if edge not in out.breaker_of:
            out.breaker_of[edge] = len(out.breakers)
            out.breakers += [[breaker.failures, _ns(breaker.reset_s), 0, -1, 0] for _ in range(count)]
        return out.breaker_of[edge]

    def _distribution(self, time: Time) -> int:
        out = self._out
        match time:
            case Constant():
                row = [k.CONSTANT, time.mean_s * NS, 0.0, 0, 0]
            case Exponential():
                row = [k.EXPONENTIAL, time.mean_s * NS, 0.0, 0, 0]
            case Lognormal():
                row = [k.LOGNORMAL, time.mean_s * NS, time.spread, 0, 0]
            case Empirical():
                row = [k.EMPIRICAL, time.mean_s * NS, 0.0, len(out.quantiles), len(time.quantiles_s)]
                out.quantiles += [quantile_s * NS for quantile_s in time.quantiles_s]
        out.distributions.append(row)
        return len(out.distributions) - 1

    def _op(self, word: int, a: int = 0, failures: list[int] | None = None) -> int:
        """Append a step; where it goes on after a failure is filled in when that place is reached (`_land`)."""
        at = len(self._out.ops)
        self._out.ops.append([word, a, 0, _PENDING])
        if failures is not None:
            failures.append(at)
        return at

    def _land(self, failures: list[int]) -> None:
        for at in failures:
            op = self._out.ops[at]
            op[k.A if op[k.OP] == k.JUMP else k.FAIL] = len(self._out.ops)


def table(rows: Sequence[Sequence[float]], columns: int, dtype: type = np.int64) -> Any:
    """Rows as an array that has its columns even when there are no rows."""
    return np.array(rows, dtype=dtype).reshape(len(rows), columns)


def _ns(seconds: float) -> int:
    return k.FOREVER if math.isinf(seconds) else round(seconds * NS)
