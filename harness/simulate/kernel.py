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

from typing import Any, Final

from harness.simulate.jit import jit, jit_entry
from harness.simulate.layout import (
    AGAIN,
    ANSWER,
    ARRIVAL,
    ARRIVED,
    AT_NS,
    ATTEMPTS,
    BACKING_OFF,
    BACKOFF_NS,
    BALANCE,
    BEGIN,
    BREAKER,
    BUDGET,
    CALL,
    CALLEE,
    CALLING,
    CAP_NS,
    CAPACITY,
    COMPONENT,
    CONNECT,
    CONNECTION,
    CONTROL,
    COUNTER,
    DELAYED,
    DEPOSIT,
    DONE,
    DOWN,
    EDGE,
    ENDPOINT,
    ERRORS,
    EVENTS,
    EXPIRE,
    FAIL,
    FAILED,
    FAILURES,
    FILL,
    FINISHED,
    FIRST_KEY,
    FIRST_REPLICA,
    FIRST_RESOURCE,
    FIRST_ROW,
    FOREVER,
    FREE,
    FREE_JOBS,
    GEN,
    GIVE,
    GIVE_UP,
    HEAD,
    HEAP_SIZE,
    IN_USE,
    JITTER_NS,
    JUMP,
    KEY,
    KEYS,
    LATE_FROM_NS,
    LATE_UNTIL_NS,
    LATENCY_NS,
    LEAST_BUSY,
    LIMIT,
    LOOKUP,
    MOST,
    NEXT_ARRIVAL,
    NEXT_CONTROL,
    NEXT_TICK,
    NOBODY,
    NOW,
    OF_ATTEMPTS,
    OF_BREAKER,
    OF_REPLICA,
    OF_RESOURCE,
    OK,
    ON_TRIAL,
    OP,
    OPEN_CIRCUIT,
    OPENED_NS,
    PARENT,
    PARENT_GEN,
    PC,
    PROGRAM,
    READY_SIZE,
    REFUSED,
    REPLICA,
    REPLICAS,
    REQUESTS,
    RESET,
    RESET_NS,
    RESOURCE,
    RESOURCES,
    RESUME,
    RETRIES,
    RETURN,
    ROOM_FOR_EVENTS,
    ROOM_FOR_JOBS,
    ROOM_FOR_ROWS,
    ROUND_ROBIN,
    ROUNDS,
    ROWS,
    SET_CAPACITY,
    SET_DOWN,
    SET_LATENCY,
    SET_UP,
    SINCE,
    START,
    STATE,
    STAYS_NS,
    TAIL,
    TAKE,
    TICKS,
    TIMEOUT,
    TIMEOUT_NS,
    TOKENS,
    TRIPS,
    TRY,
    TURN,
    UNTIL_NS,
    USER,
    VALUE,
    VALUE2,
    WAITED_NS,
    WAITING,
    WANTED,
    WHERE,
    WORK,
    A,
    B,
    Ints,
    World,
)
from harness.simulate.queues import (
    draw_ns,
    free_job,
    give,
    grant,
    leave,
    make_ready,
    new_job,
    next_ready,
    pop,
    push,
    record_row,
    refuse,
    take,
    trips_at_once,
    trips_ns,
)

_ROWS_SPARE: Final = 8
_JOBS_SPARE: Final = 4


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
            _run(world, next_ready(world), rng)
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


@jit
def _run(world: World, job: int, rng: Any) -> None:
    """Carry out a job's steps until it waits or ends."""
    ops, jobs = world.ops, world.jobs
    while True:
        pc = jobs[job, PC]
        word, a = ops[pc, OP], ops[pc, A]
        if word == WORK:
            took_ns = draw_ns(world, a, rng)
            jobs[job, PC] = pc + 1
            if took_ns > 0:
                jobs[job, STATE] = DELAYED
                push(world, world.clock[NOW] + took_ns, job, RESUME, OK)
                return
        elif word == TAKE:
            if not take(world, job, a + jobs[job, REPLICA]):
                return
        elif word == GIVE:
            jobs[job, PC] = pc + 1
            give(world, a + jobs[job, REPLICA])
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
        free_job(world, job)
        return
    component = jobs[job, COMPONENT]
    replica = world.components[component, FIRST_REPLICA] + jobs[job, REPLICA]
    world.replicas[replica, REQUESTS] += 1
    if not well:
        world.replicas[replica, ERRORS] += 1
    parent = jobs[job, PARENT]
    waits = parent >= 0 and jobs[parent, GEN] == jobs[job, PARENT_GEN]
    free_job(world, job)
    if waits:
        edge = world.calls[world.ops[jobs[parent, PC], A], EDGE]
        outcome = OK if well else REFUSED
        trip_ns = trips_ns(world, edge, 1, rng)
        if trip_ns == 0:
            _end_attempt(world, parent, outcome, rng)
        else:
            push(world, clock[NOW] + trip_ns, parent, ANSWER, outcome)


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
        push(world, now, job, ANSWER, OPEN_CIRCUIT)
        return
    world.attempts[spec[COUNTER] + jobs[job, REPLICA]] += 1
    if world.components[spec[CALLEE], DOWN] != 0:
        push(world, now, job, ANSWER, CONNECT)
        return
    if spec[TIMEOUT_NS] < FOREVER:
        push(world, now + spec[TIMEOUT_NS], job, EXPIRE, TIMEOUT)
    jobs[job, ROUNDS] = spec[TRIPS] - 1
    _go_on_calling(world, job, call, rng)


