"""What a client meets at an address: one conversation in the component's protocol, of a wanted size, timed.

No credentials are needed, except that more than `_PADDED` bytes move through PostgreSQL only where its superuser may
log in without a password. Any answer in the protocol is an answer: HTTP status 404 or 503, an error of Redis.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import httptools

from harness.faults.base import Edge
from harness.probes import split

End = Literal["answered", "silent", "closed", "reset", "refused"]

HTTP_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: probe\r\nX-Harness-Probe: 1\r\n"
_HTTP_PAD = b"X-Pad: " + b"x" * 500 + b"\r\n"
_PADDED = 9000
"""PostgreSQL takes no longer startup packets than 10,000 bytes."""


@dataclass(frozen=True, slots=True)
class Met:
    """How it ended, `seconds` from the connection on, and how many bytes had gone each way by then."""

    end: End
    seconds: float
    sent: int = 0
    received: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """One edge, and the way around its proxy: what is due to the edge is what it adds to the far end's own answer."""

    edge: Edge
    upstream: str

    def over(self, *, size: int = 0, timeout_s: float = 1.0) -> Met:
        """A conversation over the edge (see `converse`)."""
        return converse(self.edge.protocol, self.edge.address, size=size, timeout_s=timeout_s)

    def around(self, *, size: int = 0, timeout_s: float = 1.0) -> Met:
        """The same with the far end itself."""
        return converse(self.edge.protocol, self.upstream, size=size, timeout_s=timeout_s)

    def adds(self, bar_s: float) -> bool:
        """Whether the edge adds `bar_s` or more to the least conversation. It waits no longer than that."""
        around = self.around()
        return around.end == "answered" and self.over(timeout_s=around.seconds + bar_s).end == "silent"

    def is_sound(self) -> bool:
        """Whether the edge answers, or can't because its far end does not either."""
        return self.over().end == "answered" or self.around().end != "answered"


def converse(protocol: str, address: str, *, size: int = 0, timeout_s: float = 1.0) -> Met:
    """One conversation on a new connection; it moves at least `size` bytes each way, the least possible for 0."""
    with Line(address, timeout_s) as line:
        return line.meet(lambda: _CONVERSATIONS[protocol](line, size))


class Line:
    """A client's connection that counts its bytes and its seconds; `refused` and `silent` are seen by `meet`."""

    def __init__(self, address: str, timeout_s: float) -> None:
        self._deadline = time.monotonic() + timeout_s
        self._failed: End | None = None
        self._socket: socket.socket | None = None
        self.sent = self.received = 0
        try:
            self._socket = socket.create_connection(split(address), timeout=timeout_s)
        except TimeoutError:
            self._failed = "silent"
        except OSError:
            self._failed = "refused"
        self._connected = time.monotonic()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()

    def meet(self, conversation: Callable[[], None]) -> Met:
        """How a conversation on this line goes. It may raise EOFError for an answer that ends too early."""
        return Met(
            self._failed or self._end(conversation), time.monotonic() - self._connected, self.sent, self.received
        )

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._ready().sendall(data)
        self.sent += len(data)

    def receive(self, least: int = 1) -> bytes:
        """What comes next, `least` bytes of it or more. Raises EOFError when there are not so many."""
        data = bytearray()
        while len(data) < least:
            part = self._ready().recv(65536)
            if not part:
                raise EOFError
            self.received += len(part)
            data += part
        return bytes(data)

    def _ready(self) -> socket.socket:
        assert self._socket is not None
        self._socket.settimeout(max(0.001, self._deadline - time.monotonic()))
        return self._socket

    def _end(self, conversation: Callable[[], None]) -> End:
        try:
            conversation()
        except TimeoutError:
            return "silent"
        except (ConnectionResetError, BrokenPipeError):
            return "reset"
        except EOFError:
            return "closed"
        return "answered"


def part(protocol: str, address: str, *, timeout_s: float = 1.0) -> Met:
    """Have the far end of a new connection close it after its answer; `answered` when it has."""

    def until_closed(line: Line) -> None:
        line.send(_PARTINGS[protocol])
        try:
            while line.receive():
                continue
        except EOFError:
            return

    with Line(address, timeout_s) as line:
        return line.meet(lambda: until_closed(line))


_PARTINGS = {
    # A request to cancel what nobody does is answered by the end of the connection.
    "postgres": struct.pack("!iiii", 16, 80877102, 0, 0),
    "redis": b"QUIT\r\n",
    "http": HTTP_REQUEST + b"Connection: close\r\n\r\n",
}


def _redis(line: Line, size: int) -> None:
    if not size:
        line.send(b"PING\r\n")
        line.receive()
        return
    echo = b"$%d\r\n%s\r\n" % (size, b"x" * size)
    line.send(b"*2\r\n$4\r\nECHO\r\n" + echo)
    if (start := line.receive()).startswith(b"$"):
        line.receive(len(echo) - len(start))


def _postgres(line: Line, size: int) -> None:
    if not size:
        line.send(struct.pack("!ii", 8, 80877103))
        line.receive()
    elif size <= _PADDED:
        # An option that the server does not know comes back by name, before anybody has logged in.
        line.send(_startup(user="postgres", **{"_pq_." + "x" * size: ""}))
        start = line.receive(5)
        line.receive(1 + struct.unpack("!i", start[1:5])[0] - len(start))
    else:
        line.send(_startup(user="postgres", database="postgres"))
        _until_ready(line)
        query = b"SELECT '" + b"x" * size + b"'\0"
        line.send(b"Q" + struct.pack("!i", 4 + len(query)) + query)
        _until_ready(line)


def _startup(**parameters: str) -> bytes:
    body = b"".join(f"{name}\0{value}\0".encode() for name, value in parameters.items()) + b"\0"
    return struct.pack("!ii", 8 + len(body), 196608) + body


def _until_ready(line: Line) -> None:
    """Read up to the message ReadyForQuery. A refused login ends in the end of the connection."""
    data = line.receive(6)
    while data[-6:-1] != b"Z\0\0\0\5":
        data = data[-5:] + line.receive()


def _http(line: Line, size: int) -> None:
    request = HTTP_REQUEST + (_HTTP_PAD if size else b"") + b"\r\n"
    while True:
        answer = HttpAnswer()
        line.send(request)
        while not answer.complete:
            answer.feed(line.receive())
        if min(line.sent, line.received) >= size:
            return


class HttpAnswer:
    """An answer as it comes in: `status`, header fields in lower case, `body`, and whether it is `complete`."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""
        self.complete = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """The next bytes. Raises EOFError for what is no HTTP."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise EOFError(str(error)) from error

    @property
    def status(self) -> int:
        """The status, 0 while it has not come."""
        return int(self._parser.get_status_code())

    def on_header(self, name: bytes, value: bytes) -> None:
        """For the parser."""
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        """For the parser."""
        self.body += data

    def on_message_complete(self) -> None:
        """For the parser."""
        self.complete = True


_CONVERSATIONS: dict[str, Callable[[Line, int], None]] = {"postgres": _postgres, "redis": _redis, "http": _http}
