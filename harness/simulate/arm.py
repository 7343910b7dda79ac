"""One simulated arm: a program, arrivals and planned effects in; samples and gauge readings out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.clock import NS
from harness.plan import Load
from harness.record.reader import Telemetry
from harness.record.samples import ArmSamples
from harness.record.schema import ERRORS
from harness.simulate import layout as k
from harness.simulate.effects import Effect, to_controls
from harness.simulate.gauges import list_gauges, to_rows, to_series
from harness.simulate.kernel import advance
from harness.simulate.model import Model
from harness.simulate.program import Program, compile_model, table

TICK_NS = NS // 2

Batch = tuple[NDArray[np.int64], NDArray[np.int64]]

_ROWS = 1 << 14
_JOBS = 1 << 10
_ERROR_OF = {
    k.OK: "",
    k.TIMEOUT: "timeout",
    k.CONNECT: "connect",
    k.RESET: "reset",
    k.REFUSED: "http_5xx",
    k.DROPPED: "dropped",
}
_ABORTED = len(_ERROR_OF)
_ERROR_CODES = np.array([ERRORS.index(word) for word in (*_ERROR_OF.values(), "aborted")], dtype=np.int32)
_STATUS = np.array([200, 0, 0, 0, 503, 0, 0], dtype=np.int16)


@dataclass(frozen=True, slots=True)
class SimulatedArm:
    """What an arm left: its samples, its gauges by (component, metric), and how much there was to do.

    `arrivals`, `failed` and `attempts` count everything, also what `keep_every` left out of the samples.
    """

    samples: ArmSamples
    gauges: Mapping[tuple[str, str], tuple[NDArray[np.int64], NDArray[np.float64]]]
    arrivals: int
    failed: int
    attempts: int
    events: int


def simulate_arm(
    name: str,
    model: Model,
    load: Load,
    batches: Iterable[Batch],
    effects: Sequence[Effect],
    *,
    duration_s: float,
    seed: Sequence[int],
    keep_every: int = 1,
    scale: int = 1,
    tick_ns: int = TICK_NS,
) -> SimulatedArm:
    """Let the arrivals of `batches` (instants in ns and endpoint numbers, ascending) meet the model.

    Everything random is drawn from `seed`. `scale` says how many clients with a retry budget of their own there are
    behind each load worker. One arrival in `keep_every` is kept in the samples, with all its attempts.
    """
    program = compile_model(model, load, scale)
    gauges = list_gauges(program, model, load)
    controls = to_controls(effects, program, model)
    world = _world(program, model, load, controls, to_rows(gauges), duration_s, keep_every, tick_ns)
    rng = np.random.Generator(np.random.PCG64(list(seed)))
    end_ns = round(duration_s * NS)
    nothing: Batch = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    world = _feed(world, nothing, 0, rng)
    for batch in batches:
        if batch[0].size:
            world = _feed(world, batch, min(int(batch[0][-1]) + 1, end_ns), rng)
    world = _feed(world, nothing, end_ns, rng)
    clock = world.clock
    return SimulatedArm(
        samples=_samples(name, world, tuple(model.endpoints), end_ns),
        gauges=to_series(gauges, world.ticks[: clock[k.TICKS]], tick_ns),
        arrivals=int(clock[k.ARRIVED]),
        failed=int(clock[k.FAILED]),
        attempts=int(clock[k.ATTEMPTS]),
        events=int(clock[k.EVENTS]),
    )


def telemetry_of(arms: Mapping[str, SimulatedArm]) -> Telemetry:
    """The gauges of several arms as a record's telemetry."""
    return Telemetry(
        {
            (name, component, metric): series
            for name, arm in arms.items()
            for (component, metric), series in arm.gauges.items()
        }
    )


def _feed(world: k.World, batch: Batch, until_ns: int, rng: np.random.Generator) -> k.World:
    """Let everything up to `until_ns` happen, making room as it is needed."""
    world.clock[k.NEXT_ARRIVAL] = 0
    while (lack := advance(world, batch[0], batch[1], until_ns, rng)) != k.DONE:
        world = _grown(world, lack)
    world.clock[k.ARRIVED] += world.clock[k.NEXT_ARRIVAL]
    world.clock[k.NEXT_ARRIVAL] = 0
    return world


def _grown(world: k.World, lack: int) -> k.World:
    if lack == k.ROOM_FOR_ROWS:
        return world._replace(rows=_longer(world.rows))
    if lack == k.ROOM_FOR_EVENTS:
        return world._replace(heap=_longer(world.heap))
    before = world.jobs.shape[0]
    jobs = _longer(world.jobs)
    _chain(jobs, before, world.clock)
    # The ready ones are a ring: unrolled, so that it can be longer.
    ready = np.zeros(jobs.shape[0], dtype=np.int64)
    size, head = int(world.clock[k.READY_SIZE]), int(world.clock[k.READY_HEAD])
    ready[:size] = np.roll(world.ready, -head)[:size]
    world.clock[k.READY_HEAD] = 0
    return world._replace(jobs=jobs, ready=ready)


def _longer(rows: Any) -> Any:
    return np.concatenate([rows, np.zeros_like(rows)])


def _chain(jobs: Any, first: int, clock: Any) -> None:
    """Put the jobs from `first` on into the list of free ones."""
    count = jobs.shape[0]
    jobs[first:, k.NEXT] = np.arange(first + 1, count + 1)
    jobs[-1, k.NEXT] = clock[k.FREE_JOB]
    clock[k.FREE_JOB] = first
    clock[k.FREE_JOBS] += count - first


