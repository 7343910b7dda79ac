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

from harness.simulate import layout as k
from harness.simulate.controls import carry_out
from harness.simulate.jit import jit, jit_entry
from harness.simulate.layout import Ints, World
from harness.simulate.policies import admit, afford, judge, pick
from harness.simulate.queues import (
    draw_ns,
    free_job,
    give,
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
        while clock[k.READY_SIZE] > 0:
            lack = _lack(world)
            if lack != k.DONE:
                return lack
            _run(world, next_ready(world), rng)
        lack = _lack(world)
        if lack != k.DONE:
            return lack
        event_ns = heap[0, 0] if clock[k.HEAP_SIZE] > 0 else k.FOREVER
        next_arrival = clock[k.NEXT_ARRIVAL]
        arrival_ns = arrivals_ns[next_arrival] if next_arrival < arrivals_ns.size else k.FOREVER
        next_control = clock[k.NEXT_CONTROL]
        control_ns = controls[next_control, k.AT_NS] if next_control < controls.shape[0] else k.FOREVER
        now = min(event_ns, arrival_ns, control_ns)
        while clock[k.NEXT_TICK] <= min(now, until_ns) and clock[k.TICKS] < world.ticks.shape[0]:
            _tick(world)
        if now >= until_ns:
            clock[k.NOW] = until_ns
            return k.DONE
        clock[k.NOW] = now
        if control_ns == now:
            clock[k.NEXT_CONTROL] += 1
            carry_out(world, next_control)
        elif arrival_ns == now:
            clock[k.NEXT_ARRIVAL] += 1
            _arrive(world, endpoints[next_arrival], clock[k.ARRIVED] + next_arrival)
        else:
            _happen(world, rng)


@jit
def _lack(world: World) -> int:
    clock = world.clock
    if world.rows.shape[0] - clock[k.ROWS] < _ROWS_SPARE:
        return k.ROOM_FOR_ROWS
    if clock[k.FREE_JOBS] < _JOBS_SPARE:
        return k.ROOM_FOR_JOBS
    # A component that goes down answers everybody who waits for it, which is an event for every job at most.
    if world.heap.shape[0] - clock[k.HEAP_SIZE] < world.jobs.shape[0] + _JOBS_SPARE:
        return k.ROOM_FOR_EVENTS
    return k.DONE


@jit
def _run(world: World, job: int, rng: Any) -> None:
    """Carry out a job's steps until it waits or ends."""
    ops, jobs = world.ops, world.jobs
    while True:
        pc = jobs[job, k.PC]
        word, a = ops[pc, k.OP], ops[pc, k.A]
        if word == k.WORK:
            took_ns = draw_ns(world, a, rng)
            jobs[job, k.PC] = pc + 1
            if took_ns > 0:
                jobs[job, k.STATE] = k.DELAYED
                push(world, world.clock[k.NOW] + took_ns, job, k.RESUME, k.OK)
                return
        elif word == k.TAKE:
            if not take(world, job, a + jobs[job, k.REPLICA]):
                return
        elif word == k.GIVE:
            jobs[job, k.PC] = pc + 1
            give(world, a + jobs[job, k.REPLICA])
        elif word == k.CALL:
            jobs[job, k.TRY] = 0
            _call(world, job, a, rng)
            return
        elif word == k.RETURN:
            _return(world, job, a == 1, rng)
            return
        elif word == k.JUMP:
            jobs[job, k.PC] = a
        elif word == k.LOOKUP:
            cache = world.caches[a]
            key = cache[k.FIRST_KEY] + min(int(rng.random() * cache[k.KEYS]), cache[k.KEYS] - 1)
            jobs[job, k.KEY] = key
            hit = world.clock[k.NOW] < world.filled_ns[key] + cache[k.STAYS_NS]
            jobs[job, k.PC] = ops[pc, k.B] if hit else pc + 1
        elif word == k.FILL:
            world.filled_ns[jobs[job, k.KEY]] = world.clock[k.NOW]
            jobs[job, k.PC] = pc + 1
        else:  # SHED
            jobs[job, k.PC] = ops[pc, k.FAIL] if jobs[job, k.SINCE] > a else pc + 1


@jit
def _return(world: World, job: int, well: bool, rng: Any) -> None:
    """A job is at its end: count it, answer its caller if that still waits, and forget it."""
    jobs, clock = world.jobs, world.clock
    if jobs[job, k.ARRIVAL] >= 0:
        clock[k.FINISHED] += 1
        if not well:
            clock[k.FAILED] += 1
        free_job(world, job)
        return
    component = jobs[job, k.COMPONENT]
    replica = world.components[component, k.FIRST_REPLICA] + jobs[job, k.REPLICA]
    world.replicas[replica, k.REQUESTS] += 1
    if not well:
        world.replicas[replica, k.ERRORS] += 1
    parent = jobs[job, k.PARENT]
    waits = parent >= 0 and jobs[parent, k.GEN] == jobs[job, k.PARENT_GEN]
    free_job(world, job)
    if waits:
        edge = world.calls[world.ops[jobs[parent, k.PC], k.A], k.EDGE]
        outcome = k.OK if well else k.REFUSED
        trip_ns = trips_ns(world, edge, 1, rng)
        if trip_ns == 0:
            _end_attempt(world, parent, outcome, rng)
        else:
            push(world, clock[k.NOW] + trip_ns, parent, k.ANSWER, outcome)


@jit
def _call(world: World, job: int, call: int, rng: Any) -> None:
    """Make one attempt of the call that the job stands at."""
    jobs, clock = world.jobs, world.clock
    spec = world.calls[call]
    jobs[job, k.STATE] = k.CALLING
    jobs[job, k.GEN] += 1
    now = clock[k.NOW]
    if jobs[job, k.ARRIVAL] >= 0:
        jobs[job, k.START] = now
        clock[k.ATTEMPTS] += 1
    if spec[k.BREAKER] >= 0 and not admit(world, spec[k.BREAKER] + jobs[job, k.REPLICA]):
        push(world, now, job, k.ANSWER, k.OPEN_CIRCUIT)
        return
    world.attempts[spec[k.COUNTER] + jobs[job, k.REPLICA]] += 1
    if world.components[spec[k.CALLEE], k.DOWN] != 0:
        push(world, now, job, k.ANSWER, k.CONNECT)
        return
    if spec[k.TIMEOUT_NS] < k.FOREVER:
        push(world, now + spec[k.TIMEOUT_NS], job, k.EXPIRE, k.TIMEOUT)
    jobs[job, k.ROUNDS] = spec[k.TRIPS] - 1
    _go_on_calling(world, job, call, rng)


@jit
def _go_on_calling(world: World, job: int, call: int, rng: Any) -> None:
    """The round trips before the last, whose answer carries the result; then the callee begins."""
    jobs = world.jobs
    spec = world.calls[call]
    if jobs[job, k.ROUNDS] > 0:
        trips = trips_at_once(world, spec[k.EDGE], jobs[job, k.ROUNDS])
        jobs[job, k.ROUNDS] -= trips
        push(world, world.clock[k.NOW] + trips_ns(world, spec[k.EDGE], trips, rng), job, k.BEGIN, k.OK)
        return
    callee = spec[k.CALLEE]
    child = new_job(world)
    jobs[child, k.COMPONENT] = callee
    jobs[child, k.REPLICA] = pick(world, callee, job, rng)
    jobs[child, k.PARENT] = job
    jobs[child, k.PARENT_GEN] = jobs[job, k.GEN]
    jobs[child, k.PC] = spec[k.PROGRAM]
    make_ready(world, child)


@jit
def _end_attempt(world: World, job: int, outcome: int, rng: Any) -> None:
    """An attempt of a call has ended for its caller: the next attempt, or on with the steps."""
    jobs, clock = world.jobs, world.clock
    pc = jobs[job, k.PC]
    call = world.ops[pc, k.A]
    spec = world.calls[call]
    if jobs[job, k.ARRIVAL] >= 0:
        record_row(world, job, outcome)
        if outcome not in (k.OK, k.REFUSED) and world.users.size > 0:
            world.users[jobs[job, k.USER]] = -1
    if spec[k.BREAKER] >= 0 and outcome != k.OPEN_CIRCUIT:
        judge(world, spec[k.BREAKER] + jobs[job, k.REPLICA], outcome == k.OK)
    if outcome == k.OK:
        jobs[job, k.PC] = pc + 1
        make_ready(world, job)
        return
    attempt = jobs[job, k.TRY]
    if outcome != k.OPEN_CIRCUIT and attempt < spec[k.RETRIES] and afford(world, job, spec[k.BUDGET]):
        jobs[job, k.TRY] = attempt + 1
        wait_ns = 0
        if spec[k.BACKOFF_NS] > 0:
            ceiling_ns = min(float(spec[k.CAP_NS]), spec[k.BACKOFF_NS] * 2.0**attempt)
            wait_ns = int(rng.random() * ceiling_ns)
        jobs[job, k.STATE] = k.BACKING_OFF
        jobs[job, k.GEN] += 1
        jobs[job, k.WANTED] = clock[k.NOW] + wait_ns
        push(world, clock[k.NOW] + wait_ns, job, k.AGAIN, k.OK)
        return
    jobs[job, k.PC] = world.ops[pc, k.FAIL]
    make_ready(world, job)


@jit
def _happen(world: World, rng: Any) -> None:
    """The first event of the heap."""
    heap, jobs = world.heap, world.jobs
    what, gen = heap[0, 2], heap[0, 3]
    job, kind, outcome = what >> 6, (what >> 3) & 7, what & 7
    pop(world)
    world.clock[k.EVENTS] += 1
    if jobs[job, k.GEN] != gen:
        return
    if kind == k.RESUME:
        make_ready(world, job)
    elif kind in (k.ANSWER, k.EXPIRE):
        _end_attempt(world, job, outcome, rng)
    elif kind == k.GIVE_UP:
        resource = world.resources[jobs[job, k.RESOURCE]]
        resource[k.WAITED_NS] += world.clock[k.NOW] - jobs[job, k.SINCE]
        leave(world, job)
        refuse(world, job)
        make_ready(world, job)
    elif kind == k.AGAIN:
        _call(world, job, world.ops[jobs[job, k.PC], k.A], rng)
    else:  # BEGIN
        _go_on_calling(world, job, world.ops[jobs[job, k.PC], k.A], rng)


@jit
def _arrive(world: World, endpoint: int, number: int) -> None:
    jobs, now = world.jobs, world.clock[k.NOW]
    job = new_job(world)
    jobs[job, k.COMPONENT] = k.NOBODY
    jobs[job, k.REPLICA] = 0
    jobs[job, k.ARRIVAL] = number
    jobs[job, k.ENDPOINT] = endpoint
    jobs[job, k.WANTED] = now
    jobs[job, k.START] = now
    jobs[job, k.FIRST_ROW] = k.NOBODY
    jobs[job, k.USER] = 0
    program = world.programs[endpoint]
    jobs[job, k.PC] = program
    budget = world.calls[world.ops[program + 1, k.A], k.BUDGET]
    if budget >= 0:
        tokens = world.budgets[budget + number % world.workers]
        tokens[k.TOKENS] = min(tokens[k.MOST], tokens[k.TOKENS] + tokens[k.DEPOSIT])
    make_ready(world, job)


@jit
def _tick(world: World) -> None:
    """Read every gauge."""
    clock, gauges = world.clock, world.gauges
    row = world.ticks[clock[k.TICKS]]
    for gauge in range(gauges.shape[0]):
        source, index, column = gauges[gauge, 0], gauges[gauge, 1], gauges[gauge, 2]
        if source == k.OF_RESOURCE:
            row[gauge] = world.resources[index, column]
        elif source == k.OF_REPLICA:
            row[gauge] = world.replicas[index, column]
        elif source == k.OF_ATTEMPTS:
            row[gauge] = world.attempts[index]
        elif source == k.OF_BREAKER:
            row[gauge] = 0 if world.breakers[index, k.OPENED_NS] < 0 else 1
        else:
            row[gauge] = clock[index]
    clock[k.TICKS] += 1
    clock[k.NEXT_TICK] += world.tick_ns
