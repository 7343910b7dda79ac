"""What a caller goes by: load balancing, circuit breakers, retry budgets."""

from __future__ import annotations

from typing import Any

from harness.simulate import layout as k
from harness.simulate.jit import jit
from harness.simulate.layout import World


@jit
def pick(world: World, component: int, caller: int, rng: Any) -> int:
    """The replica that a new request goes to."""
    row = world.components[component]
    count = row[k.REPLICAS]
    if count == 1:
        return 0
    if row[k.BALANCE] == k.ROUND_ROBIN:
        row[k.TURN] = (row[k.TURN] + 1) % count
        return row[k.TURN]
    if row[k.BALANCE] == k.CONNECTION and world.jobs[caller, k.ARRIVAL] >= 0 and world.users.size > 0:
        user = world.jobs[caller, k.USER]
        if world.users[user] < 0:
            world.users[user] = min(int(rng.random() * count), count - 1)
        return world.users[user]
    if row[k.BALANCE] == k.LEAST_BUSY:
        best = 0
        for replica in range(1, count):
            if _load(world, component, replica) < _load(world, component, best):
                best = replica
        return best
    return min(int(rng.random() * count), count - 1)


@jit
def _load(world: World, component: int, replica: int) -> int:
    resource = world.resources[world.components[component, k.FIRST_RESOURCE] + replica]
    return resource[k.IN_USE] + resource[k.WAITING]


@jit
def admit(world: World, breaker: int) -> bool:
    """Whether a circuit breaker lets a call through: closed, or open for so long that one may try."""
    row = world.breakers[breaker]
    if row[k.OPENED_NS] < 0:
        return True
    if row[k.ON_TRIAL] != 0 or world.clock[k.NOW] - row[k.OPENED_NS] < row[k.RESET_NS]:
        return False
    row[k.ON_TRIAL] = 1
    return True


@jit
def judge(world: World, breaker: int, well: bool) -> None:
    """A call that a circuit breaker let through has ended: well closes it, too many failures in a row open it."""
    row = world.breakers[breaker]
    row[k.ON_TRIAL] = 0
    if well:
        row[k.FAILURES] = 0
        row[k.OPENED_NS] = -1
        return
    row[k.FAILURES] += 1
    if row[k.FAILURES] >= row[k.LIMIT]:
        row[k.OPENED_NS] = world.clock[k.NOW]


@jit
def afford(world: World, job: int, budget: int) -> bool:
    """Take a token of the retry budget of the arrival's load worker and endpoint; see `harness.load.retries`."""
    if budget < 0:
        return True
    tokens = world.budgets[budget + world.jobs[job, k.ARRIVAL] % world.workers]
    if tokens[k.TOKENS] < 1.0:
        return False
    tokens[k.TOKENS] -= 1.0
    return True
