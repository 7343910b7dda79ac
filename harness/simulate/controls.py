"""What is done to the system at planned times: latency, outages, capacity."""

from __future__ import annotations

from harness.simulate import layout as k
from harness.simulate.jit import jit
from harness.simulate.layout import World
from harness.simulate.queues import free_job, grant, push


@jit
def carry_out(world: World, number: int) -> None:
    """Do what a row of `controls` says."""
    control = world.controls[number]
    word, where = control[k.CONTROL], control[k.WHERE]
    if word == k.SET_LATENCY:
        edge = world.edges[where]
        edge[k.LATENCY_NS] = control[k.VALUE]
        edge[k.JITTER_NS] = control[k.VALUE2]
        edge[k.LATE_UNTIL_NS] = control[k.UNTIL_NS]
        edge[k.LATE_FROM_NS] = _next_latency(world, number, where)
    elif word == k.SET_DOWN:
        _go_down(world, where)
    elif word == k.SET_UP:
        world.components[where, k.DOWN] -= 1
    elif word == k.SET_CAPACITY:
        world.resources[where, k.CAPACITY] = control[k.VALUE]
        grant(world, where)
    else:  # EMPTY_CACHE
        first = world.caches[where, k.FIRST_KEY]
        world.filled_ns[first : first + world.caches[where, k.KEYS]] = -k.FOREVER


@jit
def _next_latency(world: World, number: int, edge: int) -> int:
    for later in range(number + 1, world.controls.shape[0]):
        control = world.controls[later]
        if control[k.CONTROL] == k.SET_LATENCY and control[k.WHERE] == edge:
            return control[k.AT_NS]
    return k.FOREVER


@jit
def _go_down(world: World, component: int) -> None:
    """Everything at the component is lost, and whoever waits for it hears of it at once."""
    jobs, resources = world.jobs, world.resources
    row = world.components[component]
    row[k.DOWN] += 1
    now = world.clock[k.NOW]
    for job in range(jobs.shape[0]):
        if jobs[job, k.STATE] == k.CALLING and world.calls[world.ops[jobs[job, k.PC], k.A], k.CALLEE] == component:
            jobs[job, k.GEN] += 1
            push(world, now, job, k.ANSWER, k.RESET)
    for job in range(jobs.shape[0]):
        if jobs[job, k.STATE] != k.FREE and jobs[job, k.COMPONENT] == component:
            free_job(world, job)
    for kind in range(row[k.RESOURCES]):
        for replica in range(row[k.REPLICAS]):
            resource = resources[row[k.FIRST_RESOURCE] + kind * row[k.REPLICAS] + replica]
            resource[k.IN_USE] = 0
            resource[k.WAITING] = 0
            resource[k.HEAD] = k.NOBODY
            resource[k.TAIL] = k.NOBODY
