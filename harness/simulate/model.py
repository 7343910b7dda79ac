"""What a simulated stack consists of, as plain values: components, their limits, the edges between them, the steps.

    Model(
        entry="shop",
        components={"shop": Component(replicas=2, workers=16, pools={"database": Pool(5, wait_s=30.0)}),
                    "postgres": Component()},
        edges={"shop->postgres": Edge(trip_s=0.0003)},
        endpoints={"catalog": (Work(Constant(0.001)),),
                   "checkout": (Hold("database", (Call("postgres", (Work(Constant(0.08)),), trips=3),)),)},
    )

The steps of an endpoint run at the entry in a worker of it; the steps of a call run at the component that is called, in
a worker of that. Times are in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Balance = Literal["connection", "round-robin", "random", "least-busy"]
CLIENT = "client"
WORKERS = "workers"
"""The name under which a component's workers are a limit like any other."""


class ModelError(ValueError):
    """A model names something that it doesn't have, or holds a number that makes no sense."""


@dataclass(frozen=True, slots=True)
class Constant:
    """Always the same time."""

    mean_s: float


@dataclass(frozen=True, slots=True)
class Exponential:
    """An exponentially distributed time."""

    mean_s: float


@dataclass(frozen=True, slots=True)
class Lognormal:
    """A lognormally distributed time; `spread` is the standard deviation of its logarithm."""

    mean_s: float
    spread: float


@dataclass(frozen=True, slots=True)
class Empirical:
    """A measured time, as quantiles at equal steps of probability from 0 to 1; drawn by interpolation."""

    quantiles_s: tuple[float, ...]

    @property
    def mean_s(self) -> float:
        """The mean of the interpolated distribution."""
        inner = sum(self.quantiles_s) - (self.quantiles_s[0] + self.quantiles_s[-1]) / 2
        return inner / (len(self.quantiles_s) - 1)


Time = Constant | Exponential | Lognormal | Empirical


@dataclass(frozen=True, slots=True)
class Work:
    """Time passes; what the request holds, it goes on holding."""

    takes: Time


@dataclass(frozen=True, slots=True)
class Hold:
    """The steps are done while a place in a pool of the component is held."""

    pool: str
    steps: Sequence[Step]


@dataclass(frozen=True, slots=True)
class Call:
    """Another component is called over the edge to it, and does the steps there.

    `trips` round trips make one call; each of them feels a latency on the edge. `tolerated`: when the call has failed
    for good the request goes on as if nothing had happened.
    """

    component: str
    steps: Sequence[Step] = ()
    trips: int = 1
    tolerated: bool = False


@dataclass(frozen=True, slots=True)
class Cached:
    """Cache-aside: ask the cache's component; on a miss do the steps and put the result there.

    `fallback`: a cache that can't be reached is an empty one that can't be filled; else such a request fails.
    """

    cache: str
    miss: Sequence[Step]
    fallback: bool = False


Step = Work | Hold | Call | Cached


@dataclass(frozen=True, slots=True)
class Pool:
    """A limit on how many requests of a replica do something at a time.

    `wait_s`: how long one waits for a place before it is refused (0: not at all). `queue`: how many may wait, None for
    any number. Size 0 is no limit.
    """

    size: int
    wait_s: float = math.inf
    queue: int | None = None


@dataclass(frozen=True, slots=True)
class Component:
    """A service or server: `workers` requests at a time per replica (None: any number), `queue` more may wait.

    `shed_after_s`: a request that has waited longer for its worker is refused (0: never). `balance` says which replica
    a new request goes to; `connection` is what an L4 service does: a client's connection is drawn at random, and kept
    until a request on it times out.
    """

    replicas: int = 1
    workers: int | None = None
    queue: int | None = None
    shed_after_s: float = 0.0
    pools: Mapping[str, Pool] = field(default_factory=dict)
    balance: Balance = "round-robin"


@dataclass(frozen=True, slots=True)
class Breaker:
    """Refuses calls for `reset_s` after so many failures in a row; then one call is let through as a trial."""

    failures: int
    reset_s: float


