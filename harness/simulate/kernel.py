"""The event loop: integers in arrays, compiled to machine code, so that a simulated request costs about a microsecond.

A *job* is a request at work somewhere. It runs the steps of a program (`ops`, made by `harness.simulate.program`) until
it has to wait: for time to pass, for a place in a resource, or for the answer to a call. A client's arrival is a job,
its request to the entry component is a second one with the first as its parent, and so on along the calls. A call that
times out lets go of its job, which goes on to its end all the same: nobody tells a server that its client has left.

Every wait bumps the job's `GEN`; an event that carries another one is stale and is passed over, so that timers need no
cancelling. Times are integer nanoseconds since the arm's start. Everything at one instant happens in the order in which
it was scheduled, so a seed gives the same run on every machine.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.simulate.jit import jit, jit_entry

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FOREVER: Final = 1 << 62
"""A time that never comes."""

# What a step does. Columns of `ops`: the word, two operands, where to go on after a failure.
WORK: Final = 0  # a: distribution
TAKE: Final = 1  # a: resource
GIVE: Final = 2  # a: resource
CALL: Final = 3  # a: call
RETURN: Final = 4  # a: 1 when it went well
JUMP: Final = 5  # a: the step to go on with
LOOKUP: Final = 6  # a: cache, b: the step to go on with when the key is there
FILL: Final = 7  # a: cache
SHED: Final = 8  # a: ns a request may have waited for its worker
OP: Final = 0
A: Final = 1
B: Final = 2
FAIL: Final = 3

# Columns of `jobs`.
PC: Final = 0
GEN: Final = 1
STATE: Final = 2
COMPONENT: Final = 3
REPLICA: Final = 4
PARENT: Final = 5
PARENT_GEN: Final = 6
PREVIOUS: Final = 7  # neighbours in the queue of a resource
NEXT: Final = 8
RESOURCE: Final = 9  # the one that is waited for
SINCE: Final = 10  # when the wait began; after a TAKE how long it lasted
TRY: Final = 11  # of the call that is being made: 0, 1, ...
ROUNDS: Final = 12  # round trips that are still to come before the callee begins
KEY: Final = 13
ARRIVAL: Final = 14  # clients only, from here on
ENDPOINT: Final = 15
WANTED: Final = 16
START: Final = 17
FIRST_ROW: Final = 18
USER: Final = 19
JOB_COLUMNS: Final = 20

FREE: Final = 0
RUNNING: Final = 1
DELAYED: Final = 2
QUEUED: Final = 3
CALLING: Final = 4
BACKING_OFF: Final = 5

# Columns of `resources`.
CAPACITY: Final = 0  # -1: no limit
IN_USE: Final = 1
HEAD: Final = 2
TAIL: Final = 3
WAITING: Final = 4
WAIT_NS: Final = 5  # how long a job waits before it is refused
BOUND: Final = 6  # how many may wait, -1: no limit
WAITED_NS: Final = 7
RESOURCE_COLUMNS: Final = 8

# Columns of `components`.
REPLICAS: Final = 0
FIRST_REPLICA: Final = 1  # index into `replicas`
DOWN: Final = 2
TURN: Final = 3
BALANCE: Final = 4
FIRST_RESOURCE: Final = 5
RESOURCES: Final = 6  # kinds of them; those of a kind lie together, one per replica
COMPONENT_COLUMNS: Final = 7
ROUND_ROBIN: Final = 0
RANDOM: Final = 1
LEAST_BUSY: Final = 2
CONNECTION: Final = 3  # a user keeps the replica that it drew until a request of it times out

# Columns of `replicas`.
REQUESTS: Final = 0
ERRORS: Final = 1
REPLICA_COLUMNS: Final = 2

# Columns of `calls`.
CALLEE: Final = 0
PROGRAM: Final = 1  # first step at the callee
TRIPS: Final = 2
TIMEOUT_NS: Final = 3
EDGE: Final = 4
RETRIES: Final = 5
BACKOFF_NS: Final = 6  # 0: at once
CAP_NS: Final = 7
BREAKER: Final = 8  # -1: none
BUDGET: Final = 9  # index of the first of `budgets`, one per load worker; -1: none
COUNTER: Final = 10  # index of the first of `attempts`, one per replica of the caller
CALL_COLUMNS: Final = 11

# Columns of `edges`.
TRIP_NS: Final = 0
LATENCY_NS: Final = 1
JITTER_NS: Final = 2
LATE_UNTIL_NS: Final = 3
LATE_FROM_NS: Final = 4  # when the next latency begins
EDGE_COLUMNS: Final = 5

# Columns of `breakers`: one row per breaker and replica of its caller.
LIMIT: Final = 0
RESET_NS: Final = 1
FAILURES: Final = 2
OPENED_NS: Final = 3  # -1: closed
ON_TRIAL: Final = 4
BREAKER_COLUMNS: Final = 5

# Columns of `caches`.
FIRST_KEY: Final = 0  # index into `filled_ns`
KEYS: Final = 1
STAYS_NS: Final = 2
CACHE_COLUMNS: Final = 3

# Columns of `budgets`.
TOKENS: Final = 0
DEPOSIT: Final = 1
MOST: Final = 2

# Columns of `controls`: what is done to the system at planned times.
AT_NS: Final = 0
CONTROL: Final = 1
WHERE: Final = 2
VALUE: Final = 3
VALUE2: Final = 4
UNTIL_NS: Final = 5
CONTROL_COLUMNS: Final = 6
SET_LATENCY: Final = 0  # an edge, latency, jitter, until
SET_DOWN: Final = 1  # a component
SET_UP: Final = 2  # a component
SET_CAPACITY: Final = 3  # a resource of one replica, places
EMPTY_CACHE: Final = 4  # a cache

# How an attempt ended; `harness.simulate.arm` has the record's words for these.
OK: Final = 0
TIMEOUT: Final = 1
CONNECT: Final = 2
RESET: Final = 3
REFUSED: Final = 4
DROPPED: Final = 5
OPEN_CIRCUIT: Final = 6

# Columns of `rows`.
ROW_FIRST: Final = 0
ROW_TRY: Final = 1
ROW_ENDPOINT: Final = 2
ROW_WANTED: Final = 3
ROW_START: Final = 4
ROW_END: Final = 5
ROW_OUTCOME: Final = 6
ROW_WORKER: Final = 7
ROW_COLUMNS: Final = 8

# Columns of `distributions` (floats).
SHAPE: Final = 0
MEAN_NS: Final = 1
SPREAD: Final = 2
FIRST: Final = 3  # of an empirical one's quantiles in `quantiles`
COUNT: Final = 4
DISTRIBUTION_COLUMNS: Final = 5
CONSTANT: Final = 0
EXPONENTIAL: Final = 1
LOGNORMAL: Final = 2  # SPREAD: sd of the logarithm
EMPIRICAL: Final = 3

# Columns of `gauges`: the array that is read, its row, its column.
OF_RESOURCE: Final = 0
OF_REPLICA: Final = 1
OF_ATTEMPTS: Final = 2
OF_BREAKER: Final = 3
OF_CLOCK: Final = 4
GAUGE_COLUMNS: Final = 3

# Events: time, order, what, generation. What is job * 64 + kind * 8 + outcome.
RESUME: Final = 0
ANSWER: Final = 1
EXPIRE: Final = 2  # a call's timeout
GIVE_UP: Final = 3  # a wait's limit
AGAIN: Final = 4  # the end of a backoff
BEGIN: Final = 5  # the callee begins, or another round trip

# Scalars in `clock`.
NOW: Final = 0
ORDER: Final = 1
HEAP_SIZE: Final = 2
FREE_JOB: Final = 3
FREE_JOBS: Final = 4
READY_HEAD: Final = 5
READY_SIZE: Final = 6
ROWS: Final = 7
NEXT_ARRIVAL: Final = 8
NEXT_CONTROL: Final = 9
NEXT_TICK: Final = 10
TICKS: Final = 11
ARRIVED: Final = 12  # arrivals of earlier batches
FINISHED: Final = 13
FAILED: Final = 14
ATTEMPTS: Final = 15
EVENTS: Final = 16
CLOCK_SIZE: Final = 17

# Why `advance` came back.
DONE: Final = 0  # everything up to the given instant has happened
ROOM_FOR_ROWS: Final = 1
ROOM_FOR_JOBS: Final = 2
ROOM_FOR_EVENTS: Final = 3

_ROWS_SPARE: Final = 8
_JOBS_SPARE: Final = 4
_NOBODY: Final = -1


class World(NamedTuple):
    """Everything there is, as arrays; see the column constants above for what they hold."""

    ops: Ints
    jobs: Ints
    resources: Ints
    components: Ints
    replicas: Ints
    calls: Ints
    edges: Ints
    breakers: Ints
    budgets: Floats  # one row per budget and load worker
    attempts: Ints  # calls made, per call and replica of the caller
    caches: Ints
    filled_ns: Ints  # per key: when it was put there, or long ago
    distributions: Floats
    quantiles: Floats
    controls: Ints
    programs: Ints  # per endpoint: the client's first step
    users: Ints  # per user: the replica its connection goes to, -1 for none
    heap: Ints
    ready: Ints
    rows: Ints
    clock: Ints
    gauges: Ints
    ticks: Ints  # one row per reading of all gauges
    tick_ns: int
    workers: int
    keep_every: int


@jit_entry
def advance(world: World, arrivals_ns: Ints, endpoints: Ints, until_ns: int, rng: Any) -> int:
    """Let everything happen that happens before `until_ns`; returns why it stopped.

    `arrivals_ns` and `endpoints` are the batch of arrivals that the clock's NEXT_ARRIVAL points into. After a lack of
    room the same call with more of it goes on where it stopped.
    """
    clock, heap, controls = world.clock, world.heap, world.controls
    while True:
        while clock[READY_SIZE] > 0:
            lack = _lack(world)
            if lack != DONE:
                return lack
            _run(world, _next_ready(world), rng)
        lack = _lack(world)
        if lack != DONE:
            return lack
        event_ns = heap[0, 0] if clock[HEAP_SIZE] > 0 else FOREVER
        next_arrival = clock[NEXT_ARRIVAL]
        arrival_ns = arrivals_ns[next_arrival] if next_arrival < arrivals_ns.size else FOREVER
        next_control = clock[NEXT_CONTROL]
        control_ns = controls[next_control, AT_NS] if next_control < controls.shape[0] else FOREVER
        now = min(event_ns, arrival_ns, control_ns)
        while clock[NEXT_TICK] <= min(now, until_ns) and clock[TICKS] < world.ticks.shape[0]:
            _tick(world)
        if now >= until_ns:
            clock[NOW] = until_ns
            return DONE
        clock[NOW] = now
        if control_ns == now:
            clock[NEXT_CONTROL] += 1
            _control(world, next_control)
        elif arrival_ns == now:
            clock[NEXT_ARRIVAL] += 1
            _arrive(world, endpoints[next_arrival], clock[ARRIVED] + next_arrival)
        else:
            _happen(world, rng)


@jit
def _lack(world: World) -> int:
    clock = world.clock
    if world.rows.shape[0] - clock[ROWS] < _ROWS_SPARE:
        return ROOM_FOR_ROWS
    if clock[FREE_JOBS] < _JOBS_SPARE:
        return ROOM_FOR_JOBS
    # A component that goes down answers everybody who waits for it, which is an event for every job at most.
    if world.heap.shape[0] - clock[HEAP_SIZE] < world.jobs.shape[0] + _JOBS_SPARE:
        return ROOM_FOR_EVENTS
    return DONE


# Time


@jit
def _push(world: World, at_ns: int, job: int, kind: int, outcome: int) -> None:
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
def _pop(world: World) -> None:
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
def _draw_ns(world: World, distribution: int, rng: Any) -> int:
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
def _trips_ns(world: World, edge: int, trips: int, rng: Any) -> int:
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
def _trips_at_once(world: World, edge: int, trips: int) -> int:
    row = world.edges[edge]
    now = world.clock[NOW]
    calm = now >= row[LATE_UNTIL_NS] and now + trips * row[TRIP_NS] <= row[LATE_FROM_NS]
    return trips if calm else 1


# Jobs


@jit
def _new_job(world: World) -> int:
    clock, jobs = world.clock, world.jobs
    job = clock[FREE_JOB]
    clock[FREE_JOB] = jobs[job, NEXT]
    clock[FREE_JOBS] -= 1
    jobs[job, STATE] = RUNNING
    jobs[job, PARENT] = _NOBODY
    jobs[job, ARRIVAL] = _NOBODY
    jobs[job, TRY] = 0
    return job


@jit
def _free(world: World, job: int) -> None:
    clock, jobs = world.clock, world.jobs
    jobs[job, STATE] = FREE
    jobs[job, GEN] += 1
    jobs[job, NEXT] = clock[FREE_JOB]
    clock[FREE_JOB] = job
    clock[FREE_JOBS] += 1


@jit
def _make_ready(world: World, job: int) -> None:
    clock, ready, jobs = world.clock, world.ready, world.jobs
    jobs[job, STATE] = RUNNING
    jobs[job, GEN] += 1
    ready[(clock[READY_HEAD] + clock[READY_SIZE]) % ready.size] = job
    clock[READY_SIZE] += 1


@jit
def _next_ready(world: World) -> int:
    clock, ready = world.clock, world.ready
    job = ready[clock[READY_HEAD]]
    clock[READY_HEAD] = (clock[READY_HEAD] + 1) % ready.size
    clock[READY_SIZE] -= 1
    return job


@jit
def _run(world: World, job: int, rng: Any) -> None:
    """Carry out a job's steps until it waits or ends."""
    ops, jobs = world.ops, world.jobs
    while True:
        pc = jobs[job, PC]
        word, a = ops[pc, OP], ops[pc, A]
        if word == WORK:
            took_ns = _draw_ns(world, a, rng)
            jobs[job, PC] = pc + 1
            if took_ns > 0:
                jobs[job, STATE] = DELAYED
                _push(world, world.clock[NOW] + took_ns, job, RESUME, OK)
                return
        elif word == TAKE:
            if not _take(world, job, a + jobs[job, REPLICA]):
                return
        elif word == GIVE:
            jobs[job, PC] = pc + 1
            _give(world, a + jobs[job, REPLICA])
        elif word == CALL:
            jobs[job, TRY] = 0
            _call(world, job, a, rng)
            return
        elif word == RETURN:
            _return(world, job, a == 1, rng)
            return
        elif word == JUMP:
            jobs[job, PC] = a
        elif word == LOOKUP:
            cache = world.caches[a]
            key = cache[FIRST_KEY] + min(int(rng.random() * cache[KEYS]), cache[KEYS] - 1)
            jobs[job, KEY] = key
            hit = world.clock[NOW] < world.filled_ns[key] + cache[STAYS_NS]
            jobs[job, PC] = ops[pc, B] if hit else pc + 1
        elif word == FILL:
            world.filled_ns[jobs[job, KEY]] = world.clock[NOW]
            jobs[job, PC] = pc + 1
        else:  # SHED
            jobs[job, PC] = ops[pc, FAIL] if jobs[job, SINCE] > a else pc + 1