def _world(
    program: Program,
    model: Model,
    load: Load,
    controls: Any,
    gauges: Any,
    duration_s: float,
    keep_every: int,
    tick_ns: int,
) -> k.World:
    clock = np.zeros(k.CLOCK_SIZE, dtype=np.int64)
    clock[k.FREE_JOB] = -1
    jobs = np.zeros((_JOBS, k.JOB_COLUMNS), dtype=np.int64)
    _chain(jobs, 0, clock)
    kept = any(component.balance == "connection" for component in model.components.values())
    return k.World(
        ops=table(program.ops, 4),
        jobs=jobs,
        resources=table(program.resources, k.RESOURCE_COLUMNS),
        components=table(program.components, k.COMPONENT_COLUMNS),
        replicas=np.zeros((program.replicas, k.REPLICA_COLUMNS), dtype=np.int64),
        calls=table(program.calls, k.CALL_COLUMNS),
        edges=table(program.edges, k.EDGE_COLUMNS),
        breakers=table(program.breakers, k.BREAKER_COLUMNS),
        budgets=table(program.budgets, 3, np.float64),
        attempts=np.zeros(program.attempts, dtype=np.int64),
        caches=table(program.caches, k.CACHE_COLUMNS),
        filled_ns=np.full(program.keys, -k.FOREVER, dtype=np.int64),
        distributions=table(program.distributions, k.DISTRIBUTION_COLUMNS, np.float64),
        quantiles=np.array(program.quantiles, dtype=np.float64),
        controls=controls,
        programs=np.array(program.programs, dtype=np.int64),
        users=np.full(program.users if kept else 0, -1, dtype=np.int64),
        heap=np.zeros((4 * _JOBS, 4), dtype=np.int64),
        ready=np.zeros(_JOBS, dtype=np.int64),
        rows=np.zeros((_ROWS, k.ROW_COLUMNS), dtype=np.int64),
        clock=clock,
        gauges=gauges,
        ticks=np.zeros((int(duration_s * NS / tick_ns) + 1, gauges.shape[0]), dtype=np.int64),
        tick_ns=tick_ns,
        workers=load.workers,
        keep_every=keep_every,
    )


def _samples(name: str, world: k.World, endpoints: tuple[str, ...], end_ns: int) -> ArmSamples:
    """The rows in the order of a record, with what was in flight at the end as `aborted` rows."""
    rows = np.concatenate([world.rows[: world.clock[k.ROWS]], _in_flight(world, end_ns)])
    # Endpoint names are sorted in a record, so that they are the same for every arm.
    names = tuple(sorted(endpoints))
    code = np.array([names.index(endpoint) for endpoint in endpoints], dtype=np.int32)
    local = np.arange(rows.shape[0])
    own = rows[:, k.ROW_FIRST] < 0
    rows[own, k.ROW_FIRST] = local[own]
    order = np.lexsort((local, rows[:, k.ROW_WORKER], rows[:, k.ROW_WANTED]))
    seq_of_row = np.empty(order.size, dtype=np.int64)
    seq_of_row[order] = local
    rows = rows[order]
    outcome = rows[:, k.ROW_OUTCOME]
    return ArmSamples(
        name=name,
        worker=rows[:, k.ROW_WORKER].astype(np.int16),
        seq=local,
        attempt=rows[:, k.ROW_TRY].astype(np.int16),
        first_seq=seq_of_row[rows[:, k.ROW_FIRST]],
        endpoint=code[rows[:, k.ROW_ENDPOINT]],
        endpoint_names=names,
        intended_ns=rows[:, k.ROW_WANTED].copy(),
        start_ns=rows[:, k.ROW_START].copy(),
        end_ns=rows[:, k.ROW_END].copy(),
        status=_STATUS[outcome],
        error=_ERROR_CODES[outcome],
        error_names=ERRORS,
        bytes=np.zeros(order.size, dtype=np.int32),
    )


def _in_flight(world: k.World, end_ns: int) -> Any:
    """Rows of attempts that were on their way, and of arrivals that waited for a user; see `harness.load.recorder`."""
    jobs = world.jobs
    state = jobs[:, k.STATE]
    on_wire = (jobs[:, k.ARRIVAL] >= 0) & ((state == k.CALLING) | (state == k.QUEUED))
    jobs = jobs[on_wire & (jobs[:, k.ARRIVAL] % world.keep_every == 0)]
    waits = jobs[:, k.STATE] == k.QUEUED
    rows = np.zeros((jobs.shape[0], k.ROW_COLUMNS), dtype=np.int64)
    rows[:, k.ROW_FIRST] = np.where(jobs[:, k.TRY] == 0, -1, jobs[:, k.FIRST_ROW])
    rows[:, k.ROW_TRY] = jobs[:, k.TRY]
    rows[:, k.ROW_ENDPOINT] = jobs[:, k.ENDPOINT]
    rows[:, k.ROW_WANTED] = jobs[:, k.WANTED]
    rows[:, k.ROW_START] = np.where(waits, end_ns, jobs[:, k.START])
    rows[:, k.ROW_END] = end_ns
    rows[:, k.ROW_OUTCOME] = _ABORTED
    rows[:, k.ROW_WORKER] = jobs[:, k.ARRIVAL] % world.workers
    return rows
