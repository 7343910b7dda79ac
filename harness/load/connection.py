"""One keep-alive HTTP/1.1 connection of one virtual user: what is asked for is sent once, and never again.

A request that fails is reported, not repeated: the retries of a client are part of the load, so they are made by
its retry policy (`harness.load.retries`) and by nothing below it.
"""

from __future__ import annotations

import errno
import os
import re
import select
import socket
from typing import Any, Final

import httptools
from gevent import getcurrent
from gevent.hub import get_hub
from gevent.monkey import get_original

from harness.clock import NS, now_ns
from harness.errors import LoadError
from harness.load.deadlines import DeadlineExpired, Deadlines
from harness.load.waiting import wait_in

_raw_socket: Final = get_original("socket", "socket")  # never blocks here: it waits in the hub by itself
_raw_poll: Final = get_original("select", "poll")
_READ: Final = 1
_WRITE: Final = 2
_IDLE_NS: Final = NS // 10  # no server gives up on a connection sooner
_TURNS: Final = 2  # of the hub: in the second one, what was there to see in the first one has been seen to
_RECEIVE_BYTES: Final = 16384  # as much memory is taken for each response, however short it is
_STILL_CONNECTING: Final = (errno.EINPROGRESS, errno.EWOULDBLOCK)
_OWN_LIMITS: Final = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS)
_INTERIM: Final = re.compile(rb"HTTP/\d\.\d 1")


class ExchangeError(Exception):
    """An attempt got no whole response; `word` is `timeout`, `connect`, `reset` or `protocol`."""

    def __init__(self, word: str, detail: str) -> None:
        super().__init__(detail)
        self.word = word


