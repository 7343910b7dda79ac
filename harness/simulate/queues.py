"""Parts of the event loop: the heap of events, times that are drawn, jobs, and resources with their queues."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.simulate import layout as k
from harness.simulate.jit import jit
from harness.simulate.layout import Ints, World


@jit
def push(world: World, at_ns: int, job: int, kind: int, outcome: int) -> None:
    """Let an event of a job happen at `at_ns`, unless the job goes on before."""
    clock, heap = world.clock, world.heap
    order = clock[k.ORDER]
    clock[k.ORDER] = order + 1
    hole = clock[k.HEAP_SIZE]
    clock[k.HEAP_SIZE] = hole + 1
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
    heap[hole, 3] = world.jobs[job, k.GEN]


@jit
def pop(world: World) -> None:
    """Take the first event off the heap."""
    clock, heap = world.clock, world.heap
    size = clock[k.HEAP_SIZE] - 1
    clock[k.HEAP_SIZE] = size
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
    shape = int(row[k.SHAPE])
    if shape == k.CONSTANT:
        return round(row[k.MEAN_NS])
    if shape == k.EXPONENTIAL:
        return round(row[k.MEAN_NS] * rng.standard_exponential())
    if shape == k.LOGNORMAL:
        spread = row[k.SPREAD]
        return round(row[k.MEAN_NS] * np.exp(spread * rng.standard_normal() - 0.5 * spread * spread))
    count = int(row[k.COUNT])
    place = rng.random() * (count - 1)
    low = int(place)
    first = int(row[k.FIRST]) + low
    quantiles = world.quantiles
    return round(quantiles[first] + (place - low) * (quantiles[first + 1] - quantiles[first]))


@jit
def trips_ns(world: World, edge: int, trips: int, rng: Any) -> int:
    """How long the next round trips take. Several at once when no latency comes or goes before they are over."""
    row = world.edges[edge]
    now = world.clock[k.NOW]
    if now >= row[k.LATE_UNTIL_NS]:
        return trips * row[k.TRIP_NS]
    delay = row[k.LATENCY_NS]
    if row[k.JITTER_NS] > 0:
        delay += round((2.0 * rng.random() - 1.0) * row[k.JITTER_NS])
    # What is on its way when the latency is taken off arrives at once.
    return row[k.TRIP_NS] + max(0, min(delay, row[k.LATE_UNTIL_NS] - now))


@jit
def trips_at_once(world: World, edge: int, trips: int) -> int:
    """How many of the next round trips no latency touches: all of them, or one at a time."""
    row = world.edges[edge]
    now = world.clock[k.NOW]
    calm = now >= row[k.LATE_UNTIL_NS] and now + trips * row[k.TRIP_NS] <= row[k.LATE_FROM_NS]
    return trips if calm else 1


@jit
def new_job(world: World) -> int:
    """A job from the list of free ones."""
    clock, jobs = world.clock, world.jobs
    job = clock[k.FREE_JOB]
    clock[k.FREE_JOB] = jobs[job, k.NEXT]
    clock[k.FREE_JOBS] -= 1
    jobs[job, k.STATE] = k.RUNNING
    jobs[job, k.PARENT] = k.NOBODY
    jobs[job, k.ARRIVAL] = k.NOBODY
    jobs[job, k.TRY] = 0
    return job


@jit
def free_job(world: World, job: int) -> None:
    """The job is over; whatever still refers to it is stale."""
    clock, jobs = world.clock, world.jobs
    jobs[job, k.STATE] = k.FREE
    jobs[job, k.GEN] += 1
    jobs[job, k.NEXT] = clock[k.FREE_JOB]
    clock[k.FREE_JOB] = job
    clock[k.FREE_JOBS] += 1


@jit
def make_ready(world: World, job: int) -> None:
    """The job goes on at this instant, after those that are ready already."""
    clock, ready, jobs = world.clock, world.ready, world.jobs
    jobs[job, k.STATE] = k.RUNNING
    jobs[job, k.GEN] += 1
    ready[(clock[k.READY_HEAD] + clock[k.READY_SIZE]) % ready.size] = job
    clock[k.READY_SIZE] += 1


@jit
def next_ready(world: World) -> int:
    """The job that goes on next."""
    clock, ready = world.clock, world.ready
    job = ready[clock[k.READY_HEAD]]
    clock[k.READY_HEAD] = (clock[k.READY_HEAD] + 1) % ready.size
    clock[k.READY_SIZE] -= 1
    return job


@jit
def take(world: World, job: int, resource: int) -> bool:
    """Take a place, or queue for one, or be refused; False when the job now waits."""
    row, jobs, now = world.resources[resource], world.jobs, world.clock[k.NOW]
    pc = jobs[job, k.PC]
    if row[k.CAPACITY] < 0 or row[k.IN_USE] < row[k.CAPACITY]:
        row[k.IN_USE] += 1
        jobs[job, k.SINCE] = 0
        if jobs[job, k.ARRIVAL] >= 0:
            _start(world, job)
        jobs[job, k.PC] = pc + 1
        return True
    if row[k.BOUND] == 0 or row[k.WAIT_NS] == 0 or (row[k.BOUND] > 0 and row[k.WAITING] >= row[k.BOUND]):
        refuse(world, job)
        return True
    jobs[job, k.STATE] = k.QUEUED
    jobs[job, k.RESOURCE] = resource
    jobs[job, k.SINCE] = now
    jobs[job, k.NEXT] = k.NOBODY
    jobs[job, k.PREVIOUS] = row[k.TAIL]
    if row[k.TAIL] >= 0:
        jobs[row[k.TAIL], k.NEXT] = job
    else:
        row[k.HEAD] = job
    row[k.TAIL] = job
    row[k.WAITING] += 1
    if row[k.WAIT_NS] < k.FOREVER:
        push(world, now + row[k.WAIT_NS], job, k.GIVE_UP, k.OK)
    return False


@jit
def give(world: World, resource: int) -> None:
    """Give a place back."""
    row = world.resources[resource]
    row[k.IN_USE] -= 1
    grant(world, resource)


@jit
def grant(world: World, resource: int) -> None:
    """Free places go to whoever waits longest."""
    row, jobs = world.resources[resource], world.jobs
    while row[k.WAITING] > 0 and (row[k.CAPACITY] < 0 or row[k.IN_USE] < row[k.CAPACITY]):
        job = row[k.HEAD]
        leave(world, job)
        row[k.IN_USE] += 1
        waited_ns = world.clock[k.NOW] - jobs[job, k.SINCE]
        row[k.WAITED_NS] += waited_ns
        jobs[job, k.SINCE] = waited_ns
        if jobs[job, k.ARRIVAL] >= 0:
            _start(world, job)
        jobs[job, k.PC] += 1
        make_ready(world, job)


@jit
def leave(world: World, job: int) -> None:
    """Take a job out of the queue that it stands in."""
    jobs = world.jobs
    row = world.resources[jobs[job, k.RESOURCE]]
    before, after = jobs[job, k.PREVIOUS], jobs[job, k.NEXT]
    if before >= 0:
        jobs[before, k.NEXT] = after
    else:
        row[k.HEAD] = after
    if after >= 0:
        jobs[after, k.PREVIOUS] = before
    else:
        row[k.TAIL] = before
    row[k.WAITING] -= 1


@jit
def refuse(world: World, job: int) -> None:
    """The job got no place: it goes on where failures go on. An arrival that found no free user is dropped."""
    jobs = world.jobs
    if jobs[job, k.ARRIVAL] >= 0:
        jobs[job, k.START] = world.clock[k.NOW]
        record_row(world, job, k.DROPPED)
    jobs[job, k.PC] = world.ops[jobs[job, k.PC], k.FAIL]


@jit
def _start(world: World, job: int) -> None:
    """An arrival has found a free user: they take turns, as in the load engine, where who idles longest is next."""
    if world.users.size > 0:
        world.jobs[job, k.USER] = world.jobs[job, k.ARRIVAL] % world.users.size


@jit
def record_row(world: World, job: int, outcome: int) -> None:
    """Record an attempt, if the arrival is among those that are kept."""
    clock, jobs = world.clock, world.jobs
    number = jobs[job, k.ARRIVAL]
    if number % world.keep_every != 0:
        return
    at = clock[k.ROWS]
    clock[k.ROWS] = at + 1
    if jobs[job, k.TRY] == 0:
        jobs[job, k.FIRST_ROW] = at
    row = world.rows[at]
    row[k.ROW_FIRST] = jobs[job, k.FIRST_ROW]
    row[k.ROW_TRY] = jobs[job, k.TRY]
    row[k.ROW_ENDPOINT] = jobs[job, k.ENDPOINT]
    row[k.ROW_WANTED] = jobs[job, k.WANTED]
    row[k.ROW_START] = jobs[job, k.START]
    row[k.ROW_END] = clock[k.NOW]
    row[k.ROW_OUTCOME] = outcome
    row[k.ROW_WORKER] = number % world.workers