@jit
def _return(world: World, job: int, well: bool, rng: Any) -> None:
    """A job is at its end: count it, answer its caller if that still waits, and forget it."""
    jobs, clock = world.jobs, world.clock
    if jobs[job, ARRIVAL] >= 0:
        clock[FINISHED] += 1
        if not well:
            clock[FAILED] += 1
        _free(world, job)
        return
    component = jobs[job, COMPONENT]
    replica = world.components[component, FIRST_REPLICA] + jobs[job, REPLICA]
    world.replicas[replica, REQUESTS] += 1
    if not well:
        world.replicas[replica, ERRORS] += 1
    parent = jobs[job, PARENT]
    waits = parent >= 0 and jobs[parent, GEN] == jobs[job, PARENT_GEN]
    _free(world, job)
    if waits:
        edge = world.calls[world.ops[jobs[parent, PC], A], EDGE]
        outcome = OK if well else REFUSED
        trip_ns = _trips_ns(world, edge, 1, rng)
        if trip_ns == 0:
            _end_attempt(world, parent, outcome, rng)
        else:
            _push(world, clock[NOW] + trip_ns, parent, ANSWER, outcome)


# Resources


@jit
def _take(world: World, job: int, resource: int) -> bool:
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
        _refuse(world, job)
        return True
    jobs[job, STATE] = QUEUED
    jobs[job, RESOURCE] = resource
    jobs[job, SINCE] = now
    jobs[job, NEXT] = _NOBODY
    jobs[job, PREVIOUS] = row[TAIL]
    if row[TAIL] >= 0:
        jobs[row[TAIL], NEXT] = job
    else:
        row[HEAD] = job
    row[TAIL] = job
    row[WAITING] += 1
    if row[WAIT_NS] < FOREVER:
        _push(world, now + row[WAIT_NS], job, GIVE_UP, OK)
    return False


