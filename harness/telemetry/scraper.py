"""Reads every source at a steady pace while an arm runs; one thread per source, so that a slow one delays no other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from harness.clock import NS, now_ns
from harness.errors import HarnessError
from harness.telemetry.sources import Source, SourceError

Sink = Callable[[int, str, str, float], None]


class Scraper:
    """Scrapes `sources` from `start` to `stop`.

    The sink gets `(t_ns since the arm's start, component, metric, value)`, from several threads.
    """

    def __init__(self, sources: Sequence[Source], sink: Sink) -> None:
        self._sources = sources
        self._sink = sink
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, t0_ns: int) -> None:
        """Begin; `t0_ns` is the arm's start on the monotonic clock."""
        for source in self._sources:
            thread = threading.Thread(
                target=self._follow, args=(source, t0_ns), name=f"telemetry-{source.name}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End all threads; returns when the last reading has been handed over."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _follow(self, source: Source, t0_ns: int) -> None:
        due_ns = t0_ns
        while not self._over.wait(max(0.0, (due_ns - now_ns()) / NS)):
            t_ns = now_ns() - t0_ns
            try:
                readings = source.read()
            except (OSError, SourceError, HarnessError):
                readings = []
            for component, metric, value in readings:
                self._sink(t_ns, component, metric, value)
            due_ns = max(due_ns + int(source.period_s * NS), now_ns())
