"""What a fault is: its description for the catalogue, and the moves every fault makes.

A fault never undoes itself by remembering what it did. It hands out its undo as data before it touches anything;
the conductor, the guard and `harness rollback` all carry out the same data (`harness.faults.undo`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from harness.endpoints import Endpoints
from harness.ledger import ProcessMark
from harness.plan import PlannedFault, RetryStorm
from harness.processes import Command

ParamKind = Literal["duration", "integer", "number", "percentage", "rate", "size", "byte-rate", "choice", "string"]
Place = Literal["edge", "component", "region", "clients"]
Undo = Mapping[str, Any]

CAPABILITIES: Mapping[str, str] = {
    "edge": "has a proxy of the harness on it",
    "name": "is called by a process that the harness started",
    "process": "is a process that the harness started",
    "replicas": "has two replicas or more",
    "disk": "has a disk of its own (`disk: 400MB` in the target's manifest)",
    "region": "is one of the regions that the scenario spreads its target over",
    "sentinel": "is watched by sentinels (`sentinel: true` in the target's manifest)",
    "standby": "has a standby (`standby` in the target's manifest)",
}
"""What a fault may need of the place where it acts, in words that follow the place's name."""


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a fault.

    Durations reach the fault in seconds, percentages as shares (0.3 for 30 %), rates per second, sizes in bytes, byte
    rates in bytes per second. `least` and `most` bound a number in those units; both are allowed values.
    """

    kind: ParamKind
    help: str
    required: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """A dependency edge with its proxy: who calls whom, through which proxy, listening where (`host:port`)."""

    source: str
    destination: str
    proxy: str
    address: str
    protocol: str


@dataclass(frozen=True, slots=True)
class Lookup:
    """How callers find an edge: by `name`, on the line of their file `hosts` that begins at byte `at` with a 1."""

    hosts: Path
    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Standby:
    """A server's standby: its name, and the command that fills the server's data folder from it, so that it follows."""

    name: str
    copy: Command


class FaultableTarget(Protocol):
    """What faults may ask of a target at plan time, before any stack is there."""

    @property
    def components(self) -> tuple[str, ...]:
        """Servers and processes."""

    @property
    def edge_names(self) -> tuple[str, ...]:
        """All edges as `source->destination`."""

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Names of the requests that clients make."""

    def component_protocol(self, name: str) -> str:
        """`postgres`, `redis` or `http`."""

    def in_region(self, region: str) -> tuple[str, ...]:
        """All components of a region."""

    def instances(self, component: str) -> tuple[str, ...]:
        """Names of a component's processes: `app-1`, `app-2`, or just `redis`; of one of these, just that."""

    def component_of(self, place: str) -> str:
        """The component that a place is or belongs to: `app` of `app` and of `app-1`."""

    def capabilities(self, component: str) -> frozenset[str]:
        """Which of `CAPABILITIES` a component has."""

    def down_after_s(self, component: str) -> float:
        """How long a server that sentinels watch is silent until they take it to be down."""

    def check_setting(self, name: str, value: str) -> None:
        """Raise ValueError unless the target has that setting and the value fits its type."""


class FaultableStack(Protocol):
    """What faults may ask of a running stack. `name` is a server or a replica (`redis`, `app-1`): one process."""

    @property
    def proxy_api(self) -> str:
        """`host:port` of the Toxiproxy API."""

    @property
    def seed(self) -> int:
        """The seed of the run."""

    @property
    def edges(self) -> tuple[Edge, ...]:
        """All edges, the clients' included."""

    def links(self, name: str) -> tuple[Edge, ...]:
        """The way from the front to a process in a region: what clients send, and the readiness probe."""

    @property
    def endpoints(self) -> Endpoints:
        """The processes that clients reach through the service, and the control over them."""

    def disk(self, name: str) -> Path:
        """The folder of a process that has a disk of its own: a server's data, what a replica was told as {disk}."""

    @property
    def scratch(self) -> Path:
        """A folder outside the results that goes when the run ends."""

    def memory(self, name: str) -> Path:
        """The file in which a replica may read how many bytes it holds, as long as somebody writes that there."""

    def edge(self, name: str) -> Edge:
        """The edge `source->destination`."""

    def upstream(self, edge: str) -> str:
        """`host:port` that the edge's proxy leads to as long as no fault has led it elsewhere."""

    def lookup(self, edge: str) -> Lookup:
        """How an edge is found that a fault of capability `name` hits. Raises StackError for any other."""

    def instances(self, component: str) -> tuple[str, ...]:
        """Names of a component's processes; of one of these, just that."""

    def address(self, name: str) -> str:
        """`host:port` of a process, or of the first one of a component, not through a proxy."""

    def protocol(self, component: str) -> str:
        """`postgres`, `redis` or `http`."""

    def sentinels(self, component: str) -> tuple[str, ...]:
        """`host:port` of the sentinels that watch over a server; none over most."""

    def readiness(self, name: str) -> str:
        """`host:port` at which a process answers its readiness probe."""

    def is_ready(self, name: str) -> bool:
        """Whether a process answers its readiness probe now."""

    def mark(self, name: str) -> ProcessMark:
        """The running process (of a server or replica). Raises StackError when there is none."""

    def standby(self, component: str) -> Standby:
        """The standby of a database server. Raises KeyError when it has none."""

    def command(self, name: str, settings: Mapping[str, str] | None = None) -> Command:
        """How a process is started; with other values for some of the target's settings, if need be."""

    def start_undo(self, name: str, *, afresh: bool = False) -> Undo:
        """The undo that starts a process as it was, at the same address, unless it answers there.

        `afresh`: end what runs under that name first, because it is not the one that belongs there.
        """

    def may_die(self, name: str) -> None:
        """A process is about to end, or may end, by a fault: that is no failure of the stack."""

    def kill(self, name: str) -> None:
        """End a process at once (SIGKILL to its group), as a crash does."""

    def terminate(self, name: str) -> None:
        """Ask a process to end (its stop signal) and return at once. From then on it counts as ending, not running."""

    def spawn(self, command: Command) -> None:
        """Start a process of a fault's own; it belongs to the run and ends with it. It may be killed again at once."""


