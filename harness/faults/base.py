"""What a fault is: its description for the catalogue, and the four moves every fault makes.

A fault never undoes itself by remembering what it did. It hands out its undo as data before it touches anything;
the conductor, the guard and `harness rollback` all carry out the same data (`harness.faults.undo`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from harness.plan import PlannedFault

ParamKind = Literal["duration", "integer", "number", "percentage", "choice", "string"]
Undo = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a fault. Durations reach the fault in seconds, percentages as shares (0.3 for 30 %)."""

    kind: ParamKind
    help: str
    required: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """A dependency edge with its proxy: who calls whom, through which proxy, listening where (`host:port`)."""

    source: str
    destination: str
    proxy: str
    address: str
    protocol: str


class FaultableStack(Protocol):
    """What faults may ask of a stack. A stack that lacks a capability is refused at plan time."""

    @property
    def proxy_api(self) -> str:
        """`host:port` of the Toxiproxy API."""

    def edge(self, name: str) -> Edge:
        """The edge `source->destination`."""

    def address(self, component: str) -> str:
        """`host:port` of a component itself, not through a proxy."""

    def protocol(self, component: str) -> str:
        """`postgres`, `redis` or `http`."""

    def kill(self, component: str) -> None:
        """End the component at once (SIGKILL), as a crash does."""

    def start_undo(self, component: str) -> Undo:
        """The undo that starts the component again as it was, at the same address."""


class Fault(Protocol):
    """The moves of one planned fault against one stack. `is_active` and `is_clear` probe the effect, not the call."""

    def undo(self) -> Sequence[Undo]:
        """Everything that takes the fault back, in order; harmless when done twice or before the injection."""

    def inject(self) -> None:
        """Do it."""

    def is_active(self) -> bool:
        """Whether the effect can be seen now."""

    def is_clear(self) -> bool:
        """Whether the effect is gone now."""


@dataclass(frozen=True, slots=True)
class FaultType:
    """An entry of the fault catalogue.

    `place` says what `on` names in a scenario; `default_place` serves when `on` is left out. Two faults in the same
    `place` exclude each other while they overlap. `capability` is what the target must offer.
    """

    name: str
    family: str
    summary: str
    place: Literal["edge", "component"]
    make: Callable[[PlannedFault, FaultableStack], Fault]
    params: Mapping[str, Param] = field(default_factory=dict)
    default_place: str = ""
    capability: str = "edges"
