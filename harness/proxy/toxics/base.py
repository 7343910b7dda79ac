"""What a toxic is: settings, and a generator that decides when and how much of a stream may pass.

A toxic never touches data. Its `pipe` is a generator that yields *commands* and is answered by the machinery
(`harness.proxy.stage`), once per connection:

    while isinstance(chunk := (yield RECEIVE), Chunk):
        yield Until(chunk.arrived_ns + 10_000_000)
        yield FORWARD

When the generator returns, its end of the stream closes. When the toxic is changed or removed, the generator is closed
wherever it waits, and the machinery passes on what it had in hand. So a toxic is one small file: a frozen dataclass of
integers, derived from `Toxic`, with `@toxic("its_type")` above it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from typing import ClassVar, Protocol, TypeAlias, TypeVar

from harness.proxy import gojson
from harness.proxy.jsonscan import Value

NS_PER_MS = 1_000_000
NS_PER_US = 1_000


class Chunk:
    """Bytes as they were read at one instant. `arrived_ns` is what delays are measured from."""

    __slots__ = ("arrived_ns", "data")

    def __init__(self, data: bytes | memoryview, arrived_ns: int) -> None:
        self.data = data
        self.arrived_ns = arrived_ns

    @property
    def size(self) -> int:
        """Number of bytes."""
        return len(self.data)


class Signal(Enum):
    """An answer that is not a chunk."""

    DONE = auto()
    """The command was carried out."""
    END = auto()
    """To `Receive`: the sender closed; nothing comes any more."""
    TIMED_OUT = auto()
    """To `Receive`: nothing came in time."""


@dataclass(frozen=True, slots=True)
class Receive:
    """Wait for the next chunk, or for `within_ns`. What was left of the chunk before is dropped."""

    within_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Until:
    """Wait until a monotonic instant."""

    when_ns: int


@dataclass(frozen=True, slots=True)
class Forward:
    """Pass on the next `size` bytes of the chunk in hand (all that is left of it when None), as room allows."""

    size: int | None = None


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset both sockets of the connection (RST)."""


RECEIVE = Receive()
FORWARD = Forward()
RESET = Reset()

Command: TypeAlias = Receive | Until | Forward | Reset
Pipe: TypeAlias = Generator[Command, Chunk | Signal, None]


class Tap(Protocol):
    """What a pipe may know about its place on one connection."""

    @property
    def random(self) -> Random:
        """The server's source of randomness."""

    @property
    def passed(self) -> int:
        """Bytes this toxic has passed on here since it was added, through all changes of its settings."""

    def now_ns(self) -> int:
        """The monotonic clock."""


@dataclass(frozen=True)
class Toxic:
    """Settings of one type of toxic; the fields are its attributes in the API, in that order."""

    TYPE: ClassVar[str] = ""
    INTEGER: ClassVar[str] = "int64"
    """The Go type of the fields, for error texts. (The class's own name is the Go type of the whole.)"""
    CAPACITY_BYTES: ClassVar[int] = 64 * 1024
    """How much may wait in front of this toxic on one connection before its sender is paused."""
    CAPACITY_CHUNKS: ClassVar[int] = 1024
    REMOVAL_CLOSES: ClassVar[bool] = False
    """Whether taking this toxic off ends the stream and drops what waits."""

    def pipe(self, tap: Tap) -> Pipe:
        """Treat the stream of one connection."""
        raise NotImplementedError

    def problem(self) -> str:
        """Why these settings cannot work, or nothing."""
        return ""

    def attributes(self) -> dict[str, int]:
        """The settings by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def updated(self, attributes: Value) -> Toxic:
        """These settings with `attributes` (a parsed JSON object) on top. Raises DecodeError."""
        fields = {field.name: gojson.integer(self.INTEGER) for field in dataclasses.fields(self)}
        values = gojson.read_fields(attributes, fields, type_name=f"toxics.{type(self).__name__}", path="attributes.")
        return dataclasses.replace(self, **values)


_ToxicClass = TypeVar("_ToxicClass", bound=type[Toxic])
_registry: dict[str, type[Toxic]] = {}


def toxic(name: str) -> Callable[[_ToxicClass], _ToxicClass]:
    """Class decorator: make a toxic known to the API as type `name`."""

    def register(cls: _ToxicClass) -> _ToxicClass:
        if name in _registry:
            raise ValueError(f"toxic {name!r} is registered twice: {_registry[name].__name__} and {cls.__name__}")
        cls.TYPE = name
        _registry[name] = cls
        return cls

    return register


def registered() -> Mapping[str, type[Toxic]]:
    """Every known toxic by type."""
    return dict(sorted(_registry.items()))
