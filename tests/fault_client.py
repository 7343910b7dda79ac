"""What tests of faults see as clients of Redis over an edge: connections that stay open, requests, what comes back."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from harness.probes import split


class RedisClient:
    """One open connection."""

    def __init__(self, address: str) -> None:
        self._socket = socket.create_connection(split(address), timeout=5.0)

    def close(self) -> None:
        self._socket.close()

    def ask(self, size: int = 0, *, timeout_s: float = 5.0) -> list[bytes]:
        """PING, or ECHO of so many bytes: the answer in the pieces in which it came, up to the connection's end."""
        if size:
            answer = b"$%d\r\n%s\r\n" % (size, b"x" * size)
            self._socket.sendall(b"*2\r\n$4\r\nECHO\r\n" + answer)
        else:
            answer = b"+PONG\r\n"
            self._socket.sendall(b"PING\r\n")
        self._socket.settimeout(timeout_s)
        pieces: list[bytes] = []
        while len(b"".join(pieces)) < len(answer):
            piece = self._socket.recv(65536)
            if not piece:
                break
            pieces.append(piece)
        return pieces

    def ends(self, *, timeout_s: float = 5.0) -> bool:
        """Whether the connection has come to its end; waits for it."""
        self._socket.settimeout(timeout_s)
        try:
            return self._socket.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True

    def quit(self) -> None:
        """Have the server say goodbye and close; returns when the goodbye has come."""
        self._socket.sendall(b"QUIT\r\n")
        assert self._socket.recv(5) == b"+OK\r\n"


def seconds(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started