@jit
def _go_on_calling(world: World, job: int, call: int, rng: Any) -> None:
    """The round trips before the last, whose answer carries the result; then the callee begins."""
    jobs = world.jobs
    spec = world.calls[call]
    if jobs[job, ROUNDS] > 0:
        trips = trips_at_once(world, spec[EDGE], jobs[job, ROUNDS])
        jobs[job, ROUNDS] -= trips
        push(world, world.clock[NOW] + trips_ns(world, spec[EDGE], trips, rng), job, BEGIN, OK)
        return
    callee = spec[CALLEE]
    child = new_job(world)
    jobs[child, COMPONENT] = callee
    jobs[child, REPLICA] = _pick(world, callee, job, rng)
    jobs[child, PARENT] = job
    jobs[child, PARENT_GEN] = jobs[job, GEN]
    jobs[child, PC] = spec[PROGRAM]
    make_ready(world, child)


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
        record_row(world, job, outcome)
        if outcome not in (OK, REFUSED) and world.users.size > 0:
            world.users[jobs[job, USER]] = -1
    if spec[BREAKER] >= 0 and outcome != OPEN_CIRCUIT:
        _judge(world, spec[BREAKER] + jobs[job, REPLICA], outcome == OK)
    if outcome == OK:
        jobs[job, PC] = pc + 1
        make_ready(world, job)
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
        push(world, clock[NOW] + wait_ns, job, AGAIN, OK)
        return
    jobs[job, PC] = world.ops[pc, FAIL]
    make_ready(world, job)


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


@jit
def _happen(world: World, rng: Any) -> None:
    """The first event of the heap."""
    heap, jobs = world.heap, world.jobs
    what, gen = heap[0, 2], heap[0, 3]
    job, kind, outcome = what >> 6, (what >> 3) & 7, what & 7
    pop(world)
    world.clock[EVENTS] += 1
    if jobs[job, GEN] != gen:
        return
    if kind == RESUME:
        make_ready(world, job)
    elif kind in (ANSWER, EXPIRE):
        _end_attempt(world, job, outcome, rng)
    elif kind == GIVE_UP:
        resource = world.resources[jobs[job, RESOURCE]]
        resource[WAITED_NS] += world.clock[NOW] - jobs[job, SINCE]
        leave(world, job)
        refuse(world, job)
        make_ready(world, job)
    elif kind == AGAIN:
        _call(world, job, world.ops[jobs[job, PC], A], rng)
    else:  # BEGIN
        _go_on_calling(world, job, world.ops[jobs[job, PC], A], rng)


@jit
def _arrive(world: World, endpoint: int, number: int) -> None:
    jobs, now = world.jobs, world.clock[NOW]
    job = new_job(world)
    jobs[job, COMPONENT] = NOBODY
    jobs[job, REPLICA] = 0
    jobs[job, ARRIVAL] = number
    jobs[job, ENDPOINT] = endpoint
    jobs[job, WANTED] = now
    jobs[job, START] = now
    jobs[job, FIRST_ROW] = NOBODY
    jobs[job, USER] = 0
    program = world.programs[endpoint]
    jobs[job, PC] = program
    budget = world.calls[world.ops[program + 1, A], BUDGET]
    if budget >= 0:
        tokens = world.budgets[budget + number % world.workers]
        tokens[TOKENS] = min(tokens[MOST], tokens[TOKENS] + tokens[DEPOSIT])
    make_ready(world, job)


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
        grant(world, where)
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
            push(world, now, job, ANSWER, RESET)
    for job in range(jobs.shape[0]):
        if jobs[job, STATE] != FREE and jobs[job, COMPONENT] == component:
            free_job(world, job)
    for kind in range(row[RESOURCES]):
        for replica in range(row[REPLICAS]):
            resource = resources[row[FIRST_RESOURCE] + kind * row[REPLICAS] + replica]
            resource[IN_USE] = 0
            resource[WAITING] = 0
            resource[HEAD] = NOBODY
            resource[TAIL] = NOBODY


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
