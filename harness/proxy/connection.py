"""One proxied connection: two sockets, a link each way."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import cast

from harness.proxy.link import Direction, Link, PlacedToxic
from harness.proxy.stage import Surroundings
from harness.proxy.timers import Timers
from harness.proxy.traffic import Traffic

WRITE_BUFFER_BYTES = 64 * 1024
"""What may wait in front of a socket that is not read, before the other side is paused."""

_LINGER_0 = struct.pack("ii", 1, 0)


class Endpoint(asyncio.Protocol):
    """One socket of a connection. Implements the links' `Source`."""

    __slots__ = ("_early", "_early_end", "_inward", "_on_lost", "_outward", "_traffic", "forward", "lost", "transport")

    transport: asyncio.Transport

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self.lost = False
        self._on_lost: Callable[[], None] | None = None
        self._early: list[bytes] = []
        self._early_end = False
        self._inward: Link | None = None
        self._outward: Link | None = None
        # uvloop reads on from the moment the socket is attached, paused or not: what comes before the links is kept
        self.forward: Callable[[bytes], object] = self._early.append

    def join(self, inward: Link, outward: Link, on_lost: Callable[[], None]) -> None:
        """Start relaying: `outward` takes what is read here, `inward` writes here; `on_lost` hears when it is over."""
        self._inward, self._outward, self._on_lost = inward, outward, on_lost
        early, self._early = self._early, []
        for data in early:
            self.forward(data)
        if self._early_end:
            outward.end()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is attached."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        """Pass on what was read."""
        self._traffic.received += len(data)
        self.forward(data)

    def eof_received(self) -> bool:
        """The peer closed its sending side; true keeps the transport open until our links have seen it."""
        self._end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The socket is gone: nothing comes from it and nothing goes there."""
        self.lost = True
        self._end()
        if self._inward is not None:
            self._inward.lost()
        if self._on_lost is not None:
            self._on_lost()

    def pause_writing(self) -> None:
        """The peer does not read as fast as we write."""
        if self._inward is not None:
            self._inward.outlet.pause()

    def resume_writing(self) -> None:
        """The peer caught up."""
        if self._inward is not None:
            self._inward.outlet.resume()

    def crowded(self) -> None:
        """Stop reading."""
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def room(self) -> None:
        """Read on."""
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def reset(self) -> None:
        """Close at once, with a RST."""
        if not self.transport.is_closing():
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
        self.transport.abort()

    def _end(self) -> None:
        if self._outward is None:
            self._early_end = True
        else:
            self._outward.end()


class Connection:
    """A client's connection and the one to the upstream that was made for it."""

    def __init__(
        self,
        client: Endpoint,
        upstream: Endpoint,
        traffic: Mapping[Direction, Traffic],
        timers: Timers,
        random: Random,
        on_closed: Callable[[Connection], None],
    ) -> None:
        self._on_closed = on_closed
        self._endpoints = (client, upstream)
        surroundings = Surroundings(timers, random, self.reset)
        self._links: dict[Direction, Link] = {
            "upstream": Link(client, upstream.transport, traffic["upstream"], surroundings),
            "downstream": Link(upstream, client.transport, traffic["downstream"], surroundings),
        }

    def start(self, toxics: Mapping[Direction, Sequence[PlacedToxic]]) -> None:
        """Begin to relay."""
        client, upstream = self._endpoints
        up, down = self._links["upstream"], self._links["downstream"]
        up.apply(toxics["upstream"])
        down.apply(toxics["downstream"])
        client.join(inward=down, outward=up, on_lost=self._lost)
        upstream.join(inward=up, outward=down, on_lost=self._lost)

    def apply(self, direction: Direction, toxics: Sequence[PlacedToxic]) -> None:
        """The toxics of a direction changed."""
        self._links[direction].apply(toxics)

    def reset(self) -> None:
        """RST to both sides."""
        for endpoint in self._endpoints:
            endpoint.reset()

    def abort(self) -> None:
        """Close both sockets at once; what is in flight is lost."""
        for endpoint in self._endpoints:
            endpoint.transport.abort()

    def _lost(self) -> None:
        if all(endpoint.lost for endpoint in self._endpoints):
            for link in self._links.values():
                link.dispose()
            self._on_closed(self)