@jit
def _refuse(world: World, job: int) -> None:
    """The job got no place: it goes on where failures go on. An arrival that found no free user is dropped."""
    jobs = world.jobs
    if jobs[job, ARRIVAL] >= 0:
        jobs[job, START] = world.clock[NOW]
        _row(world, job, DROPPED)
    jobs[job, PC] = world.ops[jobs[job, PC], FAIL]


@jit
def _start(world: World, job: int) -> None:
    """An arrival has found a free user: they take turns, as in the load engine, where who idles longest is next."""
    if world.users.size > 0:
        world.jobs[job, USER] = world.jobs[job, ARRIVAL] % world.users.size


@jit
def _give(world: World, resource: int) -> None:
    row = world.resources[resource]
    row[IN_USE] -= 1
    _grant(world, resource)


@jit
def _grant(world: World, resource: int) -> None:
    """Free places go to whoever waits longest."""
    row, jobs = world.resources[resource], world.jobs
    while row[WAITING] > 0 and (row[CAPACITY] < 0 or row[IN_USE] < row[CAPACITY]):
        job = row[HEAD]
        _leave(world, job)
        row[IN_USE] += 1
        waited_ns = world.clock[NOW] - jobs[job, SINCE]
        row[WAITED_NS] += waited_ns
        jobs[job, SINCE] = waited_ns
        if jobs[job, ARRIVAL] >= 0:
            _start(world, job)
        jobs[job, PC] += 1
        _make_ready(world, job)