@dataclass(frozen=True, slots=True)
class Edge:
    """How one component calls another: round trip time, and what the caller does about slow and failed calls.

    Retry k waits uniform(0, backoff_s * 2**k); 0 is at once.
    """

    trip_s: float = 0.0
    timeout_s: float = math.inf
    retries: int = 0
    backoff_s: float = 0.0
    breaker: Breaker | None = None


@dataclass(frozen=True, slots=True)
class Cache:
    """`keys` values that are asked for equally often, kept by `component` for `ttl_s`; empty at the start."""

    component: str
    keys: int
    ttl_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Model:
    """A stack. `endpoints` are the steps of each at the `entry`; edges that are not given are instant and patient.

    Raises ModelError when something refers to what is not there.
    """

    entry: str
    components: Mapping[str, Component]
    endpoints: Mapping[str, Sequence[Step]]
    edges: Mapping[str, Edge] = field(default_factory=dict)
    caches: Mapping[str, Cache] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self)

    def edge(self, source: str, destination: str) -> Edge:
        """How `source` calls `destination`."""
        return self.edges.get(f"{source}->{destination}", Edge())

    def called(self, endpoint: str) -> tuple[str, ...]:
        """The components that an endpoint's requests may reach, the entry first."""
        found = [self.entry]
        for _, step in walk(self.entry, self.endpoints[endpoint]):
            if isinstance(step, Call):
                found.append(step.component)
            elif isinstance(step, Cached):
                found.append(self.caches[step.cache].component)
        return tuple(dict.fromkeys(found))


def walk(component: str, steps: Sequence[Step]) -> Iterator[tuple[str, Step]]:
    """Every step with the component it is done at, the inner ones too."""
    for step in steps:
        yield component, step
        if isinstance(step, Hold):
            yield from walk(component, step.steps)
        elif isinstance(step, Call):
            yield from walk(step.component, step.steps)
        elif isinstance(step, Cached):
            yield from walk(component, step.miss)


def _check(model: Model) -> None:
    _need(model.entry, model.components, "component")
    if not model.endpoints:
        raise ModelError("a model needs endpoints")
    for name, component in model.components.items():
        _check_component(name, component)
    for name in model.edges:
        source, arrow, destination = name.partition("->")
        if not arrow:
            raise ModelError(f"an edge is written `source->destination`, got `{name}`")
        _need(source, [*model.components, CLIENT], "component")
        _need(destination, model.components, "component")
    for cache in model.caches.values():
        _need(cache.component, model.components, "component")
        if cache.keys < 1:
            raise ModelError("a cache has one key at least")
    for steps in model.endpoints.values():
        for component_name, step in walk(model.entry, steps):
            match step:
                case Hold():
                    _need(step.pool, model.components[component_name].pools, f"pool of {component_name}")
                case Call():
                    _need(step.component, model.components, "component")
                    if step.trips < 1:
                        raise ModelError(f"a call of {step.component} takes one round trip at least")
                case Cached():
                    _need(step.cache, model.caches, "cache")
                case Work():
                    _check_time(step.takes)


def _check_component(name: str, component: Component) -> None:
    if component.replicas < 1:
        raise ModelError(f"{name} has one replica at least")
    if component.workers is not None and component.workers < 1:
        raise ModelError(f"{name} has one worker at least, or no limit")
    if WORKERS in component.pools:
        raise ModelError(f"a pool of {name} can't be called `{WORKERS}`")
    for pool in component.pools.values():
        if pool.size < 0 or pool.wait_s < 0:
            raise ModelError(f"sizes and waits of the pools of {name} can't be negative")


def _check_time(time: Time) -> None:
    if isinstance(time, Empirical) and len(time.quantiles_s) < 2:
        raise ModelError("a measured time has two quantiles at least")
    if not 0 <= time.mean_s < math.inf:
        raise ModelError(f"a time can't be {time.mean_s} s")


def _need(name: str, known: Sequence[str] | Mapping[str, object], what: str) -> None:
    if name not in known:
        raise ModelError(f"there is no {what} `{name}`; known: {', '.join(known) or 'none'}")
