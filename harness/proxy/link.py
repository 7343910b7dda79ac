"""One direction of one connection: from the socket that is read, through the stages of its toxics, to the other socket.

With no toxic at work the reading socket's data goes straight to the other transport's `write`, and nothing of this
module runs per message.
"""

from __future__ import annotations

import time
from asyncio import Transport
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from harness.proxy.stage import Incoming, Outgoing, Stage, Surroundings
from harness.proxy.toxics.base import Chunk, Toxic
from harness.proxy.traffic import Traffic

Direction: TypeAlias = Literal["upstream", "downstream"]
DIRECTIONS: tuple[Direction, Direction] = ("upstream", "downstream")


@dataclass(frozen=True, slots=True)
class PlacedToxic:
    """A toxic on a proxy. `stream` is the direction as the client spelled it."""

    name: str
    stream: str
    toxicity: float
    toxic: Toxic

    @property
    def direction(self) -> Direction:
        """The direction it acts on."""
        return "upstream" if self.stream.lower() == "upstream" else "downstream"


class Source(Incoming, Protocol):
    """The socket a link reads from."""

    forward: Callable[[bytes], object]
    """Called with all that is read."""


class Outlet:
    """The socket a link writes to. Implements Outgoing."""

    def __init__(self, transport: Transport, traffic: Traffic, before: Incoming) -> None:
        self.before = before
        self.full = False
        self.ended = False
        self._transport = transport
        self._traffic = traffic

    def feed(self, chunk: Chunk) -> None:
        """Write; dropped once the stream has ended here."""
        if not self.ended:
            self._traffic.withheld -= chunk.size
            self._transport.write(bytes(chunk.data))  # a copy of a piece, as a view would keep all it was cut from

    def end(self) -> None:
        """Close the socket when all is written. There is no half-close: this ends the other direction too."""
        if not self.ended:
            self.ended = True
            self._transport.close()

    def pause(self) -> None:
        """The socket's buffer is full."""
        self.full = True
        self.before.crowded()

    def resume(self) -> None:
        """The socket's buffer has drained."""
        self.full = False
        self.before.room()


class Link:
    """Carries `source`'s data to `transport`, through one stage per toxic that applies to this connection."""

    def __init__(self, source: Source, transport: Transport, traffic: Traffic, surroundings: Surroundings) -> None:
        self._source = source
        self._traffic = traffic
        self._surroundings = surroundings
        self._draws: dict[str, float] = {}
        self._stages: dict[str, Stage] = {}
        self._write = transport.write
        self._ended = False
        self.outlet = Outlet(transport, traffic, source)
        self._first: Outgoing = self.outlet
        source.forward = self._write

    def apply(self, toxics: Sequence[PlacedToxic]) -> None:
        """Make the stages those of `toxics`, in that order. Data in flight stays in order and is not lost."""
        if self.outlet.ended:
            return
        self._draws = {placed.name: self._draw(placed.name) for placed in toxics}
        wanted = {placed.name: placed.toxic for placed in toxics if self._draws[placed.name] < placed.toxicity}
        for name in [name for name in self._stages if name not in wanted]:
            removed = self._stages.pop(name)
            self._connect()
            removed.dismiss()
        for name, stage in self._stages.items():
            if stage.toxic != wanted[name]:
                stage.change(wanted[name])
        for name, toxic in wanted.items():
            if name not in self._stages:
                self._insert(name, toxic, list(wanted))
        self._connect()
        self._settle()

    def feed(self, data: bytes) -> None:
        """Take what was read, through the stages."""
        self._traffic.withheld += len(data)
        self._first.feed(Chunk(data, time.monotonic_ns()))

    def end(self) -> None:
        """The source closed: the stages see it in turn, then the outlet closes."""
        if not self._ended:
            self._ended = True
            self._first.end()

    def lost(self) -> None:
        """The outlet's socket is gone: what still comes is dropped."""
        self.outlet.ended = True
        self._source.forward = self._drop
        self.outlet.resume()

    def dispose(self) -> None:
        """Stop all stages; both sockets are gone."""
        for stage in self._stages.values():
            stage.dispose()
        self._stages.clear()

    def _draw(self, name: str) -> float:
        """The connection's own luck with this toxic, in [0, 1): drawn once, whatever toxicity is set later."""
        drawn = self._draws.get(name)
        return self._surroundings.random.random() if drawn is None else drawn

    def _insert(self, name: str, toxic: Toxic, order: Sequence[str]) -> None:
        """Put a new stage where `order` has it."""
        position = sum(1 for other in order[: order.index(name)] if other in self._stages)
        before = list(self._stages.items())
        after: Outgoing = before[position][1] if position < len(before) else self.outlet
        stage = Stage(toxic, after, self._source, self._surroundings)
        self._stages = dict([*before[:position], (name, stage), *before[position:]])
        self._connect()

    def _connect(self) -> None:
        """Tell each stage, the source and the outlet its neighbours."""
        before: Incoming = self._source
        stages = list(self._stages.values())
        followers: list[Outgoing] = [*stages[1:], self.outlet]
        for stage, after in zip(stages, followers, strict=True) if stages else ():
            stage.before, stage.after = before, after
            before = stage
        self.outlet.before = before
        self._first = stages[0] if stages else self.outlet
        self._source.forward = self.feed if stages else self._write

    def _settle(self) -> None:
        """After a change of neighbours: whoever waited for one that is gone goes on, or holds back again."""
        receivers: list[Stage | Outlet] = [*self._stages.values(), self.outlet]
        for receiver in reversed(receivers):
            if receiver.full:
                receiver.before.crowded()
            else:
                receiver.before.room()

    def _drop(self, data: bytes) -> None:
        self._traffic.withheld += len(data)
