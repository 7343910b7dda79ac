"""Puts right, for this process, what geventhttpclient (the client of FastHttpUser) does behind its user's back.

- It repeats an idempotent request as often as its pool is large, plus one, and as `max_retries` says: during a fault
  the generator would multiply the load and hide the errors. Here it sends each request once.
- It looks with select() whether an idle connection is still open, which fails for file descriptors from 1024 on: from
  then on every request would open a connection. Here it uses poll().

And spares it what comes to nothing, so that recording every request costs no throughput: see `spare_work`. Where a
later version has none of what is replaced here, it goes on in its own way; a test says so.
"""

from __future__ import annotations

import math
import select
from collections.abc import Callable
from http.cookiejar import CookieJar
from typing import Any, Final
from urllib.request import Request

from gevent.monkey import get_original
from geventhttpclient.connectionpool import ConnectionPool
from geventhttpclient.url import URL
from geventhttpclient.useragent import UserAgent
from locust.contrib import fasthttp

_HOSTS: Final = 1_000
_raw_poll: Final = get_original("select", "poll")


def send_each_request_once() -> None:
    """Apply the first two; whatever makes clients later, and with what settings, gets these."""
    ConnectionPool.size = _Fixed(-1)  # type: ignore[assignment]  # read to count repetitions only
    UserAgent.max_retries = _Fixed(0)  # type: ignore[assignment]  # read once per request
    ConnectionPool._is_socket_alive = _idle_check(math.inf, bool)  # type: ignore[method-assign, assignment]  # where select() is used


def spare_work(timeout_s: float, is_timed: Callable[[], bool]) -> None:
    """Do the same with less work, for FastHttpUsers that are made from now on.

    - No timer for each wait in requests that are over after `timeout_s` anyway; `is_timed` says whether the current
      greenlet's request is one. A shorter `network_timeout` stays in force.
    - No locks and searches in cookie jars without cookies.
    - The host and the port of an address are worked out once, not several times per request.
    """
    ConnectionPool._is_socket_alive = _idle_check(timeout_s, is_timed)  # type: ignore[method-assign, assignment]  # see above
    fasthttp.CookieJar = LightCookieJar  # type: ignore[attr-defined]  # the name by which each of them makes its own
    for name in ("host", "hostname", "port"):
        part = vars(URL).get(name)
        if isinstance(part, property) and part.fget is not None and hasattr(URL(), "_parsed"):
            setattr(URL, name, property(_remembered(part.fget)))


class LightCookieJar(CookieJar):
    """The standard cookie jar, which is not asked when it would have nothing to do."""

    def add_cookie_header(self, request: Request) -> None:
        """Add the cookies that belong to `request`, if there are any cookies."""
        if self._cookies:  # type: ignore[attr-defined]  # not in typeshed; the jar's own dictionary
            super().add_cookie_header(request)

    def extract_cookies(self, response: Any, request: Request) -> None:
        """Keep the cookies of `response`, if it has any."""
        headers = response.info()
        if "set-cookie" in headers or "set-cookie2" in headers:
            super().extract_cookies(response, request)


class _Fixed:
    """An attribute that has one value, whatever is assigned to it."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __get__(self, instance: object, owner: type | None = None) -> int:
        return self._value

    def __set__(self, instance: object, value: int) -> None:
        """Leave it as it is."""


def _idle_check(timeout_s: float, is_timed: Callable[[], bool]) -> Callable[[ConnectionPool, Any], bool]:
    """Says whether an idle connection can be used again; stands where geventhttpclient asks with select()."""
    polls: dict[int, Any] = {}  # by file descriptor, whatever has the number at the time

    def is_idle(pool: ConnectionPool, sock: Any) -> bool:
        # An idle connection with something to read was closed by the server, or got bytes nobody asked for.
        number = -1 if sock is None else sock.fileno()
        if number < 0:
            return False
        poll = polls.get(number)
        if poll is None:
            poll = polls[number] = _raw_poll()
            poll.register(number, select.POLLIN)
        if poll.poll(0):
            return False
        limit_s: float | None = pool.network_timeout
        if limit_s is not None and limit_s >= timeout_s and is_timed():
            limit_s = None
        if sock.timeout != limit_s:
            sock.settimeout(limit_s)
        return True

    return is_idle


def _remembered(part: Callable[[URL], Any]) -> Callable[[URL], Any]:
    """`part` of a URL, which depends on nothing but its scheme and its authority."""
    known: dict[tuple[str, str], Any] = {}

    def look_up(url: URL) -> Any:
        parsed = url._parsed
        key = parsed.scheme, parsed.netloc
        if key not in known:
            if len(known) >= _HOSTS:
                known.clear()
            known[key] = part(url)
        return known[key]

    return look_up