@jit
def _leave(world: World, job: int) -> None:
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


# Calls


@jit
def _call(world: World, job: int, call: int, rng: Any) -> None:
    """Make one attempt of the call that the job stands at."""
    jobs, clock = world.jobs, world.clock
    spec = world.calls[call]
    jobs[job, STATE] = CALLING
    jobs[job, GEN] += 1
    now = clock[NOW]
    if jobs[job, ARRIVAL] >= 0:
        jobs[job, START] = now
        clock[ATTEMPTS] += 1
    if spec[BREAKER] >= 0 and not _admit(world, spec[BREAKER] + jobs[job, REPLICA]):
        _push(world, now, job, ANSWER, OPEN_CIRCUIT)
        return
    world.attempts[spec[COUNTER] + jobs[job, REPLICA]] += 1
    if world.components[spec[CALLEE], DOWN] != 0:
        _push(world, now, job, ANSWER, CONNECT)
        return
    if spec[TIMEOUT_NS] < FOREVER:
        _push(world, now + spec[TIMEOUT_NS], job, EXPIRE, TIMEOUT)
    jobs[job, ROUNDS] = spec[TRIPS] - 1
    _go_on_calling(world, job, call, rng)


@jit
def _go_on_calling(world: World, job: int, call: int, rng: Any) -> None:
    """The round trips before the last, whose answer carries the result; then the callee begins."""
    jobs = world.jobs
    spec = world.calls[call]
    if jobs[job, ROUNDS] > 0:
        trips = _trips_at_once(world, spec[EDGE], jobs[job, ROUNDS])
        jobs[job, ROUNDS] -= trips
        _push(world, world.clock[NOW] + _trips_ns(world, spec[EDGE], trips, rng), job, BEGIN, OK)
        return
    callee = spec[CALLEE]
    child = _new_job(world)
    jobs[child, COMPONENT] = callee
    jobs[child, REPLICA] = _pick(world, callee, job, rng)
    jobs[child, PARENT] = job
    jobs[child, PARENT_GEN] = jobs[job, GEN]
    jobs[child, PC] = spec[PROGRAM]
    _make_ready(world, child)


