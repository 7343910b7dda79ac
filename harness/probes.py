"""Does it answer, and how fast: one tiny exchange in the protocol of the component, through a proxy or directly.

Used for readiness and for confirming faults by their effect. No credentials are needed for any of them.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a probe saw: `ok` when the protocol's answer came, `seconds` for the exchange after connecting."""

    ok: bool
    seconds: float
    error: str = ""


def probe(protocol: str, address: str, *, timeout_s: float = 1.0, path: str = "") -> Answer:
    """One exchange with `address` (`host:port`): Postgres SSLRequest, Redis PING, or an HTTP GET.

    A `path` must answer 200. Without one, any HTTP answer is an exchange, also that there is no such page.
    `timeout_s` bounds the connection and the exchange together. Source of the first: PostgreSQL's message formats.
    """
    started = time.monotonic()
    deadline = started + timeout_s
    try:
        with socket.create_connection(split(address), timeout=timeout_s) as connection:
            started = time.monotonic()
            _EXCHANGES[protocol](connection, deadline, path)
            return Answer(True, time.monotonic() - started)
    except (OSError, _Unexpected) as error:
        return Answer(False, time.monotonic() - started, str(error) or type(error).__name__)


def refused(address: str) -> bool:
    """Whether nothing listens there."""
    try:
        socket.create_connection(split(address), timeout=1.0).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def wait_for(condition: Callable[[], bool], *, timeout_s: float, every_s: float = 0.02) -> bool:
    """Poll until the condition holds (True) or the time is up (False)."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every_s)
    return True


def get(address: str, path: str) -> bytes:
    """A GET of `path`, as it goes over the wire; some apps answer only to a Host that is theirs."""
    return f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode()


def split(address: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port` into its parts."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


class _Unexpected(Exception):
    """The peer answered, but not in its protocol."""


def _receive(connection: socket.socket, deadline: float) -> bytes:
    connection.settimeout(max(0.001, deadline - time.monotonic()))
    data = connection.recv(4096)
    if not data:
        raise _Unexpected("closed without an answer")
    return data


def _postgres(connection: socket.socket, deadline: float, _path: str) -> None:
    connection.sendall(_SSL_REQUEST)
    if _receive(connection, deadline)[:1] not in (b"N", b"S"):
        raise _Unexpected("not a PostgreSQL server")


def _redis(connection: socket.socket, deadline: float, _path: str) -> None:
    connection.sendall(b"PING\r\n")
    answer = _receive(connection, deadline)
    if not answer.startswith(b"+PONG"):
        raise _Unexpected(answer.split(b"\r\n")[0].decode(errors="replace"))


def _http(connection: socket.socket, deadline: float, path: str) -> None:
    host, port = connection.getpeername()[:2]
    connection.sendall(get(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", path or "/healthz"))
    version, _, answer = _receive(connection, deadline).partition(b" ")
    if not version.startswith(b"HTTP/"):
        raise _Unexpected("not an HTTP server")
    if path and not answer.startswith(b"200"):
        raise _Unexpected(f"HTTP status {answer[:3].decode(errors='replace')}")


_EXCHANGES: dict[str, Callable[[socket.socket, float, str], None]] = {
    "postgres": _postgres,
    "redis": _redis,
    "http": _http,
}
