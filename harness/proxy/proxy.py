"""A proxy: a listener, the connections through it, and the toxics on them."""

from __future__ import annotations

import asyncio
import logging
import resource
import select
import socket
from dataclasses import dataclass
from random import Random

from harness.proxy.address import Address, AddressError, bound_to, listen
from harness.proxy.connection import Connection, Endpoint
from harness.proxy.dialer import Dialer
from harness.proxy.link import DIRECTIONS, Direction, PlacedToxic
from harness.proxy.timers import Timers
from harness.proxy.traffic import Counters, Labels, Traffic

ACCEPTS_AT_ONCE = 64
ACCEPT_PAUSE_S = 0.1
SPARED_FILES = 64
"""File descriptors that no proxied connection may take: a server that has none left for its API can't be helped."""
HANG_UP_LOOK_S = 1.0
"""How often it is looked whether a client still waits for an upstream that takes its time."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Engine:
    """What all proxies of a server share."""

    timers: Timers
    counters: Counters
    random: Random


class Proxy:
    """Listens on `listen` while `enabled` and relays to `upstream`. Lives in the event loop's thread."""

    def __init__(self, name: str, listen: str, upstream: str, engine: Engine) -> None:
        self.name = name
        self.listen = listen
        self.upstream = upstream
        self._engine = engine
        self._toxics: dict[Direction, tuple[PlacedToxic, ...]] = dict.fromkeys(DIRECTIONS, ())
        self._listener: socket.socket | None = None
        self._dialer = Dialer(upstream)
        self._traffic: dict[Direction, Traffic] = {}
        self._connections: set[Connection] = set()
        self._dials: set[asyncio.Task[None]] = set()

    @property
    def enabled(self) -> bool:
        """Whether it listens."""
        return self._listener is not None

    @property
    def toxics(self) -> tuple[PlacedToxic, ...]:
        """All toxics: upstream first, each direction in the order they were added."""
        return tuple(placed for direction in DIRECTIONS for placed in self._toxics[direction])

    def toxic(self, name: str) -> PlacedToxic | None:
        """The toxic of that name, if any."""
        return next((placed for placed in self.toxics if placed.name == name), None)

    def place(self, placed: PlacedToxic) -> None:
        """Add a toxic, or replace the one of the same name where it is; open connections have it at once."""
        current = self._toxics[placed.direction]
        if any(other.name == placed.name for other in current):
            changed = tuple(placed if other.name == placed.name else other for other in current)
        else:
            changed = (*current, placed)
        self._set_toxics(placed.direction, changed)

    def remove(self, placed: PlacedToxic) -> None:
        """Take a toxic off."""
        remaining = tuple(other for other in self._toxics[placed.direction] if other.name != placed.name)
        self._set_toxics(placed.direction, remaining)

    def remove_all(self) -> None:
        """Take every toxic off, one after the other."""
        for placed in self.toxics:
            self.remove(placed)

    def start(self, address: Address) -> None:
        """Listen on `address`; `listen` becomes what that gave. Raises AddressError."""
        self._listener = listen(address)
        self.listen = bound_to(self._listener)
        self._dialer = Dialer(self.upstream)
        self._traffic = {
            direction: self._engine.counters.of(Labels(direction, self.listen, self.name, self.upstream))
            for direction in DIRECTIONS
        }
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def stop(self) -> None:
        """Close the listener and every connection, those still being made included."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        asyncio.get_running_loop().remove_reader(listener)
        listener.close()
        for dial in self._dials:
            dial.cancel()
        for connection in list(self._connections):
            connection.abort()

    def _set_toxics(self, direction: Direction, toxics: tuple[PlacedToxic, ...]) -> None:
        self._toxics[direction] = toxics
        for connection in list(self._connections):
            connection.apply(direction, toxics)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            if self._listener is None:
                return
            try:
                client, _address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                self._rest(self._listener, str(error))
                return
            # the lowest free number is taken first, so this one tells how many are; each dial will take one more
            if client.fileno() + len(self._dials) >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARED_FILES:
                client.close()
                self._rest(self._listener, "too many open files")
                return
            client.setblocking(False)
            dial = asyncio.ensure_future(self._connect(client))
            self._dials.add(dial)
            dial.add_done_callback(self._dials.discard)
            asyncio.get_running_loop().call_later(HANG_UP_LOOK_S, _end_if_hung_up, client, dial)

    def _rest(self, listener: socket.socket, reason: str) -> None:
        """Out of file descriptors or memory: leave the backlog alone for a moment."""
        _log.warning("%s cannot accept: %s; trying again in %s s", self.name, reason, ACCEPT_PAUSE_S)
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)

        def resume() -> None:
            if self._listener is listener:
                loop.add_reader(listener, self._accept)

        loop.call_later(ACCEPT_PAUSE_S, resume)

    async def _connect(self, client_socket: socket.socket) -> None:
        """Dial the upstream, then attach the client: what it sends meanwhile waits in the kernel."""
        traffic = self._traffic
        upstream: Endpoint | None = None
        try:
            upstream = await self._dialer.dial(lambda: Endpoint(traffic["downstream"]))
            client = Endpoint(traffic["upstream"])
            await asyncio.get_running_loop().connect_accepted_socket(lambda: client, client_socket)
        except (OSError, AddressError) as error:
            _log.info("%s cannot connect to %s: %s", self.name, self.upstream, error)
            _close(client_socket, upstream)
            return
        except asyncio.CancelledError:
            _close(client_socket, upstream)
            raise
        if client.lost or upstream.lost or self._traffic is not traffic or not self.enabled:
            client.transport.abort()
            upstream.transport.abort()
            return
        connection = Connection(
            client, upstream, traffic, self._engine.timers, self._engine.random, self._connections.discard
        )
        self._connections.add(connection)
        connection.start(self._toxics)


def _close(client: socket.socket, upstream: Endpoint | None) -> None:
    client.close()
    if upstream is not None:
        upstream.transport.abort()


def _end_if_hung_up(client: socket.socket, dial: asyncio.Task[None]) -> None:
    """An upstream that never answers must not keep the sockets of all who have given up on it."""
    if dial.done():
        return
    poll = select.poll()
    poll.register(client, select.POLLRDHUP)
    if poll.poll(0):
        dial.cancel()
    else:
        asyncio.get_running_loop().call_later(HANG_UP_LOOK_S, _end_if_hung_up, client, dial)