class Fault(ABC):
    """One planned fault against one stack. `is_active` and `is_clear` probe the effect, not the call.

    Order: `prepare` -> `undo` into the ledger -> wait for the instant -> `inject` -> `is_active` until it is ->
    wait -> `halt` -> the undo -> `is_clear` until it is. `confirm_s` and `clear_s` bound how long each of the two
    probes is repeated. `tell(kind, component, **fields)` puts an event on record (`component.stopped`, `probe`, ...).
    """

    takes_out: ClassVar[bool] = False
    """Whether the one process that it hits answers nobody for a while."""

    confirm_s: float = 5.0
    clear_s: float = 10.0

    def __init__(self, planned: PlannedFault, stack: FaultableStack) -> None:
        self.planned = planned
        self.stack = stack
        self.tell: Callable[..., None] = lambda _kind, _component, **_fields: None

    @classmethod
    def refusal(cls, planned: PlannedFault, target: FaultableTarget) -> str:  # noqa: ARG003
        """Why the target cannot be hit like this, or "". Asked when a scenario is planned."""
        return ""

    @classmethod
    def out_at_once(cls, planned: PlannedFault, target: FaultableTarget) -> Mapping[str, int]:  # noqa: ARG003
        """How many processes of a component answer nobody, at most at the same time, because of this; by component."""
        return {planned.component: 1} if cls.takes_out else {}

    def prepare(self) -> None:  # noqa: B027  most faults have nothing to prepare
        """Whatever takes time and touches nothing: connecting, importing. Called shortly before the instant."""

    @abstractmethod
    def undo(self) -> Sequence[Undo]:
        """Everything that takes the fault back, in order; harmless when done twice or before the injection."""

    @abstractmethod
    def inject(self) -> None:
        """Do it."""

    def halt(self) -> None:  # noqa: B027  most faults do nothing more once they are injected
        """End whatever the fault still does by itself (see `harness.faults.course`), so that the undo is the last word.

        Raises what went wrong with it; the undo is carried out all the same.
        """

    @abstractmethod
    def is_active(self) -> bool:
        """Whether the effect can be seen now."""

    @abstractmethod
    def is_clear(self) -> bool:
        """Whether the effect is gone now."""


@dataclass(frozen=True, slots=True)
class StormReport:
    """What load workers say of retry storms: whether one is on in all of them, or in any.

    `failed` counts arrivals whose first attempt failed in a storm, `retries` the attempts that followed.
    """

    everywhere: bool
    anywhere: bool
    failed: int
    retries: int


class FaultableClients(Protocol):
    """What faults may do with the clients, which the load workers are."""

    def begin_storm(self, name: str, storm: RetryStorm) -> None:
        """Have all clients retry at once in a stretch of the arm that is still to come."""

    def end_storm(self, name: str) -> None:
        """Have them forget that storm, whether it has begun or not."""

    def storm_report(self) -> StormReport:
        """How far storms have come."""


class ClientFault(Fault):
    """A fault of the clients: it gets hold of them as `clients` before it is prepared."""

    clients: FaultableClients


@dataclass(frozen=True, slots=True)
class FaultType:
    """An entry of the fault catalogue.

    `place` says what `on` names in a scenario (nothing for `clients`, who are the load), `many` whether it may name
    several; `default_place` serves when `on` is left out. `capability` and `protocol` ("" for any) are what the place
    must offer. Faults in the same place exclude each other while they overlap, unless both have a `layer`, the two
    differ, and neither `excludes` that of the other. `momentary`: done in one moment; the time it is given is how long
    its consequences are watched.
    """

    name: str
    family: str
    summary: str
    place: Place
    make: Callable[[PlannedFault, FaultableStack], Fault]
    refusal: Callable[[PlannedFault, FaultableTarget], str] = lambda _planned, _target: ""
    out_at_once: Callable[[PlannedFault, FaultableTarget], Mapping[str, int]] = lambda _planned, _target: {}
    params: Mapping[str, Param] = field(default_factory=dict)
    default_place: str = ""
    capability: str = "edge"
    protocol: str = ""
    many: bool = False
    layer: str = ""
    excludes: tuple[str, ...] = ()
    momentary: bool = False