@jit
def _pick(world: World, component: int, caller: int, rng: Any) -> int:
    """The replica that a new request goes to."""
    row = world.components[component]
    count = row[REPLICAS]
    if count == 1:
        return 0
    if row[BALANCE] == ROUND_ROBIN:
        row[TURN] = (row[TURN] + 1) % count
        return row[TURN]
    if row[BALANCE] == CONNECTION and world.jobs[caller, ARRIVAL] >= 0 and world.users.size > 0:
        user = world.jobs[caller, USER]
        if world.users[user] < 0:
            world.users[user] = min(int(rng.random() * count), count - 1)
        return world.users[user]
    if row[BALANCE] == LEAST_BUSY:
        best = 0
        for replica in range(1, count):
            if _load(world, component, replica) < _load(world, component, best):
                best = replica
        return best
    return min(int(rng.random() * count), count - 1)


@jit
def _load(world: World, component: int, replica: int) -> int:
    resource = world.resources[world.components[component, FIRST_RESOURCE] + replica]
    return resource[IN_USE] + resource[WAITING]


@jit
def _end_attempt(world: World, job: int, outcome: int, rng: Any) -> None:
    """An attempt of a call has ended for its caller: the next attempt, or on with the steps."""
    jobs, clock = world.jobs, world.clock
    pc = jobs[job, PC]
    call = world.ops[pc, A]
    spec = world.calls[call]
    if jobs[job, ARRIVAL] >= 0:
        _row(world, job, outcome)
        if outcome not in (OK, REFUSED) and world.users.size > 0:
            world.users[jobs[job, USER]] = -1
    if spec[BREAKER] >= 0 and outcome != OPEN_CIRCUIT:
        _judge(world, spec[BREAKER] + jobs[job, REPLICA], outcome == OK)
    if outcome == OK:
        jobs[job, PC] = pc + 1
        _make_ready(world, job)
        return
    attempt = jobs[job, TRY]
    if outcome != OPEN_CIRCUIT and attempt < spec[RETRIES] and _afford(world, job, spec[BUDGET]):
        jobs[job, TRY] = attempt + 1
        wait_ns = 0
        if spec[BACKOFF_NS] > 0:
            ceiling_ns = min(float(spec[CAP_NS]), spec[BACKOFF_NS] * 2.0**attempt)
            wait_ns = int(rng.random() * ceiling_ns)
        jobs[job, STATE] = BACKING_OFF
        jobs[job, GEN] += 1
        jobs[job, WANTED] = clock[NOW] + wait_ns
        _push(world, clock[NOW] + wait_ns, job, AGAIN, OK)
        return
    jobs[job, PC] = world.ops[pc, FAIL]
    _make_ready(world, job)


