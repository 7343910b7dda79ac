"""What the shop, auth and payments have in common: health, readiness, counted requests, a management port."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, Response, jsonify
from flask.typing import ResponseReturnValue

from shop.errors import Unavailable
from shop.management import LOOPBACK, ManagementServer
from shop.memory import held_bytes
from shop.metrics import Metrics
from shop.threads import Threads

_EXTENSION = "service"


class Service:
    """Installs itself in a Flask application. `ready` tells whether requests may be sent here."""

    def __init__(self, app: Flask, metrics: Metrics, ready: Callable[[], bool] = lambda: True) -> None:
        self._metrics = metrics
        self._ready = ready
        self._threads: Threads | None = None
        self._leaving: Callable[[], bool] = lambda: False
        app.extensions[_EXTENSION] = self
        app.after_request(self._count)
        app.register_error_handler(Unavailable, _say_unavailable)
        app.add_url_rule("/healthz", view_func=self._healthz, endpoint="healthz")
        app.add_url_rule("/readyz", view_func=self._readyz, endpoint="readyz")

    @classmethod
    def of(cls, app: Flask) -> Service:
        """The one that was installed in `app`."""
        service = app.extensions[_EXTENSION]
        assert isinstance(service, cls)
        return service

    @property
    def waited_s(self) -> float:
        """How long the current request has waited for a thread."""
        return self._threads.waited_s if self._threads else 0.0

    def attach(self, threads: Threads, leaving: Callable[[], bool]) -> None:
        """Take over the gauges of the worker's threads; called once, when the worker is up. One that is leaving is not
        ready, whatever else it says."""
        self._threads = threads
        self._leaving = leaving
        self._metrics.gauge("workers_busy", "Threads at work.", lambda: threads.busy)
        self._metrics.gauge("workers_limit", "Threads.", lambda: threads.limit)
        self._metrics.gauge("queue_length", "Requests waiting for a thread.", lambda: threads.waiting)
        self._metrics.gauge("memory_bytes", "Memory that the replica holds.", held_bytes)

    def management(self, port: int, host: str = LOOPBACK) -> ManagementServer:
        """The management port of this process, not started yet. Port 0 picks a free one."""
        return ManagementServer(
            port,
            {
                "/metrics": lambda: (200, self._metrics.page()),
                "/readyz": lambda: (200, b"ready\n") if self._is_ready() else (503, b"not ready\n"),
                "/healthz": lambda: (200, b"alive\n"),
            },
            host,
        )

    def _is_ready(self) -> bool:
        return self._ready() and not self._leaving()

    def _count(self, response: Response) -> Response:
        self._metrics.requests.inc()
        if response.status_code >= 500:
            self._metrics.errors.inc()
        return response

    def _healthz(self) -> ResponseReturnValue:
        return jsonify(alive=True)

    def _readyz(self) -> ResponseReturnValue:
        ready = self._is_ready()
        return jsonify(ready=ready), 200 if ready else 503


def _say_unavailable(error: Unavailable) -> ResponseReturnValue:
    return jsonify(error=error.part, reason=error.reason), 503, {"Retry-After": "1"}
