"""What the virtual users of a load worker have in common, and how they find it: on Locust's environment."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from locust.env import Environment
from locust.event import EventHook

from harness.clock import now_ns
from harness.errors import LoadError
from harness.load.acknowledged import Acknowledgements
from harness.load.deadlines import Deadlines
from harness.load.messages import Requests
from harness.load.recorder import Recorder
from harness.load.retries import Retries
from harness.plan import Load, RetryStorm


class Session:
    """One arm in one worker: its clock, recorder, retry policies and timeouts, and the address of the target.

    `fail` ends the worker with an error; it may be called from any greenlet and returns. `t0_ns` is the monotonic
    instant of the arm's start, 0 until it is known. `notes` are what users should know about the load, in sentences;
    they are keys, so that each is said once. `acknowledgements` is None when nobody asks for them.
    """

    __slots__ = (
        "acknowledgements",
        "address",
        "deadlines",
        "fail",
        "family",
        "notes",
        "patience_ns",
        "recorder",
        "requests",
        "retries",
        "t0_ns",
    )

    def __init__(
        self,
        host: str,
        load: Load,
        worker: int,
        recorder: Recorder,
        fail: Callable[[str], None],
        storms: Mapping[str, RetryStorm],
        acknowledgements: Acknowledgements | None = None,
    ) -> None:
        self.family, self.address, authority = resolve(host)
        self.requests = Requests(authority)
        self.deadlines = Deadlines(load.timeout_s)
        self.patience_ns = int(load.patience_s * 1e9)
        self.retries = Retries(load.retries, load.seed * 1000 + worker, storms)
        self.recorder = recorder
        self.acknowledgements = acknowledgements
        self.fail = fail
        self.t0_ns = 0
        self.notes: dict[str, None] = {}

    def now_ns(self) -> int:
        """Nanoseconds since the arm's start."""
        return now_ns() - self.t0_ns


class LoadEnvironment(Environment):
    """Locust's environment, with the session in which its users are driven."""

    def __init__(self, session: Session, **options: Any) -> None:
        super().__init__(**options)
        self.session = session


class RequestHook(EventHook):
    """Locust's `request` event without the runner's own statistics, which cost more than sending the request.

    `observer` hears of every event before the `listeners` do, and may take keywords of its own away from them.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.observer: Callable[[dict[str, Any]], None] | None = None
        self.listeners: Sequence[Callable[..., Any]] = self._handlers

    def add_listener(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Have `handler` called for each request; Locust's own recorder of statistics is left out."""
        if getattr(handler, "__module__", "") != "locust.runners":
            super().add_listener(handler)  # type: ignore[no-untyped-call]
        return handler

    def fire(self, *, reverse: bool = False, **report: Any) -> None:
        """Tell the observer, then the listeners; this is what Locust's clients call."""
        if self.observer is not None:
            self.observer(report)
        if self._handlers:
            self.tell(reverse=reverse, **report)

    def tell(self, *, reverse: bool = False, **report: Any) -> None:
        """Tell the listeners only."""
        super().fire(reverse=reverse, **report)  # type: ignore[no-untyped-call]


def resolve(host: str) -> tuple[int, tuple[Any, ...], str]:
    """The address family, the socket address and the Host header of `http://HOST[:PORT]`.

    Raises `LoadError` for anything but plain http, and when the name does not resolve.
    """
    parts = urlsplit(host)
    if parts.scheme != "http" or not parts.hostname:
        raise LoadError(
            f"cannot send load to `{host}`", remedy="expected `http://HOST:PORT`; https is not supported yet"
        )
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
    except OSError as error:
        raise LoadError(f"cannot resolve the host of `{host}`: {error}") from error
    family, _, _, _, address = found[0]
    return family, address, parts.netloc.rpartition("@")[2]
