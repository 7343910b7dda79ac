"""Parts of the event loop: the heap of events, times that are drawn, jobs, and resources with their queues."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.simulate.jit import jit
from harness.simulate.layout import (
    ARRIVAL,
    BOUND,
    CAPACITY,
    CONSTANT,
    COUNT,
    DROPPED,
    ENDPOINT,
    EXPONENTIAL,
    FAIL,
    FIRST,
    FIRST_ROW,
    FOREVER,
    FREE,
    FREE_JOB,
    FREE_JOBS,
    GEN,
    GIVE_UP,
    HEAD,
    HEAP_SIZE,
    IN_USE,
    JITTER_NS,
    LATE_FROM_NS,
    LATE_UNTIL_NS,
    LATENCY_NS,
    LOGNORMAL,
    MEAN_NS,
    NEXT,
    NOBODY,
    NOW,
    OK,
    ORDER,
    PARENT,
    PC,
    PREVIOUS,
    QUEUED,
    READY_HEAD,
    READY_SIZE,
    RESOURCE,
    ROW_END,
    ROW_ENDPOINT,
    ROW_FIRST,
    ROW_OUTCOME,
    ROW_START,
    ROW_TRY,
    ROW_WANTED,
    ROW_WORKER,
    ROWS,
    RUNNING,
    SHAPE,
    SINCE,
    SPREAD,
    START,
    STATE,
    TAIL,
    TRIP_NS,
    TRY,
    USER,
    WAIT_NS,
    WAITED_NS,
    WAITING,
    WANTED,
    Ints,
    World,
)


@jit
def push(world: World, at_ns: int, job: int, kind: int, outcome: int) -> None:
    """Let an event of a job happen at `at_ns`, unless the job goes on before."""
    clock, heap = world.clock, world.heap
    order = clock[ORDER]
    clock[ORDER] = order + 1
    hole = clock[HEAP_SIZE]
    clock[HEAP_SIZE] = hole + 1
    while hole > 0:
        parent = (hole - 1) >> 1
        if heap[parent, 0] <= at_ns:
            break
        for column in range(4):
            heap[hole, column] = heap[parent, column]
        hole = parent
    heap[hole, 0] = at_ns
    heap[hole, 1] = order
    heap[hole, 2] = job * 64 + kind * 8 + outcome
    heap[hole, 3] = world.jobs[job, GEN]


@jit
def pop(world: World) -> None:
    """Take the first event off the heap."""
    clock, heap = world.clock, world.heap
    size = clock[HEAP_SIZE] - 1
    clock[HEAP_SIZE] = size
    if size == 0:
        return
    at_ns, order, what, gen = heap[size, 0], heap[size, 1], heap[size, 2], heap[size, 3]
    hole = 0
    child = 1
    while child < size:
        if child + 1 < size and _before(heap, child + 1, heap[child, 0], heap[child, 1]):
            child += 1
        if not _before(heap, child, at_ns, order):
            break
        for column in range(4):
            heap[hole, column] = heap[child, column]
        hole = child
        child = 2 * hole + 1
    heap[hole, 0] = at_ns
    heap[hole, 1] = order
    heap[hole, 2] = what
    heap[hole, 3] = gen


@jit
def _before(heap: Ints, at: int, at_ns: int, order: int) -> bool:
    return heap[at, 0] < at_ns or (heap[at, 0] == at_ns and heap[at, 1] < order)


@jit
def draw_ns(world: World, distribution: int, rng: Any) -> int:
    """A time from a distribution."""
    row = world.distributions[distribution]
    shape = int(row[SHAPE])
    if shape == CONSTANT:
        return round(row[MEAN_NS])
    if shape == EXPONENTIAL:
        return round(row[MEAN_NS] * rng.standard_exponential())
    if shape == LOGNORMAL:
        spread = row[SPREAD]
        return round(row[MEAN_NS] * np.exp(spread * rng.standard_normal() - 0.5 * spread * spread))
    count = int(row[COUNT])
    place = rng.random() * (count - 1)
    low = int(place)
    first = int(row[FIRST]) + low
    quantiles = world.quantiles
    return round(quantiles[first] + (place - low) * (quantiles[first + 1] - quantiles[first]))


@jit
def trips_ns(world: World, edge: int, trips: int, rng: Any) -> int:
    """How long the next round trips take. Several at once when no latency comes or goes before they are over."""
    row = world.edges[edge]
    now = world.clock[NOW]
    if now >= row[LATE_UNTIL_NS]:
        return trips * row[TRIP_NS]
    delay = row[LATENCY_NS]
    if row[JITTER_NS] > 0:
        delay += round((2.0 * rng.random() - 1.0) * row[JITTER_NS])
    # What is on its way when the latency is taken off arrives at once.
    return row[TRIP_NS] + max(0, min(delay, row[LATE_UNTIL_NS] - now))


@jit
def trips_at_once(world: World, edge: int, trips: int) -> int:
    """How many of the next round trips no latency touches: all of them, or one at a time."""
    row = world.edges[edge]
    now = world.clock[NOW]
    calm = now >= row[LATE_UNTIL_NS] and now + trips * row[TRIP_NS] <= row[LATE_FROM_NS]
    return trips if calm else 1


@jit
def new_job(world: World) -> int:
    """A job from the list of free ones."""
    clock, jobs = world.clock, world.jobs
    job = clock[FREE_JOB]
    clock[FREE_JOB] = jobs[job, NEXT]
    clock[FREE_JOBS] -= 1
    jobs[job, STATE] = RUNNING
    jobs[job, PARENT] = NOBODY
    jobs[job, ARRIVAL] = NOBODY
    jobs[job, TRY] = 0
    return job


@jit
def free_job(world: World, job: int) -> None:
    """The job is over; whatever still refers to it is stale."""
    clock, jobs = world.clock, world.jobs
    jobs[job, STATE] = FREE
    jobs[job, GEN] += 1
    jobs[job, NEXT] = clock[FREE_JOB]
    clock[FREE_JOB] = job
    clock[FREE_JOBS] += 1


@jit
def make_ready(world: World, job: int) -> None:
    """The job goes on at this instant, after those that are ready already."""
    clock, ready, jobs = world.clock, world.ready, world.jobs
    jobs[job, STATE] = RUNNING
    jobs[job, GEN] += 1
    ready[(clock[READY_HEAD] + clock[READY_SIZE]) % ready.size] = job
    clock[READY_SIZE] += 1


@jit
def next_ready(world: World) -> int:
    """The job that goes on next."""
    clock, ready = world.clock, world.ready
    job = ready[clock[READY_HEAD]]
    clock[READY_HEAD] = (clock[READY_HEAD] + 1) % ready.size
    clock[READY_SIZE] -= 1
    return job


@jit
def take(world: World, job: int, resource: int) -> bool:
    """Take a place, or queue for one, or be refused; False when the job now waits."""
    row, jobs, now = world.resources[resource], world.jobs, world.clock[NOW]
    pc = jobs[job, PC]
    if row[CAPACITY] < 0 or row[IN_USE] < row[CAPACITY]:
        row[IN_USE] += 1
        jobs[job, SINCE] = 0
        if jobs[job, ARRIVAL] >= 0:
            _start(world, job)
        jobs[job, PC] = pc + 1
        return True
    if row[BOUND] == 0 or row[WAIT_NS] == 0 or (row[BOUND] > 0 and row[WAITING] >= row[BOUND]):
        refuse(world, job)
        return True
    jobs[job, STATE] = QUEUED
    jobs[job, RESOURCE] = resource
    jobs[job, SINCE] = now
    jobs[job, NEXT] = NOBODY
    jobs[job, PREVIOUS] = row[TAIL]
    if row[TAIL] >= 0:
        jobs[row[TAIL], NEXT] = job
    else:
        row[HEAD] = job
    row[TAIL] = job
    row[WAITING] += 1
    if row[WAIT_NS] < FOREVER:
        push(world, now + row[WAIT_NS], job, GIVE_UP, OK)
    return False


@jit
def give(world: World, resource: int) -> None:
    """Give a place back."""
    row = world.resources[resource]
    row[IN_USE] -= 1
    grant(world, resource)


@jit
def grant(world: World, resource: int) -> None:
    """Free places go to whoever waits longest."""
    row, jobs = world.resources[resource], world.jobs
    while row[WAITING] > 0 and (row[CAPACITY] < 0 or row[IN_USE] < row[CAPACITY]):
        job = row[HEAD]
        leave(world, job)
        row[IN_USE] += 1
        waited_ns = world.clock[NOW] - jobs[job, SINCE]
        row[WAITED_NS] += waited_ns
        jobs[job, SINCE] = waited_ns
        if jobs[job, ARRIVAL] >= 0:
            _start(world, job)
        jobs[job, PC] += 1
        make_ready(world, job)


@jit
def leave(world: World, job: int) -> None:
    """Take a job out of the queue that it stands in."""
    jobs = world.jobs
    row = world.resources[jobs[job, RESOURCE]]
    before, after = jobs[job, PREVIOUS], jobs[job, NEXT]
    if before >= 0:
        jobs[before, NEXT] = after
    else:
        row[HEAD] = after
    if after >= 0:
        jobs[after, PREVIOUS] = before
    else:
        row[TAIL] = before
    row[WAITING] -= 1


@jit
def refuse(world: World, job: int) -> None:
    """The job got no place: it goes on where failures go on. An arrival that found no free user is dropped."""
    jobs = world.jobs
    if jobs[job, ARRIVAL] >= 0:
        jobs[job, START] = world.clock[NOW]
        record_row(world, job, DROPPED)
    jobs[job, PC] = world.ops[jobs[job, PC], FAIL]


@jit
def _start(world: World, job: int) -> None:
    """An arrival has found a free user: they take turns, as in the load engine, where who idles longest is next."""
    if world.users.size > 0:
        world.jobs[job, USER] = world.jobs[job, ARRIVAL] % world.users.size


@jit
def record_row(world: World, job: int, outcome: int) -> None:
    """Record an attempt, if the arrival is among those that are kept."""
    clock, jobs = world.clock, world.jobs
    number = jobs[job, ARRIVAL]
    if number % world.keep_every != 0:
        return
    at = clock[ROWS]
    clock[ROWS] = at + 1
    if jobs[job, TRY] == 0:
        jobs[job, FIRST_ROW] = at
    row = world.rows[at]
    row[ROW_FIRST] = jobs[job, FIRST_ROW]
    row[ROW_TRY] = jobs[job, TRY]
    row[ROW_ENDPOINT] = jobs[job, ENDPOINT]
    row[ROW_WANTED] = jobs[job, WANTED]
    row[ROW_START] = jobs[job, START]
    row[ROW_END] = clock[NOW]
    row[ROW_OUTCOME] = outcome
    row[ROW_WORKER] = number % world.workers