@jit
def _afford(world: World, job: int, budget: int) -> bool:
    """Take a token of the retry budget of the arrival's load worker and endpoint; see `harness.load.retries`."""
    if budget < 0:
        return True
    tokens = world.budgets[budget + world.jobs[job, ARRIVAL] % world.workers]
    if tokens[TOKENS] < 1.0:
        return False
    tokens[TOKENS] -= 1.0
    return True


@jit
def _admit(world: World, breaker: int) -> bool:
    row = world.breakers[breaker]
    if row[OPENED_NS] < 0:
        return True
    if row[ON_TRIAL] != 0 or world.clock[NOW] - row[OPENED_NS] < row[RESET_NS]:
        return False
    row[ON_TRIAL] = 1
    return True


@jit
def _judge(world: World, breaker: int, well: bool) -> None:
    row = world.breakers[breaker]
    row[ON_TRIAL] = 0
    if well:
        row[FAILURES] = 0
        row[OPENED_NS] = -1
        return
    row[FAILURES] += 1
    if row[FAILURES] >= row[LIMIT]:
        row[OPENED_NS] = world.clock[NOW]


# What happens


@jit
def _happen(world: World, rng: Any) -> None:
    """The first event of the heap."""
    heap, jobs = world.heap, world.jobs
    what, gen = heap[0, 2], heap[0, 3]
    job, kind, outcome = what >> 6, (what >> 3) & 7, what & 7
    _pop(world)
    world.clock[EVENTS] += 1
    if jobs[job, GEN] != gen:
        return
    if kind == RESUME:
        _make_ready(world, job)
    elif kind in (ANSWER, EXPIRE):
        _end_attempt(world, job, outcome, rng)
    elif kind == GIVE_UP:
        resource = world.resources[jobs[job, RESOURCE]]
        resource[WAITED_NS] += world.clock[NOW] - jobs[job, SINCE]
        _leave(world, job)
        _refuse(world, job)
        _make_ready(world, job)
    elif kind == AGAIN:
        _call(world, job, world.ops[jobs[job, PC], A], rng)
    else:  # BEGIN
        _go_on_calling(world, job, world.ops[jobs[job, PC], A], rng)