class Connection:
    """A connection to `address`, opened when needed; after an `exchange` holds its response.

    `status`, `head` (raw bytes of the response up to and beyond its headers), `body` (as it came over the wire) and
    `answered_ns`, the monotonic instant at which it was complete, are those of the last exchange.
    """

    __slots__ = (
        "_address",
        "_answered_turn",
        "_bodiless",
        "_chunks",
        "_deadlines",
        "_done",
        "_exchanging",
        "_family",
        "_headers_done",
        "_hub",
        "_keep",
        "_loop",
        "_parser",
        "_poll",
        "_readable",
        "_socket",
        "_wait",
        "answered_ns",
        "greenlet",
        "head",
        "status",
    )

    def __init__(self, family: int, address: tuple[Any, ...], deadlines: Deadlines) -> None:
        self._family = family
        self._address = address
        self._deadlines = deadlines
        self._hub = get_hub()
        self._loop = self._hub.loop
        self._wait = wait_in(self._hub)
        self._socket: Any = None
        self._readable: Any = None
        self._poll: Any = None
        self._parser: Any = None
        self._chunks: list[bytes] = []
        self._exchanging = False
        self.greenlet: Any = None
        self.answered_ns = self._answered_turn = 0
        self.status = 0
        self.head = b""

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that the next exchange may use."""
        return self._socket is not None

    @property
    def body(self) -> bytes:
        """The body of the last response, as it came over the wire (chunks joined, content coding kept)."""
        chunks = self._chunks
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def exchange(self, request: bytes, start_ns: int, bodiless: bool) -> None:
        """Send `request` and read the whole response to it; the timeout runs from `start_ns` over all of this.

        `bodiless` says that the response has headers only (to HEAD). Raises `ExchangeError`, and `LoadError` when
        this process is out of sockets; the connection is closed then, as it is after a response that asks for it.
        """
        self.greenlet = getcurrent()
        self._bodiless = bodiless
        self._headers_done = self._done = self._keep = False
        self._chunks = []
        self.head = b""
        self._deadlines.start(self, start_ns)
        try:
            # Not asked when it was in use a moment ago, and the hub, which watches it, has looked since then.
            watched = self._loop.iteration - self._answered_turn >= _TURNS and start_ns - self.answered_ns < _IDLE_NS
            if self._socket is None or (not watched and self._is_stale()):
                self._connect()
            if self._parser is None:
                self._parser = httptools.HttpResponseParser(self)
            self._exchanging = True
            self._send(request)
            while not self._done:
                self._wait()
            self.answered_ns, self._answered_turn = now_ns(), self._loop.iteration
        except DeadlineExpired:
            raise ExchangeError("timeout", "no whole response within the timeout") from None
        finally:
            self._exchanging = False
            self._deadlines.end(self)
            if not self._keep:
                self.close()
            elif bodiless:
                self._parser = None  # it would take the next response for the body of this one

    def close(self) -> None:
        """Close the connection if it is open."""
        if self._socket is not None:
            self._readable.close()
            self._socket.close()
            self._socket = None
            self._parser = None

    def _is_stale(self) -> bool:
        # An idle connection with something to read was closed by the server, or got bytes nobody asked for.
        # poll(), because select() cannot watch file descriptors from 1024 on.
        if self._poll.poll(0):
            self.close()
            return True
        return False

    def _connect(self) -> None:
        sock = self._open_socket()
        try:
            code = sock.connect_ex(self._address)
            if code in _STILL_CONNECTING:
                self._wait_until_connected(sock)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code in _OWN_LIMITS:
                raise _own_limit(code)
            if code or _is_itself(sock):
                raise ExchangeError("connect", errno.errorcode.get(code, "no listener"))
        except OSError as error:
            sock.close()
            raise ExchangeError("connect", error.strerror or str(error)) from error
        except BaseException:
            sock.close()
            raise
        self._socket = sock
        self._poll = _poll_of(sock)
        self._readable = self._loop.io(sock.fileno(), _READ)
        self._readable.start(self._on_readable)

    def _wait_until_connected(self, sock: Any) -> None:
        watcher = self._loop.io(sock.fileno(), _WRITE)
        try:
            self._hub.wait(watcher)
        finally:
            watcher.close()

    def _open_socket(self) -> Any:
        try:
            sock = _raw_socket(self._family, socket.SOCK_STREAM)
        except OSError as error:
            raise _own_limit(error.errno or 0) from error
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def _send(self, request: bytes) -> None:
        while not self._done:
            try:
                sent = self._socket.send(request)
            except BlockingIOError:
                self._wait_to_send()
            except OSError as error:
                raise ExchangeError("reset", f"while sending: {error.strerror}") from error
            else:
                if sent == len(request):
                    return
                request = request[sent:]
        self._keep = False  # the response came first, and whatever is left of the request is not sent any more

    def _wait_to_send(self) -> None:
        # Not by `hub.wait`, whose greenlet nothing else may wake: the response can come first.
        watcher = self._loop.io(self._socket.fileno(), _WRITE)
        try:
            watcher.start(self.greenlet.switch)
            self._wait()
        finally:
            watcher.close()

    def _on_readable(self) -> None:
        # Runs in the hub, whenever there is something to read; the greenlet of the exchange is waiting there.
        if not self._exchanging:
            self.close()  # the server closed it, or sent what nobody asked for
            return
        try:
            self._receive()
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the one who waits for the response
            self.greenlet.throw(error)
        else:
            if self._done:
                self.greenlet.switch()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise ExchangeError("reset", f"while receiving: {error.strerror}") from error
        if not data:
            self._end_of_stream()
            return
        if not self._headers_done:
            self.head = self.head + data if self.head else data
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._done:
                raise ExchangeError("protocol", str(error)) from error
            self._keep = False  # the response was whole; what came after it was not asked for

    def _end_of_stream(self) -> None:
        # A body without a declared length ends with the connection (RFC 9112, 6.3); anything else was cut short.
        if not self._headers_done or is_framed(self.head):
            raise ExchangeError("reset", "the connection was closed before the response was complete")
        self._done = True

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Parser callback: the first byte of a response."""
        if self._done:
            self._keep = False  # nobody asked for another one

    def on_headers_complete(self) -> None:
        """Parser callback: the headers of an interim or final response are complete."""
        if self._done:
            return
        self.status = self._parser.get_status_code()
        if self.status >= 200:
            self._headers_done = True
            if self._bodiless:
                self._done, self._keep = True, self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """Parser callback: a part of the body."""
        if not self._done:
            self._chunks.append(data)

    def on_message_complete(self) -> None:
        """Parser callback: a response is complete; an interim one (1xx) is followed by the final one."""
        if self._done:
            self._keep = self._keep and self._bodiless
        elif self._headers_done:
            self._done, self._keep = True, self._parser.should_keep_alive()


def is_framed(head: bytes) -> bool:
    """Whether the final response in `head` declares where its body ends (Content-Length or Transfer-Encoding)."""
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in header_fields(head))


def header_fields(head: bytes) -> list[tuple[bytes, bytes]]:
    """The header fields of the final response in `head` (interim ones are skipped), names in lower case."""
    block, _, rest = head.partition(b"\r\n\r\n")
    while rest and _INTERIM.match(block):
        block, _, rest = rest.partition(b"\r\n\r\n")
    fields = (line.partition(b":") for line in block.split(b"\r\n")[1:])
    return [(name.lower(), value.strip()) for name, _, value in fields]


def _own_limit(code: int) -> LoadError:
    return LoadError(
        f"the load worker cannot open another connection: {os.strerror(code)}",
        remedy="raise the limit of open files (ulimit -n), lower `pool`, or spread the load over more workers",
    )


def _is_itself(sock: Any) -> bool:
    # On loopback, a connect to a port nobody listens on can meet itself (simultaneous open of the same port).
    return bool(sock.getsockname() == sock.getpeername())


def _poll_of(sock: Any) -> Any:
    poll = _raw_poll()
    poll.register(sock.fileno(), select.POLLIN)
    return poll
