"""Puts right, for this process, what geventhttpclient (the client of FastHttpUser) does behind its user's back.

- It repeats an idempotent request as often as its pool is large, plus one, and as `max_retries` says: during a fault
  the generator would multiply the load and hide the errors. Here it sends each request once.
- It looks with select() whether an idle connection is still open, which fails for file descriptors from 1024 on: from
  then on every request would open a connection. Here it uses poll().
"""

from __future__ import annotations

import select
from typing import Any, Final

from gevent.monkey import get_original
from geventhttpclient.connectionpool import ConnectionPool
from geventhttpclient.useragent import UserAgent

_raw_poll: Final = get_original("select", "poll")


def send_each_request_once() -> None:
    """Apply both; whatever makes clients later, and with what settings, gets these."""
    ConnectionPool.size = _Fixed(-1)  # type: ignore[assignment]  # read to count repetitions only
    UserAgent.max_retries = _Fixed(0)  # type: ignore[assignment]  # read once per request
    ConnectionPool._is_socket_alive = _is_idle  # type: ignore[method-assign, assignment]  # where select() is used


class _Fixed:
    """An attribute that has one value, whatever is assigned to it."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __get__(self, instance: object, owner: type | None = None) -> int:
        return self._value

    def __set__(self, instance: object, value: int) -> None:
        """Leave it as it is."""


def _is_idle(_pool: ConnectionPool, sock: Any) -> bool:
    # An idle connection with something to read was closed by the server, or got bytes nobody asked for.
    if sock is None or sock.fileno() < 0:
        return False
    poll = _raw_poll()
    poll.register(sock.fileno(), select.POLLIN)
    return not poll.poll(0)