@jit
def _arrive(world: World, endpoint: int, number: int) -> None:
    jobs, now = world.jobs, world.clock[NOW]
    job = _new_job(world)
    jobs[job, COMPONENT] = _NOBODY
    jobs[job, REPLICA] = 0
    jobs[job, ARRIVAL] = number
    jobs[job, ENDPOINT] = endpoint
    jobs[job, WANTED] = now
    jobs[job, START] = now
    jobs[job, FIRST_ROW] = _NOBODY
    jobs[job, USER] = 0
    program = world.programs[endpoint]
    jobs[job, PC] = program
    budget = world.calls[world.ops[program + 1, A], BUDGET]
    if budget >= 0:
        tokens = world.budgets[budget + number % world.workers]
        tokens[TOKENS] = min(tokens[MOST], tokens[TOKENS] + tokens[DEPOSIT])
    _make_ready(world, job)


@jit
def _row(world: World, job: int, outcome: int) -> None:
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


@jit
def _control(world: World, number: int) -> None:
    """Something planned is done to the system."""
    control = world.controls[number]
    word, where = control[CONTROL], control[WHERE]
    if word == SET_LATENCY:
        edge = world.edges[where]
        edge[LATENCY_NS], edge[JITTER_NS], edge[LATE_UNTIL_NS] = control[VALUE], control[VALUE2], control[UNTIL_NS]
        edge[LATE_FROM_NS] = _next_latency(world, number, where)
    elif word == SET_DOWN:
        _go_down(world, where)
    elif word == SET_UP:
        world.components[where, DOWN] -= 1
    elif word == SET_CAPACITY:
        world.resources[where, CAPACITY] = control[VALUE]
        _grant(world, where)
    else:  # EMPTY_CACHE
        first = world.caches[where, FIRST_KEY]
        world.filled_ns[first : first + world.caches[where, KEYS]] = -FOREVER


@jit
def _next_latency(world: World, number: int, edge: int) -> int:
    for later in range(number + 1, world.controls.shape[0]):
        control = world.controls[later]
        if control[CONTROL] == SET_LATENCY and control[WHERE] == edge:
            return control[AT_NS]
    return FOREVER


@jit
def _go_down(world: World, component: int) -> None:
    """Everything at the component is lost, and whoever waits for it hears of it at once."""
    jobs, resources = world.jobs, world.resources
    row = world.components[component]
    row[DOWN] += 1
    now = world.clock[NOW]
    for job in range(jobs.shape[0]):
        if jobs[job, STATE] == CALLING and world.calls[world.ops[jobs[job, PC], A], CALLEE] == component:
            jobs[job, GEN] += 1
            _push(world, now, job, ANSWER, RESET)
    for job in range(jobs.shape[0]):
        if jobs[job, STATE] != FREE and jobs[job, COMPONENT] == component:
            _free(world, job)
    for kind in range(row[RESOURCES]):
        for replica in range(row[REPLICAS]):
            resource = resources[row[FIRST_RESOURCE] + kind * row[REPLICAS] + replica]
            resource[IN_USE] = 0
            resource[WAITING] = 0
            resource[HEAD] = _NOBODY
            resource[TAIL] = _NOBODY


@jit
def _tick(world: World) -> None:
    """Read every gauge."""
    clock, gauges = world.clock, world.gauges
    row = world.ticks[clock[TICKS]]
    for gauge in range(gauges.shape[0]):
        source, index, column = gauges[gauge, 0], gauges[gauge, 1], gauges[gauge, 2]
        if source == OF_RESOURCE:
            row[gauge] = world.resources[index, column]
        elif source == OF_REPLICA:
            row[gauge] = world.replicas[index, column]
        elif source == OF_ATTEMPTS:
            row[gauge] = world.attempts[index]
        elif source == OF_BREAKER:
            row[gauge] = 0 if world.breakers[index, OPENED_NS] < 0 else 1
        else:
            row[gauge] = clock[index]
    clock[TICKS] += 1
    clock[NEXT_TICK] += world.tick_ns
